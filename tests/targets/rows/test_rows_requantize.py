"""Lines give the bytes of the program's rule for every accumulator that can occur."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from c_kernels import library
from hypothesis import given
from hypothesis import strategies as st

from edgebed.errors import EdgebedError
from edgebed.program.arithmetic import Affine, PowerOfTwo, multiplier_table
from edgebed.targets._shared.rows.requantize import (
    TWICE,
    TWICE_SHORT,
    Lines,
    first_in_range,
    lines,
    to_table,
)

_TEXT = """
#include "rules.h"
void many(const int32_t *sums, int32_t count, const eb_line *line, const int32_t *o, int8_t *out) {
    const eb_output output = {(int8_t)o[0], (int8_t)o[1], (int8_t)o[2], (uint8_t)o[3],
                              (uint8_t)o[4]};
    for (int32_t i = 0; i < count; i++)
        out[i] = (int8_t)eb_requantize(sums[i] + line->bias, line, &output);
}
"""


def computed(found: Lines, channel: int, sums: np.ndarray, before: str = "") -> np.ndarray:
    """Return the bytes of sums without bias, as the C code computes them."""
    table = np.frombuffer(to_table(found), "<i4").reshape(-1, 3)[channel].copy()
    output = np.array(
        [found.low, found.high, found.zero_point, found.fraction, found.rule], np.int32
    )
    values, out = np.ascontiguousarray(sums, np.int32), np.zeros(len(sums), np.int8)
    pointers = [a.ctypes.data_as(ctypes.c_void_p) for a in (values, table, output, out)]
    library(before + _TEXT).many(pointers[0], len(values), *pointers[1:])
    return out


def expected(rule: Affine, factors: np.ndarray, channel: int, acc: np.ndarray) -> np.ndarray:
    mine = factors[..., channel : channel + 1]
    out = rule.apply(acc[:, None], mine)[:, 0].astype(np.int64)
    return (out - (128 if rule.dtype == "uint8" else 0)).astype(np.int8)


roundings = st.sampled_from(["fixed_point", "fixed_point_single", "float"])


@st.composite
def layers(draw):
    """Draw a rule, factors, biases and accumulator bounds of a few channels."""
    rounding, dtype = draw(roundings), draw(st.sampled_from(["int8", "int8", "uint8"]))
    least = 0 if dtype == "uint8" else -128
    zero = draw(st.integers(least, least + 255))
    low = draw(st.sampled_from([least, zero]))
    high = draw(st.integers(min(zero + 1, least + 255), least + 255))
    rule = Affine(1.0, zero, rounding, low, high, dtype)
    size = draw(st.integers(1, 5))
    powers = draw(st.lists(st.floats(-18, 0.5), min_size=size, max_size=size))
    real = np.float32(2.0) ** np.array(powers, np.float32)
    factors = real if rounding == "float" else multiplier_table(list(map(float, real)))
    bias = np.array(draw(st.lists(st.integers(-(2**18), 2**18), min_size=size, max_size=size)))
    ends = np.array(
        draw(st.lists(st.tuples(*[st.integers(-(2**17), 2**17)] * 2), min_size=size, max_size=size))
    )
    return rule, factors, bias, ends.min(1), ends.max(1)


def interesting(low: int, high: int) -> np.ndarray:
    """Return all accumulators of a small range, else many, both ends and those around zero."""
    if high - low < 60_000:
        return np.arange(low, high + 1)
    rng = np.random.default_rng(low & 0xFFFF)
    drawn = rng.integers(low, high + 1, 20_000)
    near = np.arange(max(low, -5000), min(high, 5000) + 1)
    return np.unique(np.concatenate([drawn, near, [low, high]]))


@given(layers())
def test_every_accumulator_gets_its_byte(layer):
    rule, factors, bias, low, high = layer
    found = lines(rule, factors, bias, low, high)
    for channel in range(len(bias)):
        acc = interesting(int(low[channel]), int(high[channel]))
        right = expected(rule, factors, channel, acc)
        assert np.array_equal(computed(found, channel, acc - bias[channel]), right)


@given(layers())
def test_a_line_stays_within_32_bits(layer):
    rule, factors, bias, low, high = layer
    found = lines(rule, factors, bias, low, high)
    if not found.linear:
        return
    assert np.all(found.multiplier % 2 == 0) and np.all(found.multiplier >= 0)
    assert found.multiplier.max() < 2**31 and np.abs(found.bias).max() < 2**31
    for end in (low, high):
        moved = end - bias + found.bias
        assert np.abs(moved).max() < 2**31
        assert np.abs((moved * found.multiplier >> 32) + found.c).max() < 2**31


@given(st.integers(-3, 24), st.booleans(), st.integers(-(2**22), 2**22), st.integers(1, 2**17))
def test_shifts(right, relu, low, size):
    rule, activation = PowerOfTwo(right), "relu" if relu else "none"
    bounds = np.array([low]), np.array([low + size])
    found = lines(rule, None, np.array([7]), *bounds, activation=activation)
    acc = interesting(low, low + size)
    right_bytes = np.clip(rule.apply(acc), 0 if relu else -128, 127).astype(np.int8)
    assert np.array_equal(computed(found, 0, acc - 7), right_bytes)


def test_relu_layers_have_lines():
    """What a clamp at the zero point leaves is one straight line."""
    rng = np.random.default_rng(5)
    factors = multiplier_table(list(2.0 ** rng.uniform(-12, -7, 200)))
    low, high = -rng.integers(1, 2**18, 200), rng.integers(1, 2**18, 200)
    rule = Affine(1.0, -128)
    assert lines(rule, factors, np.zeros(200, np.int64), low, high).linear


def test_two_roundings_have_no_line_where_both_signs_matter():
    factors = multiplier_table([0.0123, 0.00456])
    bounds = np.full(2, -(2**16)), np.full(2, 2**16)
    assert lines(Affine(1.0, 3), factors, np.zeros(2, np.int64), *bounds).rule == TWICE_SHORT
    left = multiplier_table([0.0123, 1.7])
    assert lines(Affine(1.0, 3), left, np.zeros(2, np.int64), *bounds).rule == TWICE


def test_wrapping_left_shifts_are_kept_as_they_are():
    """TensorFlow Lite's left shift wraps; so does the rule in C."""
    rule, factors = Affine(1.0, 0), multiplier_table([3000.0])
    low, high = np.array([-(2**24)]), np.array([2**24])
    found = lines(rule, factors, np.array([0]), low, high)
    acc = np.random.default_rng(0).integers(-(2**24), 2**24, 5000)
    assert np.array_equal(computed(found, 0, acc), expected(rule, factors, 0, acc))


@given(st.floats(2.0**-30, 4.0, width=32), st.integers(-(2**31) + 1, 2**31 - 1))
def test_float_products_with_and_without_an_fpu(factor, acc):
    rule, factors = Affine(1.0, 0, "float"), np.array([factor], np.float32)
    found = lines(rule, factors, np.array([0]), np.array([-(2**31) + 1]), np.array([2**31 - 1]))
    values = np.array([acc, acc // 256, acc // 65536, -acc])
    for before in ("", "#define EB_WITHOUT_FPU\n"):
        right = expected(rule, factors, 0, values)
        assert np.array_equal(computed(found, 0, values, before), right)


@given(
    st.integers(0, 2**12), st.integers(2, 2**12), st.integers(0, 2**12 - 1), st.integers(0, 2**12)
)
def test_first_in_range(factor, modulus, low, width):
    low %= modulus
    high = min(low + width, modulus - 1)
    right = next((x for x in range(modulus) if low <= factor * x % modulus <= high), None)
    assert first_in_range(factor, modulus, low, high) == right


def test_outputs_that_are_no_bytes_are_refused():
    zero = np.zeros(1, np.int64)
    with pytest.raises(EdgebedError, match="int32"):
        lines(None, None, zero, zero, zero)
    with pytest.raises(EdgebedError, match="abs"):
        lines(PowerOfTwo(3), None, zero, zero, zero, activation="abs")
