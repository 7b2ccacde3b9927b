"""The rule between accumulators and stored bytes as numbers, before a kernel's tables are made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgebed.targets.host.kernels import requantize
from edgebed.targets.host.kernels.requantize import Bounds, Clamp, Requantization

Ints = npt.NDArray[np.int64]
RuleName = Literal["none", "fixed", "fixed_single", "float", "shift"]

_BIAS = 128


def _nothing() -> npt.NDArray[Any]:
    return np.zeros(0, np.int64)


@dataclass(frozen=True, eq=False)
class Rescale:
    """How int32 accumulators become int8 activations.

    Attributes:
        rule: `fixed` (TensorFlow Lite, rounded twice), `fixed_single` (rounded once), `float`
            (ONNX Runtime), `shift` (half towards +infinity), `none` (accumulators are kept).
        clamp: zero point and ends of the output, int8 values.
        multipliers: int [channels], 31-bit fractions; `fixed` and `fixed_single`.
        shifts: int [channels]; positive shifts left (`fixed`, `fixed_single`) or right (`shift`).
        scales: float32 [channels]; `float`.
    """

    rule: RuleName
    clamp: Clamp = field(default_factory=Clamp)
    multipliers: npt.NDArray[Any] = field(default_factory=_nothing)
    shifts: npt.NDArray[Any] = field(default_factory=_nothing)
    scales: npt.NDArray[Any] = field(default_factory=_nothing)

    @property
    def zero(self) -> int:
        """The output's zero point as a stored byte."""
        return self.clamp.zero_point + _BIAS

    @property
    def low(self) -> int:
        """The least stored byte."""
        return self.clamp.low + _BIAS

    @property
    def high(self) -> int:
        """The greatest stored byte."""
        return self.clamp.high + _BIAS

    def at(self, channels: Ints) -> Rescale:
        """Return the rule of other channels: those with these indices, in their order."""
        parts = (self.multipliers, self.shifts, self.scales)
        return Rescale(self.rule, self.clamp, *(p[channels] if len(p) else p for p in parts))

    def factors(self) -> npt.NDArray[np.float64]:
        """Return the real factor of every channel, float64 [channels]."""
        if self.rule == "float":
            return self.scales.astype(np.float64)
        if self.rule == "shift":
            return np.ldexp(1.0, -self.shifts.astype(np.int64))
        return np.ldexp(self.multipliers / 2.0**31, self.shifts.astype(np.int64))

    def stored(self, acc: Ints) -> Ints:
        """Return the stored byte of accumulators, not clamped, int64; channels on the first axis.

        This is the plain definition that kernels are held against.
        """
        column = (-1,) + (1,) * (acc.ndim - 1)
        if self.rule == "none":
            return acc
        if self.rule == "float":
            scaled = acc.astype(np.float32) * self.scales.astype(np.float32).reshape(column)
            return _rounded(scaled) + self.zero
        shift = _int64(self.shifts).reshape(column)
        if self.rule == "shift":
            half: Ints = (np.int64(1) << np.maximum(shift, 0)) >> 1
            level: Ints = ((acc << np.maximum(-shift, 0)) + half) >> np.maximum(shift, 0)
            return level + self.zero
        product = _int64(self.multipliers).reshape(column)
        if self.rule == "fixed_single":
            once: Ints = (acc * product + (np.int64(1) << (30 - shift))) >> (31 - shift)
            return once + self.zero
        return _twice_rounded(acc << np.maximum(shift, 0), product, -shift) + self.zero

    def requantization(
        self, bounds: Bounds | None = None, *, movable_bias: bool = False
    ) -> Requantization:
        """Return the tables of requantize.h; with bounds the fast form where it is exact.

        movable_bias: the caller adds `moved` of the answer to its bias, which is cheaper still.
        """
        if self.rule == "none":
            return requantize.raw(len(bounds.low) if bounds is not None else 0)
        if self.rule == "float":
            return requantize.by_float(self.scales, self.clamp)
        if self.rule == "shift":
            return requantize.by_shift(self.shifts, self.clamp, bounds, movable_bias=movable_bias)
        return requantize.fixed(
            self.multipliers,
            self.shifts,
            self.clamp,
            bounds,
            single_rounding=self.rule == "fixed_single",
            movable_bias=movable_bias,
        )


def _int64(values: npt.NDArray[Any]) -> Ints:
    return values.astype(np.int64)


def _rounded(values: npt.NDArray[Any]) -> Ints:
    """Return the nearest integers, half to even."""
    rounded: Ints = np.rint(values).astype(np.int64)
    return rounded


def _twice_rounded(x: Ints, multipliers: Ints, shift: Ints) -> Ints:
    """Return the doubling high product, rounded, then divided by 2**shift, ties away from zero."""
    right = np.maximum(shift, 0)
    high = (x * multipliers + (1 << 30)) >> 31
    mask = (np.int64(1) << right) - 1
    up = (high & mask) > (mask >> 1) + (high < 0)
    return (high >> right) + up
