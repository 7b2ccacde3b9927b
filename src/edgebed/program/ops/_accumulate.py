"""Exact integer accumulation through floating-point matrix products.

A product of integers is exact in float32 while every partial sum stays below 2**24, and in
float64 below 2**53; the bound is computed from the weights, so the choice is safe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgebed.program.arithmetic import Activation, Requantize, activate, saturate
from edgebed.program.types import Array, Constant, Op, TensorType

INT32_LIMIT = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class Weighted(Op):
    """An op that accumulates its input times a weight, and adds a bias where there is one.

    Attributes:
        weight: name of the constant.
        bias: name of the constant, in accumulator units, or None.
    """

    weight: str
    bias: str | None = None

    @property
    def constants(self) -> tuple[str, ...]:
        """Weight and, where there is one, bias."""
        return (self.weight, self.bias) if self.bias is not None else (self.weight,)

    def bias_values(self, constants: Mapping[str, Constant]) -> Array | None:
        """Return the biases, int32, or None."""
        return constants[self.bias].values if self.bias is not None else None


def accumulator_type(weight: Array, bias: Array | None) -> type[np.floating[np.typing.NBitBase]]:
    """Return float32 where all sums of weight (O x K) times int8 are exact, else float64."""
    bound = 128 * np.abs(weight.astype(np.int64)).sum(axis=1)
    if bias is not None:
        bound = bound + np.abs(bias.astype(np.int64))
    return np.float32 if bound.max(initial=0) < 2**24 else np.float64  # type: ignore[return-value]


def finish(op: Op, acc: Array, rule: Requantize | None, activation: Activation) -> Array:
    """Turn exact accumulators into the op's output: raw int32, or requantised int8."""
    whole = acc.astype(np.int64)
    if whole.size and max(-int(whole.min()), int(whole.max())) > INT32_LIMIT:
        raise op.fail("an accumulator leaves 32 bits", try_="fewer input channels or weight bits")
    if rule is None:
        return whole.astype(np.int32)
    return activate(saturate(rule.apply(whole)), activation)


def weighted_type(
    op: Op,
    shape: tuple[int, int, int],
    x: TensorType,
    weight: Constant,
    rule: Requantize | None,
    activation: Activation,
) -> TensorType:
    """Return the type of an op that accumulates x times weight."""
    if x.dtype != "int8":
        raise op.fail(f"its input is {x.dtype}", why="int8 is needed")
    if min(shape) < 1:
        raise op.fail(f"its output would be {shape}", try_="a larger input or smaller kernel")
    scale = x.scale * weight.scale
    if rule is None:
        if activation != "none":
            raise op.fail(f"activation {activation!r} on a raw 32-bit output")
        return TensorType(shape, "int32", scale)
    return TensorType(shape, "int8", scale * rule.factor)


def check_bias(
    op: Op, constants: Mapping[str, Constant], bias: str | None, channels: int
) -> Array | None:
    """Return the bias values (int32, accumulator units) after checking their number."""
    if bias is None:
        return None
    values = constants[bias].values
    if values.shape != (channels,):
        raise op.fail(f"its bias has shape {values.shape}", why=f"({channels},) is needed")
    return values
