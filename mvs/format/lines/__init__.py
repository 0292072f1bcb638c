"""What is written as lines of text: refs, notes, the journal, and what git keeps of a repository."""
