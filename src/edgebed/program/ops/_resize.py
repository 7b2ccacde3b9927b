"""Where the output positions of a resized map lie in the input, and what they weigh."""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from edgebed.program.types import Array

Floats = npt.NDArray[np.float32]
Coordinates = Literal[
    "half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "tf_half_pixel_for_nn"
]
Nearest = Literal["round_prefer_floor", "floor", "ceil", "round_prefer_ceil"]


class Geometry(Protocol):
    """What of the op `resize` decides the positions; see there."""

    @property
    def mode(self) -> str: ...
    @property
    def size(self) -> tuple[int, int]: ...
    @property
    def coordinates(self) -> Coordinates: ...
    @property
    def nearest(self) -> Nearest: ...
    @property
    def scales(self) -> tuple[float, ...]: ...
    @property
    def cubic(self) -> float: ...


def positions(op: Geometry, size: int, axis: int) -> Floats:
    """Return the input position of each output position along rows (axis 0) or columns (1).

    In float32. Where no scales are given (TensorFlow Lite) the ratio in / out is rounded first;
    given scales (ONNX) divide.
    """
    out, half = op.size[axis], np.float32(0.5)
    place = np.arange(out, dtype=np.float32)
    if op.coordinates == "align_corners":
        last, end = np.float32(size - 1), np.float32(max(out - 1, 1))
        return place * last / end if op.scales else place * (last / end)
    if op.coordinates == "pytorch_half_pixel" and out == 1:
        return place
    centred = place if op.coordinates == "asymmetric" else place + half
    if op.scales:
        moved = centred / np.float32(op.scales[axis])
    else:
        moved = centred * (np.float32(size) / np.float32(out))
    return moved - half if op.coordinates in ("half_pixel", "pytorch_half_pixel") else moved


def nearest_indices(op: Geometry, size: int, axis: int) -> npt.NDArray[np.intp]:
    """Return the input index of each output position.

    With given scales a position within 1e-6 of the middle of two counts as the middle, as in
    ONNX Runtime, whose results for every pair of sizes up to 44 this reproduces.
    """
    place = positions(op, size, axis)
    below = np.floor(place)
    if op.nearest == "floor":
        index = below
    elif op.nearest == "ceil":
        index = np.ceil(place)
    else:
        part = (place - below).astype(np.float64)
        middle = np.abs(part - 0.5) <= (1e-6 if op.scales else 0.0)
        up = np.where(middle, op.nearest == "round_prefer_ceil", part > 0.5)
        index = below + up
    return np.asarray(np.clip(index, 0, size - 1)).astype(np.intp)


def taps(op: Geometry, size: int, axis: int) -> list[tuple[npt.NDArray[np.intp], Floats]]:
    """Return (input index, weight) of every output position, for each value that it mixes."""
    place = positions(op, size, axis)
    if op.mode == "bilinear":
        place = np.clip(place, np.float32(0), np.float32(size - 1))
    base = np.floor(place)
    part = (place - base).astype(np.float32)
    if op.mode == "bilinear":
        part = np.where(base == size - 1, np.float32(0.5), part)  # one value, twice one half
        weights = [(0, np.float32(1) - part), (1, part)]
    else:
        weights = [(tap, _cubic(part - np.float32(tap), op.cubic)) for tap in (-1, 0, 1, 2)]
    return [(np.clip(base + tap, 0, size - 1).astype(np.intp), w) for tap, w in weights]


def _cubic(distance: Floats, coefficient: float) -> Floats:
    """Return the weight of a value at a distance of at most 2 (Keys' kernel)."""
    a, x = np.float32(coefficient), np.abs(distance)
    one, two, three = np.float32(1), np.float32(2), np.float32(3)
    near = ((a + two) * x - (a + three)) * x * x + one
    far = ((x - np.float32(5)) * x + np.float32(8)) * x * a - np.float32(4) * a
    result: Floats = np.where(x <= one, near, far)
    return result


def resize_axis(op: Geometry, x: Floats, axis: int) -> Floats:
    """Return N x C x H x W with one axis (2 or 3) at its output positions."""
    shape = (-1, 1) if axis == 2 else (-1,)
    parts = [
        np.take(x, index, axis=axis) * weight.reshape(shape)
        for index, weight in taps(op, x.shape[axis], axis - 2)
    ]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def bilinear(op: Geometry, x: Floats) -> Floats:
    """Return N x C x H x W at the output's positions, each the sum of four weighted values.

    A weight is the product of a row's and a column's; the sum goes by rows, then by columns, in
    the order of ONNX Runtime.
    """
    columns = [(np.take(x, index, axis=3), weight) for index, weight in taps(op, x.shape[3], 1)]
    parts = [
        np.take(values, index, axis=2) * (across * down.reshape(-1, 1))
        for index, down in taps(op, x.shape[2], 0)
        for values, across in columns
    ]
    total: Floats = parts[0] + parts[1] + parts[2] + parts[3]
    return total


def whole_positions(op: Geometry, size: int, axis: int) -> tuple[Array, Array, Array]:
    """Return lower index, upper index and 10-bit offset from the lower one, in integers."""
    out, one = op.size[axis], 1 << 10
    step = (one * size + out // 2) // out
    if op.coordinates == "align_corners" and out > 1:
        step = (one * (size - 1) + (out - 1) // 2) // (out - 1)
    place = np.arange(out, dtype=np.int64) * step
    if op.coordinates == "half_pixel":
        place = place + step // 2 - (one >> 1)
    lower = np.maximum(np.trunc(place / one).astype(np.int64), 0)
    upper = np.minimum(np.trunc((place + one - 1) / one).astype(np.int64), size - 1)
    return lower, upper, place - one * lower


def fixed_point_bilinear(op: Geometry, x: Array) -> Array:
    """Return the bilinear map of TensorFlow Lite's integer kernel: 10-bit weights, one rounding."""
    one = 1 << 10
    low, high, part = whole_positions(op, x.shape[2], 0)
    wide, rows = x.astype(np.int64), part[:, None]
    mixed = wide[:, :, low] * (one - rows) + wide[:, :, high] * rows
    low, high, part = whole_positions(op, x.shape[3], 1)
    total = mixed[..., low] * (one - part) + mixed[..., high] * part
    nudged = total + np.where(total > 0, 1 << 19, -(1 << 19))
    result: Array = np.sign(nudged) * (np.abs(nudged) >> 20)
    return result.astype(x.dtype)
