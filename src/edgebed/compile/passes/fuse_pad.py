"""Padding becomes part of the convolution or pool that reads it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from edgebed.compile.passes.draft import Draft
from edgebed.program.arithmetic import Affine
from edgebed.program.ops.avg_pool import AvgPool
from edgebed.program.ops.concat import Concat
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.ops.lookup import Lookup
from edgebed.program.ops.max_pool import MaxPool
from edgebed.program.ops.pad import Pad
from edgebed.program.ops.unary import Unary
from edgebed.program.types import Op, Program

Sides = tuple[int, int, int, int]
_AT_LEAST_ZERO = ("relu", "relu6", "sigmoid", "abs", "hard_sigmoid", "square", "exp", "sqrt")


@dataclass(frozen=True)
class FusePad:
    """Let convolutions and pools pad their input themselves; join paddings in a row."""

    name: ClassVar[str] = "fuse_pad"

    def run(self, program: Program) -> Program:
        """Return the program with fewer pad ops."""
        return Draft(program).rewrite((_join, _into_reader)).program()


def _value(draft: Draft, pad: Pad) -> float | None:
    """Return the number that a padding stores, None where it mirrors."""
    zero = draft.types[pad.output].zero_point
    if pad.mode != "constant":
        return None
    return zero if pad.value is None else pad.value


def _join(draft: Draft, op: Op) -> bool:
    """Make one of two paddings with the same value in a row."""
    first = draft.writer(op.inputs[0]) if isinstance(op, Pad) else None
    if not isinstance(op, Pad) or not isinstance(first, Pad):
        return False
    if _value(draft, op) is None or _value(draft, op) != _value(draft, first):
        return False
    before, after = (
        tuple(a + b for a, b in zip(x, y, strict=True))
        for x, y in ((op.before, first.before), (op.after, first.after))
    )
    draft.replace(op, replace(op, inputs=first.inputs, before=before, after=after))
    return True


def _into_reader(draft: Draft, op: Op) -> bool:
    """Let an op that has a padding of its own read what was not padded yet."""
    pad = draft.writer(op.inputs[0]) if isinstance(op, Conv2d | AvgPool | MaxPool) else None
    if not isinstance(pad, Pad) or len(pad.before) != 3 or pad.before[0] or pad.after[0]:
        return False
    sides: Sides = (*pad.before[1:], *pad.after[1:])  # type: ignore[assignment]
    padded: Op | None = None
    if isinstance(op, Conv2d) and _value(draft, pad) == draft.types[pad.output].zero_point:
        padded = replace(op, padding=_sum(op.padding, sides))
    elif isinstance(op, AvgPool):
        padded = _average(draft, op, pad, sides)
    elif isinstance(op, MaxPool):
        padded = _maximum(draft, op, pad, sides)
    if padded is None:
        return False
    draft.replace(op, replace(padded, inputs=pad.inputs))
    return True


def _sum(first: Sides, second: Sides) -> Sides:
    top, left, bottom, right = (a + b for a, b in zip(first, second, strict=True))
    return top, left, bottom, right


def _fits(kernel: tuple[int, int], sides: Sides) -> bool:
    """Return whether every window of a pool keeps a value of the map."""
    return all(side < size for side, size in zip(sides, kernel * 2, strict=True))


def _average(draft: Draft, op: AvgPool, pad: Pad, sides: Sides) -> AvgPool | None:
    if _value(draft, pad) != draft.types[pad.output].zero_point:
        return None
    if any(op.padding) and not op.include_padding:
        return None  # its own padding does not count, the other one does
    total = _sum(op.padding, sides)
    return replace(op, padding=total, include_padding=True) if _fits(op.kernel, total) else None


def _maximum(draft: Draft, op: MaxPool, pad: Pad, sides: Sides) -> MaxPool | None:
    """Pad where the padded value cannot win: no value of the map is less."""
    value, total = _value(draft, pad), _sum(op.padding, sides)
    if value is None or value > lower_bound(draft, pad.inputs[0]) or not _fits(op.kernel, total):
        return None
    return replace(op, padding=total)


def lower_bound(draft: Draft, tensor: str) -> float:
    """Return a number that no value of a tensor is below."""
    kind, writer = draft.types[tensor], draft.writer(tensor)
    least = -np.inf if kind.is_float else float(np.iinfo(kind.dtype).min)
    return least if writer is None else max(least, _written_bound(draft, writer))


def _written_bound(draft: Draft, op: Op) -> float:
    rule: Any = getattr(op, "requantize", None)
    if isinstance(op, Conv2d) and isinstance(rule, Affine):
        return rule.low
    if getattr(op, "activation", "none") in ("relu", "abs"):
        return 0.0
    match op:
        case Lookup():
            return float(draft.constants[op.table].values.min())
        case Unary() if op.function in _AT_LEAST_ZERO:
            return 0.0
        case MaxPool() | Concat():
            return min(lower_bound(draft, name) for name in op.inputs)
    return -np.inf
