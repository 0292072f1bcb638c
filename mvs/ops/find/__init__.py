"""Finding versions, and what they take."""
