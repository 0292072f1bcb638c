"""Long work: run on threads, and told how far it is."""
