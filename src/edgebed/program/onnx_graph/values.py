"""What an ONNX tensor becomes, and the numbers that stand for its reals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgebed.program.types import Array, DType

OFFSET: Mapping[str, int] = {"uint8": 128, "uint16": 32768}
"""What is taken from a file's unsigned integers to make a program's signed ones."""


@dataclass(frozen=True, eq=False)
class Steps:
    """How a constant's integers stand for reals: (q - zero_point) * scale.

    Attributes:
        scale: float32, one value or one an index of `axis`, or one a block.
        zero_point: of the integers' type, shaped as the scale.
        axis: along which the scale changes.
        block: so many indices of `axis` share a scale; 0 for none.
    """

    scale: Array
    zero_point: Array
    axis: int
    block: int = 0


@dataclass(frozen=True, eq=False)
class Value:
    """What an ONNX tensor has become.

    Attributes:
        name: in the file.
        shape: in the file.
        dtype: in the file, numpy's name; every real type is float32.
        array: its values, where they do not depend on the input.
        steps: what the integers in `array` mean, for weights behind a DequantizeLinear.
        tensor: its name in the program, where it depends on the input. An integer tensor with
            dtype float32 is one behind a DequantizeLinear that has not been computed.
        integers: the file's type of the integers that a DequantizeLinear read; "" for none.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    array: Array | None = None
    steps: Steps | None = None
    tensor: str | None = None
    integers: str = ""


def stripped(shape: Sequence[int]) -> tuple[int, ...]:
    """Return a file's shape without its batch axis."""
    return tuple(shape[1:]) if shape and shape[0] == 1 else tuple(shape)


def dequantised(array: Array, steps: Steps) -> Array:
    """Return float32 values of a constant's integers."""
    scale, zero = (spread(one, array.ndim, array.shape, steps) for one in _parts(steps))
    centred = (array.astype(np.int64) - zero).astype(np.float32)
    with np.errstate(over="ignore"):  # what is infinite is refused where it is used
        result: Array = centred * scale
    return result


def spread(part: Array, rank: int, shape: Sequence[int], steps: Steps) -> Array:
    """Return scales or zero points so that they broadcast against the integers."""
    if part.size == 1:
        return part.reshape(())
    if steps.block:
        wide = np.repeat(part, steps.block, axis=steps.axis)
        return np.take(wide, range(shape[steps.axis]), axis=steps.axis)
    return part.reshape([-1 if i == steps.axis else 1 for i in range(rank)])


def _parts(steps: Steps) -> tuple[Array, Array]:
    return steps.scale.astype(np.float32), steps.zero_point.astype(np.int64)


def as_dtype(name: str) -> DType:
    """Return the program's type for a file's: unsigned quantised integers become signed."""
    known: dict[str, DType] = {"uint8": "int8", "uint16": "int16", "uint32": "int64"}
    known["uint64"] = "int64"
    return known.get(name, name)  # type: ignore[arg-type]
