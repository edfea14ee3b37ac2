"""Files of several formats -> grey tiles, by readers that may come from other packages."""
