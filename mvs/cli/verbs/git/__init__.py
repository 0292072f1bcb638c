"""Verbs for repositories that are work trees of git."""
