"""The verbs; a module is imported when one of its verbs is asked for."""
