"""Requantisation of 16 accumulators against the definitions, in every variant of the C code."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from variants import build, pointer

from edgebed.targets.host.kernels.requantize import (
    Bounds,
    Clamp,
    Requantization,
    by_float,
    by_shift,
    fixed,
    narrowed,
)
from edgebed.targets.host.kernels.rules import Rescale, RuleName
from edgebed.targets.host.kernels.snapped import snapped

Ints = npt.NDArray[np.int64]
RULES = {
    "EB_FIXED": 1,
    "EB_FIXED_SINGLE": 2,
    "EB_FLOAT": 3,
    "EB_SHIFT": 4,
    "EB_LINE": 5,
    "EB_FUSED": 6,
    "EB_SNAPPED": 7,
    "EB_SNAPPED_KINK": 8,
    "EB_FLOAT_NARROW": 9,
}
FRACTIONS = range(20)

C_FUNCTION = """
void requantize_{0}_{1}(uint8_t *one, uint8_t *four, const int32_t *acc, int vectors,
                        const int32_t *table, int rule, const int *ends) {{
  const int known = {0} == 0 ? rule : rule == EB_LINE ? EB_LINE : EB_FUSED; /* compiles faster */
  const eb_requantization r = {{known, ends[0], ends[1], ends[2], {0}, {1}}};
  for (int i = 0; i < vectors; i++)
    eb_requantize16(one + 16 * i, eb_load_i32x16(acc + 16 * i), table, r, 16);
  for (int i = 0; i + 4 <= vectors; i += 4) {{
    eb_i32x16 q[4];
    for (int j = 0; j < 4; j++)
      q[j] = eb_scale16(eb_load_i32x16(acc + 16 * (i + j)), table, r);
    eb_store_first_u8x64(four + 16 * i, eb_bytes64(q[0], q[1], q[2], q[3], r), 64);
  }}
}}
"""


@dataclass(frozen=True)
class Libraries:
    by_variant: dict[str, ctypes.CDLL]

    def run(self, accumulators: Ints, rule: Requantization) -> dict[str, npt.NDArray[np.int16]]:
        """Int8 results, [vectors, 16], of each variant; both ways of narrowing must agree."""
        acc = np.ascontiguousarray(accumulators, dtype=np.int32)
        ends = (rule.clamp.zero_point, rule.clamp.low, rule.clamp.high)
        stored = np.array([end + 128 for end in ends], np.int32)
        results = {}
        for name, library in self.by_variant.items():
            one, four = np.zeros((2, *acc.shape), np.uint8)
            function = library[f"requantize_{rule.fraction}_{int(rule.ties)}"]
            function(
                *(pointer(a) for a in (one, four, acc)),
                len(acc),
                pointer(rule.table),
                RULES[rule.rule],
                pointer(stored),
            )
            np.testing.assert_array_equal(one, four, err_msg=name)
            results[name] = one.astype(np.int16) - 128
        return results


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Libraries:
    functions = [C_FUNCTION.format(f, ties) for f in FRACTIONS for ties in (0, 1)]
    text = '#include "requantize.h"\n' + "".join(functions)
    return Libraries(dict(build(text, tmp_path_factory.mktemp("requantize"))))


def tflite(acc: int, multiplier: int, shift: int) -> int:
    """TensorFlow Lite's two roundings as gemmlowp writes them, wrapping like int32."""
    left = (acc << max(shift, 0)) & 0xFFFFFFFF
    product = (left - (1 << 32) if left >> 31 else left) * multiplier
    nudged = product + ((1 << 30) if product >= 0 else 1 - (1 << 30))
    high = abs(nudged) // (1 << 31) * (1 if nudged >= 0 else -1)
    right = max(-shift, 0)
    mask = (1 << right) - 1
    threshold = (mask >> 1) + (1 if high < 0 else 0)
    return (high >> right) + (1 if (high & mask) > threshold else 0)


def tflite_once(acc: int, multiplier: int, shift: int) -> int:
    return (acc * multiplier + (1 << (30 - shift))) >> (31 - shift)


def half_up(acc: int, right: int) -> int:
    return (acc + (1 << (right - 1))) >> right if right > 0 else acc << -right


def clamped(values: Any, clamp: Clamp) -> npt.NDArray[np.int64]:
    shifted = [int(v) + clamp.zero_point for v in values]
    return np.array([min(max(v, clamp.low), clamp.high) for v in shifted], np.int64)


def interesting(scale: float, limit: int, seed: int) -> Ints:
    """Accumulators about every rounding boundary of a byte, about zero, the ends, and random."""
    boundaries = (np.arange(-260, 520) - 260 + 0.5) / scale
    near = np.rint(boundaries[:, None]) + np.arange(-2, 3)
    drawn = np.random.default_rng(seed).integers(-limit, limit + 1, 400)
    ends = [-limit, -limit + 1, limit - 1, limit]
    every = np.concatenate([near.ravel(), np.arange(-40, 41), drawn, ends])
    kept = every[np.abs(every) <= limit].astype(np.int64)
    return np.resize(kept, -(-len(kept) // 4) * 4)


clamps = st.tuples(*[st.integers(-128, 127)] * 3).map(
    lambda t: Clamp(t[0], min(t[1:]), max(t[1:]))
) | st.sampled_from([Clamp(-128), Clamp(), Clamp(-128, -128, 77), Clamp(5, 5, 127)])
multipliers = st.integers(1 << 30, (1 << 31) - 1) | st.sampled_from(
    [1 << 30, (1 << 30) + 1, 1431655765, 1992157658, (1 << 31) - 1, 3 << 29]
)


def check(libraries: Libraries, rule: Requantization, acc: Ints, expected: Ints) -> None:
    lanes = np.repeat(acc[:, None], 16, axis=1)
    if rule.moved is not None:
        lanes = lanes + rule.moved
    for name, found in libraries.run(lanes, rule).items():
        np.testing.assert_array_equal(found, np.repeat(expected[:, None], 16, 1), err_msg=name)


def test_published_vectors(libraries: Libraries) -> None:
    known = {68: 0, 69: 1, -69: -1, 12345: 89, -12345: -89, 16777216: 127}
    acc = np.array([*known, 0, 0])
    expected = np.array([*known.values(), 0, 0])
    for limit in (None, 1 << 21):
        bounds = limit and Bounds(np.full(16, -limit), np.full(16, limit))
        rule = fixed(np.full(16, 1992157658), np.full(16, -7), Clamp(), bounds)
        check(libraries, rule, acc, expected)


@settings(max_examples=60)
@given(multipliers, st.integers(-14, 2), clamps, st.sampled_from([4, 12, 20, 24]), st.booleans())
def test_fixed_point(
    libraries: Libraries, multiplier: int, shift: int, clamp: Clamp, bits: int, single: bool
) -> None:
    limit = 1 << bits
    acc = interesting(multiplier / 2**31 * 2.0**shift, limit, multiplier)
    definition = tflite_once if single else tflite
    expected = clamped([definition(int(a), multiplier, shift) for a in acc], clamp)
    many, shifts = np.full(16, multiplier), np.full(16, shift)
    known = Bounds(np.full(16, -limit), np.full(16, limit))
    for bounds, movable in ((None, False), (known, False), (known, True)):
        rule = fixed(many, shifts, clamp, bounds, single_rounding=single, movable_bias=movable)
        check(libraries, rule, acc, expected)


@settings(max_examples=30)
@given(st.integers(-20, 20), clamps, st.sampled_from([4, 12, 20]))
def test_power_of_two(libraries: Libraries, right: int, clamp: Clamp, bits: int) -> None:
    limit = 1 << bits
    acc = interesting(2.0**-right, limit, right + 20)
    expected = clamped([half_up(int(a), right) for a in acc], clamp)
    known = Bounds(np.full(16, -limit), np.full(16, limit))
    for bounds, movable in ((None, False), (known, False), (known, True)):
        rule = by_shift(np.full(16, right), clamp, bounds, movable_bias=movable)
        check(libraries, rule, acc, expected)


@settings(max_examples=40)
@given(st.floats(2.0**-20, 64, width=32) | st.sampled_from([0.5, 0.25, 1.5, 3e38]), clamps)
def test_float_scales_round_half_to_even(libraries: Libraries, scale: float, clamp: Clamp) -> None:
    acc = interesting(scale, (1 << 31) - 1, 1)
    with np.errstate(over="ignore"):
        product = acc.astype(np.float32) * np.float32(scale)
    expected = clamped(np.rint(np.clip(product, -1e6, 1e6)), clamp)
    check(libraries, by_float(np.full(16, scale), clamp), acc, expected)


@settings(max_examples=30)
@given(st.floats(2.0**-20, 0.875, width=32), clamps, st.integers(2, 20))
def test_narrow_float_accumulators_need_no_limits(
    libraries: Libraries, scale: float, clamp: Clamp, bits: int
) -> None:
    limit = (1 << bits) - 1
    acc = interesting(scale, limit, bits)
    expected = clamped(np.rint(acc.astype(np.float32) * np.float32(scale)), clamp)
    bounds = Bounds(np.full(16, -limit), np.full(16, limit))
    rule = narrowed(by_float(np.full(16, scale), clamp), bounds)
    assert rule.rule == "EB_FLOAT_NARROW"
    check(libraries, rule, acc, expected)
    wide = Bounds(16 * bounds.low - (1 << 26), bounds.high)
    assert narrowed(by_float(np.full(16, 1.0), clamp), wide).rule == "EB_FLOAT"


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(8, 18), clamps, st.integers(0, 3))
def test_channels_keep_their_own_numbers(
    libraries: Libraries, seed: int, bits: int, clamp: Clamp, spread: int
) -> None:
    """Random channels as networks have them: every accumulator near a boundary, in all forms."""
    draw = np.random.default_rng(seed)
    many = draw.integers(1 << 30, 1 << 31, 16)
    many[5] = 0  # a dead channel
    shifts = 7 - bits + draw.integers(-spread, 1, 16)
    limit = 1 << bits
    known = Bounds(np.full(16, -limit), np.full(16, limit))
    near = [
        interesting(max(int(m), 1) / 2**31 * 2.0 ** int(s), limit, seed)
        for m, s in zip(many, shifts, strict=True)
    ]
    acc = np.stack([np.resize(column, 4400) for column in near], axis=1)
    columns = [
        clamped([tflite(int(a), int(m), int(s)) for a in acc[:, c]], clamp)
        for c, (m, s) in enumerate(zip(many, shifts, strict=True))
    ]
    for bounds, movable in ((None, False), (known, False), (known, True)):
        rule = fixed(many, shifts, clamp, bounds, movable_bias=movable)
        lanes = acc if rule.moved is None else acc + rule.moved
        for name, found in libraries.run(lanes, rule).items():
            np.testing.assert_array_equal(found, np.stack(columns, 1), err_msg=name)


def test_the_cheapest_form_is_found_for_ordinary_layers() -> None:
    draw = np.random.default_rng(5)
    for bits in (12, 15, 18):
        many = draw.integers(1 << 30, 1 << 31, 64)
        shifts = 8 - bits + draw.integers(-2, 1, 64)
        bounds = Bounds(np.full(64, -1 << bits), np.full(64, 1 << bits))
        rule = fixed(many, shifts, Clamp(-128), bounds, movable_bias=True)
        assert rule.rule == "EB_FUSED", f"{bits} bits"


def test_the_fast_form_is_refused_where_it_could_overflow() -> None:
    wide = Bounds(np.full(16, -(1 << 30)), np.full(16, 1 << 30))
    assert fixed(np.full(16, 1 << 30), np.full(16, -3), Clamp(), wide).rule == "EB_FIXED"


def test_the_fast_form_is_refused_for_unnormalised_multipliers() -> None:
    narrow = Bounds(np.full(16, -1000), np.full(16, 1000))
    assert fixed(np.full(16, 1 << 29), np.full(16, -3), Clamp(), narrow).rule == "EB_FIXED"


def test_the_fast_form_is_refused_where_a_channel_is_scaled_down_by_far() -> None:
    multipliers = np.array([1584446982, 2113925154])
    bounds = Bounds(np.array([-1000, -1000]), np.array([1000, 1000]))
    clamp = Clamp(zero_point=18)
    assert fixed(multipliers, np.array([-24, -8]), clamp, bounds).rule == "EB_FIXED"


def rescaled(name: RuleName, seed: int, bits: int, spread: int, clamp: Clamp) -> Rescale:
    """Sixteen random channels whose outputs fill the range of a byte or several."""
    draw = np.random.default_rng(seed)
    many = draw.integers(1 << 30, 1 << 31, 16)
    shifts = 7 - bits + draw.integers(-spread, 2, 16)
    if name == "shift":
        return Rescale(name, clamp, shifts=-shifts)
    if name == "float":
        return Rescale(name, clamp, scales=np.ldexp(many / 2.0**31, shifts).astype(np.float32))
    many[draw.integers(0, 16)] = 0  # a dead channel
    return Rescale(name, clamp, many, shifts)


def exactly(acc: Ints, rescale: Rescale) -> Ints:
    """Int8 results of accumulators [n, 16], in Python's integers but for the float rule."""
    columns = []
    for c, column in enumerate(acc.T):
        if rescale.rule == "float":
            scaled = column.astype(np.float32) * rescale.scales[c]
            values = np.rint(scaled).astype(np.int64).tolist()
        elif rescale.rule == "shift":
            values = [half_up(int(a), int(rescale.shifts[c])) for a in column]
        else:
            definition = tflite if rescale.rule == "fixed" else tflite_once
            m, s = int(rescale.multipliers[c]), int(rescale.shifts[c])
            values = [definition(int(a), m, s) for a in column]
        columns.append(clamped(values, rescale.clamp))
    return np.stack(columns, axis=1)


RULE_NAMES: tuple[RuleName, ...] = ("fixed", "fixed_single", "shift", "float")


@settings(max_examples=80)
@given(
    st.sampled_from(RULE_NAMES), st.integers(0, 10_000), st.integers(7, 20), st.integers(0, 3),
    clamps, st.integers(-3, 3),
)  # fmt: skip
def test_one_multiply_add_gives_what_the_rule_defines(
    libraries: Libraries,
    name: RuleName,
    seed: int,
    bits: int,
    spread: int,
    clamp: Clamp,
    aside: int,
) -> None:
    """Wherever the constants are found, every accumulator near a boundary is right."""
    rescale = rescaled(name, seed, bits, spread, clamp)
    middle, limit = aside << bits >> 2, 1 << bits
    bounds = Bounds(np.full(16, middle - limit), np.full(16, middle + limit))
    rule = snapped(rescale, bounds)
    if rule is None:
        return
    assert rule.moved is not None
    factors = [max(factor, 2.0**-20) for factor in rescale.factors()]
    near = [interesting(factor, limit + abs(middle), seed) for factor in factors]
    acc = np.stack([np.resize(column, 4400) for column in near], axis=1)
    acc = np.clip(acc, bounds.low, bounds.high)
    expected = exactly(acc, rescale)
    for variant, found in libraries.run(acc + rule.moved, rule).items():
        np.testing.assert_array_equal(found, expected, err_msg=variant)


@pytest.mark.parametrize("name", RULE_NAMES)
def test_a_multiply_add_is_found_for_most_ordinary_layers(name: RuleName) -> None:
    found = 0
    for seed in range(20):
        bits = 12 + seed % 6
        bounds = Bounds(np.full(16, -1 << bits), np.full(16, 1 << bits))
        zero_point = (-128, 3)[seed % 2]
        found += snapped(rescaled(name, seed, bits, 0, Clamp(zero_point)), bounds) is not None
    assert found >= 16


def test_channels_that_give_one_level_do_not_stand_in_the_way() -> None:
    """Without weights a channel's factor may be anything; what it gives is known."""
    rescale = Rescale("fixed", Clamp(7), np.full(2, 3 << 29), np.array([-6, 30]))
    rule = snapped(rescale, Bounds(np.array([-9000, 0]), np.array([9000, 0])))
    assert rule is not None
    assert rule.rule.startswith("EB_SNAPPED")


def test_a_multiply_add_is_refused_for_accumulators_wider_than_a_float32_holds() -> None:
    rescale = Rescale("fixed", Clamp(), np.full(16, 1992157658), np.full(16, -20))
    wide = Bounds(np.full(16, -(1 << 26)), np.full(16, 1 << 26))
    assert snapped(rescale, wide) is None
