"""Convolution, pointwise and dense kernels against a plain int64 definition, in every variant."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from variants import build, pointer

from edgebed.targets.host.kernels import isa as isas
from edgebed.targets.host.kernels.conv import (
    ConvShape,
    Names,
    Part,
    Tile,
    accumulator_bounds,
    call,
    channel_groups,
    fold_bias,
    pack_bias,
    pack_weights,
    per_channel,
    strips,
)
from edgebed.targets.host.kernels.conv_fold import fold, fold_weights, pixels
from edgebed.targets.host.kernels.conv_tiles import tiles
from edgebed.targets.host.kernels.requantize import (
    Bounds,
    Clamp,
    Requantization,
    by_float,
    by_shift,
    fixed,
    raw,
)

Array = npt.NDArray[Any]
RULES = ("fixed", "fixed_wide", "single", "float", "shift", "raw")


@dataclass(frozen=True)
class Layer:
    """A drawn layer: everything but its numbers, which come from the seed."""

    shape: ConvShape
    tile: Tile
    rule: str
    clamp: Clamp
    input_zero_point: int
    seed: int

    @property
    def size(self) -> int:
        return 4 if self.rule == "raw" else 1


def definition(x: Array, w: Array, bias: Array, layer: Layer) -> npt.NDArray[np.int64]:
    """Int64 accumulators [height, width, channels] of int8 x [rows, columns, channels]."""
    s = layer.shape
    real = w.astype(np.int64) - s.weight_zero_point
    acc = np.tile(bias.astype(np.int64), (s.out_height, s.out_width, 1))
    share = s.out_channels // s.groups
    for y in range(s.out_height):
        for column in range(s.out_width):
            rows = y * s.stride[0] + np.arange(s.kernel[0]) * s.dilation[0]
            columns = column * s.stride[1] + np.arange(s.kernel[1]) * s.dilation[1]
            window = x[np.ix_(rows, columns)].astype(np.int64) - layer.input_zero_point
            for g in range(s.groups):
                part = window[:, :, g * s.in_channels : (g + 1) * s.in_channels]
                mine = slice(g * share, (g + 1) * share)
                acc[y, column, mine] += np.tensordot(real[mine], part, 3)
    return acc


def requantized(acc: Array, layer: Layer, numbers: dict[str, Array]) -> Array:
    if layer.rule == "raw":
        return acc
    if layer.rule == "float":
        value = np.rint(acc.astype(np.float32) * numbers["scales"]).astype(np.int64)
    elif layer.rule == "shift":
        value = (acc + (1 << (numbers["right"] - 1))) >> numbers["right"]
    elif layer.rule == "single":
        value = (acc * numbers["m"] + (1 << (30 - numbers["s"]))) >> (31 - numbers["s"])
    else:
        high = (acc * numbers["m"] + (1 << 30)) >> 31
        half = (1 << -numbers["s"]) // 2
        value = np.sign(high) * ((np.abs(high) + half) >> -numbers["s"])
    return np.clip(value + layer.clamp.zero_point, layer.clamp.low, layer.clamp.high)


def numbers_of(layer: Layer, acc: Array) -> dict[str, Array]:
    """Per-channel requantisation numbers that spread the results over the int8 range."""
    draw = np.random.default_rng(layer.seed + 1)
    largest = np.abs(acc).reshape(-1, layer.shape.out_channels).max(axis=0) + 1
    scales = np.minimum(0.99, draw.uniform(60, 200, len(largest)) / largest)
    fraction, shift = np.frexp(scales)
    m = np.minimum(np.rint(fraction * 2.0**31), 2.0**31 - 1).astype(np.int64)
    right = np.maximum(1, np.rint(-np.log2(scales))).astype(np.int64)
    s = np.minimum(shift, 0).astype(np.int64)
    return {"m": m, "s": s, "right": right, "scales": scales.astype(np.float32)}


def rule_of(layer: Layer, numbers: dict[str, Array], bounds: Bounds) -> Requantization:
    shape = layer.shape
    spread = {name: per_channel(values, shape) for name, values in numbers.items()}
    wide = Bounds(per_channel(bounds.low, shape), per_channel(bounds.high, shape))
    if layer.rule == "raw":
        return raw(len(spread["m"]))
    if layer.rule == "float":
        return by_float(spread["scales"], layer.clamp)
    if layer.rule == "shift":
        return by_shift(spread["right"], layer.clamp, wide, movable_bias=True)
    single = layer.rule == "single"
    known = None if layer.rule == "fixed_wide" else wide
    return fixed(
        spread["m"],
        spread["s"],
        layer.clamp,
        known,
        single_rounding=single,
        movable_bias=layer.seed % 2 == 0,
    )


@dataclass(frozen=True)
class Case:
    """A layer with its numbers, its packed constants and the expected output bytes."""

    layer: Layer
    rule: Requantization
    buffers: tuple[Array, ...]
    expected: npt.NDArray[np.uint8]

    def c_function(self, name: str) -> str:
        part = Part("p[0]", "p[1]", "p[2]", "p[3]")
        body = call(
            self.layer.shape, self.rule, Names("x", "w", "b", "t", "y"), self.layer.tile, part
        )
        pointers = "const int8_t *w, const int32_t *b, const int32_t *t, uint8_t *y, const int *p"
        return f"void {name}(const uint8_t *x, {pointers}) {{\n{body} }}\n"

    def parts(self) -> list[list[int]]:
        """The layer whole, then in four pieces: strips and channel groups cut in two."""
        n = strips(self.layer.shape, self.layer.tile)
        m = channel_groups(self.layer.shape, self.layer.tile)
        rows, groups = ((0, n // 2), (n // 2, n)), ((0, m // 2), (m // 2, m))
        return [[0, n, 0, m], *([*r, *g] for r in rows for g in groups)]


def case_of(layer: Layer, count: int = 1) -> Case:
    """The layer with drawn numbers; computed with `count` neighbouring pixels as one."""
    s = layer.shape
    draw = np.random.default_rng(layer.seed)
    w = draw.integers(-128, 128, (s.out_channels, *s.kernel, s.in_channels)).astype(np.int8)
    w[draw.random(len(w)) < 0.05] = 127  # reaches the ends of the accumulator
    bias = draw.integers(-2000, 2000, s.out_channels)
    height = (s.out_height - 1) * s.stride[0] + (s.kernel[0] - 1) * s.dilation[0] + 1
    stored = draw.integers(0, 256, height * s.in_row_pitch + 64).astype(np.uint8)
    stored[draw.random(len(stored)) < 0.1] = 255
    acc = definition(image(stored, s, height), w, bias, layer)
    numbers = numbers_of(layer, acc)
    output = np.full(s.out_height * s.out_row_pitch + 64, 0xA5, np.uint8)
    values = requantized(acc, layer, numbers)
    place(output, s, values if layer.rule == "raw" else values + 128, layer.size)
    w, s, bias = fold_weights(w, s, count), fold(s, count), np.tile(bias, count)
    tile = layer.tile if count == 1 else tiles(s)[0]
    wide = replace(layer, shape=s, tile=tile)
    folded = fold_bias(bias, w, s, layer.input_zero_point)
    spread = {name: np.tile(values, count) for name, values in numbers.items()}
    rule = rule_of(wide, spread, accumulator_bounds(folded, w, s))
    packed = (pack_weights(w, s), pack_bias(folded, s, rule), rule.table)
    return Case(wide, rule, (stored, *packed), output)


def image(stored: Array, s: ConvShape, height: int) -> Array:
    rows = stored[: height * s.in_row_pitch].reshape(height, s.in_row_pitch)
    channels = s.in_channels * s.groups
    width = (s.in_row_pitch - channels) // s.in_pixel_pitch + 1
    pixels = [rows[:, i * s.in_pixel_pitch :][:, :channels] for i in range(width)]
    return np.stack(pixels, 1).astype(np.int64) - 128


def place(output: npt.NDArray[np.uint8], s: ConvShape, values: Array, size: int) -> None:
    dtype = np.int32 if size == 4 else np.uint8
    for y in range(s.out_height):
        for x in range(s.out_width):
            start = y * s.out_row_pitch + x * s.out_pixel_pitch
            data = values[y, x].astype(dtype).view(np.uint8)
            output[start : start + len(data)] = data


def run_all(cases: list[Case], folder: Path) -> None:
    functions = [case.c_function(f"layer{i}") for i, case in enumerate(cases)]
    for variant, library in build('#include "conv.h"\n' + "".join(functions), folder):
        for i, case in enumerate(cases):
            run_one(library, f"layer{i}", case, variant)


def run_one(library: ctypes.CDLL, name: str, case: Case, variant: str) -> None:
    whole, *pieces = [np.array(part, np.int32) for part in case.parts()]
    for parts in ([whole], pieces):
        output = np.full_like(case.expected, 0xA5)
        for part in parts:
            library[name](*map(pointer, (*case.buffers, output, part)))
        np.testing.assert_array_equal(output, case.expected, err_msg=f"{variant}: {case.layer}")


clamps = st.sampled_from([Clamp(-128), Clamp(), Clamp(7, 7, 100), Clamp(-5, -77, 127)])


@st.composite
def shapes(draw: st.DrawFn) -> ConvShape:
    def number(low: int, high: int) -> int:
        return draw(st.integers(low, high))

    def pair(high: int) -> tuple[int, int]:
        return number(1, high), number(1, high)

    kernel = draw(st.sampled_from([(1, 1), (3, 3), (2, 4), (1, 5), (4, 1), (10, 4)]))
    stride, dilation, groups = pair(3), pair(2), draw(st.sampled_from([1, 1, 1, 2, 3]))
    cin, cout = draw(st.sampled_from([1, 2, 3, 4, 7, 16, 33])), number(1, 40) * groups
    height, width = draw(st.tuples(st.integers(1, 7), st.integers(1, 9)))
    gaps = draw(st.tuples(*[st.sampled_from([0, 0, 0, 3, 20])] * 4))
    pixel, out_pixel = cin * groups + gaps[0], cout + gaps[1]
    columns = (width - 1) * stride[1] + (kernel[1] - 1) * dilation[1] + 1
    row, out_row = columns * pixel + gaps[2], width * out_pixel + gaps[3]
    zero = draw(st.sampled_from([0, 0, 0, 5, -128, 127]))
    return ConvShape(row, pixel, cin, height, width, cout, out_row, out_pixel,
                     kernel, stride, dilation, groups, zero)  # fmt: skip


@st.composite
def layers(draw: st.DrawFn) -> Layer:
    shape, rule = draw(shapes()), draw(st.sampled_from(RULES))
    if rule == "raw":
        shape = replace(
            shape, out_row_pitch=4 * shape.out_row_pitch, out_pixel_pitch=4 * shape.out_pixel_pitch
        )
    found = tiles(shape, draw(st.sampled_from(isas.ISAS)))
    small = [tile for tile in found if tile.rows * tile.columns * tile.vectors <= 6]
    tile = draw(st.sampled_from([found[0], *small]))
    zero_point = draw(st.sampled_from([-128, 0, 3, 127]))
    return Layer(shape, tile, rule, draw(clamps), zero_point, draw(st.integers(0, 1000)))


@settings(max_examples=1, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(st.lists(layers(), min_size=14, max_size=14))
def test_drawn_layers(tmp_path_factory: pytest.TempPathFactory, drawn: list[Layer]) -> None:
    run_all([case_of(layer) for layer in drawn], tmp_path_factory.mktemp("drawn"))


@pytest.mark.slow
@settings(max_examples=6, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(st.lists(layers(), min_size=16, max_size=16))
def test_many_drawn_layers(tmp_path_factory: pytest.TempPathFactory, drawn: list[Layer]) -> None:
    run_all([case_of(layer) for layer in drawn], tmp_path_factory.mktemp("drawn"))


def usual(
    size: tuple[int, int], cin: int, cout: int, kernel: tuple[int, int], stride: int
) -> Layer:
    """A layer as networks have them, into a map with a border, with its best tile."""
    columns = (size[1] - 1) * stride + kernel[1]
    row = (size[1] + 2) * cout
    shape = ConvShape(columns * cin, cin, cin, *size, cout, row, cout, kernel, (stride, stride))
    return Layer(shape, tiles(shape)[0], "fixed", Clamp(-128), -128, cin + 2 * cout)


def test_neighbouring_pixels_as_one(tmp_path: Path) -> None:
    drawn = [
        (usual((9, 12), 3, 8, (3, 3), 2), 2),
        (usual((5, 12), 3, 5, (3, 3), 1), 3),
        (usual((4, 8), 2, 4, (1, 1), 2), 4),
        (usual((3, 6), 5, 1, (2, 4), 3), 6),
        (usual((1, 10), 7, 12, (1, 5), 1), 5),
    ]
    zero = [(replace(layer, shape=replace(layer.shape, weight_zero_point=9)), n)
            for layer, n in drawn[:2]]  # fmt: skip
    run_all([case_of(layer, count) for layer, count in [*drawn, *zero]], tmp_path)


def test_pixels_are_joined_only_where_they_touch_and_lanes_are_empty() -> None:
    first = usual((48, 48), 3, 8, (3, 3), 2).shape
    assert pixels(first) == 2
    assert pixels(replace(first, out_pixel_pitch=16)) == 1
    assert pixels(replace(first, out_width=47)) == 1
    assert pixels(usual((12, 12), 32, 64, (1, 1), 1).shape) == 1


def test_layers_as_networks_have_them(tmp_path: Path) -> None:
    """Large enough for every way through the kernel: overlapping tiles, edges, both tails."""
    drawn = [
        usual((10, 18), 3, 16, (3, 3), 1),
        usual((9, 17), 16, 16, (3, 3), 2),
        usual((25, 5), 1, 64, (10, 4), 2),
        usual((25, 5), 64, 64, (1, 1), 1),
        usual((7, 11), 24, 40, (1, 1), 1),
        usual((9, 9), 8, 8, (1, 1), 1),
        usual((3, 3), 64, 144, (1, 1), 1),
        usual((1, 1), 100, 300, (1, 1), 1),
    ]
    raws = [replace(drawn[3], rule="raw", seed=9), replace(drawn[4], rule="float", seed=9)]
    shape = raws[0].shape
    raws[0] = replace(
        raws[0],
        shape=replace(
            shape, out_row_pitch=4 * shape.out_row_pitch, out_pixel_pitch=4 * shape.out_pixel_pitch
        ),
    )
    run_all([case_of(layer) for layer in [*drawn, *raws]], tmp_path)
