"""3 x 3 convolutions with fewer products against a plain int64 definition."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from variants import build, pointer

from edgebed.targets.host.kernels import winograd
from edgebed.targets.host.kernels.conv import (
    ConvShape,
    Names,
    accumulator_bounds,
    fold_bias,
)
from edgebed.targets.host.kernels.isa import AVX512, runnable
from edgebed.targets.host.kernels.requantize import Bounds, Clamp, Requantization, fixed
from edgebed.targets.host.kernels.rules import Rescale
from edgebed.targets.host.kernels.snapped import snapped

Array = npt.NDArray[Any]
NAMES = Names("x", "w", "b", "t", "y")
needs_avx512 = pytest.mark.skipif(AVX512 not in runnable(), reason="no AVX-512 VNNI")


def square(
    size: tuple[int, int], inputs: int, outputs: int, *, gap: int = 0, border: int = 0
) -> ConvShape:
    """A layer whose pixels lie `gap` bytes apart, in a map with a border."""
    pixel, out_pixel = inputs + gap, outputs + gap
    row, out_row = (size[1] + 2) * pixel, (size[1] + 2 * border) * out_pixel
    return ConvShape(row, pixel, inputs, *size, outputs, out_row, out_pixel, (3, 3))


@dataclass(frozen=True)
class Case:
    """A layer with its numbers, its packed constants and the expected output bytes."""

    layer: winograd.Winograd
    rule: Requantization
    scaled: bool
    buffers: tuple[Array, ...]
    expected: Array

    def c_function(self, name: str) -> str:
        body = winograd.call(self.layer, self.rule, NAMES, "p[0]", "p[1]", scaled=self.scaled)
        pointers = "const int16_t *w, const int32_t *b, const int32_t *t, uint8_t *y, const int *p"
        return f"void {name}(const uint8_t *x, {pointers}) {{\n{body} }}\n"


def case_of(layer: winograd.Winograd, clamp: Clamp, seed: int, extreme: bool) -> Case:
    s, draw = layer.shape, np.random.default_rng(seed)
    size = (s.out_channels, 3, 3, s.in_channels)
    w = draw.choice([-128, 127], size) if extreme else draw.integers(-128, 128, size)
    x = draw.integers(0, 256, (s.out_height + 2, s.in_row_pitch))
    x = np.where(x < 128, 0, 255) if extreme else x
    bias = draw.integers(-20000, 20000, s.out_channels)
    folded = fold_bias(bias, w.astype(np.int8), s, -3)
    acc = definition(x, w, folded, s)
    real = 150 / (np.abs(acc).reshape(-1, s.out_channels).max(axis=0) + 1)
    fraction, shift = np.frexp(real)
    m = np.minimum(np.rint(fraction * 2.0**31), 2.0**31 - 1).astype(np.int64)
    rescale = Rescale("fixed", clamp, m, shift.astype(np.int64))
    bounds = accumulator_bounds(folded, w.astype(np.int8), s)
    scaled = snapped(rescale, bounds, winograd.SCALE) if seed % 3 == 0 else None
    rule = scaled or (snapped(rescale, bounds) if seed % 3 == 1 else None)
    rule = rule or fixed(m, shift, clamp, bounds, movable_bias=True)
    packed = (winograd.pack_weights(w.astype(np.int8), layer), winograd.pack_bias(folded, rule))
    stored = np.clip(rescale.stored(acc.reshape(-1, s.out_channels).T), rescale.low, rescale.high)
    output = np.full(s.out_height * s.out_row_pitch + 64, 0xA5, np.uint8)
    for y in range(s.out_height):
        for column in range(s.out_width):
            start = y * s.out_row_pitch + column * s.out_pixel_pitch
            output[start : start + s.out_channels] = stored[:, y * s.out_width + column]
    image = np.concatenate([x.ravel(), np.zeros(64)]).astype(np.uint8)
    return Case(
        layer, rule, scaled is not None, (image, *map(lines, (*packed, rule.table))), output
    )


def definition(x: Array, w: Array, folded: Array, s: ConvShape) -> npt.NDArray[np.int64]:
    """Accumulators [height, width, channels] of stored bytes [rows, row pitch]."""
    acc = np.tile(folded, (s.out_height, s.out_width, 1))
    for ky in range(3):
        for kx in range(3):
            for column in range(s.out_width):
                start = (column + kx) * s.in_pixel_pitch
                pixels = x[ky : ky + s.out_height, start : start + s.in_channels]
                acc[:, column] += pixels.astype(np.int64) @ w[:, ky, kx].astype(np.int64).T
    return acc


def lines(array: Array) -> Array:
    """A copy that begins at a multiple of 64 bytes, as constants do."""
    data = np.ascontiguousarray(array).view(np.uint8).ravel()
    room = np.zeros(len(data) + 64, np.uint8)
    start = -room.ctypes.data % 64
    room[start : start + len(data)] = data
    return room[start : start + len(data)]


def check(cases: list[Case], folder: Path) -> None:
    functions = "".join(case.c_function(f"layer{i}") for i, case in enumerate(cases))
    text = f'#include "winograd.h"\n#if EB_ISA >= 5\n{functions}#endif\n'
    for variant, library in build(text, folder):
        for i, case in enumerate(cases if variant == AVX512.name else ()):
            n = case.layer.pieces
            for cuts in ((0, n), (0, n // 2, n), range(n + 1)):
                output = np.full_like(case.expected, 0xA5)
                for ends in itertools.pairwise(cuts):
                    part = np.array(ends, np.int32)
                    library[f"layer{i}"](*map(pointer, (*case.buffers, output, part)))
                np.testing.assert_array_equal(output, case.expected, err_msg=str(case.layer))


@st.composite
def layers(draw: st.DrawFn) -> Case:
    channels = st.sampled_from([16, 32, 48, 64, 96])
    size = draw(st.tuples(st.integers(4, 13), st.integers(4, 13)))
    gap, border = draw(st.sampled_from([0, 0, 16, 5])), draw(st.integers(0, 1))
    shape = square(size, draw(channels), draw(channels), gap=gap, border=border)
    clamp = draw(st.sampled_from([Clamp(-128), Clamp(), Clamp(-5, -77, 99)]))
    return case_of(winograd.pieces(shape), clamp, draw(st.integers(0, 1000)), draw(st.booleans()))


@needs_avx512
@settings(max_examples=1, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(st.lists(layers(), min_size=12, max_size=12))
def test_drawn_layers(tmp_path_factory: pytest.TempPathFactory, drawn: list[Case]) -> None:
    check(drawn, tmp_path_factory.mktemp("winograd"))


@needs_avx512
@pytest.mark.slow
@settings(max_examples=8, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(st.lists(layers(), min_size=16, max_size=16))
def test_many_drawn_layers(tmp_path_factory: pytest.TempPathFactory, drawn: list[Case]) -> None:
    check(drawn, tmp_path_factory.mktemp("winograd"))


def narrow(channels: int) -> Bounds:
    return Bounds(np.full(channels, -100_000), np.full(channels, 100_000))


def test_wide_layers_take_fewer_products() -> None:
    assert winograd.plan(square((8, 8), 64, 64), narrow(64)) is not None
    assert winograd.plan(square((14, 14), 64, 64), narrow(64)) is not None


def test_other_layers_keep_the_direct_form() -> None:
    shape = square((8, 8), 64, 64)
    for other in (
        replace(shape, stride=(2, 2)),
        replace(shape, dilation=(2, 2)),
        replace(shape, kernel=(1, 3)),
        replace(shape, weight_zero_point=3),
        square((8, 8), 8, 8),
        square((3, 8), 64, 64),
        square((5, 5), 64, 64),
    ):
        assert winograd.plan(other, narrow(64)) is None
    wide = Bounds(np.full(64, -(1 << 25)), np.full(64, 0))
    assert winograd.plan(shape, wide) is None
