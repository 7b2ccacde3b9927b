"""What the numbers of a tensor mean, and what the specification of 8-bit networks forbids."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgebed.errors import EdgebedError
from edgebed.program.tflite.file import Tensor
from edgebed.program.types import DType, TensorType

DTYPES: Final[dict[str, DType]] = {
    "FLOAT32": "float32",
    "FLOAT16": "float32",
    "INT64": "int64",
    "INT32": "int32",
    "INT16": "int16",
    "INT8": "int8",
    "UINT8": "int8",
    "INT4": "int8",
    "BOOL": "bool",
}
"""Type inside the program; unsigned bytes become signed ones with a zero point 128 lower."""

_RANGES: Final = {"INT8": (-128, 127), "UINT8": (0, 255), "INT4": (-8, 7)}
_SYMMETRIC: Final = ("INT16", "INT32", "INT64")
_UNSIGNED_OFFSET: Final = 128


def offset(tensor: Tensor) -> int:
    """Return what is subtracted from the file's integers and zero points in the program."""
    return _UNSIGNED_OFFSET if tensor.dtype == "UINT8" else 0


def check(tensor: Tensor, where: str) -> None:
    """Check type, scales and zero points of a tensor.

    Raises:
        EdgebedError: the type is not supported, a scale is not a positive number, a zero point
            lies outside the type or is not 0 where it must be, numbers of scales, zero points
            and channels differ.
    """
    if tensor.dtype not in DTYPES:
        raise EdgebedError(
            f"its type {tensor.dtype} is not supported", where=where,
            why=f"one of {', '.join(DTYPES)} is needed", try_="export it with one of these types",
        )  # fmt: skip
    if tensor.quantisation is None or tensor.dtype in ("FLOAT32", "FLOAT16", "BOOL"):
        return
    for scale in tensor.quantisation.scales:
        if not (math.isfinite(scale) and scale > 0):
            raise EdgebedError(
                f"its scale is {scale}", where=where, why="scales are positive numbers",
                try_="export it again",
            )  # fmt: skip
    _check_zero_points(tensor, where)
    _check_axis(tensor, where)


def _check_zero_points(tensor: Tensor, where: str) -> None:
    assert tensor.quantisation is not None
    scales, zeros = tensor.quantisation.scales, tensor.quantisation.zero_points
    if len(zeros) not in (1, len(scales)):
        raise EdgebedError(
            f"it has {len(zeros)} zero points for {len(scales)} scales", where=where,
            why="there is one for each scale", try_="export it again",
        )  # fmt: skip
    low, high = _RANGES.get(tensor.dtype, (0, 0))
    for zero in zeros:
        if not low <= zero <= high:
            why = "must be 0" if tensor.dtype in _SYMMETRIC else f"lies in {low}..{high}"
            raise EdgebedError(
                f"its zero point is {zero}", where=where,
                why=f"the zero point of {tensor.dtype} {why}", try_="export it again",
            )  # fmt: skip
    if len(scales) > 1 and tensor.dtype in ("INT8", "INT4") and any(zeros):
        raise EdgebedError(
            "its channels have zero points other than 0", where=where,
            why="per-channel weights are symmetric", try_="quantise the weights symmetrically",
        )  # fmt: skip


def _check_axis(tensor: Tensor, where: str) -> None:
    assert tensor.quantisation is not None
    count, axis = len(tensor.quantisation.scales), tensor.quantisation.axis
    if count == 1:
        return
    if not 0 <= axis < len(tensor.shape):
        raise EdgebedError(
            f"its quantized_dimension is {axis}", where=where,
            why=f"its shape is {list(tensor.shape)}", try_="export it again",
        )  # fmt: skip
    if count != tensor.shape[axis]:
        raise EdgebedError(
            f"it has {count} scales", where=where,
            why=f"axis {axis} of {list(tensor.shape)} has {tensor.shape[axis]} channels",
            try_="export it again",
        )  # fmt: skip


def program_type(tensor: Tensor, where: str) -> TensorType:
    """Return the type of an activation, with the tensor's own shape.

    Raises:
        EdgebedError: it has a scale per channel, or half precision.
    """
    dtype, found = DTYPES[tensor.dtype], tensor.quantisation
    if tensor.dtype == "FLOAT16" and tensor.data is None:
        raise EdgebedError(
            "the network computes in FLOAT16", where=where, try_="export it with FLOAT32 or INT8"
        )
    if dtype in ("float32", "bool", "int64") or found is None:
        return TensorType(tensor.shape, dtype, 1.0, -offset(tensor))
    if len(found.scales) > 1:
        raise EdgebedError(
            f"an activation with {len(found.scales)} scales", where=where,
            why="activations have one scale",
        )  # fmt: skip
    zero = found.zero_points[0] - offset(tensor)
    return TensorType(tensor.shape, dtype, found.scales[0], zero)


def program_values(tensor: Tensor, where: str) -> npt.NDArray[Any]:
    """Return a constant's values in the program's type, in the tensor's own shape.

    Raises:
        EdgebedError: float values are not finite.
    """
    values = tensor.values()
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise EdgebedError(
            "it holds values that are not finite (NaN or infinity)", where=where,
            try_="export a network whose training did not diverge",
        )  # fmt: skip
    if tensor.dtype == "UINT8":
        return (values ^ _UNSIGNED_OFFSET).view(np.int8)
    return values.astype(DTYPES[tensor.dtype], copy=False)


def real_values(tensor: Tensor, values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return scale * (q - zero_point) of a constant's program values; float values unchanged."""
    found = tensor.quantisation
    if values.dtype.kind == "f" or found is None:
        return values.astype(np.float32)
    shape = [1] * values.ndim
    if len(found.scales) > 1:
        shape[found.axis] = len(found.scales)
    zeros = np.array(found.zero_points, np.int64) - offset(tensor)
    if len(zeros) < len(found.scales):
        zeros = np.repeat(zeros, len(found.scales))
    scales = np.array(found.scales, np.float32)
    if values.dtype.itemsize > 2:
        values = values.astype(np.int64)
        return (values - zeros.reshape(shape)).astype(np.float32) * scales.reshape(shape)
    # Differences of 16-bit numbers are exact in float32.
    real = values.astype(np.float32) - zeros.reshape(shape).astype(np.float32)
    real *= scales.reshape(shape)
    return real


def clamp_range(kind: TensorType, activation: str) -> tuple[int, int]:
    """Return the integers a fused activation lets through.

    TensorFlow Lite's `CalculateActivationRangeQuantized`: quotients in float32, rounded half away
    from zero.
    """
    info = np.iinfo(kind.dtype)
    low, high = int(info.min), int(info.max)

    def step(real: float) -> int:
        quotient = np.float32(real) / np.float32(kind.scale)
        limited = float(np.clip(quotient, -(2.0**31), 2.0**31))
        return kind.zero_point + int(np.sign(limited) * np.floor(abs(limited) + 0.5))

    bounds: dict[str, tuple[float | None, float | None]] = {
        "RELU": (0.0, None), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0),
    }  # fmt: skip
    least, most = bounds.get(activation, (None, None))
    low = low if least is None else max(low, step(least))
    high = high if most is None else min(high, step(most))
    return min(low, int(info.max)), max(high, int(info.min))
