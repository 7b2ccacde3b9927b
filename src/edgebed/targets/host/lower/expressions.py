"""C expressions of the arithmetic between one integer scale and another."""

from __future__ import annotations

import numpy as np

from edgebed.program.arithmetic import Affine, quantize_multiplier
from edgebed.program.types import TensorType
from edgebed.targets.host.layout import stored_bias, stored_zero

HEADER = "plain.h"


def real(value: float) -> str:
    """Return the exact C literal of a number rounded to float32."""
    number = float(np.float32(value))
    if np.isnan(number):
        return "NAN"
    if np.isinf(number):
        return "INFINITY" if number > 0 else "-INFINITY"
    if number == int(number) and abs(number) < 2**24:
        return f"{int(number)}.0f"
    return f"{number.hex()}f"


def whole(value: int) -> str:
    """Return the C literal of an integer."""
    if value == -(2**31):
        return "INT32_MIN"
    if value == -(2**63):
        return "INT64_MIN"
    return str(value) if abs(value) < 2**31 else f"INT64_C({value})"


def ends(rule: Affine) -> str:
    """Return zero point and limits as stored numbers: three C arguments."""
    bias = 128 if rule.dtype == "int8" else 0
    return ", ".join(whole(n + bias) for n in (rule.zero_point, rule.low, rule.high))


def centred(value: str, kind: TensorType) -> str:
    """Return a stored number less its zero point."""
    zero = stored_zero(kind)
    wide = "(int64_t)" if kind.dtype in ("int32", "int64") else "(int32_t)"
    if zero == 0:
        return f"{wide}{value}"
    return f"({wide}{value} {'-' if zero > 0 else '+'} {abs(zero)})"


def real_value(value: str, kind: TensorType) -> str:
    """Return the real number that a stored one means, in float32."""
    if kind.is_float:
        return value
    return f"((float){centred(value, kind)} * {real(kind.scale)})"


def quantised(expression: str, rule: Affine) -> str:
    """Return a real number as a stored one of a rule."""
    return f"eb_quantise({expression}, {real(rule.scale)}, {ends(rule)})"


def rounded_early(expression: str, rule: Affine) -> str:
    """Return a real number that has its zero point already as a stored one of a rule."""
    low, high = rule.low + rule.file_offset, rule.high + rule.file_offset
    stored = (128 if rule.dtype == "int8" else 0) - rule.file_offset
    return f"(eb_to_integer({expression}, 0, {low}, {high}) + {stored})"


def clamped(expression: str, rule: Affine) -> str:
    """Return an integer plus the zero point, clamped, as it is stored."""
    zero, low, high = ends(rule).split(", ")
    return f"eb_clamp((int64_t)({expression}) + {zero}, {low}, {high})"


def multiplied(expression: str, factor: float, rule: Affine) -> str:
    """Return an integer times a real factor in the fixed point of a rule."""
    multiplier, shift = quantize_multiplier(factor)
    return by_multiplier(expression, multiplier, shift, rule)


def by_multiplier(expression: str, multiplier: int, shift: int, rule: Affine) -> str:
    """Return an int32 times multiplier / 2**31 * 2**shift, rounded as the rule says."""
    function = "eb_fixed_single" if rule.rounding == "fixed_point_single" else "eb_fixed"
    return f"{function}((int32_t)({expression}), {multiplier}, {shift})"


def rescaled(value: str, kind: TensorType, rule: Affine) -> str:
    """Return a stored number as one of another scale; see `edgebed.program.ops._rescale`."""
    if np.float32(kind.scale) == np.float32(rule.scale):
        return clamped(centred(value, kind), rule)
    if rule.rounding == "float":
        return quantised(real_value(value, kind), rule)
    factor = float(np.float32(kind.scale)) / float(np.float32(rule.scale))
    return clamped(multiplied(centred(value, kind), factor, rule), rule)


def value_of(stored: str, kind: TensorType) -> str:
    """Return a stored number as the tensor's own."""
    return f"((int32_t){stored} - 128)" if stored_bias(kind) else stored


def is_same_number(kind: TensorType, rule: Affine) -> bool:
    """Return whether a rule leaves every stored number as it is (uint8 to int8, for instance)."""
    limits = {"int8": (-128, 127), "uint8": (0, 255)}
    if kind.dtype not in limits or rule.dtype not in limits:
        return False
    zero = rule.zero_point + (128 if rule.dtype == "int8" else 0)
    return (
        np.float32(kind.scale) == np.float32(rule.scale)
        and zero == stored_zero(kind)
        and (rule.low, rule.high) == limits[rule.dtype]
    )
