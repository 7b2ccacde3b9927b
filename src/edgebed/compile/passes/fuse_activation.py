"""Activations, clamps and tables become part of the op before them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final

import numpy as np

from edgebed.compile.passes.axes import is_pointwise
from edgebed.compile.passes.draft import Draft
from edgebed.program.arithmetic import INT8_MIN, Affine
from edgebed.program.ops._accumulate import Weighted
from edgebed.program.ops._binary import Binary
from edgebed.program.ops._elementwise import Elementwise
from edgebed.program.ops.batch_matmul import BatchMatmul
from edgebed.program.ops.lookup import Lookup
from edgebed.program.ops.quantize import Quantize
from edgebed.program.ops.requantize import Requantize
from edgebed.program.ops.unary import Unary
from edgebed.program.types import Array, Op, Program

CLAMPING: Final = (Weighted, Binary, Elementwise, BatchMatmul, Requantize)
"""Ops that end with the clamp of their `Affine` rule."""


@dataclass(frozen=True)
class FuseActivation:
    """Fuse functions of single values into the op before them, bit for bit.

    A ReLU on real numbers becomes a layer's activation; a clamp narrows the limits of the op
    whose result it clamps; several functions of one int8 value in a row become one table.
    """

    name: ClassVar[str] = "fuse_activation"

    def run(self, program: Program) -> Program:
        """Return the program with fewer ops of single values."""
        return Draft(program).rewrite((_activation, _one_table, _narrow)).program()


def _activation(draft: Draft, op: Op) -> bool:
    """Let a float layer apply the ReLU or the absolute value behind it."""
    if not isinstance(op, Unary) or op.function not in ("relu", "abs"):
        return False
    layer = draft.writer(op.inputs[0])
    if not isinstance(layer, Weighted) or not draft.private(layer.output):
        return False
    if getattr(layer, "activation", "") != "none":
        return False
    fused: Any = replace(layer, output=op.output)
    draft.drop(layer)
    draft.replace(op, replace(fused, activation=op.function))
    return True


def _one_table(draft: Draft, op: Op) -> bool:
    """Replace a run of functions of single values, from int8 to int8, by one table."""
    chain = _chain(draft, op)
    axes = {one.axis for one in chain if isinstance(one, Lookup)} - {None}
    if len(chain) < 2 or len(axes) > 1:
        return False
    out, axis = draft.types[op.output], next(iter(axes), None)
    stored = draft.store(f"{op.name}.table", _table(draft, chain, axis))
    table = Lookup(
        name=op.name,
        inputs=chain[0].inputs,
        output=op.output,
        table=stored,
        axis=axis,
        scale=out.scale,
        zero_point=out.zero_point,
    )
    draft.replace(op, table)
    return True


def _chain(draft: Draft, last: Op) -> list[Op]:
    """Return the longest run of ops of single values that ends with an op, int8 at both ends."""
    run: list[Op] = []
    longest: list[Op] = []
    op: Op | None = last
    while op is not None and (is_pointwise(op) or isinstance(op, Lookup)):
        run.insert(0, op)
        if draft.types[op.inputs[0]].dtype == "int8":
            longest = [*run]
        op = draft.writer(op.inputs[0]) if draft.private(op.inputs[0]) else None
    return longest if draft.types[last.output].dtype == "int8" else []


def _table(draft: Draft, chain: list[Op], axis: int | None) -> Array:
    """Return the results for all 256 values, which take the place of a batch."""
    rank = len(draft.types[chain[0].inputs[0]].shape)
    x = np.arange(-128, 128).astype(np.int8).reshape(-1, *(1,) * rank)
    for op in chain:
        x = op.run([x], draft.constants, draft.types_of(op))
    return x.reshape(256) if axis is None else x.reshape(256, -1).T


def _narrow(draft: Draft, op: Op) -> bool:
    """Let the op before a clamp clamp, or drop a clamp that changes nothing."""
    if not isinstance(op, Lookup | Requantize):
        return False
    source, out = draft.types[op.inputs[0]], draft.types[op.output]
    before = draft.writer(op.inputs[0])
    limits = _limits(before)
    if limits is None or source != out:
        return False
    clamp = _clamp(draft, op, *limits)
    if clamp is None:
        return False
    if clamp == limits:
        return draft.bypass(op)
    if before is None or not draft.private(before.output):
        return False
    draft.drop(before)
    draft.replace(op, replace(_clamped(before, *clamp), output=op.output))
    return True


def _limits(op: Op | None) -> tuple[int, int] | None:
    """Return the least and largest result of an op that ends with a clamp."""
    if isinstance(op, Quantize):
        return op.limits
    rule = getattr(op, "requantize", None)
    if not isinstance(op, CLAMPING) or not isinstance(rule, Affine):
        return None
    known = np.iinfo(rule.dtype)
    return max(rule.low, int(known.min)), min(rule.high, int(known.max))


def _clamped(op: Op, low: int, high: int) -> Op:
    """Return the op with narrower limits."""
    changed: Any = op
    if isinstance(op, Quantize):
        return replace(op, low=low, high=high)
    rule: Affine = changed.requantize
    result: Op = replace(changed, requantize=replace(rule, low=low, high=high))
    return result


def _clamp(draft: Draft, op: Lookup | Requantize, low: int, high: int) -> tuple[int, int] | None:
    """Return the limits to which an op clamps values from low to high, if that is all it does."""
    if isinstance(op, Requantize):
        least, most = max(low, op.requantize.low), min(high, op.requantize.high)
        return (least, most) if least <= most else None
    if op.axis is not None or low < INT8_MIN:
        return None
    reached = np.arange(low, high + 1)
    results = draft.constants[op.table].values[reached - INT8_MIN].astype(np.int64)
    least, most = int(results.min()), int(results.max())
    same = np.array_equal(results, np.clip(reached, least, most))
    return (least, most) if same and low <= least and most <= high else None
