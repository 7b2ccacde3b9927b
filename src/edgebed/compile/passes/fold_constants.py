"""What is known before the network runs is computed once, and what is there twice is kept once."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np

from edgebed.compile.passes.draft import Draft
from edgebed.program.ops.cast import Cast
from edgebed.program.ops.concat import Concat
from edgebed.program.ops.constant import Constant as ConstantOp
from edgebed.program.ops.identity import Identity
from edgebed.program.ops.max_pool import MaxPool
from edgebed.program.ops.pad import Pad
from edgebed.program.ops.requantize import Requantize
from edgebed.program.ops.reshape import Reshape
from edgebed.program.ops.slice import Slice
from edgebed.program.ops.strided_slice import StridedSlice
from edgebed.program.ops.transpose import Transpose
from edgebed.program.types import Op, Program

NEVER_LARGER: int = 1 << 16
"""A folded tensor may have so many bytes, or as many as what it was computed from."""


@dataclass(frozen=True)
class FoldConstants:
    """Compute ops of constants only, drop what nobody needs, identities and duplicates."""

    name: ClassVar[str] = "fold_constants"

    def run(self, program: Program) -> Program:
        """Return the program with fewer ops and constants."""
        draft = Draft(program)
        _merge_constants(draft)
        draft.rewrite((_evaluate, _drop_identity))
        while _merge_ops(draft):
            pass
        return draft.program()


def _evaluate(draft: Draft, op: Op) -> bool:
    """Replace an op all of whose inputs are constants by its result."""
    values = [draft.fixed(name) for name in op.inputs]
    if not values or any(one is None for one in values):
        return False
    out = draft.types[op.output]
    given = sum(draft.types[name].nbytes for name in op.inputs)
    # Constants of uint8 do not exist: `bits` counts two's complement.
    if out.dtype == "uint8" or out.nbytes > max(NEVER_LARGER, given):
        return False
    inputs = [one[None] for one in values if one is not None]
    result = op.run(inputs, draft.constants, draft.types_of(op))[0]
    name = draft.store(f"{op.output}.value", result, scale=out.scale, zero_point=out.zero_point)
    draft.replace(op, ConstantOp(name=op.name, inputs=(), output=op.output, value=name))
    return True


def _drop_identity(draft: Draft, op: Op) -> bool:
    return is_identity(draft, op) and draft.bypass(op)


def is_identity(draft: Draft, op: Op) -> bool:
    """Return whether an op's output is its first input, number for number and in meaning."""
    x, y = draft.types[op.inputs[0]] if op.inputs else None, draft.types[op.output]
    if x != y:
        return False
    assert x is not None
    match op:
        case Identity() | Reshape() | Slice() | StridedSlice() | Pad() | Cast():
            # Nothing else but a step of -1 keeps the shape and moves values.
            return not isinstance(op, StridedSlice) or min(op.step, default=1) > 0
        case Transpose():
            return op.perm == tuple(range(len(op.perm)))
        case Concat():
            return len(op.inputs) == 1
        case MaxPool():
            return op.kernel == op.stride == (1, 1) and not any(op.padding)
        case Requantize():
            limits = np.iinfo(x.dtype)
            return op.requantize.low <= limits.min and op.requantize.high >= limits.max
    return False


def _merge_constants(draft: Draft) -> None:
    """Let ops share constants that are equal in values and meaning."""
    first: dict[Hashable, str] = {}
    same = {name: first.setdefault(c, name) for name, c in draft.constants.items()}
    for op in tuple(draft.ops):
        changes: dict[str, Any] = {
            field.name: same[value]
            for field in fields(op)
            if field.name not in ("name", "inputs", "output")
            and isinstance(value := getattr(op, field.name), str)
            and value in op.constants
            and same[value] != value
        }
        if changes:
            draft.replace(op, replace(op, **changes))


def _merge_ops(draft: Draft) -> bool:
    """Let the readers of an op that is there twice read the first; say whether any was."""
    first: dict[Hashable, Op] = {}
    merged = False
    for op in tuple(draft.ops):
        now = draft.writer(op.output)
        assert now is not None
        same = first.setdefault(replace(now, name="", output=""), now)
        if same is not now and now.output not in draft.source.outputs:
            draft.redirect(now.output, same.output)
            draft.drop(now)
            merged = True
    return merged
