"""Rules of two bytes: every pair is evaluated exactly, then the cheapest form that agrees is taken.

A sum or product of two int8 numbers has 65536 cases. So the rule of a layer is a table of bytes
here, whatever its arithmetic, and a float multiply-add of elementwise.h is proved by trying it
on all of them. What no form reproduces is computed from the table itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgebed.program.ops._float import fused_multiply_add
from edgebed.targets.host.kernels.pool import float_literal
from edgebed.targets.host.kernels.requantize import Clamp

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[Any]
Form = Literal["even", "away", "table"]
Constants = tuple[float, float, float, float]
"""Scale of a (or the product), scale of b, offset, half."""

_BIAS = 128
_FORMS = {"even": "EB_PAIR_EVEN", "away": "EB_PAIR_AWAY", "table": "EB_PAIR_TABLE"}
_STEPS = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1), (1, -1), (-1, 1))
_SHARES = (0.5, 0.25, 0.75, 0.1, 0.9, 0.01, 0.99)


@dataclass(frozen=True, eq=False)
class Pair:
    """A rule of two int8 numbers.

    Attributes:
        levels: int64 [256, 256], the int8 result of a = -128 + row, b = -128 + column.
        product: the result follows (a - a_zero) * (b - b_zero), else a weighted sum.
        a_scale: real factor of a, or of the product.
        b_scale: real factor of b (sums).
        a_zero, b_zero: int8 zero points.
        clamp: zero point and ends of the result.
    """

    levels: Ints
    product: bool
    a_scale: float
    b_scale: float
    a_zero: int
    b_zero: int
    clamp: Clamp


@dataclass(frozen=True, eq=False)
class PackedPair:
    """A rule ready for code.

    Attributes:
        form: of the vector variants of the generated code.
        plain_form: of the plain one.
        table: 65536 bytes, [a][b] by stored bytes; empty where both forms do without.
        floats: a_scale, b_scale, offset, half of the vector form.
        doubles: the same of the plain form.
        pair: the rule.
    """

    form: Form
    plain_form: Form
    table: bytes
    floats: Constants
    doubles: Constants
    pair: Pair

    def literal(self) -> str:
        """Return the C literal of type eb_pair."""
        clamp = self.pair.clamp
        fields = (
            _FORMS[self.form],
            _FORMS[self.plain_form],
            int(self.pair.product),
            *(float_literal(value) for value in self.floats),
            *(float(value).hex() for value in self.doubles),
            *(self.pair.a_zero + _BIAS, self.pair.b_zero + _BIAS),
            *(clamp.zero_point + _BIAS, clamp.low + _BIAS, clamp.high + _BIAS),
        )
        return f"(eb_pair){{{', '.join(map(str, fields))}}}"


def fit(pair: Pair) -> PackedPair:
    """Return the cheapest forms that give the pair's levels for all 65536 inputs."""
    floats = _fit(pair, single=True)
    doubles = _fit(pair, single=False)
    form: Form = floats[0] if floats else "table"
    plain_form: Form = doubles[0] if doubles else "table"
    needed = "table" in (form, plain_form)
    table = (pair.levels + _BIAS).astype(np.uint8).tobytes() if needed else b""
    nothing = (0.0, 0.0, 0.0, 0.0)
    return PackedPair(
        form, plain_form, table, floats[1] if floats else nothing,
        doubles[1] if doubles else nothing, pair,
    )  # fmt: skip


def _values(zero_point: int) -> Ints:
    return np.arange(-_BIAS, _BIAS) - zero_point


def _fit(pair: Pair, single: bool) -> tuple[Form, Constants] | None:
    kind: Any = np.float32 if single else np.float64
    forms: tuple[Form, ...] = ("even", "away")
    for step_a, step_b in _STEPS if single else _STEPS[:1]:
        a = float(kind(pair.a_scale * (1 + step_a * 2.0**-24)))
        b = float(kind(pair.b_scale * (1 + step_b * 2.0**-24)))
        for form in forms:
            for offset, half in _offsets(pair, form, a, b):
                constants = (a, b, float(kind(offset)), float(kind(half)))
                if np.array_equal(_evaluate(pair, form, constants, kind), pair.levels):
                    return form, constants
    return None


def _offsets(pair: Pair, form: Form, a: float, b: float) -> list[tuple[float, float]]:
    """Return offsets and halves to try: the real ones, then what real numbers leave open."""
    away, zero = form == "away", pair.clamp.zero_point
    stored = np.arange(256)
    inside = (pair.levels > pair.clamp.low) & (pair.levels < pair.clamp.high)
    if not pair.product:
        real = a * stored[:, None] + b * stored
        middle = -a * (pair.a_zero + _BIAS) - b * (pair.b_zero + _BIAS)
    else:
        real = a * _values(pair.a_zero)[:, None] * _values(pair.b_zero)
        middle = 0.0
    if away and pair.product:
        size = np.abs(pair.levels - zero)
        inside &= size > 0
        return [(0.0, half) for half in _between(size - np.abs(real), 0.5, 1.0, inside)]
    goal = pair.levels - zero if away else pair.levels + _BIAS
    exact = middle + (0 if away else zero + _BIAS)
    return [(offset, 0.5) for offset in _between(goal - 0.5 - real, exact, 1.0, inside)]


def _between(
    least: Floats, exact: float, width: float, counts: npt.NDArray[np.bool_]
) -> list[float]:
    """Return numbers between all of `least` and all of least + width, the exact one first."""
    low = float(np.max(least, where=counts, initial=-1e9))
    high = float(np.min(least + width, where=counts, initial=1e9))
    if not counts.any():
        return [exact]
    return [exact, *(low + share * (high - low) for share in _SHARES)]


def _evaluate(pair: Pair, form: Form, constants: Constants, kind: Any) -> Ints:
    """Return the levels that the code of elementwise.h computes, operation by operation."""
    a_scale, b_scale, offset, half = (kind(value) for value in constants)
    stored = np.arange(256).astype(kind)
    if pair.product:
        product = (stored - kind(pair.a_zero + _BIAS))[:, None] * (
            stored - kind(pair.b_zero + _BIAS)
        )
        value = _multiply_add(product, a_scale, offset)
    else:
        second = _multiply_add(stored, b_scale, offset)
        value = _multiply_add(stored[:, None], a_scale, second)
    if form == "even":
        levels = np.rint(value).astype(np.int64) - _BIAS
    else:
        levels = np.trunc(value + np.copysign(half, value)).astype(np.int64)
        levels = levels + pair.clamp.zero_point
    return np.clip(levels, pair.clamp.low, pair.clamp.high)


def _multiply_add(x: Floats, scale: Any, addend: Any) -> Floats:
    """Return x * scale + addend: fused in float32, rounded twice in float64."""
    if x.dtype == np.float32:
        return fused_multiply_add(x, scale, addend)
    result: Floats = x * scale + addend
    return result
