"""Sums, products, tables and conversions against their definitions, in every C variant."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from onnx_runtime import quantised_operator
from variants import build, pointer

from edgebed.targets.host.kernels import elementwise as ew
from edgebed.targets.host.kernels.elementwise import MapShape, PairShape
from edgebed.targets.host.kernels.pairs import (
    PackedPair,
    Pair,
    fit,
    float_add,
    float_mul,
    tflite_add,
    tflite_mul,
)
from edgebed.targets.host.kernels.requantize import Clamp

Ints = npt.NDArray[np.int64]
UNTOUCHED = 0x5A
ONCE = settings(
    max_examples=2, deadline=None, phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


def multiplier_of(real: float) -> tuple[int, int]:
    fraction, exponent = np.frexp(real)
    return round(float(fraction) * 2**31), int(exponent)


def scaled(x: int, multiplier: int, shift: int) -> int:
    """TensorFlow Lite's MultiplyByQuantizedMultiplier, by its definition."""
    high = ((x << max(shift, 0)) * multiplier + (1 << 30)) >> 31
    right = max(-shift, 0)
    rounded = (abs(high) + (1 << right >> 1)) >> right
    return rounded if high >= 0 else -rounded


@dataclass(frozen=True, eq=False)
class Rule:
    """A rule of two numbers with its definition, pair by pair."""

    name: str
    scales: tuple[float, float, float]
    zeros: tuple[int, int]
    clamp: Clamp

    @property
    def constants(self) -> tuple[tuple[int, int], ...]:
        a, b, out = self.scales
        twice = 2 * max(a, b)
        return tuple(multiplier_of(real) for real in (a / twice, b / twice, twice / (out * 2**20)))

    @cached_property
    def pair(self) -> Pair:
        a, b, out = self.scales
        if self.name in ("add", "sub"):
            multipliers, shifts = zip(*self.constants, strict=True)
            return tflite_add(
                multipliers, shifts, *self.zeros, self.clamp, subtract=self.name == "sub"
            )
        if self.name == "mul":
            return tflite_mul(*multiplier_of(a * b / out), *self.zeros, self.clamp)
        function = float_add if self.name == "float_add" else float_mul
        return function(a, b, out, *self.zeros, self.clamp)

    @cached_property
    def packed(self) -> PackedPair:
        return fit(self.pair)

    def __call__(self, a: int, b: int) -> int:
        x, y = a - self.zeros[0], b - self.zeros[1]
        if self.name in ("add", "sub"):
            first, second, out = self.constants
            left, right = scaled(x << 20, *first), scaled(y << 20, *second)
            level = scaled(left - right if self.name == "sub" else left + right, *out)
        elif self.name == "mul":
            level = scaled(x * y, *multiplier_of(self.scales[0] * self.scales[1] / self.scales[2]))
        else:
            return int(self.pair.levels[a + 128, b + 128])  # see test_the_float_rules
        return int(np.clip(level + self.clamp.zero_point, self.clamp.low, self.clamp.high))


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    name = draw(st.sampled_from(["add", "sub", "mul", "float_add", "float_mul"]))
    sizes = st.floats(0.005, 0.2).map(lambda s: float(np.float32(s)))
    a, out = draw(sizes), draw(sizes)
    b = draw(st.sampled_from([a, draw(sizes)]))  # equal scales have many ties
    zero = st.integers(-128, 127)
    out_zero = draw(st.sampled_from([-128, 0, 7]))
    low = draw(st.sampled_from([-128, out_zero]))
    return Rule(name, (a, b, out), (draw(zero), draw(zero)), Clamp(out_zero, low, 127))


@settings(max_examples=30)
@given(rule=rules(), a=st.integers(-128, 127), b=st.integers(-128, 127))
def test_the_table_of_a_rule_holds_its_definition(rule: Rule, a: int, b: int) -> None:
    assert rule.pair.levels[a + 128, b + 128] == rule(a, b)


@settings(max_examples=30)
@given(rule=rules().filter(lambda r: r.name.startswith("float")), data=st.data())
def test_the_float_rules_are_within_half_a_level(rule: Rule, data: st.DataObject) -> None:
    q = st.integers(-128, 127)
    a, b = data.draw(q), data.draw(q)
    x, y = (a - rule.zeros[0]) * rule.scales[0], (b - rule.zeros[1]) * rule.scales[1]
    real = (x + y if rule.name == "float_add" else x * y) / rule.scales[2] + rule.clamp.zero_point
    level = rule.pair.levels[a + 128, b + 128]
    assert abs(np.clip(real, rule.clamp.low, rule.clamp.high) - level) <= 0.5001


@dataclass(frozen=True, eq=False)
class PairCase:
    shape: PairShape
    rule: Rule | None  # None: maximum for an even seed, minimum for an odd one
    seed: int

    def operands(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        rng, s = np.random.default_rng(self.seed), self.shape
        a_bytes = s.height * max(s.a_row, s.width * s.a_pixel) + 64
        b_bytes = s.height * max(s.b_row, s.width * max(s.b_pixel, s.channels)) + 64
        return tuple(rng.integers(0, 256, n, np.uint8) for n in (a_bytes, b_bytes))  # type: ignore[return-value]

    def call(self) -> str:
        rows = {"y0": "y0", "y1": "y1"}
        if self.rule is None:
            which: Any = "minimum" if self.seed % 2 else "maximum"
            return ew.extreme_call(self.shape, which, "a", "b", "out", **rows)
        return ew.pair_call(self.shape, self.rule.packed, "a", "b", "out", "table", **rows)

    def expected(self) -> Ints:
        a, b = self.operands()
        s = self.shape
        y, x, c = np.ogrid[: s.height, : s.width, : s.channels]
        first = a[y * s.a_row + x * s.a_pixel + c].astype(int)
        second = b[y * s.b_row + x * s.b_pixel + c * s.b_channel].astype(int)
        if self.rule is None:
            return np.minimum(first, second) if self.seed % 2 else np.maximum(first, second)
        return self.rule.pair.levels[first, second] + 128


@st.composite
def pair_cases(draw: st.DrawFn) -> PairCase:
    height, width = draw(st.integers(1, 3)), draw(st.integers(1, 9))
    channels = draw(st.sampled_from([1, 3, 16, 33, 64, 65]))
    gap = draw(st.sampled_from([0, 0, 5]))
    pixel, row = channels + gap, width * (channels + gap) + draw(st.integers(0, 3))
    second = draw(st.sampled_from(["full", "full", "channel", "scalar", "pixel"]))
    b_row, b_pixel, b_channel = {
        "full": (row, pixel, 1),
        "channel": (0, 0, 1),
        "scalar": (0, 0, 0),
        "pixel": (width, 1, 0),
    }[second]
    shape = PairShape(
        height, width, channels, row, pixel, b_row, b_pixel, row + 2, pixel, b_channel
    )
    rule = draw(st.one_of(rules(), rules(), rules(), st.none()))
    return PairCase(shape, rule, draw(st.integers(0, 999)))


@ONCE
@given(drawn=st.lists(pair_cases(), min_size=40, max_size=40))
def test_pairs_in_every_variant(
    drawn: list[PairCase], tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = '#include "elementwise.h"\n' + "".join(
        f"void layer{i}(const uint8_t *a, const uint8_t *b, const uint8_t *table, uint8_t *out,"
        f" int y0, int y1) {{\n  (void)table;\n  {case.call()}\n}}\n"
        for i, case in enumerate(drawn)
    )
    for name, library in build(text, tmp_path_factory.mktemp("pairs")):
        for i, case in enumerate(drawn):
            run_pair(name, library[f"layer{i}"], case)


def run_pair(name: str, function: Any, case: PairCase) -> None:
    s = case.shape
    a, b = case.operands()
    whole = case.rule.packed.table if case.rule else b""
    table = np.frombuffer(whole or b"\0", np.uint8)
    target = np.full((s.height + 1, s.out_row), UNTOUCHED, np.uint8)
    middle = s.height // 2
    for rows in ((0, middle), (middle, s.height)):
        function(*(pointer(part) for part in (a, b, table, target)), *rows)
    pixels = target[:-1, : s.width * s.out_pixel].reshape(s.height, s.width, s.out_pixel)
    np.testing.assert_array_equal(
        pixels[:, :, : s.channels], case.expected(), err_msg=f"{name}: {case}"
    )
    assert (pixels[:, :, s.channels :] == UNTOUCHED).all() and (target[-1] == UNTOUCHED).all()
    assert (target[:-1, s.width * s.out_pixel :] == UNTOUCHED).all()


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, ctypes.CDLL]]:
    """One function for each operation of one operand; 3 rows of 5 pixels of 13 channels."""
    bytes_, wide = MapShape(3, 5, 13, 70, 14, 66, 13), MapShape(3, 5, 13, 65, 13, 65 * 4, 13 * 4)
    narrow = MapShape(3, 5, 13, 65 * 4, 13 * 4, 65, 13)
    dense = MapShape(1, 700, 1, 700, 1, 700, 1)
    clamp = Clamp(-3, -100, 120)
    calls = [
        ew.table_call(bytes_, "in", "out", "table"),
        ew.table_call(dense, "in", "out", "table"),
        ew.flip_call(bytes_, "in", "out"),
        ew.copy_call(bytes_, "in", "out"),
        ew.quantize_call(narrow, 0.1, clamp, "even", "(const float *)in", "out"),
        ew.quantize_call(narrow, 0.1, clamp, "away", "(const float *)in", "out"),
        ew.dequantize_call(wide, 0.1, -3, "in", "(float *)out"),
    ]
    text = '#include "elementwise.h"\n' + "".join(
        f"void map{i}(const void *in, const uint8_t *table, void *out) {{\n"
        f"  (void)table;\n  {call}\n}}\n"
        for i, call in enumerate(calls)
    )
    return list(build(text, tmp_path_factory.mktemp("maps")))


def run_map(
    library: ctypes.CDLL, number: int, source: Any, table: Any, size: int, kind: Any
) -> Any:
    target = np.zeros(size, kind)
    library[f"map{number}"](pointer(source), pointer(table), pointer(target))
    return target


def test_tables_flips_and_copies(maps: list[tuple[str, ctypes.CDLL]]) -> None:
    rng = np.random.default_rng(1)
    source, table = rng.integers(0, 256, 800, np.uint8), rng.integers(0, 256, 256, np.uint8)
    pixels = source[:210].reshape(3, 70).reshape(3, 5, 14)[:, :, :13]
    for name, library in maps:
        for number, expected in ((0, table[pixels]), (2, pixels ^ 128), (3, pixels)):
            got = run_map(library, number, source, table, 198, np.uint8).reshape(3, 66)
            np.testing.assert_array_equal(got[:, :65].reshape(3, 5, 13), expected, err_msg=name)
        np.testing.assert_array_equal(
            run_map(library, 1, source, table, 700, np.uint8), table[source[:700]], err_msg=name
        )


def test_quantising_rounds_as_each_runtime_does(maps: list[tuple[str, ctypes.CDLL]]) -> None:
    rng = np.random.default_rng(2)
    source = rng.uniform(-14, 14, 195).astype(np.float32)
    source[:60] = (np.arange(-30, 30) + 0.5).astype(np.float32) * np.float32(0.1)  # near ties
    source[60:66] = [np.nan, np.inf, -np.inf, 3e38, -3e38, -0.0]
    with np.errstate(over="ignore"):
        levels = source / np.float32(0.1)
    finite = np.clip(np.nan_to_num(levels, nan=-1e4), -1e4, 1e4).astype(np.float64)
    even = np.rint(finite)
    away = np.trunc(finite) + np.sign(finite) * (np.abs(finite - np.trunc(finite)) >= 0.5)
    table = np.zeros(1, np.uint8)
    for name, library in maps:
        for number, level in ((4, even), (5, away)):
            got = run_map(library, number, source, table, 195, np.uint8)
            expected = np.clip(level - 3, -100, 120) + 128
            np.testing.assert_array_equal(got, expected, err_msg=name)


def test_dequantising(maps: list[tuple[str, ctypes.CDLL]]) -> None:
    source = np.arange(60, 255, dtype=np.uint8)
    expected = (source.astype(np.int32) - 125).astype(np.float32) * np.float32(0.1)
    for name, library in maps:
        got = run_map(library, 6, source, np.zeros(1, np.uint8), 195, np.float32)
        np.testing.assert_array_equal(got, expected, err_msg=name)


def test_a_rule_that_no_form_fits_comes_from_its_table(tmp_path: Path) -> None:
    levels = np.random.default_rng(3).integers(-128, 128, (256, 256))
    packed = fit(Pair(levels, False, 0.5, 0.5, 0, 0, Clamp()))
    assert packed.form == packed.plain_form == "table"
    shape = PairShape(1, 100, 1, 100, 1, 100, 1, 100, 1)
    text = (
        '#include "elementwise.h"\n'
        "void layer(const uint8_t *a, const uint8_t *b, const uint8_t *table, uint8_t *out) {\n"
        f"  {ew.pair_call(shape, packed, 'a', 'b', 'out', 'table')}\n}}\n"
    )
    a, b = np.random.default_rng(4).integers(0, 256, (2, 164), np.uint8)
    table, target = np.frombuffer(packed.table, np.uint8), np.zeros(100, np.uint8)
    for name, library in build(text, tmp_path):
        library.layer(*(pointer(part) for part in (a, b, table, target)))
        np.testing.assert_array_equal(target, levels[a, b][:100] + 128, err_msg=name)


@settings(max_examples=20)
@given(
    rule=rules().filter(lambda r: r.name.startswith("float")),
    unsigned=st.booleans(),
)
def test_the_float_rules_are_those_of_onnx_runtime(rule: Rule, unsigned: bool) -> None:
    offset, kind = (128, np.uint8) if unsigned else (0, np.int8)
    q = np.arange(-128, 128) + offset
    operands: list[Any] = []
    pairs = zip(np.meshgrid(q, q, indexing="ij"), rule.scales[:2], rule.zeros, strict=True)
    for values, scale, zero in pairs:
        operands += [values.astype(kind), np.float32(scale), kind(zero + offset)]
    clamp = Clamp(rule.clamp.zero_point)
    operands += [np.float32(rule.scales[2]), kind(clamp.zero_point + offset)]
    function = float_add if rule.name == "float_add" else float_mul
    name = "QLinearAdd" if rule.name == "float_add" else "QLinearMul"
    expected = quantised_operator(name, operands).astype(int) - offset
    pair = function(*rule.scales, *rule.zeros, clamp, unsigned=unsigned)
    np.testing.assert_array_equal(pair.levels, expected)
