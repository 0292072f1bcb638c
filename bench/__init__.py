"""Measurements of mvs side by side with cp, BLAKE3, DVC and BentoML: `python -m bench`."""
