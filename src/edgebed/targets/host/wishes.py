"""What the readers of a tensor wish for its place in memory: an order of axes and a border.

Maps lie channels last. A reader that pads its input wishes for a border of that size, which the
tensor's writer leaves and fills, so that no kernel checks an edge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from edgebed.program.ops.concat import Concat
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.ops.identity import Identity
from edgebed.program.ops.reshape import Reshape
from edgebed.program.ops.slice import Slice
from edgebed.program.ops.transpose import Transpose
from edgebed.program.types import Op, Program
from edgebed.targets.host.layout import Margins, no_margins, unit_axes_map

CHANNELS_LAST: Final = (1, 2, 0)
SPATIAL: Final = frozenset(
    ("conv2d", "conv_transpose2d", "max_pool", "avg_pool", "resize", "space_to_depth",
     "depth_to_space")
)  # fmt: skip
_ELEMENTWISE: Final = frozenset(
    ("add", "subtract", "multiply", "maximum", "minimum", "divide", "power", "lookup", "unary",
     "prelu", "requantize", "quantize", "dequantize", "cast", "bit_or", "bit_xor")
)  # fmt: skip


@dataclass(frozen=True)
class Wish:
    """Attributes:
    order: axes from the sparsest to the densest; None for any.
    margins: values wanted around the tensor.
    """  # noqa: D205 - two fields

    order: tuple[int, ...] | None
    margins: Margins

    def union(self, other: Wish) -> Wish:
        """Return what serves both; this one's order comes first."""
        pairs = zip(self.margins, other.margins, strict=True)
        margins = tuple((max(a[0], b[0]), max(a[1], b[1])) for a, b in pairs)
        return Wish(self.order or other.order, margins)

    def permuted(self, perm: Sequence[int]) -> Wish:
        """Return the same wish for a tensor whose axis perm[i] is this one's axis i."""
        margins = list(self.margins)
        for i, axis in enumerate(perm):
            margins[axis] = self.margins[i]
        order = None if self.order is None else tuple(perm[a] for a in self.order)
        return Wish(order, tuple(margins))

    def without(self, axis: int) -> Wish:
        """Return the wish with no margins along an axis."""
        margins = (*self.margins[:axis], (0, 0), *self.margins[axis + 1 :])
        return replace(self, margins=margins)


@dataclass(frozen=True)
class Place:
    """A tensor that lies inside a concat's result.

    Its view is that of `parent` with `indices` of `axis` taken, then permuted by `perm`.
    """

    parent: str
    axis: int
    indices: range
    perm: tuple[int, ...]


def wishes(program: Program) -> dict[str, Wish]:
    """Return the wish for every tensor, concats not yet considered."""
    found: dict[str, Wish] = {
        name: Wish(None, no_margins(len(kind.shape))) for name, kind in program.types.items()
    }
    for op in reversed(program.ops):
        for number, tensor in enumerate(op.inputs):
            wish = _wish_of(program, op, number, found[op.output])
            if wish is not None:
                found[tensor] = found[tensor].union(wish)
    return found


def _wish_of(program: Program, op: Op, number: int, out: Wish) -> Wish | None:
    """Return what an op wishes for one of its inputs, given the wish for its output."""
    x = program.types[op.inputs[number]]
    if op.kind in SPATIAL:
        return Wish(CHANNELS_LAST, padding_margins(op))
    if isinstance(op, Transpose):
        return out.permuted(op.perm)
    if isinstance(op, Identity):
        return out
    if isinstance(op, Slice):
        return out.without(0)
    if isinstance(op, Concat):
        return out.without(op.axis)
    if isinstance(op, Reshape):
        return _through_reshape(x.shape, op.shape, out)
    if op.kind in _ELEMENTWISE and x.shape == program.types[op.output].shape:
        return Wish(out.order, no_margins(len(x.shape)))
    return None


def padding_margins(op: Op) -> Margins:
    """Return the border that an op's padding asks for around a map."""
    if isinstance(op, Conv2d):
        top, left, bottom, right = op.padding
        return ((0, 0), (top, bottom), (left, right))
    return no_margins(3)


def _through_reshape(old: tuple[int, ...], new: tuple[int, ...], out: Wish) -> Wish | None:
    kept = unit_axes_map(old, new)
    if kept is None or out.order is None:
        return None
    margins = list(no_margins(len(old)))
    for axis, source in enumerate(kept):
        if source is not None:
            margins[source] = out.margins[axis]
    order = [kept[axis] for axis in out.order]
    real = [axis for axis in order if axis is not None]
    return Wish((*(a for a in range(len(old)) if a not in real), *real), tuple(margins))


def places(program: Program) -> dict[str, Place]:
    """Return which tensors can be written straight into a concat's result."""
    writers = {op.output: op for op in program.ops}
    found: dict[str, Place] = {}
    for op in reversed(program.ops):
        if isinstance(op, Concat):
            start = 0
            for tensor in op.inputs:
                stop = start + program.types[tensor].shape[op.axis]
                if op.inputs.count(tensor) == 1:
                    base, perm = _base(tensor, writers, len(program.types[tensor].shape))
                    if base is not None and base not in found:
                        found[base] = Place(op.output, op.axis, range(start, stop), perm)
                start = stop
    return found


def _base(tensor: str, writers: Mapping[str, Op], rank: int) -> tuple[str | None, tuple[int, ...]]:
    """Return the tensor that is written where `tensor` is a view of it, and how to permute it."""
    perm = tuple(range(rank))
    while isinstance(op := writers.get(tensor), Transpose | Identity):
        if isinstance(op, Transpose):
            back = [op.perm.index(axis) for axis in range(rank)]
            perm = tuple(perm[axis] for axis in back)
        (tensor,) = op.inputs
    return (None if op is not None and op.kind in VIEWS else tensor), perm


VIEWS: Final = frozenset(("reshape", "slice", "crop", "strided_slice", "transpose", "identity"))
"""Ops that are bookkeeping, where memory allows it."""


def joined_wishes(
    program: Program, found: Mapping[str, Wish], placed: Mapping[str, Place]
) -> dict[str, Wish]:
    """Return the wishes with those of a concat's parts added to the concat's own."""
    writers = {op.output: op for op in program.ops}
    joined = dict(found)
    for op in program.ops:
        for tensor, place in placed.items():
            if place.parent == op.output:
                wish = joined[tensor]
                if (writer := writers.get(tensor)) is not None and writer.kind in SPATIAL:
                    wish = replace(wish, order=CHANNELS_LAST)
                back = wish.permuted(place.perm).without(place.axis)
                joined[op.output] = joined[op.output].union(back)
    return joined
