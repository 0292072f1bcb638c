"""A repository: its verbs, where it is, and what its configuration says."""
