"""Which tensor of one version is which of the other."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import NamedTuple

from mvs.codecs.cut import Tensor
from mvs.codecs.derive.names import canonical
from mvs.format.manifest import FileEntry
from mvs.ops.diff.facts import Side


class Found(NamedTuple):
    """A tensor, the file that it lies in, and what is equal for equal bytes."""

    entry: FileEntry
    tensor: Tensor
    identity: bytes

    @property
    def side(self) -> Side:
        """The tensor as a diff tells of it."""
        return Side(self.entry.path, self.tensor.name, self.tensor.dtype, self.tensor.shape, self.tensor.size)


Pair = tuple[Found | None, Found | None]
Key = Callable[[Found], Hashable | None]


def pair(before: Iterable[Found], after: Iterable[Found]) -> Iterator[Pair]:
    """Yield every tensor of both versions once.

    They belong together by file and name, else by name, else by the name's canonical spelling, else by their bytes.
    Of several that a name fits, those of the same bytes do first.
    """
    left, right = list(before), list(after)
    for key in (_place, _name, _spelling, _bytes):
        made = list(_matched(left, right, key))
        yield from made
        lefts, rights = {id(a) for a, _ in made}, {id(b) for _, b in made}
        left = [found for found in left if id(found) not in lefts]
        right = [found for found in right if id(found) not in rights]
    yield from ((found, None) for found in left)
    yield from ((None, found) for found in right)


def _place(found: Found) -> Hashable | None:
    return found.entry.path, found.tensor.name


# What has no name, an array in a file of its own, would be like any other.
def _name(found: Found) -> Hashable | None:
    return found.tensor.name or None


def _spelling(found: Found) -> Hashable | None:
    return canonical(found.tensor.name) or None


def _bytes(found: Found) -> Hashable | None:
    return found.identity


def _matched(left: list[Found], right: list[Found], key: Key) -> Iterator[tuple[Found, Found]]:
    lefts, rights = _grouped(left, key), _grouped(right, key)
    for value in lefts.keys() & rights.keys():
        ours, theirs = lefts[value], rights[value]
        if len(ours) == len(theirs) == 1:
            yield ours[0], theirs[0]
            continue
        equal = _grouped(theirs, _bytes)
        others = []
        for found in ours:
            if same := equal.get(found.identity):
                yield found, same.pop(0)
            else:
                others.append(found)
        left_over = {id(found) for some in equal.values() for found in some}
        yield from zip(others, (found for found in theirs if id(found) in left_over), strict=False)


def _grouped(some: Iterable[Found], key: Key) -> dict[Hashable, list[Found]]:
    groups: dict[Hashable, list[Found]] = defaultdict(list)
    for found in some:
        if (value := key(found)) is not None:
            groups[value].append(found)
    return groups
