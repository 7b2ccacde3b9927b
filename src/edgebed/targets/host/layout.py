"""Where tensors lie in memory: strided views of flat stores.

Inside the generated code an int8 value q is stored as the byte q + 128, so there are five stored
types only. A view says for every axis of a tensor how many elements its neighbour is away, which
makes most transposes, slices, reshapes and concats a matter of bookkeeping.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final, Literal

from edgebed.program.types import TensorType

Stored = Literal["u8", "i16", "i32", "i64", "f32"]
C_TYPES: Final[dict[Stored, str]] = {
    "u8": "uint8_t", "i16": "int16_t", "i32": "int32_t", "i64": "int64_t", "f32": "float",
}  # fmt: skip
BYTES: Final[dict[Stored, int]] = {"u8": 1, "i16": 2, "i32": 4, "i64": 8, "f32": 4}
_STORED: Final[dict[str, Stored]] = {
    "int8": "u8", "uint8": "u8", "bool": "u8", "int16": "i16", "int32": "i32", "int64": "i64",
    "float32": "f32",
}  # fmt: skip

Margins = tuple[tuple[int, int], ...]
"""Per axis: values before and behind the tensor."""


def stored_type(kind: TensorType) -> Stored:
    """Return the type a tensor's values have in memory."""
    return _STORED[kind.dtype]


def stored_bias(kind: TensorType) -> int:
    """Return what is added to a value when it is stored."""
    return 128 if kind.dtype == "int8" else 0


def stored_zero(kind: TensorType) -> int:
    """Return the stored number that means 0.0."""
    return kind.zero_point + stored_bias(kind)


def row_major(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the strides of a tensor without gaps whose last axis is the densest."""
    return ordered_strides(shape, range(len(shape)))


def ordered_strides(shape: Sequence[int], order: Sequence[int]) -> tuple[int, ...]:
    """Return strides without gaps for axes listed from the sparsest to the densest."""
    strides = [0] * len(shape)
    step = 1
    for axis in reversed(order):
        strides[axis] = step
        step *= shape[axis]
    return tuple(strides)


def no_margins(rank: int) -> Margins:
    """Return margins of nothing."""
    return ((0, 0),) * rank


@dataclass(frozen=True)
class View:
    """A tensor in a store; all numbers count elements.

    Attributes:
        store: number of the store.
        stored: type of the elements.
        shape: of the tensor.
        strides: from one index of an axis to the next.
        offset: of the first value.
        margins: values around the tensor that hold the store's fill value.
    """

    store: int
    stored: Stored
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    margins: Margins

    @property
    def order(self) -> tuple[int, ...]:
        """Axes from the sparsest to the densest."""
        return tuple(sorted(range(len(self.shape)), key=lambda a: (-self.strides[a], a)))

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def is_row_major(self) -> bool:
        """True where the values lie in row-major order without gaps."""
        return _same_places(self.shape, self.strides, row_major(self.shape))

    @property
    def is_block(self) -> bool:
        """True where the values lie without gaps in some order of the axes."""
        return _same_places(self.shape, self.strides, ordered_strides(self.shape, self.order))

    def permuted(self, perm: Sequence[int]) -> View:
        """Return the view whose axis i is this one's axis perm[i]."""
        return replace(
            self,
            shape=tuple(self.shape[a] for a in perm),
            strides=tuple(self.strides[a] for a in perm),
            margins=tuple(self.margins[a] for a in perm),
        )

    def taken(self, axis: int, indices: range) -> View:
        """Return the view of some indices of an axis."""
        step, shape, strides = indices.step, list(self.shape), list(self.strides)
        before, after = self.margins[axis]
        whole = step == 1
        kept = (
            before if whole and indices.start == 0 else 0,
            after if whole and indices.stop == self.shape[axis] else 0,
        )
        shape[axis], strides[axis] = len(indices), self.strides[axis] * step
        margins = (*self.margins[:axis], kept, *self.margins[axis + 1 :])
        offset = self.offset + indices.start * self.strides[axis]
        return replace(
            self, shape=tuple(shape), strides=tuple(strides), offset=offset, margins=margins
        )

    def reshaped(self, shape: tuple[int, ...]) -> View | None:
        """Return the view with another shape, or None where no strides can say it."""
        kept = unit_axes_map(self.shape, shape)
        if kept is not None:
            strides = tuple(1 if a is None else self.strides[a] for a in kept)
            margins = tuple((0, 0) if a is None else self.margins[a] for a in kept)
            return replace(self, shape=shape, strides=strides, margins=margins)
        found = _reshaped_strides(self.shape, self.strides, shape)
        if found is None:
            return None
        return replace(self, shape=shape, strides=found, margins=no_margins(len(shape)))

    def broadcast(self, shape: tuple[int, ...]) -> View:
        """Return the view that numpy's broadcasting gives: strides of 0 where a value repeats."""
        lead = len(shape) - len(self.shape)
        strides = (
            0 if i < lead or (self.shape[i - lead] == 1 and n != 1) else self.strides[i - lead]
            for i, n in enumerate(shape)
        )
        return replace(self, shape=shape, strides=tuple(strides), margins=no_margins(len(shape)))


def unit_axes_map(old: Sequence[int], new: Sequence[int]) -> tuple[int | None, ...] | None:
    """Return for each new axis the old one it is, where only axes of size 1 come or go.

    None stands for an axis that is new; the whole is None where more than that happens.
    """
    real = [axis for axis, size in enumerate(old) if size != 1]
    if [old[axis] for axis in real] != [size for size in new if size != 1]:
        return None
    source = iter(real)
    return tuple(None if size == 1 else next(source) for size in new)


def _same_places(shape: Sequence[int], a: Sequence[int], b: Sequence[int]) -> bool:
    return all(x == y for size, x, y in zip(shape, a, b, strict=True) if size != 1)


def _reshaped_strides(
    shape: Sequence[int], strides: Sequence[int], new: Sequence[int]
) -> tuple[int, ...] | None:
    """Split both shapes into the shortest groups of equal size; each old group must be gapless."""
    old = [(n, s) for n, s in zip(shape, strides, strict=True) if n != 1]
    found: list[int] = []
    source: Iterator[tuple[int, int]] = iter(old)
    group, size = list[tuple[int, int]](), 1
    pending: list[int] = []
    for n in new:
        pending.append(n)
        want = math.prod(pending)
        while size < want and (part := next(source, None)) is not None:
            group.append(part)
            size *= part[0]
        if size == want:
            step = _group_stride(group)
            if step is None:
                return None
            found += [step * x for x in row_major(pending)]
            pending, group, size = [], [], 1
    return tuple(found) if not pending else None


def _group_stride(group: Sequence[tuple[int, int]]) -> int | None:
    """Return the stride of axes that run on without a gap; 1 for none of them."""
    for (_, outer), (n, inner) in pairwise(group):
        if outer != n * inner:
            return None
    return group[-1][1] if group else 1
