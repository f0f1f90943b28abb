"""Weights of archives of PyTorch (.pt) as data. PyTorch's own reader of TorchScript runs the code that
an archive holds, and pickle calls whatever a file names; here nothing is run: the pickle's opcodes are
followed by hand, and all that they name stays a name."""

import json
import pickletools
import re
import zipfile
from collections import namedtuple
from pathlib import Path

import torch

LONGEST_PICKLE = 10_000_000  # bytes
DEPTH = 64
LONGEST_NAME = 1000
SHARED = 4  # times the size of the file that tensors which share numbers may take

STORAGES = {
    "torch FloatStorage": torch.float32,
    "torch DoubleStorage": torch.float64,
    "torch HalfStorage": torch.float16,
    "torch BFloat16Storage": torch.bfloat16,
    "torch LongStorage": torch.int64,
    "torch IntStorage": torch.int32,
    "torch ShortStorage": torch.int16,
    "torch CharStorage": torch.int8,
    "torch ByteStorage": torch.uint8,
    "torch BoolStorage": torch.bool,
}
FIRST_ARGUMENT = {  # of calls that only wrap it
    "torch._utils _rebuild_parameter",
    "torch.jit._pickle build_intlist",
    "torch.jit._pickle build_boollist",
    "torch.jit._pickle build_doublelist",
    "torch.jit._pickle build_tensorlist",
    "torch.jit._pickle restore_type_tag",
}
VALUES = {  # opcodes that push their argument
    "BININT",
    "BININT1",
    "BININT2",
    "LONG1",
    "BINFLOAT",
    "BINUNICODE",
    "SHORT_BINUNICODE",
    "BINSTRING",
    "SHORT_BINSTRING",
}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class ArchiveError(Exception):
    """What is wrong with an archive: the end of a sentence."""


Name = namedtuple("Name", "text")  # of a class or function
Storage = namedtuple("Storage", "dtype key count")
Stored = namedtuple("Stored", "storage offset shape strides")


class Object:
    """Of a class of TorchScript: its members, without the class."""

    def __init__(self):
        self.members = {}


def is_archive(path):
    with open(path, "rb") as file:
        return file.read(4) == b"PK\x03\x04"


def weights_of_archive(path):
    """{name: tensor} in their order, of a saved network, a state_dict, or a job of an older pcxx."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = Path(path).stat().st_size
            members = _flat(_pickled(archive, size))
            return _named(_read_tensors(archive, size, members), members)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise ArchiveError(f"is no whole archive ({error})") from None
    except (IndexError, KeyError, TypeError, ValueError, AttributeError, RecursionError, MemoryError):
        raise ArchiveError("is damaged, or holds what no saved network does") from None


# ---- the zip file


def _record(archive, name, size):
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED or info.file_size > size:
        raise ArchiveError(f"has the compressed record {name}, which PyTorch never writes")
    return archive.read(info)


def _pickled(archive, size):
    names = [name for name in archive.namelist() if re.fullmatch(r"[^/]+/data\.pkl", name)]
    if len(names) != 1:
        raise ArchiveError("is no archive of PyTorch")
    root = names[0].removesuffix("data.pkl")
    if root + "byteorder" in archive.namelist() and _record(archive, root + "byteorder", size) != b"little":
        raise ArchiveError("has its numbers in another order of bytes")
    data = _record(archive, names[0], size)
    if len(data) > LONGEST_PICKLE:
        raise ArchiveError(f"has a list of contents of {len(data)} bytes")
    return _follow(data)


def _read_tensors(archive, size, members):
    root = next(name for name in archive.namelist() if name.endswith("/data.pkl")).removesuffix("data.pkl")
    tensors, total = {}, 0
    for name, stored in members.items():
        if not isinstance(stored, Stored):
            continue
        total += _count(stored.shape) * stored.storage.dtype.itemsize
        if total > SHARED * size:
            raise ArchiveError("describes more numbers than it holds")
        numbers = _record(archive, f"{root}data/{stored.storage.key}", size)
        tensors[name] = _tensor(name, stored, numbers)
    return tensors


def _count(shape):
    count = 1
    for extent in shape:
        count *= extent
    return count


def _tensor(name, stored, numbers):
    storage, offset, shape, strides = stored
    last = offset + sum((extent - 1) * stride for extent, stride in zip(shape, strides))
    fits = last < storage.count and _count(shape) <= storage.count
    if not fits or len(numbers) != storage.count * storage.dtype.itemsize:
        raise ArchiveError(f"does not hold the numbers of {name}")
    values = torch.frombuffer(bytearray(numbers), dtype=storage.dtype)
    return values.as_strided(shape, strides, offset).contiguous().clone()


# ---- the pickle


def _follow(data):
    """The value of a pickle of plain data and tensors."""
    stack, marks, memo = [], [], {}

    def pop(count):
        values = stack[len(stack) - count :]
        del stack[len(stack) - count :]
        return values

    def pop_to_mark():
        return pop(len(stack) - marks.pop())

    for opcode, argument, _ in pickletools.genops(data):
        name = opcode.name
        if name in VALUES:
            stack.append(argument)
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name])
        elif name in TUPLES:
            stack.append(tuple(pop(TUPLES[name])))
        elif name == "EMPTY_DICT":
            stack.append({})
        elif name == "EMPTY_LIST":
            stack.append([])
        elif name == "MARK":
            marks.append(len(stack))
        elif name == "TUPLE":
            stack.append(tuple(pop_to_mark()))
        elif name == "APPENDS":
            values = pop_to_mark()
            stack[-1].extend(values)
        elif name == "APPEND":
            value = stack.pop()
            stack[-1].append(value)
        elif name in ("SETITEM", "SETITEMS"):
            values = pop_to_mark() if name == "SETITEMS" else pop(2)
            if type(stack[-1]) is not dict:
                raise ArchiveError("sets members of what is no dict")
            stack[-1].update(zip(values[::2], values[1::2], strict=True))
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "GLOBAL":
            stack.append(Name(argument))
        elif name == "BINPERSID":
            stack.append(_storage(stack.pop()))
        elif name == "REDUCE":
            arguments = stack.pop()
            stack.append(_called(stack.pop(), arguments))
        elif name == "NEWOBJ":
            arguments = stack.pop()
            stack.append(_object(stack.pop(), arguments))
        elif name == "BUILD":
            state = stack.pop()
            _build(stack[-1], state)
        elif name == "STOP":
            return stack.pop()
        elif name != "PROTO":
            raise ArchiveError(f"has the pickle opcode {name}, which no saved network needs")
    raise ArchiveError("ends within its pickle")


def _storage(words):
    kind, name, key, _, count = words
    dtype = STORAGES.get(name.text)
    if kind != "storage" or dtype is None or not _are_counts([count]) or not re.fullmatch(r"\w[\w.-]*", key):
        raise ArchiveError("has numbers of an unknown kind")
    return Storage(dtype, key, count)


def _are_counts(values):
    return all(type(value) is int and value >= 0 for value in values)


def _called(function, arguments):
    if function.text == "torch._utils _rebuild_tensor_v2":
        storage, offset, shape, strides = arguments[:4]
        if type(storage) is not Storage or type(shape) is not tuple or type(strides) is not tuple:
            raise ArchiveError("has a tensor without numbers")
        if not _are_counts([offset, *shape, *strides]) or not len(shape) == len(strides) <= DEPTH:
            raise ArchiveError("has a tensor without sizes")
        return Stored(storage, offset, shape, strides)
    if function.text == "collections OrderedDict" and arguments == ():
        return {}
    if function.text in FIRST_ARGUMENT:
        return arguments[0]
    raise ArchiveError(f"calls {function.text.replace(' ', '.')}, which is not done")


def _object(name, arguments):
    if not name.text.startswith("__torch__") or arguments != ():
        raise ArchiveError(f"makes a {name.text.replace(' ', '.')}, which is not done")
    return Object()


def _build(value, state):
    if type(value) is Object and type(state) is dict:
        value.members.update(state)
    elif type(value) is Object:
        raise ArchiveError("has a class that reads its members by code of its own, which is not run")
    elif type(value) is not dict:
        raise ArchiveError("gives members to what is no object")


# ---- what is in it


def _flat(value, prefix="", seen=None):
    """{name: value}, with the members of members after a dot."""
    seen = set() if seen is None else seen
    if len(prefix) > LONGEST_NAME or id(value) in seen:
        raise ArchiveError("has members that are members of themselves, or too many")
    seen.add(id(value))
    members = value.members if type(value) is Object else value
    if type(members) is not dict or not all(type(name) is str for name in members):
        raise ArchiveError("holds no named tensors")
    found = {}
    for name, member in members.items():
        nested = type(member) is Object or type(member) is dict
        inside = _flat(member, f"{prefix}{name}.", seen) if nested else {prefix + name: member}
        if found.keys() & inside.keys():
            raise ArchiveError(f"has {prefix}{name} twice")
        found |= inside
    return found


def _named(tensors, members):
    """Of a part or a checkpoint of an older pcxx, which has its names in a list, the weights."""
    if "names" not in members:
        return tensors
    names = json.loads(members["names"])
    weights = {}
    for i, name in enumerate(names):
        start = re.match(r"(state\.)?weight\.", name)
        if start:
            weights[name[start.end() :]] = tensors[f"tensor{i}"]
    return weights
