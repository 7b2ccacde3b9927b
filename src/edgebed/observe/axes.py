"""Bringing one tensor into another's order of values: channels first or last, axes of one, flat."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from edgebed.program.types import Array

MOST_AXES: Final = 5
"""Permutations of more axes than these are not tried."""
SAMPLE: Final = 2048
"""So many values decide how two tensors correlate."""

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Rearrangement:
    """Values read as `given`, their axes permuted by `axes`, seen as `shape`.

    Attributes:
        given: shape of the tensor to be rearranged, without axes of one.
        axes: as numpy's transpose takes them.
        shape: of the tensor it shall look like, without axes of one.
        first: row of the leading axis at which this part of a larger tensor begins.
    """

    given: Shape
    axes: tuple[int, ...]
    shape: Shape
    first: int = 0

    def of(self, values: Array) -> Array:
        """Return values of `given`'s size in the other tensor's order."""
        return values.reshape(self.given).transpose(self.axes).reshape(self.shape)

    def sampled(self, values: Array, positions: Array) -> Array:
        """Return what `of` would hold at flat positions, without moving the rest."""
        view = values.reshape(self.given).transpose(self.axes)
        result: Array = view[np.unravel_index(positions, view.shape)]
        return result

    @property
    def moves(self) -> bool:
        """Whether any value changes its place."""
        return self.axes != tuple(range(len(self.axes)))

    def __str__(self) -> str:
        if not self.moves:
            return ""
        sizes = "x".join(map(str, self.given))
        return f"{sizes} with its axes in the order {', '.join(map(str, self.axes))}"


@lru_cache(maxsize=1024)
def rearrangements(
    reference: Shape, device: Shape, reference_layout: str = "", device_layout: str = ""
) -> tuple[Rearrangement, ...]:
    """Return every way a tensor may lie, the most natural first; nothing where sizes differ.

    Natural is the identity, then the moves of one axis (channels first to channels last) that
    leave rows and columns in their order. Axes of one are left out. A flat tensor may have been
    flattened from any permutation of the other. Where both layouts name the same axes, what
    they say comes first.

    Args:
        reference: shape to be reached.
        device: shape of the values to be rearranged.
        reference_layout: names of the axes, e.g. `HWC`; empty where unknown.
        device_layout: the same of the other.
    """
    if math.prod(reference) != math.prod(device):
        return ()
    named = _by_layout(reference, device, reference_layout, device_layout)
    others = _by_shape(reference, device)
    return others if named is None else (named, *(one for one in others if one != named))


def _by_shape(reference: Shape, device: Shape) -> tuple[Rearrangement, ...]:
    left, right = _without_ones(reference), _without_ones(device)
    if max(len(left), len(right)) > MOST_AXES:
        return (_flat(left),)
    if len(right) == 1 and len(left) > 1:
        found = [_unflattened(left, order) for order in _orders(len(left))]
    elif len(left) == 1 and len(right) > 1:
        found = [Rearrangement(right, order, left) for order in _orders(len(right))]
    else:
        found = [
            Rearrangement(right, order, left)
            for order in _orders(len(right))
            if tuple(right[axis] for axis in order) == left
        ]
        found += [_flat(left)] if left != right else []  # a reshape moves nothing
    return tuple(found) or (_flat(left),)


def correlation(
    reference: Array, device: Array, order: Rearrangement, positions: Array | None = None
) -> float:
    """Return Pearson's correlation of two tensors, one of them rearranged; 0 where one is constant.

    Args:
        reference: real values.
        device: real values, as recorded.
        order: how the device's values lie.
        positions: flat positions to look at; None draws them evenly.
    """
    where = sample_positions(reference.size) if positions is None else positions
    return pearson(reference.reshape(-1)[where], order.sampled(device, where))


def pearson(left: Array, right: Array) -> float:
    """Return the correlation of the finite values of two vectors; 0 where one is constant."""
    a, b = left.astype(np.float64), right.astype(np.float64)
    good = np.isfinite(a) & np.isfinite(b)
    if good.sum() < 2:
        return 0.0
    a, b = a[good] - a[good].mean(), b[good] - b[good].mean()
    size = math.sqrt(float(a @ a)) * math.sqrt(float(b @ b))
    return float(a @ b) / size if size > 0 and math.isfinite(size) else 0.0


def sample_positions(size: int) -> Array:
    """Return at most SAMPLE flat positions, in strides that no axis length divides evenly."""
    if size <= SAMPLE:
        return np.arange(size)
    return np.unique((np.arange(SAMPLE) * 0.6180339887498949 % 1 * size).astype(np.int64))


def _by_layout(
    reference: Shape, device: Shape, reference_layout: str, device_layout: str
) -> Rearrangement | None:
    left, right = _named(reference, reference_layout), _named(device, device_layout)
    if not left or not right or sorted(left) != sorted(right):
        return None
    if any(left[axis] != right[axis] for axis in left):
        return None
    names = list(right)
    order = tuple(names.index(axis) for axis in left)
    return Rearrangement(tuple(right.values()), order, tuple(left.values()))


def _named(shape: Shape, layout: str) -> dict[str, int]:
    if len(set(layout)) != len(shape) or len(layout) != len(shape):
        return {}
    pairs = zip(layout.upper(), shape, strict=True)
    return {axis: length for axis, length in pairs if length != 1} or {layout[0]: 1}


def _without_ones(shape: Shape) -> Shape:
    return tuple(length for length in shape if length != 1) or (1,)


def _flat(shape: Shape) -> Rearrangement:
    size = (math.prod(shape),)
    return Rearrangement(size, (0,), shape)


def _unflattened(shape: Shape, order: Sequence[int]) -> Rearrangement:
    """Return the reading of flat values that were written in another order of the axes."""
    back = tuple(order.index(axis) for axis in range(len(order)))
    return Rearrangement(tuple(shape[axis] for axis in order), back, shape)


def _orders(count: int) -> list[tuple[int, ...]]:
    return sorted(itertools.permutations(range(count)), key=lambda order: -_in_order(order))


def _in_order(order: Sequence[int]) -> int:
    """Return the length of the longest ascending subsequence: how much stays in its order."""
    longest: list[int] = []
    for index, axis in enumerate(order):
        longest.append(1 + max((longest[i] for i in range(index) if order[i] < axis), default=0))
    return max(longest, default=0)
