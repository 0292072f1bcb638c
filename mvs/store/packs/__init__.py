"""Packs: many objects in one immutable file, found, read and written."""
