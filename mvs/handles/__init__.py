"""What the API hands out: saved versions, and drafts of new ones."""
