"""What things are called: refs, notes, and the journal of what happened to them."""
