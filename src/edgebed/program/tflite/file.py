"""What a .tflite file says, as plain records; nothing here knows the flatbuffer format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Option = int | float | bool | tuple[int, ...]

ITEM_BITS: Mapping[str, int] = {
    "FLOAT32": 32,
    "FLOAT16": 16,
    "INT64": 64,
    "INT32": 32,
    "INT16": 16,
    "INT8": 8,
    "UINT8": 8,
    "INT4": 4,
    "BOOL": 8,
}
"""Width of the types that can be read; the others are refused by name."""


@dataclass(frozen=True)
class Quantisation:
    """Scales and zero points of a tensor: one each, or one per index of `axis`."""

    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor of the file.

    Attributes:
        index: within the subgraph.
        name: as the file has it; may be empty or not unique.
        shape: batch axis included.
        dynamic: the axes whose size the file leaves open.
        dtype: name in the schema, such as INT8.
        data: the bytes of a constant, a view into the file; None where there is no value.
        quantisation: None where the file has none.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dynamic: frozenset[int]
    dtype: str
    data: npt.NDArray[np.uint8] | None
    quantisation: Quantisation | None

    def values(self) -> npt.NDArray[Any]:
        """Return the constant's values in the tensor's shape; 4-bit ones as int8."""
        assert self.data is not None
        if self.dtype == "INT4":
            return unpack_nibbles(self.data, self.shape)
        dtype = np.dtype(self.dtype.lower()).newbyteorder("<")
        return np.frombuffer(self.data, dtype).reshape(self.shape)


@dataclass(frozen=True, eq=False)
class Operator:
    """An operator of the file.

    Attributes:
        index: its place in the order of execution.
        kind: its name in the schema, such as CONV_2D; of a custom one its own name.
        inputs: tensor indices; -1 for an optional one that is absent.
        outputs: tensor indices.
        options: the fields of its options by their schema names; None where it has no options.
        custom: the options of a custom operator, a flexbuffer.
        is_custom: the kind is not one of the schema.
    """

    index: int
    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Option] | None = None
    custom: bytes = b""
    is_custom: bool = False


@dataclass(frozen=True, eq=False)
class File:
    """The main subgraph of a .tflite file."""

    path: Path
    description: str
    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    notes: Mapping[str, str] = field(default_factory=dict)


def unpack_nibbles(data: npt.NDArray[np.uint8], shape: tuple[int, ...]) -> npt.NDArray[np.int8]:
    """Return 4-bit two's complement values, the low half of each byte first."""
    pairs = np.stack([data & 15, data >> 4], axis=-1).reshape(-1)
    count = int(np.prod(shape, dtype=np.int64))
    signed = (pairs[:count].astype(np.int8) ^ 8) - 8
    return signed.astype(np.int8).reshape(shape)
