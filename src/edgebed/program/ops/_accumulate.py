"""Exact integer accumulation through floating-point matrix products.

A product of integers is exact in float32 while every partial sum stays below 2**24, and in
float64 below 2**53; the bound is computed from the weights, so the choice is safe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgebed.program.arithmetic import (
    Activation,
    Affine,
    PowerOfTwo,
    Requantize,
    activate,
    saturate,
)
from edgebed.program.types import Array, Constant, Op, TensorType

INT32_LIMIT = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class Weighted(Op):
    """An op that accumulates its input times a weight, and adds a bias where there is one.

    Attributes:
        weight: name of the constant.
        bias: name of the constant, in accumulator units, or None.
        multiplier: name of the factors of an `Affine` rule, or None: int32 (2, O) or (2, 1) of
            multipliers over shifts for the fixed-point rules, float32 (O,) or (1,) for `float`.
    """

    weight: str
    bias: str | None = None
    multiplier: str | None = None

    @property
    def constants(self) -> tuple[str, ...]:
        """Weight and, where there are any, bias and multiplier."""
        named = (self.weight, self.bias, self.multiplier)
        return tuple(name for name in named if name is not None)

    def factors(self, constants: Mapping[str, Constant]) -> Array | None:
        """Return the multiplier's values, or None."""
        return constants[self.multiplier].values if self.multiplier is not None else None

    def centred(
        self, x: Array, kind: TensorType, weight: Constant, outputs: int = 0
    ) -> tuple[Array, Array]:
        """Return input and weights less their zero points, in a type in which sums are exact.

        Args:
            x: the input.
            kind: its type.
            weight: the weights.
            outputs: the axis of the weights' output channels.
        """
        if kind.is_float:
            return x, weight.values
        w = weight.values.astype(np.int32) - weight.zero_point
        info = np.iinfo(kind.dtype)
        reach = max(info.max - kind.zero_point, kind.zero_point - info.min)
        rows = np.moveaxis(w, outputs, 0).reshape(w.shape[outputs], -1)
        dtype = accumulator_type(rows, None, reach)
        return x.astype(dtype) - dtype(kind.zero_point), w.astype(dtype)

    def complete(
        self,
        acc: Array,
        kind: TensorType,
        constants: Mapping[str, Constant],
        rule: Requantize | None,
        activation: Activation,
        axis: int = 1,
    ) -> Array:
        """Add the bias to the sums of an input of type `kind` and finish the output."""
        if self.bias is not None:
            bias = constants[self.bias].values
            shape = [1] * acc.ndim
            shape[axis] = len(bias)
            acc = acc.astype(np.float32 if kind.is_float else np.int64) + bias.reshape(shape)
        if kind.is_float:
            return finish_real(acc, activation)
        wide = kind.dtype == "int16"
        factors = self.factors(constants)
        return finish(self, acc, rule, activation, factors, axis=axis, wide=wide)


def accumulator_type(
    weight: Array, bias: Array | None, reach: int = 128
) -> type[np.floating[np.typing.NBitBase]]:
    """Return float32 where all sums of weight (O x K) times |input| <= reach are exact.

    Else float64, in which sums below 2**53 are exact.
    """
    bound = reach * np.abs(weight.astype(np.int64)).sum(axis=1)
    if bias is not None:
        bound = bound + np.abs(bias.astype(np.int64))
    return np.float32 if bound.max(initial=0) < 2**24 else np.float64  # type: ignore[return-value]


def finish_real(acc: Array, activation: Activation) -> Array:
    """Return the float32 output of a layer of a float network."""
    real = acc.astype(np.float32, copy=False)
    if activation == "abs":
        return np.abs(real)
    return np.maximum(real, np.float32(0)) if activation == "relu" else real


def finish(
    op: Op,
    acc: Array,
    rule: Requantize | None,
    activation: Activation,
    multiplier: Array | None = None,
    *,
    axis: int = 1,
    wide: bool = False,
) -> Array:
    """Turn exact accumulators into the op's output.

    Args:
        op: for messages.
        acc: sums with the bias.
        rule: None leaves raw int32 sums.
        activation: applied after saturation.
        multiplier: factors of an `Affine` rule.
        axis: of the output channels.
        wide: the input has 16 bits, so sums have 64.
    """
    whole = acc.astype(np.int64)
    if not wide and whole.size and max(-int(whole.min()), int(whole.max())) > INT32_LIMIT:
        raise op.fail("an accumulator leaves 32 bits", try_="fewer input channels or weight bits")
    if rule is None:
        return whole.astype(np.int32)
    if isinstance(rule, Affine):
        assert multiplier is not None  # infer() saw to it
        last = np.moveaxis(whole, axis, -1)
        return np.moveaxis(rule.apply(last, multiplier, wide=wide), -1, axis)
    return activate(saturate(rule.apply(whole)), activation)


def weighted_type(
    op: Weighted,
    shape: tuple[int, ...],
    x: TensorType,
    constants: Mapping[str, Constant],
    rule: Requantize | None,
    activation: Activation,
) -> TensorType:
    """Return the type of an op that accumulates x times weight, with `shape` as it will be."""
    weight = constants[op.weight]
    if min(shape) < 1:
        raise op.fail(f"its output would be {shape}", try_="a larger input or smaller kernel")
    if x.is_float:
        if weight.values.dtype.kind != "f" or rule is not None:
            raise op.fail("its input is float32", why="weights must be float32, without a rule")
        return TensorType(shape, "float32", 1.0)
    if x.dtype not in ("int8", "int16"):
        raise op.fail(f"its input is {x.dtype}", why="int8, int16 or float32 is needed")
    if weight.values.dtype.kind == "f":
        raise op.fail(f"its weights are float32 on a {x.dtype} input")
    if isinstance(rule, Affine):
        _check_multiplier(op, constants, rule, activation)
        return TensorType(shape, rule.dtype, rule.scale, rule.zero_point)
    if x.zero_point and isinstance(rule, PowerOfTwo):
        raise op.fail("a zero point with a power-of-two rule", why="that rule is symmetric")
    scale = x.scale * weight.scale
    if rule is None:
        if activation != "none":
            raise op.fail(f"activation {activation!r} on a raw 32-bit output")
        return TensorType(shape, "int32", scale)
    return TensorType(shape, "int8", scale * rule.factor)


def _check_multiplier(
    op: Weighted, constants: Mapping[str, Constant], rule: Affine, activation: Activation
) -> None:
    if op.multiplier is None:
        raise op.fail("an affine rule needs a multiplier constant")
    if activation != "none":
        raise op.fail(f"activation {activation!r}", why="an affine rule clamps by low and high")
    values = constants[op.multiplier].values
    if rule.rounding == "float":
        good = values.dtype == np.float32 and values.ndim == 1
    else:
        good = values.dtype == np.int32 and values.ndim == 2 and len(values) == 2
    if not good:
        raise op.fail(f"its multiplier is {values.dtype} {values.shape} for {rule.rounding}")


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
