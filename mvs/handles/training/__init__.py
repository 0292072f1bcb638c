"""Saving from a training run: states in memory, in the background, and as checkpoints."""
