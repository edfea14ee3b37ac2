"""What people see: status, tables, reports, the terminal. Read-only."""
