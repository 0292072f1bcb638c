"""How lineage looks: a tree in plain characters, parents above children.

The child with the most descendants goes on below its parent, the others branch off before it: so the tree is never
wider than the logarithm of its length, whatever was saved.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from mvs.handles.version import Relative


def draw(family: Sequence[Relative]) -> Iterator[str]:
    """Yield the lines of a family, in which parents come before their children."""
    place = {kin.id: number for number, kin in enumerate(family)}
    children: dict[str, list[Relative]] = defaultdict(list)
    roots = []
    above: dict[str, str] = {}
    for number, kin in enumerate(family):
        # Of several parents the youngest: what it was made from is mostly drawn above it already.
        known = [place[parent] for parent in kin.parents if place.get(parent, number) < number]
        if known:
            above[kin.id] = family[max(known)].id
            children[above[kin.id]].append(kin)
        else:
            roots.append(kin)
    weight = dict.fromkeys(place, 1)
    for kin in reversed(family):
        if kin.id in above:
            weight[above[kin.id]] += weight[kin.id]
    names = {kin.id: _name(kin) for kin in family}
    for number, root in enumerate(roots):
        if number:
            yield ""
        pending = [(root, 0, False)]
        while pending:
            kin, depth, branches = pending.pop()
            others = [names.get(parent, parent[:12]) for parent in kin.parents if parent != above.get(kin.id)]
            also = f" (also from {', '.join(dict.fromkeys(others))})" if others else ""
            state = f" ({kin.state})" if kin.state != "there" else ""
            aliases = f" @{' @'.join(kin.aliases)}" if kin.aliases else ""
            edge = "| " * (depth - 1) + "|-* " if branches else "| " * depth + "* "
            yield f"{edge}{names[kin.id]}{aliases}{state}{also}"
            below = children.get(kin.id, [])
            if below:
                trunk = max(below, key=lambda child: weight[child.id])
                pending.append((trunk, depth, False))
                pending += [(child, depth + 1, True) for child in reversed(below) if child is not trunk]


def _name(kin: Relative) -> str:
    return str(kin.tag) if kin.tag else kin.id[:12]
