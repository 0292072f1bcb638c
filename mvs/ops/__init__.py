"""What can be done with a store, one verb a module. Verbs return facts, never text."""
