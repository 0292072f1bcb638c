"""Pins: which versions a repository needs, and where; what git keeps of it, and what is on the disk."""
