"""Repairing: what is damaged is made again from whatever has its bytes; what cannot be is put into quarantine."""

from mvs.ops.repair.report import Mended, Repaired
from mvs.ops.repair.run import repair

__all__ = ["Mended", "Repaired", "repair"]
