"""Dedup: cold objects as packs, cut at tensors and encoded against what is alike."""

from mvs.ops.dedup.plan import KEEP, Item, Plan, alone, note_done, plan
from mvs.ops.dedup.run import Result, run
from mvs.ops.dedup.undo import undo

__all__ = ["KEEP", "Item", "Plan", "Result", "alone", "note_done", "plan", "run", "undo"]
