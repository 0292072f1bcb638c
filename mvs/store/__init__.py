"""A store: ids to bytes, names to ids, and the journal of what changed."""
