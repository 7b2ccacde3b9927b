"""Cross-layer equalisation: channels of neighbouring layers get weights of like size.

Multiplying a channel by s > 0 before a ReLU and dividing by s after it changes nothing, so the
scales of consecutive convolutions can be balanced: s = sqrt(r_out / r_in), with r the largest
magnitudes of the channel's weights on both sides. Source: Nagel et al., "Data-free quantization
through weight equalization and bias correction", 2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeGuard

import numpy as np

from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.ops.pad import Pad
from edgebed.program.types import Array, Constant, Op, Program

_POOLS = ("max_pool", "avg_pool")
_HOMOGENEOUS = ("relu", "leaky_relu")
_ROUNDS = 4
_LIMIT = 64.0


@dataclass(frozen=True)
class Pair:
    """Two convolutions whose channels can be scaled against each other."""

    first: Conv2d
    second: Conv2d


def pairs(program: Program) -> tuple[Pair, ...]:
    """Return the pairs of convolutions with nothing between them that is not homogeneous."""
    found = []
    for op in program.ops:
        if _is_real(op, program) and op.activation in ("none", "relu"):
            second = _next(program, op)
            if second is not None and _private(program, op) and _private(program, second):
                found.append(Pair(op, second))
    return tuple(found)


def equalise(program: Program) -> Program:
    """Return a float network that computes the same with balanced weights."""
    known = pairs(program)
    values = {name: constant.values.copy() for name, constant in program.constants.items()}
    for _ in range(_ROUNDS):
        for pair in known:
            _balance(pair, values)
    constants = {
        name: constant if np.array_equal(constant.values, values[name])
        else Constant(values[name], constant.bits, constant.scale)
        for name, constant in program.constants.items()
    }  # fmt: skip
    return program.with_(constants=constants)


def _is_real(op: Op, program: Program) -> TypeGuard[Conv2d]:
    return isinstance(op, Conv2d) and program.types[op.output].is_float


def _next(program: Program, op: Op) -> Conv2d | None:
    """Return the only float convolution behind an op, across ops that keep channels and scale."""
    while True:
        readers = program.readers(op.output)
        if len(readers) != 1 or op.output in program.outputs:
            return None
        (op,) = readers
        if isinstance(op, Conv2d):
            return op if _is_real(op, program) else None
        homogeneous = op.kind == "unary" and getattr(op, "function", "") in _HOMOGENEOUS
        if not (homogeneous or op.kind in _POOLS or _is_border(op)):
            return None


def _is_border(op: Op) -> bool:
    """Say whether an op surrounds every channel with zeros and adds no channel."""
    if not isinstance(op, Pad) or op.mode != "constant" or op.value not in (None, 0):
        return False
    return not (op.before[0] or op.after[0])


def _private(program: Program, op: Conv2d) -> bool:
    """Say whether the weights are this op's alone."""
    users = [one for one in program.ops if set(one.constants) & set(op.constants)]
    return len(users) == 1


def _balance(pair: Pair, values: dict[str, Array]) -> None:
    first, second = values[pair.first.weight], values[pair.second.weight]
    out = np.abs(first).reshape(len(first), -1).max(axis=1)
    inward = _by_input(second, pair.second.groups)
    usable = (out > 0) & (inward > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(usable, np.sqrt(out / inward), 1.0)
    scale = np.clip(scale, 1 / _LIMIT, _LIMIT).astype(np.float32)
    first /= scale[:, None, None, None]
    if pair.first.bias is not None:
        values[pair.first.bias] /= scale
    _scale_inputs(second, pair.second.groups, scale)


def _by_input(weight: Array, groups: int) -> Array:
    """Return the largest magnitude of the weights of each input channel."""
    out, inner, *_ = weight.shape
    split = np.abs(weight).reshape(groups, out // groups, inner, -1)
    result: Array = split.max(axis=(1, 3)).reshape(-1)
    return result


def _scale_inputs(weight: Array, groups: int, scale: Array) -> None:
    out, inner, *_ = weight.shape
    split = weight.reshape(groups, out // groups, inner, -1)
    split *= scale.reshape(groups, 1, inner, 1)
