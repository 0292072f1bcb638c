"""A remote as this store sees it: its log, and what lies in its packs."""
