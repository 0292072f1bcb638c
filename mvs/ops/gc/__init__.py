"""Garbage collection: what no version needs is removed, and nothing else."""

from mvs.ops.gc.plan import Gone, Plan, plan
from mvs.ops.gc.run import Result, run

__all__ = ["Gone", "Plan", "Result", "plan", "run"]
