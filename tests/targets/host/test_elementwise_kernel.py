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
from variants import build, pointer

from edgebed.targets.host.kernels import elementwise as ew
from edgebed.targets.host.kernels.elementwise import MapShape, PairShape
from edgebed.targets.host.kernels.pairs import (
    PackedPair,
    Pair,
    fit,
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


def scaled(x: Ints, multiplier: int, shift: int) -> Ints:
    """TensorFlow Lite's MultiplyByQuantizedMultiplier, by its definition."""
    high = ((x << max(shift, 0)) * multiplier + (1 << 30)) >> 31
    right = max(-shift, 0)
    rounded = (np.abs(high) + (1 << right >> 1)) >> right
    return np.where(high >= 0, rounded, -rounded)


@dataclass(frozen=True, eq=False)
class Rule:
    """A rule of two numbers by its definition: TensorFlow Lite's, or a real sum, half to even."""

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
        x, y = (np.arange(-128, 128) - zero for zero in self.zeros)
        sign = -1 if self.name == "sub" else 1
        if self.name in ("add", "sub"):
            first, second, last = self.constants
            left, right = scaled(x << 20, *first)[:, None], scaled(y << 20, *second)
            values = scaled(left + sign * right, *last)
        elif self.name == "mul":
            values = scaled(x[:, None] * y, *multiplier_of(a * b / out))
        else:
            ratios = np.float32(a) / np.float32(out), np.float32(b) / np.float32(out)
            values = np.rint(x[:, None] * ratios[0] + y * ratios[1]).astype(np.int64)
        levels = np.clip(values + self.clamp.zero_point, self.clamp.low, self.clamp.high)
        real = (a * b / out, 0.0) if self.name == "mul" else (a / out, sign * b / out)
        return Pair(levels, self.name == "mul", *real, *self.zeros, self.clamp)

    @cached_property
    def packed(self) -> PackedPair:
        return fit(self.pair)


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    name = draw(st.sampled_from(["add", "sub", "mul", "real"]))
    sizes = st.floats(0.005, 0.2).map(lambda s: float(np.float32(s)))
    a, out = draw(sizes), draw(sizes)
    b = draw(st.sampled_from([a, draw(sizes)]))  # equal scales have many ties
    zero = st.integers(-128, 127)
    out_zero = draw(st.sampled_from([-128, 0, 7]))
    low = draw(st.sampled_from([-128, out_zero]))
    return Rule(name, (a, b, out), (draw(zero), draw(zero)), Clamp(out_zero, low, 127))


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
    bytes_, dense = MapShape(3, 5, 13, 70, 14, 66, 13), MapShape(1, 700, 1, 700, 1, 700, 1)
    calls = [
        ew.table_call(bytes_, "in", "out", "table"),
        ew.table_call(dense, "in", "out", "table"),
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


def test_tables(maps: list[tuple[str, ctypes.CDLL]]) -> None:
    rng = np.random.default_rng(1)
    source, table = rng.integers(0, 256, 800, np.uint8), rng.integers(0, 256, 256, np.uint8)
    pixels = source[:210].reshape(3, 70).reshape(3, 5, 14)[:, :, :13]
    for name, library in maps:
        got = run_map(library, 0, source, table, 198, np.uint8).reshape(3, 66)
        np.testing.assert_array_equal(got[:, :65].reshape(3, 5, 13), table[pixels], err_msg=name)
        np.testing.assert_array_equal(
            run_map(library, 1, source, table, 700, np.uint8), table[source[:700]], err_msg=name
        )


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
