"""Packs tiles into tasks, sends them, sends lost ones again, and takes rows in."""
