"""Saving: files found and held still, copied and published."""
