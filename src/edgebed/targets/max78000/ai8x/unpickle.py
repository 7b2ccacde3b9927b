"""Reading PyTorch checkpoints without PyTorch and without executing what they contain.

A checkpoint is a pickle, which is a program. Here it may name only dictionaries, tensors and
optimiser classes; those become inert stand-ins of ours, any other name is refused and never
imported. Tensors stay references until the whole file has been read, then become arrays.

Formats (facts from PyTorch's public serialisation notes): a zip archive (since 1.6) with
`<top>/data.pkl` and one entry `<top>/data/<key>` a storage, or the older stream of pickles (magic
number, protocol, machine, objects, storage keys) followed by the storages in that order.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from edgebed.errors import EdgebedError

Array = npt.NDArray[Any]
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
LARGEST_PICKLE_BYTES = 1 << 26
DTYPES: Mapping[str, str] = {
    "FloatStorage": "f4",
    "DoubleStorage": "f8",
    "HalfStorage": "f2",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}


@dataclass
class TensorReference:
    """A tensor as the file describes it: a strided window of a storage."""

    storage: Any
    offset: Any
    size: Any
    stride: Any


@dataclass(frozen=True)
class StorageReference:
    """A run of numbers somewhere in the file."""

    key: str
    dtype: str
    count: int


class Inert:
    """Stands for an object that is not needed; takes anything and does nothing."""

    def __init__(self, *_arguments: Any, **_named: Any) -> None:
        pass

    def __setstate__(self, _state: Any) -> None:
        pass


class _DamagedError(Exception):
    """The file contradicts itself; the text says where."""


class _RefusedError(Exception):
    """The file names something that is not allowed."""


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint: its dictionary, with tensors as numpy arrays.

    Args:
        path: file written by PyTorch (`.pth.tar`, `.pth`, `.pt`).

    Returns:
        The file's dictionary; nested dictionaries keep their order. Arrays are in native byte
        order and own their memory. Objects other than tensors and plain values are `Inert`.

    Raises:
        EdgebedError: the file cannot be read, is not a checkpoint, is damaged, or names an object
            that is not allowed; that object is neither imported nor created.
    """
    try:
        with path.open("rb") as file:
            content = _zip(path) if zipfile.is_zipfile(file) else _stream(file)
    except OSError as error:
        problem = error.strerror or "it is damaged"
        raise EdgebedError(f"cannot read the checkpoint: {problem}", where=str(path)) from error
    except _RefusedError as refused:
        raise EdgebedError(
            f"the checkpoint contains {refused}",
            where=str(path),
            why="only dictionaries, tensors and optimiser classes are read; nothing is executed",
            try_="save its `state_dict` alone",
        ) from None
    except Exception as error:  # damaged pickles fail in every possible way
        known = isinstance(error, _DamagedError)
        raise EdgebedError(
            "this is not an intact PyTorch checkpoint",
            where=str(path),
            why=str(error) if known else "it is of another kind, damaged or cut off",
        ) from error
    if not isinstance(content, dict):
        raise EdgebedError("the checkpoint is not a dictionary", where=str(path))
    return content


def _zip(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(names) != 1:
            raise _DamagedError("no data.pkl in the archive")
        folder = names[0].removesuffix("data.pkl")
        if archive.getinfo(names[0]).file_size > LARGEST_PICKLE_BYTES:
            raise _DamagedError("data.pkl is too large")
        order = _byte_order(archive, folder)
        references = _Reader(io.BytesIO(archive.read(names[0]))).load()

        def fetch(storage: StorageReference) -> Array:
            dtype = np.dtype(order + storage.dtype)
            name = f"{folder}data/{storage.key}"
            if archive.getinfo(name).file_size != storage.count * dtype.itemsize:
                raise _DamagedError(f"storage {storage.key} has another size than the file says")
            return np.frombuffer(archive.read(name), dtype)

        return _resolved(references, fetch)


def _byte_order(archive: zipfile.ZipFile, folder: str) -> str:
    name = f"{folder}byteorder"
    big = name in archive.namelist() and archive.read(name).strip() == b"big"
    return ">" if big else "<"


def _stream(file: BinaryIO) -> Any:
    file.seek(0)
    if _Reader(file).load() != LEGACY_MAGIC or _Reader(file).load() != LEGACY_PROTOCOL:
        raise _DamagedError("no magic number at its beginning")
    machine = _Reader(file).load()
    order = "<" if machine.get("little_endian", True) else ">"
    reader = _Reader(file)
    references = reader.load()
    arrays: dict[str, Array] = {}
    for key in _Reader(file).load():
        storage = reader.storages[key]
        dtype = np.dtype(order + storage.dtype)
        count = int.from_bytes(file.read(8), "little" if order == "<" else "big")
        content = file.read(storage.count * dtype.itemsize) if count == storage.count else b""
        arrays[key] = np.frombuffer(content, dtype)
        if len(arrays[key]) != storage.count:
            raise _DamagedError(f"storage {key} is cut off")
    return _resolved(references, lambda storage: arrays[storage.key])


def _resolved(value: Any, fetch: Callable[[StorageReference], Array]) -> Any:
    """Return a value with its tensor references replaced by arrays."""
    if isinstance(value, TensorReference):
        return _array(value, fetch)
    if isinstance(value, OrderedDict):
        # The class's own method: the pickle may have shadowed the instance's.
        return {key: _resolved(item, fetch) for key, item in OrderedDict.items(value)}
    if isinstance(value, dict):
        return {key: _resolved(item, fetch) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_resolved(item, fetch) for item in value]
    return value


def _array(tensor: TensorReference, fetch: Callable[[StorageReference], Array]) -> Array:
    storage, size, stride = tensor.storage, tuple(tensor.size), tuple(tensor.stride)
    numbers = (tensor.offset, *size, *stride)
    if not isinstance(storage, StorageReference) or len(size) != len(stride):
        raise _DamagedError("a tensor is malformed")
    if not all(isinstance(n, int) and n >= 0 for n in numbers):
        raise _DamagedError("a tensor has a negative size")
    whole = fetch(storage)
    count = int(np.prod(size, dtype=object)) if size else 1
    last = tensor.offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if count and (last >= len(whole) or count > len(whole)):
        raise _DamagedError("a tensor is larger than its storage")
    part = whole[tensor.offset :] if count else whole[:0]
    steps = [step * whole.itemsize for step in stride]
    view = np.lib.stride_tricks.as_strided(part, size, steps) if count else part.reshape(size)
    return view.astype(view.dtype.newbyteorder("="))


# The Python implementation: the C one allocates memory for any memo number a file names.
class _Reader(pickle._Unpickler):
    """Unpickles the allowed names only."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file, encoding="utf-8")
        self.storages: dict[str, StorageReference] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Return our stand-in for an allowed name."""
        full = f"{module}.{name}"
        if not module or not name:
            raise _DamagedError("it is cut off in a name")
        if full in _CALLS:
            return _Call(full)
        if module == "torch" and name in DTYPES:
            return _Storage(DTYPES[name])
        if full == "collections.OrderedDict":
            return OrderedDict
        if module.startswith("torch.optim.") and name.isidentifier():
            return type(name, (Inert,), {})
        raise _RefusedError(f"the object {full!r}, which is not allowed")

    def persistent_load(self, pid: Any) -> StorageReference:
        """Return a reference to a storage."""
        word, kind, key, _device, count, *view = pid
        if word != "storage" or not isinstance(kind, _Storage) or not isinstance(count, int):
            raise _DamagedError("unknown persistent object")
        if view and view[0] is not None:
            raise _DamagedError("storages that share memory are not supported")
        storage = StorageReference(str(key), kind.dtype, count)
        self.storages[str(key)] = storage
        return storage


@dataclass(frozen=True)
class _Storage:
    """Stands for a storage class."""

    dtype: str


@dataclass(frozen=True)
class _Call:
    """Stands for an allowed function; frozen, so that a pickle cannot change what it does."""

    name: str

    def __call__(self, *arguments: Any) -> Any:
        return _CALLS[self.name](*arguments)


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_rest: Any) -> TensorReference:
    return TensorReference(storage, offset, size, stride)


def _first(value: Any, *_rest: Any) -> Any:
    return value


def _nothing(*_arguments: Any) -> Inert:
    return Inert()


def _dictionary(*_arguments: Any) -> dict[Any, Any]:
    return {}


_CALLS: Mapping[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _first,
    "torch.Size": lambda items: tuple(items),
    "torch.device": _nothing,
    "collections.defaultdict": _dictionary,
    "numpy.dtype": _nothing,
    "numpy.core.multiarray.scalar": _nothing,
    "numpy._core.multiarray.scalar": _nothing,
    "_codecs.encode": _nothing,
}
