"""What a diff consists of: frozen values, and what JSON makes of them."""

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from mvs.format.manifest import FileEntry

FileStatus = Literal["added", "removed", "changed", "renamed"]
TensorStatus = Literal["same", "moved", "changed", "reshaped", "resized", "retyped", "added", "removed"]


class FileDiff(NamedTuple):
    """One file, or empty folder, that is not the same in both versions.

    Attributes:
        status: "added", "removed", "changed", or "renamed" (the same content under another path).
        before: the file in the first version, None where it is added; a folder has a path that ends in `/`.
        after: the file in the second version, None where it is removed.
    """

    status: FileStatus
    before: FileEntry | None
    after: FileEntry | None

    @property
    def path(self) -> str:
        """The path in the second version, else in the first."""
        entry = self.after or self.before
        return entry.path if entry else ""

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as JSON holds them."""
        return {
            "status": self.status,
            "path": self.path,
            "before": _file(self.before),
            "after": _file(self.after),
        }


class ValueDiff(NamedTuple):
    """One label, value of the metadata, or message that is not the same in both versions.

    Attributes:
        status: "added", "removed" or "changed".
        key: of the label or metadata; of a nested value the keys that lead to it, joined by `.`.
        before: the value in the first version, None where it is added.
        after: the value in the second version, None where it is removed.
    """

    status: Literal["added", "removed", "changed"]
    key: str
    before: Any
    after: Any

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as JSON holds them."""
        return self._asdict()


@dataclass(frozen=True, slots=True)
class Difference:
    """How far the numbers of one tensor, or of several together, are apart.

    It consists of counts and sums, so that differences can be added. The sums are in float64 and of the pairs of
    which both numbers are finite.

    Attributes:
        items: numbers compared; of a quantised type, bytes.
        changed: those that differ, bit for bit; between two types, in value.
        finite: pairs of which both numbers are finite; none of a quantised type.
        nonfinite_before: NaN and infinities in the first version.
        nonfinite_after: NaN and infinities in the second version.
        absolute: the sum of the absolute differences.
        largest: the largest absolute difference.
        squares_before: the sum of the squares in the first version.
        squares_after: the sum of the squares in the second version.
        products: the sum of the products.
        squares: the sum of the squares of the differences.
    """

    items: int = 0
    changed: int = 0
    finite: int = 0
    nonfinite_before: int = 0
    nonfinite_after: int = 0
    absolute: float = 0.0
    largest: float = 0.0
    squares_before: float = 0.0
    squares_after: float = 0.0
    products: float = 0.0
    squares: float = 0.0

    def __add__(self, other: "Difference") -> "Difference":
        return Difference(
            self.items + other.items,
            self.changed + other.changed,
            self.finite + other.finite,
            self.nonfinite_before + other.nonfinite_before,
            self.nonfinite_after + other.nonfinite_after,
            self.absolute + other.absolute,
            max(self.largest, other.largest),
            self.squares_before + other.squares_before,
            self.squares_after + other.squares_after,
            self.products + other.products,
            self.squares + other.squares,
        )

    @property
    def share(self) -> float:
        """Which part of the items changed, from 0 to 1."""
        return self.changed / self.items if self.items else 0.0

    @property
    def max_abs(self) -> float | None:
        """The largest absolute difference, None where there are no finite numbers."""
        return _told(self.largest) if self.finite else None

    @property
    def mean_abs(self) -> float | None:
        """The mean absolute difference over all numbers, changed or not; None where there are no finite ones."""
        return _told(self.absolute / self.finite) if self.finite else None

    @property
    def relative_l2(self) -> float | None:
        """The norm of the difference over the norm of the first version, None where that is 0."""
        return _told(math.sqrt(self.squares / self.squares_before)) if self.squares_before else None

    @property
    def cosine(self) -> float | None:
        """The cosine of the angle between the two, None where one is 0."""
        norms = math.sqrt(self.squares_before) * math.sqrt(self.squares_after)
        # Rounding must not make it more than parallel.
        return _told(max(-1.0, min(1.0, self.products / norms))) if norms and math.isfinite(norms) else None

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as JSON holds them."""
        return {
            "items": self.items,
            "changed": self.changed,
            "share": self.share,
            "max_abs": self.max_abs,
            "mean_abs": self.mean_abs,
            "relative_l2": self.relative_l2,
            "cosine": self.cosine,
            "nonfinite_before": self.nonfinite_before,
            "nonfinite_after": self.nonfinite_after,
        }


class Side(NamedTuple):
    """A tensor as one of the versions has it.

    Attributes:
        file: the file that it lies in.
        name: as the file has it.
        dtype: in the words of safetensors or ggml; "" when not known.
        shape: row-major; () for a scalar, or when not known.
        size: in bytes.
    """

    file: str
    name: str
    dtype: str
    shape: tuple[int, ...]
    size: int

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as JSON holds them."""
        return {**self._asdict(), "shape": list(self.shape)}


@dataclass(frozen=True, slots=True)
class TensorDiff:
    """One tensor in both versions, or in one of them.

    Attributes:
        status: "same"; "moved": the same in another file, or under another name; "reshaped": as many numbers in another
            shape; "resized": more or fewer numbers; "retyped": of another type; "changed"; "added"; "removed".
        before: the tensor in the first version, None where it is added.
        after: the tensor in the second version, None where it is removed.
        items: its numbers (of a quantised type, bytes) that are known to be the same or were compared.
        difference: how far the two are apart, None where their bytes are the same or cannot be compared. Of a resized
            tensor whose rows are as long as before: of the rows that both have.
    """

    status: TensorStatus
    before: Side | None
    after: Side | None
    items: int
    difference: Difference | None

    @property
    def side(self) -> Side:
        """The tensor in the second version, else in the first."""
        side = self.after or self.before
        assert side is not None
        return side

    @property
    def name(self) -> str:
        """The name in the second version, else in the first; of what has no name, its file."""
        return self.side.name or self.side.file

    @property
    def is_unknown(self) -> bool:
        """Whether both versions have it, and it cannot be told how far the two are apart."""
        return bool(self.before and self.after and not self.items)

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as JSON holds them."""
        return {
            "status": self.status,
            "name": self.name,
            "before": self.before.to_dict() if self.before else None,
            "after": self.after.to_dict() if self.after else None,
            "difference": self.difference.to_dict() if self.difference else None,
        }


def _file(entry: FileEntry | None) -> dict[str, Any] | None:
    if entry is None:
        return None
    if entry.path.endswith("/"):
        return {"path": entry.path, "size": 0, "blob": None, "executable": False}
    return {**entry._asdict(), "blob": str(entry.blob)}


def _told(value: float) -> float | None:
    # Squares of numbers beyond 1e154 are infinite.
    return value if math.isfinite(value) else None
