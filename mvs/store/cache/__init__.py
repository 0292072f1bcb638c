"""What is derived from the rest of a store and may be deleted at any time."""
