"""How orders of axes pass through ops: op(transpose(x)) as transpose(op'(x)).

`perm` means what it does in the op `transpose`: axis i of the result is axis perm[i].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from edgebed.program.ops._binary import Binary, FloatBinary
from edgebed.program.ops._elementwise import Elementwise
from edgebed.program.ops.argmax import Argmax
from edgebed.program.ops.batch_matmul import BatchMatmul
from edgebed.program.ops.cast import Cast
from edgebed.program.ops.concat import Concat
from edgebed.program.ops.dense import Dense
from edgebed.program.ops.dequantize import Dequantize
from edgebed.program.ops.identity import Identity
from edgebed.program.ops.l2_normalize import L2Normalize
from edgebed.program.ops.lookup import Lookup
from edgebed.program.ops.pad import Pad
from edgebed.program.ops.quantize import Quantize
from edgebed.program.ops.reduce import Reduce
from edgebed.program.ops.requantize import Requantize
from edgebed.program.ops.slice import Slice
from edgebed.program.ops.softmax import Softmax
from edgebed.program.ops.strided_slice import StridedSlice
from edgebed.program.ops.unary import Unary
from edgebed.program.types import Op

Perm = tuple[int, ...]
Shape = tuple[int, ...]

MIXING = (Binary, FloatBinary, Elementwise)
"""Ops that combine several operands value by value, with numpy's broadcasting."""

POINTWISE = (Cast, Dequantize, Identity, Quantize, Requantize, Unary)
"""Ops of one input that treat every value alike."""


def inverse(perm: Perm) -> Perm:
    """Return the order that undoes `perm`."""
    return tuple(perm.index(axis) for axis in range(len(perm)))


def compose(first: Perm, second: Perm) -> Perm:
    """Return the order that does `first`, then `second`."""
    return tuple(first[axis] for axis in second)


def reordered(sizes: Sequence[Any], perm: Perm) -> tuple[Any, ...]:
    """Return a shape, or any list with an entry an axis, after `perm`."""
    return tuple(sizes[axis] for axis in perm)


def moves_nothing(shape: Shape, perm: Perm) -> bool:
    """Return whether only axes of size 1 change places, so that a reshape does the same."""
    moved = [axis for axis in perm if shape[axis] != 1]
    return moved == sorted(moved)


@dataclass(frozen=True)
class Carried:
    """An op that reads the tensor before a transpose, and the order its result still needs."""

    op: Op
    perm: Perm


def is_pointwise(op: Op) -> bool:
    """Return whether an op of one input treats every value alike, wherever it stands."""
    return isinstance(op, POINTWISE) or (isinstance(op, Lookup) and op.axis is None)


def carry(op: Op, perm: Perm) -> Carried | None:
    """Return how an op of one input works before the transpose `perm` that it reads.

    The returned op still names the input it had. None where the order cannot pass.
    """
    if is_pointwise(op):
        return Carried(op, perm)
    rule = _RULES.get(type(op))
    return None if rule is None or _adds_floats(op) else rule(op, perm)


def _adds_floats(op: Any) -> bool:
    """Return whether integers are added as float32, in an order on which the last bit depends."""
    sums_integers = isinstance(op, Reduce) and op.function in ("mean", "sum")
    adds = isinstance(op, L2Normalize | Reduce | Softmax) and not sums_integers
    return adds and op.requantize is not None and op.requantize.rounding == "float"


def _with_axis(op: Any, perm: Perm) -> Carried:
    return Carried(replace(op, axis=perm[op.axis]), perm)


def _lengths(op: Any, perm: Perm) -> Carried:
    back = inverse(perm)
    return Carried(
        replace(op, before=reordered(op.before, back), after=reordered(op.after, back)), perm
    )


def _ranges(op: Any, perm: Perm) -> Carried:
    back = inverse(perm)
    moved = {key: reordered(getattr(op, key), back) for key in ("begin", "end", "step")}
    return Carried(replace(op, **moved), perm)


def _channels(op: Any, perm: Perm) -> Carried | None:
    return Carried(op, perm) if perm[0] == 0 else None


def _without(perm: Perm, axes: Sequence[int]) -> Perm:
    """Return the order of what is left when axes of the transposed tensor are taken out."""
    left = [axis for place, axis in enumerate(perm) if place not in axes]
    return tuple(sorted(left).index(axis) for axis in left)


def _reduce(op: Any, perm: Perm) -> Carried:
    moved = replace(op, axes=tuple(sorted(perm[axis] for axis in op.axes)))
    return Carried(moved, perm if op.keep else _without(perm, op.axes))


def _argmax(op: Any, perm: Perm) -> Carried:
    moved = replace(op, axis=perm[op.axis])
    return Carried(moved, perm if op.keep else _without(perm, (op.axis,)))


def _dense(op: Any, perm: Perm) -> Carried | None:
    rows = op.last_axis and perm[-1] == len(perm) - 1
    return Carried(op, perm) if rows else None


_RULES: dict[type[Op], Callable[[Any, Perm], Carried | None]] = {
    Argmax: _argmax,
    Dense: _dense,
    L2Normalize: _with_axis,
    Lookup: _with_axis,
    Pad: _lengths,
    Reduce: _reduce,
    Slice: _channels,
    Softmax: _with_axis,
    StridedSlice: _ranges,
}


def carry_joined(op: Op, perm: Perm) -> Carried | None:
    """Return how an op of several inputs works where all of them lose the transpose `perm`."""
    if isinstance(op, Concat):
        return _with_axis(op, perm)
    return Carried(op, perm) if isinstance(op, MIXING) else None


def swapped_matrix(op: Op, which: int, perm: Perm) -> Op | None:
    """Return a matrix product that reads its operand without a transpose of the last two axes."""
    rank = len(perm)
    swap = (*range(rank - 2), rank - 1, rank - 2)
    if not isinstance(op, BatchMatmul) or rank < 2 or perm != swap:
        return None
    if which == 0:
        return replace(op, transpose_a=not op.transpose_a)
    return replace(op, transpose_b=not op.transpose_b)


def through_reshape(shape: Shape, perm: Perm, target: Shape) -> tuple[Shape, Perm] | None:
    """Return (shape', perm') with reshape(transpose(x)) = transpose'(reshape'(x)).

    Args:
        shape: of x.
        perm: of the transpose.
        target: shape of the result.

    Returns:
        None where an axis of the result mixes axes that are not neighbours in x.
    """
    groups = _matching_groups(reordered(shape, perm), target)
    if groups is None:
        return None
    keyed: list[tuple[int, list[int]]] = []
    for ours, theirs in groups:
        wide = [perm[axis] for axis in ours if shape[perm[axis]] != 1]
        span = [a for a in range(wide[0], wide[-1] + 1) if shape[a] != 1] if wide else []
        if wide != span:
            return None
        # Axes of size 1 follow the group before them, wherever that goes.
        keyed.append((wide[0] if wide else (keyed[-1][0] if keyed else -1), theirs))
    order = [axis for _, axes in sorted(keyed, key=lambda pair: pair[0]) for axis in axes]
    return reordered(target, tuple(order)), inverse(tuple(order))


def _matching_groups(first: Shape, second: Shape) -> list[tuple[list[int], list[int]]] | None:
    """Cut two shapes of equal size into the shortest runs of axes with equal products."""
    if math.prod(first) != math.prod(second):
        return None
    groups: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(first) or j < len(second):
        ours, theirs, a, b = list[int](), list[int](), 1, 1
        while not ((ours or theirs) and a == b):
            if i < len(first) and (a <= b or j == len(second)):
                a, i = a * first[i], i + 1
                ours.append(i - 1)
            else:
                b, j = b * second[j], j + 1
                theirs.append(j - 1)
        groups.append((ours, theirs))
    return groups
