"""Ops that say the same as a simpler one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar, Final

import numpy as np

from edgebed.compile.passes.dense_on_map import read_map
from edgebed.compile.passes.draft import Draft
from edgebed.program.arithmetic import divide
from edgebed.program.ops._reduce import fixed_point_total
from edgebed.program.ops.avg_pool import AvgPool
from edgebed.program.ops.concat import Concat
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.ops.dense import Dense
from edgebed.program.ops.reduce import Reduce
from edgebed.program.ops.reshape import Reshape
from edgebed.program.ops.slice import Slice
from edgebed.program.ops.strided_slice import StridedSlice
from edgebed.program.types import Op, Program

MOST_SUMS: Final = 1 << 22
"""A mean is compared with a pool for every sum it can meet, up to so many."""


@dataclass(frozen=True)
class Simplify:
    """Write ops as simpler ones: joins of parts, parts of joins, layers on single pixels."""

    name: ClassVar[str] = "simplify"

    def run(self, program: Program) -> Program:
        """Return the simpler program."""
        rules = (_flat_join, _part_of_join, _join_of_parts, _read_map, _dense, _pool)
        return Draft(program).rewrite(rules).program()


def _read_map(draft: Draft, op: Op) -> bool:
    return read_map(draft, op, through_transposes=False)


def _flat_join(draft: Draft, op: Op) -> bool:
    """Join the parts of a join that nobody else reads, or the only part."""
    if not isinstance(op, Concat):
        return False
    if len(op.inputs) == 1:
        return draft.bypass(op)
    for place, name in enumerate(op.inputs):
        inner = draft.writer(name)
        if isinstance(inner, Concat) and inner.axis == op.axis and draft.private(name):
            parts = (*op.inputs[:place], *inner.inputs, *op.inputs[place + 1 :])
            draft.replace(op, replace(op, inputs=parts))
            return True
    return False


@dataclass(frozen=True)
class _Part:
    """Indices start to stop of one axis of a tensor, all of the others."""

    source: str
    axis: int
    start: int
    stop: int


def _part(draft: Draft, op: Op | None) -> _Part | None:
    """Return what an op takes, if that is a range of one axis."""
    if isinstance(op, Slice):
        return _Part(op.inputs[0], 0, op.start, op.stop)
    if not isinstance(op, StridedSlice) or set(op.step) != {1}:
        return None
    shape = draft.types[op.inputs[0]].shape
    cut = [
        _Part(op.inputs[0], axis, taken.start, taken.stop)
        for axis, (taken, size) in enumerate(zip(op.ranges(shape), shape, strict=True))
        if len(taken) < size
    ]
    return cut[0] if len(cut) == 1 else None


def _taken(draft: Draft, part: _Part, like: Op) -> Op:
    """Return an op named like another that takes a part."""
    if part.axis == 0:
        return Slice(
            name=like.name,
            inputs=(part.source,),
            output=like.output,
            start=part.start,
            stop=part.stop,
        )
    shape = draft.types[part.source].shape
    begin, end = [0] * len(shape), list(shape)
    begin[part.axis], end[part.axis] = part.start, part.stop
    return StridedSlice(
        name=like.name,
        inputs=(part.source,),
        output=like.output,
        begin=tuple(begin),
        end=tuple(end),
        step=(1,) * len(shape),
    )


def _part_of_join(draft: Draft, op: Op) -> bool:
    """Take a range from the one joined tensor that it lies in."""
    part = _part(draft, op)
    join = draft.writer(part.source) if part else None
    if part is None or not isinstance(join, Concat) or join.axis != part.axis:
        return False
    start = 0
    for name in join.inputs:
        stop = start + draft.types[name].shape[part.axis]
        if start <= part.start and part.stop <= stop:
            inner = _Part(name, part.axis, part.start - start, part.stop - start)
            draft.replace(op, _taken(draft, inner, op))
            if (part.start, part.stop) == (start, stop):
                taken = draft.writer(op.output)
                assert taken is not None
                draft.bypass(taken)
            return True
        start = stop
    return False


def _join_of_parts(draft: Draft, op: Op) -> bool:
    """Put neighbouring ranges of one tensor together again."""
    if not isinstance(op, Concat):
        return False
    parts = [_part(draft, draft.writer(name)) for name in op.inputs]
    for place, (a, b) in enumerate(pairwise(parts)):
        if a is None or b is None or a.axis != op.axis or b.axis != op.axis:
            continue
        if a.source == b.source and a.stop == b.start:
            _put_together(draft, op, place, _Part(a.source, a.axis, a.start, b.stop))
            return True
    return False


def _put_together(draft: Draft, op: Concat, place: int, part: _Part) -> None:
    before, after = op.inputs[:place], op.inputs[place + 2 :]
    if part.stop - part.start == draft.types[part.source].shape[part.axis]:
        draft.replace(op, replace(op, inputs=(*before, part.source, *after)))
        return
    name = draft.fresh(f"{op.output}.part")
    like = replace(op, name=name, output=name)
    joined = replace(op, inputs=(*before, name, *after))
    draft.replace(op, _taken(draft, part, like), joined)


def _dense(draft: Draft, op: Op) -> bool:
    """Write a convolution with one window, all of its integer map, as a fully connected layer."""
    if not isinstance(op, Conv2d) or op.groups != 1 or any(op.padding):
        return False
    kind, weight = draft.types[op.inputs[0]], draft.constants[op.weight]
    if kind.is_float or kind.shape[1:] != weight.values.shape[2:]:
        return False  # float sums would be added in another order
    flat = weight.values.reshape(len(weight.values), -1)
    dense = Dense(
        name=op.name,
        inputs=op.inputs,
        output=op.output,
        weight=draft.store(op.weight, flat, like=weight),
        bias=op.bias,
        multiplier=op.multiplier,
        requantize=op.requantize,
        activation=op.activation,
    )
    draft.replace(op, dense)
    return True


def _pool(draft: Draft, op: Op) -> bool:
    """Write the mean of whole int8 maps as a pool where both agree for every possible sum."""
    if not isinstance(op, Reduce) or op.function != "mean" or op.axes != (1, 2):
        return False
    x, out, rule = draft.types[op.inputs[0]], draft.types[op.output], op.requantize
    if len(x.shape) != 3 or rule is None or rule.rounding == "float" or x.dtype != "int8":
        return False
    count = x.shape[1] * x.shape[2]
    if x.with_shape(()) != out.with_shape(()) or count * 255 > MOST_SUMS:
        return False
    sums = np.arange(-128 * count, 127 * count + 1)
    mean = fixed_point_total(sums, count, x, rule, mean=True)
    low, high = max(rule.low, -128), min(rule.high, 127)
    if not np.array_equal(mean, np.clip(divide(sums, count, "half_away"), low, high)):
        return False
    window = (x.shape[1], x.shape[2])
    pooled = AvgPool(
        name=op.name,
        inputs=op.inputs,
        output=op.output,
        kernel=window,
        stride=window,
        rounding="half_away",
        low=low,
        high=high,
    )
    if op.keep:
        draft.replace(op, pooled)
        return True
    early = draft.fresh(f"{op.output}.map")
    late = Reshape(
        name=draft.fresh(f"{op.name}.reshape"), inputs=(early,), output=op.output, shape=out.shape
    )
    draft.replace(op, replace(pooled, output=early), late)
    return True
