"""File names, finding files, their order, markers, and network shares."""
