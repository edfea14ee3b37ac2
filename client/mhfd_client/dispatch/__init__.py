"""Tiles out in tasks, rows in: what is packed together, sent, sent again, and given up."""
