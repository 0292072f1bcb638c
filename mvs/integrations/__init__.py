"""Where frameworks meet mvs: a module for each, on the public API only; a framework is imported with its module."""
