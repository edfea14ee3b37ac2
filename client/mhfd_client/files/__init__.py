"""Names of files, the files that a person means, and what a disk is."""
