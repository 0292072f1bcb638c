"""What is stored: of each model given others, and of all of them together. Sizes are the same in every round."""

from collections.abc import Sequence

from bench.dedup import reference
from bench.dedup.making import writing
from bench.dedup.ours import Store, can
from bench.dedup.peers import Peer, saved_in_turn
from bench.dedup.reading import REST, Family, Model
from bench.dedup.reference import Block
from bench.measure import Bound, section, show
from bench.place import Place, remove

_ALONE = Bound(0.97)
_TUNED = Bound(0.72)
_CHECKPOINT = Bound(0.95)
_TOGETHER = Bound(0.42)
_EVERYTHING = Bound(0.65)
_CONVERTED = Bound(0.02)
# A record in an index, a line of a recipe, a header: the bytes of a copy must not show.
_SHARED = Bound(0.002)


def run(place: Place, family: Family, peers: Sequence[Peer]) -> None:
    section("Stored bytes of one model, given its base : TensorX, given the same")
    _row(f"{family.base.name}, alone", _growth(place, [], family.base), _tensorx(family.base), _ALONE)
    for model in family.tuned:
        ours = _growth(place, [family.base], model)
        # The new rows of a grown vocabulary have no base, and where all else is shared there is nothing but them.
        bound = None if _mostly_new(model, family.base) else _TUNED
        _row(f"{model.name}, given {family.base.name}", ours, _tensorx(model, family.base), bound)
    checkpoints = family.checkpoints()
    for index, model in enumerate(checkpoints[1:], start=1):
        before = checkpoints[index - 1]
        ours = _growth(place, checkpoints[:index], model)
        _row(f"{model.name}, given {before.name}", ours, _tensorx(model, before), _CHECKPOINT)
    _published(family)
    section("Stored bytes of what the store has in other words : its size")
    for model, source in family.converted():
        known = list(dict.fromkeys([family.base, source]))
        _row(f"{model.name}, made from {source.name}", _growth(place, known, model), model.size, _CONVERTED)
    for model, source in family.copies():
        known = list(dict.fromkeys([family.base, source]))
        _row(f"{model.name}, a copy of {source.name}", _growth(place, known, model), model.size, _SHARED)
    for model in family.tuned:
        _shared(place, family.base, model)
    _together(place, family, peers)


def blocks(model: Model, base: Model | None = None) -> list[Block]:
    """Return the blocks of a model, each with the bytes of the tensor of the same name in the base, where that is."""
    known = {tensor.name: tensor for tensor in base.tensors if tensor.kind != REST} if base else {}
    found = []
    for tensor in model.tensors:
        other = known.get(tensor.name)
        there = other is not None and (other.kind, other.shape[1:]) == (tensor.kind, tensor.shape[1:])
        found += reference.blocks(tensor.data, other.data if other is not None and there else None, tensor.width)
    return found


def _tensorx(model: Model, base: Model | None = None) -> int:
    return reference.stored(blocks(model, base))


def _mostly_new(model: Model, base: Model) -> bool:
    """Return whether most of what TensorX stores of a model is of weights that the base does not have."""
    given = blocks(model, base)
    return 2 * reference.stored([block for block in given if block.base is None]) > reference.stored(given)


def _published(family: Family) -> None:
    section("(Published ways, stored bytes / bytes: BitX, TensorX, TensorX with a difference for XOR)")
    for model in family.models:
        base = None if model is family.base else family.base
        given = [block for block in blocks(model, base) if block.width == 2]
        size = sum(len(block.data) for block in given)
        parts = (reference.bitx(given), reference.stored(given), reference.difference(given))
        print(f"  {model.name:<52}" + "".join(f"{part / size:11.3f}" for part in parts), flush=True)


def _shared(place: Place, base: Model, model: Model) -> None:
    """Tell what the tensors cost that are in the base as they are: with them, less without them."""
    known = {tensor.name: tensor.data.tobytes() for tensor in base.tensors}
    tensors = [tensor for tensor in model.tensors if tensor.kind != REST]
    own = [tensor for tensor in tensors if known.get(tensor.name) != tensor.data.tobytes()]
    size = sum(len(tensor.data) for tensor in tensors) - sum(len(tensor.data) for tensor in own)
    # Norms alone, which are often the same, are too few bytes to tell.
    if size < model.size // 10:
        return
    folder = place.work / "less" / model.path.name
    folder.mkdir(parents=True)
    shapes = {tensor.name: tensor.shape for tensor in own}
    path = folder / "model.safetensors"
    writing.stream(path, shapes, (tensor.data.view("<u2") for tensor in own))
    full, less = _growth(place, [base], model), _growth(place, [base], Model(folder))
    remove(folder.parent)
    cost = None if full is None or less is None else full - less
    _row(f"{model.name}, tensors it shares with {base.name}", cost, size, _SHARED)


def _together(place: Place, family: Family, peers: Sequence[Peer]) -> None:
    section("Stored bytes of many models, saved in turn : restic and borg")
    count, everything = len(family.models), family.everything
    ours = _saved_in_turn(place, everything)
    theirs = {peer.name: saved_in_turn(peer, [model.path for model in everything]) for peer in peers}
    for what, last, bound in (
        (f"{count} bf16 models", count, _TOGETHER),
        (f"everything, {len(everything)}", len(everything), _EVERYTHING),
    ):
        size = sum(model.size for model in everything[:last])
        print(f"  ({what}: {_text(size)})")
        least = min((sizes[last - 1] for sizes in theirs.values()), default=None)
        for name, sizes in theirs.items():
            stored = sizes[last - 1]
            _row(f"{what}, {name}", ours[last - 1] if ours else None, stored, bound if stored == least else None)


def _saved_in_turn(place: Place, models: Sequence[Model]) -> list[int]:
    """Return the size of the store after each model; in the end every one of them comes out as it went in."""
    if not can("dedup"):
        return []
    store, sizes = Store.new(place, "together"), []
    for model in models:
        store.add(model)
        sizes.append(store.size)
    for model in models:
        store.check(model, place.work / "out")
    remove(store.folder)
    return sizes


def _growth(place: Place, known: Sequence[Model], model: Model) -> int | None:
    """Return what a model adds to a store that has others; of the first one, with the store itself."""
    if not can("dedup"):
        return None
    store = Store.new(place, "growth", known)
    before = store.size if known else 0
    store.add(model)
    grown = store.size - before
    remove(store.folder)
    return grown


def _row(what: str, ours: int | None, theirs: int, bound: Bound | None) -> None:
    show(what, "-" if ours is None else _text(ours), _text(theirs), [] if ours is None else [ours / theirs], bound)


def _text(size: int) -> str:
    return f"{size / 1e6:.3f} MB"
