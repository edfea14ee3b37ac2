"""The report of a run: one HTML file that needs nothing else, to keep, to print, to send."""
