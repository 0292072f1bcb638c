"""What torch's pickle says of its storages, read off the opcodes.

Nothing is imported, called or built: a small stack machine moves symbols about. It knows what
a state dict is made of; everything else is an object about which nothing is known but what
was put into it. Time and memory are linear in the number of opcodes, whatever they are.
Source of the format: `pickletools`, and persistent ids in torch/serialization.py.
"""

import pickletools
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, TypeAlias

from mvs.codecs.cut.dtypes import BITS, items_of
from mvs.codecs.cut.source import Opaque

# A tensor takes 30 opcodes and 130 bytes: this is for 35,000 of them, and a hundred MB and a few
# seconds for opcodes chosen to do harm. Where a pickle goes on, what was seen until then counts.
MAX_SIZE = 32 << 20
MAX_OPCODES = 1 << 20
# A name is the keys that lead to a tensor; deep nesting would make them endless.
_MAX_PATH = 1024
_MAX_TEXT = 1 << 16

_STORAGES = {
    "FloatStorage": "F32",
    "DoubleStorage": "F64",
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "LongStorage": "I64",
    "IntStorage": "I32",
    "ShortStorage": "I16",
    "CharStorage": "I8",
    "ByteStorage": "U8",
    "BoolStorage": "BOOL",
    "ComplexFloatStorage": "C64",
    "ComplexDoubleStorage": "C128",
    "QInt8Storage": "I8",
    "QUInt8Storage": "U8",
    "QInt32Storage": "I32",
}
# Types without a storage class of their own: the tensor says them, the storage counts bytes.
_DTYPES = {
    "torch.uint16": "U16",
    "torch.uint32": "U32",
    "torch.uint64": "U64",
    "torch.float8_e4m3fn": "F8_E4M3",
    "torch.float8_e5m2": "F8_E5M2",
    "torch.float8_e8m0fnu": "F8_E8M0",
    "torch.float8_e4m3fnuz": "F8_E4M3FNUZ",
    "torch.float8_e5m2fnuz": "F8_E5M2FNUZ",
}
_TENSOR = {"torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_qtensor"}
_TYPED_TENSOR = "torch._utils._rebuild_tensor_v3"
_PARAMETER = {"torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"}
_SUBCLASS = "torch._tensor._rebuild_from_type_v2"


class Told(NamedTuple):
    """What a pickle says of one storage; empty, `()` and -1 where it does not say."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    size: int


UNTOLD = Told("", "", (), -1)


class _Global(NamedTuple):
    path: str


class _Storage(NamedTuple):
    key: str
    dtype: str
    length: int


class _View(NamedTuple):
    """A tensor: its storage, and its shape when it is the whole storage in row-major order."""

    storage: _Storage
    dtype: str
    shape: tuple[int, ...] | None


class _Table(list[object]):
    """A dict or an object: keys and values in turn. The key None leads nowhere new."""


# Tuples may hold themselves a thousand times over: they are never hashed, compared or printed.
_Value: TypeAlias = object
_CONTAINERS = (_Table, list, tuple)


def storages(pickle: bytes) -> dict[str, Told]:
    """Return what is said of each storage, by its key, which is the N of the member `data/N`."""
    machine = _Machine()
    try:
        root = machine.run(pickle)
    except Opaque:
        root = None
    named = _named(root)
    told = {}
    for key, storage in machine.storages.items():
        name, view = named.get(key, ("", machine.views.get(key)))
        dtype = storage.dtype or (view.dtype if view else "")
        # An untyped storage counts bytes.
        width = BITS[storage.dtype] // 8 if storage.dtype else 1
        shape = view.shape if view and view.shape is not None else ()
        told[key] = Told(name, dtype, shape, storage.length * width)
    return told


def _named(root: _Value) -> dict[str, tuple[str, _View]]:
    """Return the path of keys to the first tensor in each storage, and that tensor."""
    named: dict[str, tuple[str, _View]] = {}
    seen: set[int] = set()
    todo = [_children("", _Table((None, root)))]
    while todo:
        path, value = next(todo[-1], (None, None))
        if value is None:
            todo.pop()
        elif isinstance(value, _View):
            if path is not None:
                named.setdefault(value.storage.key, (path, value))
        elif id(value) not in seen:
            seen.add(id(value))
            todo.append(_children(path, value))
    return named


def _children(path: str | None, value: _Value) -> Iterator[tuple[str | None, _Value]]:
    assert isinstance(value, _CONTAINERS)
    pairs = zip(value[::2], value[1::2], strict=False) if isinstance(value, _Table) else enumerate(value)
    for key, child in pairs:
        if isinstance(child, _CONTAINERS) and type(child) not in (_Global, _Storage):
            yield _joined(path, key), child


def _joined(path: str | None, key: _Value) -> str | None:
    if key is None or path is None:
        return path
    if not isinstance(key, str | int) or (isinstance(key, str) and len(key) > _MAX_PATH):
        return None
    joined = f"{path}/{key}" if path else str(key)
    return joined if len(joined) <= _MAX_PATH else None


class _Machine:
    """The stack and the memo of an unpickler, with symbols for objects."""

    def __init__(self) -> None:
        self.stack: list[_Value] = []
        self.marks: list[int] = []
        self.memo: dict[int, _Value] = {}
        self.storages: dict[str, _Storage] = {}
        self.views: dict[str, _View] = {}

    def run(self, pickle: bytes) -> _Value:
        """Return what the pickle makes.

        Raises:
            Opaque: it is broken or too long. What it said of storages until then is kept.
        """
        for opcode, argument in _opcodes(pickle):
            act = _ACTS.get(opcode.name)
            if act is not None:
                act(self, argument)
            elif opcode.name == "STOP":
                return self.pop()
            else:
                self.other(opcode)
        raise Opaque("the pickle does not end")

    def pop(self) -> _Value:
        if not self.stack:
            raise Opaque("the stack is empty")
        return self.stack.pop()

    def top(self) -> _Value:
        if not self.stack:
            raise Opaque("the stack is empty")
        return self.stack[-1]

    def to_mark(self) -> list[_Value]:
        if not self.marks:
            raise Opaque("there is no mark")
        mark = self.marks.pop()
        items = self.stack[mark:]
        del self.stack[mark:]
        return items

    def last(self, count: int) -> list[_Value]:
        return [self.pop() for _ in range(count)][::-1]

    def put(self, key: int) -> None:
        self.memo[key] = self.top()

    def get(self, key: int) -> None:
        if key not in self.memo:
            raise Opaque("nothing was put there")
        self.stack.append(self.memo[key])

    def set(self, items: list[_Value]) -> None:
        table = self.top()
        if isinstance(table, _Table):
            table += items

    def extend(self, items: list[_Value]) -> None:
        target = self.top()
        # A table that is appended to is an object made from a list.
        if isinstance(target, _Table):
            target += (None, items)
        elif isinstance(target, list):
            target += items

    def build(self) -> None:
        state = self.pop()
        target = self.top()
        if isinstance(target, _Table):
            target += (None, state)

    def global_(self, names: list[_Value]) -> None:
        path = ".".join(name if isinstance(name, str) else "?" for name in names)
        self.stack.append(_Global(path))

    def persistent(self) -> None:
        said = self.pop()
        storage = _storage(said)
        if storage is not None:
            storage = self.storages.setdefault(storage.key, storage)
        self.stack.append(storage)

    def reduce(self) -> None:
        arguments, function = self.pop(), self.pop()
        if type(arguments) is tuple and isinstance(function, _Global):
            path = function.path
            # A subclass of Tensor, or one with attributes: the function and arguments are inside.
            if path == _SUBCLASS and len(arguments) > 2 and isinstance(arguments[0], _Global):
                path, arguments = arguments[0].path, arguments[2]
            if path in _PARAMETER and type(arguments) is tuple and arguments:
                self.stack.append(arguments[0])
                return
            view = _view(path, arguments)
            if view is not None:
                self.views.setdefault(view.storage.key, view)
                self.stack.append(view)
                return
        self.stack.append(_Table((None, arguments)))

    def other(self, opcode: pickletools.OpcodeInfo) -> None:
        """Do to the stack what an opcode does, for the sake of what comes after it."""
        before = opcode.stack_before
        if pickletools.markobject in before:
            items = self.to_mark()
            items = self.last(before.index(pickletools.markobject)) + items
        else:
            items = self.last(len(before))
        for _ in opcode.stack_after:
            self.stack.append(_Table((None, items)) if items else None)


def _storage(said: _Value) -> _Storage | None:
    if type(said) is not tuple or len(said) < 5 or said[0] != "storage":
        return None
    kind, key, length = said[1], said[2], said[4]
    if not (isinstance(kind, _Global) and isinstance(key, str) and isinstance(length, int)):
        return None
    name = kind.path.rpartition(".")[2]
    if name not in _STORAGES and name != "UntypedStorage":
        return None
    return _Storage(key, _STORAGES.get(name, ""), length)


def _view(path: str, arguments: _Value) -> _View | None:
    if not (path in _TENSOR or path == _TYPED_TENSOR) or type(arguments) is not tuple or len(arguments) < 6:
        return None
    storage, offset, shape, strides = arguments[:4]
    if not (isinstance(storage, _Storage) and type(shape) is tuple and type(strides) is tuple):
        return None
    dtype = storage.dtype
    if path == _TYPED_TENSOR and not dtype and len(arguments) > 6 and isinstance(arguments[6], _Global):
        dtype = _DTYPES.get(arguments[6].path, "")
    return _View(storage, dtype, _whole(storage, dtype, offset, shape, strides))


def _whole(
    storage: _Storage, dtype: str, offset: _Value, shape: tuple[object, ...], strides: tuple[object, ...]
) -> tuple[int, ...] | None:
    """Return the shape of a tensor that is its whole storage in row-major order."""
    try:
        items = items_of(shape)
    except Opaque:
        return None
    # An untyped storage counts bytes.
    width = 1 if storage.dtype or not dtype else BITS[dtype] // 8
    if not dtype or offset != 0 or len(strides) != len(shape) or items * width != storage.length:
        return None
    lengths = tuple(length for length in shape if isinstance(length, int))
    step = 1
    for length, stride in zip(reversed(lengths), reversed(strides), strict=True):
        if length != 1 and stride != step:
            return None
        step *= length
    return lengths


_BY_CODE = {ord(opcode.code): opcode for opcode in pickletools.opcodes}
_COUNTED: Mapping[int, int] = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}


def _opcodes(pickle: bytes) -> Iterator[tuple[pickletools.OpcodeInfo, bytes]]:
    """Yield the opcodes with the bytes of their arguments, which are left as they are.

    `pickletools.genops` would decode all of them, numbers of a million digits included.
    """
    at = 0
    for _ in range(MAX_OPCODES):
        opcode = _BY_CODE.get(pickle[at]) if at < len(pickle) else None
        if opcode is None:
            break
        at += 1
        length = opcode.arg.n if opcode.arg else 0
        if length == pickletools.UP_TO_NEWLINE:
            end = pickle.find(b"\n", at)
            if opcode.name in ("GLOBAL", "INST") and end >= 0:
                end = pickle.find(b"\n", end + 1)
            length = end + 1 - at
        elif length < 0:
            width = _COUNTED[length]
            length = int.from_bytes(pickle[at : at + width], "little")
            at += width
        if length < 0 or length > len(pickle) - at:
            break
        yield opcode, pickle[at : at + length]
        at += length


def _number(argument: bytes, *, signed: bool = False) -> int | None:
    return int.from_bytes(argument, "little", signed=signed) if len(argument) <= 9 else None


def _decimal(argument: bytes) -> int:
    digits = argument.strip()
    return int(digits) if digits.isdigit() and len(digits) < 20 else -1


def _text(argument: bytes) -> str | None:
    try:
        return argument.decode() if len(argument) <= _MAX_TEXT else None
    except UnicodeDecodeError:
        return None


_Act: TypeAlias = Callable[[_Machine, bytes], None]
_ACTS: Mapping[str, _Act] = {
    "PROTO": lambda machine, _: None,
    "FRAME": lambda machine, _: None,
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)),
    "DUP": lambda machine, _: machine.stack.append(machine.top()),
    "BINPUT": lambda machine, argument: machine.put(argument[0]),
    "LONG_BINPUT": lambda machine, argument: machine.put(int.from_bytes(argument, "little")),
    "PUT": lambda machine, argument: machine.put(_decimal(argument)),
    "MEMOIZE": lambda machine, _: machine.put(len(machine.memo)),
    "BINGET": lambda machine, argument: machine.get(argument[0]),
    "LONG_BINGET": lambda machine, argument: machine.get(int.from_bytes(argument, "little")),
    "GET": lambda machine, argument: machine.get(_decimal(argument)),
    "BININT": lambda machine, argument: machine.stack.append(_number(argument, signed=True)),
    "BININT1": lambda machine, argument: machine.stack.append(_number(argument)),
    "BININT2": lambda machine, argument: machine.stack.append(_number(argument)),
    "LONG1": lambda machine, argument: machine.stack.append(_number(argument, signed=True)),
    "BINUNICODE": lambda machine, argument: machine.stack.append(_text(argument)),
    "SHORT_BINUNICODE": lambda machine, argument: machine.stack.append(_text(argument)),
    "BINUNICODE8": lambda machine, argument: machine.stack.append(_text(argument)),
    "EMPTY_DICT": lambda machine, _: machine.stack.append(_Table()),
    "EMPTY_LIST": lambda machine, _: machine.stack.append([]),
    "EMPTY_TUPLE": lambda machine, _: machine.stack.append(()),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.to_mark())),
    "TUPLE1": lambda machine, _: machine.stack.append(tuple(machine.last(1))),
    "TUPLE2": lambda machine, _: machine.stack.append(tuple(machine.last(2))),
    "TUPLE3": lambda machine, _: machine.stack.append(tuple(machine.last(3))),
    "LIST": lambda machine, _: machine.stack.append(machine.to_mark()),
    "DICT": lambda machine, _: machine.stack.append(_Table(machine.to_mark())),
    "SETITEM": lambda machine, _: machine.set(machine.last(2)),
    "SETITEMS": lambda machine, _: machine.set(machine.to_mark()),
    "APPEND": lambda machine, _: machine.extend(machine.last(1)),
    "APPENDS": lambda machine, _: machine.extend(machine.to_mark()),
    "GLOBAL": lambda machine, argument: machine.global_([_text(line) for line in argument.split(b"\n")[:2]]),
    "STACK_GLOBAL": lambda machine, _: machine.global_(machine.last(2)),
    "BINPERSID": lambda machine, _: machine.persistent(),
    "REDUCE": lambda machine, _: machine.reduce(),
    "BUILD": lambda machine, _: machine.build(),
}
