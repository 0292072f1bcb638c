"""Checking: what a store holds is what its names say. Nothing is repaired, nothing is changed."""

from mvs.ops.fsck.report import Amount, Finding, Report
from mvs.ops.fsck.run import Level, fsck

__all__ = ["Amount", "Finding", "Level", "Report", "fsck"]
