"""Views for people: status, tables, reports, the terminal. Read-only."""
