"""Read an ONNX file into a message, and its tensors into numpy arrays."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgebed.errors import EdgebedError
from edgebed.program.onnx_graph.node import BROKEN
from edgebed.program.types import Array

if TYPE_CHECKING:
    import onnx

LARGEST_BYTES = 1 << 29
"""The largest constant, given or computed, that is taken in."""

LARGEST_FILE = 1 << 30
"""The largest `.onnx` file, without its external data, that is read."""

_REALS = ("float16", "bfloat16", "float32", "float64")
_INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
KNOWN = (*_REALS, *_INTEGERS, "bool", "int4", "uint4", "int2", "uint2")


def load(path: Path) -> onnx.ModelProto:
    """Read the message of an `.onnx` file.

    Raises:
        EdgebedError: the file is missing, is not ONNX, or is cut short.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        size = path.stat().st_size
        if size > LARGEST_FILE:
            raise EdgebedError(
                f"has {size} bytes",
                where=str(path),
                why=f"{LARGEST_FILE} are the limit",
                try_="save the model with external data",
            )
        data = path.read_bytes()
    except OSError as error:
        raise EdgebedError(f"cannot read: {error.strerror}", where=str(path)) from error
    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, *BROKEN) as error:
        raise EdgebedError(
            "not an ONNX file, or cut short",
            where=str(path),
            why=f"{len(data)} bytes that are no complete message",
            try_="save, copy or download it again",
        ) from error
    if not model.HasField("graph") or not model.opset_import:
        raise EdgebedError(
            "not an ONNX model", where=str(path), why="it has no graph or no operator set"
        )
    return model


def dtype_name(elem_type: int, place: str) -> str:
    """Return numpy's name of an ONNX element type.

    Raises:
        EdgebedError: the type is unknown, or not one of numbers.
    """
    import onnx

    names = {number: name.lower() for name, number in onnx.TensorProto.DataType.items()}
    name = str(names.get(elem_type, elem_type))
    name = {"float": "float32", "double": "float64"}.get(name, name)
    if name not in KNOWN:
        raise EdgebedError(
            f"holds values of type {name!r}", where=place, why=f"known are {', '.join(KNOWN)}"
        )
    return name


def tensor_array(tensor: onnx.TensorProto, where: str, folder: Path | None) -> Array:
    """Return a tensor's values; reals as float32, integers of 2 and 4 bits as int8 or uint8.

    Args:
        tensor: the message.
        where: the file, for messages.
        folder: where external data lies; None where there can be none.

    Raises:
        EdgebedError: the tensor is damaged, too large, or its external data is absent.
    """
    from onnx import TensorProto, numpy_helper

    place = f"{where}, tensor {tensor.name!r}"
    name = dtype_name(tensor.data_type, place)
    if min(tensor.dims, default=0) < 0:
        raise EdgebedError(f"has shape {list(tensor.dims)}", where=place)
    if math.prod(tensor.dims) > LARGEST_BYTES:
        raise EdgebedError(
            f"has {math.prod(tensor.dims)} values", where=place, why=f"at most {LARGEST_BYTES}"
        )
    if tensor.data_location == TensorProto.EXTERNAL:
        tensor = _with_external(tensor, place, folder)
    try:
        values = np.asarray(numpy_helper.to_array(tensor))
    except BROKEN as error:
        raise EdgebedError("is damaged", where=place, why=_first_line(error)) from error
    return plain(values, name)


def plain(values: Array, name: str) -> Array:
    """Return reals as float32, small integers as int8 or uint8, the rest as it is."""
    if name in _REALS:
        with np.errstate(over="ignore"):
            return values.astype(np.float32)
    if name in ("int4", "int2"):
        return values.astype(np.int8)
    if name in ("uint4", "uint2"):
        return values.astype(np.uint8)
    return values.astype(np.int64) if name in ("uint32", "uint64") else values


def _with_external(tensor: onnx.TensorProto, place: str, folder: Path | None) -> onnx.TensorProto:
    from onnx import TensorProto

    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    raw = _external_bytes(location, entries, place, folder)
    filled = TensorProto()
    filled.CopyFrom(tensor)
    filled.data_location = TensorProto.DEFAULT
    filled.raw_data = raw
    return filled


def _external_bytes(
    location: str, entries: dict[str, str], place: str, folder: Path | None
) -> bytes:
    if folder is None:
        raise EdgebedError(
            f"its values lie in another file {location!r}", where=place, try_="read from a path"
        )
    path = _beside(folder, location)
    if path is None:
        raise EdgebedError(
            f"its values would lie in {location!r}",
            where=place,
            why="a file beside the model is needed",
        )
    if not path.is_file():
        raise EdgebedError(
            f"the file {location!r} with its values is absent",
            where=place,
            try_=f"copy {location!r} into the model's folder, or save the model as one file",
        )
    return _part(path, entries, place)


def _beside(folder: Path, location: str) -> Path | None:
    """Return the path of a file in the folder or below; None where it lies elsewhere."""
    try:
        path = (folder / location).resolve()
        path.is_file()  # raises on a name that no file can have
    except (OSError, ValueError):
        return None
    return path if location and path.is_relative_to(folder.resolve()) else None


def _part(path: Path, entries: dict[str, str], place: str) -> bytes:
    size = path.stat().st_size
    try:
        offset = int(entries.get("offset", 0))
        length = int(entries.get("length", size - offset))
    except ValueError as error:
        raise EdgebedError("its external data is damaged", where=place, why=str(error)) from error
    if offset < 0 or not 0 <= length <= 4 * LARGEST_BYTES or offset + length > size:
        raise EdgebedError(
            f"bytes {offset} to {offset + length} of {path.name!r} are not there",
            where=place,
            why=f"the file has {size} bytes",
        )
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(length)


def attribute(message: onnx.AttributeProto, where: str) -> Any:
    """Return an attribute as a plain value: int, float, str, tuple, array or graph message."""
    import onnx

    kinds = onnx.AttributeProto
    if message.type == kinds.TENSOR:
        return tensor_array(message.t, where, None)
    if message.type == kinds.GRAPH:
        return message.g
    if message.type == kinds.SPARSE_TENSOR:
        raise EdgebedError("sparse tensors are not supported", where=where, try_="a dense tensor")
    try:
        return _plain_value(onnx.helper.get_attribute_value(message))
    except BROKEN as error:
        raise EdgebedError(
            f"attribute {message.name!r} is damaged", where=where, why=_first_line(error)
        ) from error


def _plain_value(found: Any) -> Any:
    if isinstance(found, bytes):
        return found.decode("utf-8", "replace")
    if isinstance(found, str | int | float):
        return found
    return tuple(x.decode("utf-8", "replace") if isinstance(x, bytes) else x for x in found)


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
