"""Refs: how they move, and how they moved."""
