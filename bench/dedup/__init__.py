"""Measurements of `mvs dedup` on families of really trained weights: `python -m bench dedup`."""
