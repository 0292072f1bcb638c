"""Garbage collection: what no version needs is removed, and nothing else."""

from mvs.ops.gc import auto, cap
from mvs.ops.gc.marking import Gone
from mvs.ops.gc.plan import Plan, plan
from mvs.ops.gc.run import Result, run

__all__ = ["Gone", "Plan", "Result", "auto", "cap", "plan", "run"]
