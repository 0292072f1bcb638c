"""What differs between two versions: files, facts, and weights tensor by tensor."""

from mvs.ops.diff.facts import Difference, FileDiff, Side, TensorDiff, ValueDiff
from mvs.ops.diff.layers import Layer
from mvs.ops.diff.versions import Diff, diff

__all__ = ["Diff", "Difference", "FileDiff", "Layer", "Side", "TensorDiff", "ValueDiff", "diff"]
