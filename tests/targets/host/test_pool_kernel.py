"""Pools against their definitions, for drawn shapes, in every variant of the C code."""

from __future__ import annotations

from dataclasses import dataclass, replace
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

from edgebed.targets.host.kernels.pool import (
    Average,
    Pool,
    average_pool_call,
    max_pool_call,
)
from edgebed.targets.host.kernels.requantize import Clamp, by_float, fixed

Ints = npt.NDArray[np.int64]
UNTOUCHED = 0x5A
KINDS = ["max", "max", "away", "away", "up", "up", "cut", "float", "float", "mean", "global"]


@dataclass(frozen=True, eq=False)
class Case:
    layer: Pool
    kind: str
    padding_counts: bool
    in_zero: int
    seed: int

    @cached_property
    def x(self) -> Ints:
        shape = (self.layer.in_height, self.layer.in_width, self.layer.channels)
        return np.random.default_rng(self.seed).integers(-128, 128, shape)

    @cached_property
    def scales(self) -> tuple[float, float]:
        a, b = np.random.default_rng(self.seed + 1).uniform(0.01, 0.1, 2).astype(np.float32)
        return float(a), float(b)

    @property
    def whole(self) -> int:
        return self.layer.kernel[0] * self.layer.kernel[1]

    @cached_property
    def average(self) -> Average:
        zero, clamp = self.in_zero, self.layer.clamp
        if self.kind == "mean":
            multiplier, shift = mean_factor(self.whole, *self.scales)
            rule = fixed(np.full(16, multiplier), np.full(16, shift), clamp)
            return Average("rule", in_zero=zero, rule=rule)
        if self.kind == "global":
            scale = np.float32(self.scales[0]) / (np.float32(self.scales[1]) * self.whole)
            return Average("rule", in_zero=zero, rule=by_float(np.full(16, scale), clamp))
        return Average(
            self.kind,  # type: ignore[arg-type]
            self.padding_counts, zero, clamp.zero_point, *self.scales,
        )  # fmt: skip

    def window(self, y: int, x: int) -> Ints:
        """The pixels of one window that lie on the map, [n, channels], in memory order."""
        layer = self.layer
        rows = (
            y * layer.stride[0] - layer.padding[0] + layer.dilation[0] * np.arange(layer.kernel[0])
        )
        columns = (
            x * layer.stride[1] - layer.padding[1] + layer.dilation[1] * np.arange(layer.kernel[1])
        )
        rows = rows[(rows >= 0) & (rows < layer.in_height)]
        columns = columns[(columns >= 0) & (columns < layer.in_width)]
        return self.x[rows][:, columns].reshape(-1, layer.channels)

    def expected(self) -> Ints:
        layer = self.layer
        out = np.zeros((layer.out_height, layer.out_width, layer.channels), np.int64)
        for y in range(layer.out_height):
            for x in range(layer.out_width):
                out[y, x] = self.level(self.window(y, x))
        return np.clip(out, layer.clamp.low, layer.clamp.high)

    def level(self, pixels: Ints) -> Any:
        count = self.whole if self.padding_counts else len(pixels)
        total = pixels.sum(axis=0)
        centred = total - len(pixels) * self.in_zero
        in_scale, out_scale = (np.float32(s) for s in self.scales)
        zero = self.layer.clamp.zero_point
        if self.kind == "max":
            return pixels.max(axis=0, initial=-128)
        if self.kind == "away":
            return np.sign(total) * ((np.abs(total) + count // 2) // count)
        if self.kind == "up":
            return (total + count // 2) // count
        if self.kind == "cut":
            return np.sign(total) * (np.abs(total) // count)
        if self.kind == "float":
            real = np.zeros(self.layer.channels, np.float32)
            for pixel in pixels:
                real += (pixel - self.in_zero).astype(np.float32) * in_scale
            return np.rint(real / np.float32(count) / out_scale + np.float32(zero)).astype(int)
        if self.kind == "global":
            scale = in_scale / (out_scale * np.float32(count))
            return np.rint(centred.astype(np.float32) * scale).astype(int) + zero
        return np.array([tflite_mean(int(c), count, *self.scales) for c in centred]) + zero


def mean_factor(count: int, in_scale: float, out_scale: float) -> tuple[int, int]:
    """TensorFlow Lite's multiplier and shift for the sum of (q - zero point) of a mean."""
    fraction, exponent = np.frexp(in_scale / out_scale)
    multiplier, shift = round(fraction * 2**31), int(exponent)
    gained = min(count.bit_length() - 1, 32, 31 + shift)
    return (multiplier << gained) // count, shift - gained


def tflite_mean(total: int, count: int, in_scale: float, out_scale: float) -> int:
    """What TensorFlow Lite's reference does with the sum of (q - zero point)."""
    multiplier, shift = mean_factor(count, in_scale, out_scale)
    left, right = max(shift, 0), max(-shift, 0)
    high = ((total << left) * multiplier + (1 << 30)) >> 31
    rounded = (abs(high) + (1 << right >> 1)) >> right
    return rounded if high >= 0 else -rounded


@st.composite
def cases(draw: st.DrawFn) -> Case:
    kind = draw(st.sampled_from(KINDS))
    whole_map = kind in ("mean", "global", "cut")
    in_size = (draw(st.integers(1, 11)), draw(st.integers(1, 11)))
    size = st.integers(1, 4)
    kernel = in_size if whole_map else (draw(size), draw(size))
    step = st.integers(1, 3)
    stride = (1, 1) if whole_map else (draw(step), draw(step))
    dilation = (1, 1) if whole_map else draw(st.sampled_from([(1, 1), (1, 1), (2, 1), (1, 3)]))
    padding = (0, 0) if whole_map else (draw(st.integers(0, 2)), draw(st.integers(0, 2)))
    padding = (min(padding[0], kernel[0] - 1), min(padding[1], kernel[1] - 1))
    spans = zip(in_size, padding, kernel, dilation, stride, strict=True)
    out = [max((i + 2 * p - (k - 1) * d - 1) // s + 1, 1) for i, p, k, d, s in spans]
    channels = draw(st.sampled_from([1, 3, 8, 16, 17, 33, 64, 70]))
    extra = draw(st.sampled_from([(0, 0), (5, 0), (0, 9)]))
    zero = draw(st.sampled_from([-128, 0, 11]))
    clamp = Clamp(zero, draw(st.sampled_from([-128, -5])), draw(st.sampled_from([127, 60])))
    layer = Pool(
        *in_size, out[0], out[1], channels,
        in_row=in_size[1] * (channels + extra[0]) + 2, in_pixel=channels + extra[0],
        out_row=out[1] * (channels + extra[1]) + 1, out_pixel=channels + extra[1],
        kernel=kernel, stride=stride, dilation=dilation, padding=padding, clamp=clamp,
    )  # fmt: skip
    divides = kind in ("away", "up", "float")
    counts = divides and draw(st.booleans())
    case = Case(layer, kind, counts, draw(st.integers(-128, 127)), draw(st.integers(0, 999)))
    empty = min(len(case.window(y, x)) for y in range(out[0]) for x in range(out[1])) == 0
    return replace(case, padding_counts=True) if empty and divides else case


def run(drawn: list[Case], folder: Path) -> dict[str, list[npt.NDArray[Any]]]:
    text = '#include "pool.h"\n'
    for i, case in enumerate(drawn):
        arguments = ("in", "out")
        rows = {"y0": "y0", "y1": "y1"}
        call = (
            max_pool_call(case.layer, *arguments, **rows)
            if case.kind == "max"
            else average_pool_call(case.layer, case.average, *arguments, "table", **rows)
        )
        text += (
            f"void layer{i}(const uint8_t *in, const int32_t *table, uint8_t *out, int y0, int y1)"
            f" {{\n  (void)table;\n  {call}\n}}\n"
        )
    results: dict[str, list[npt.NDArray[Any]]] = {}
    for name, library in build(text, folder):
        results[name] = []
        for i, case in enumerate(drawn):
            source = stored(case)
            target = np.full((case.layer.out_height + 1, case.layer.out_row), UNTOUCHED, np.uint8)
            table = np.zeros(64, np.int32)
            if case.kind != "max":
                table[: case.average.rule.table_words] = case.average.rule.table[0]
            middle = case.layer.out_height // 2
            for rows_ in ((0, middle), (middle, case.layer.out_height)):
                library[f"layer{i}"](pointer(source), pointer(table), pointer(target), *rows_)
            results[name].append(target)
    return results


def stored(case: Case) -> npt.NDArray[np.uint8]:
    layer = case.layer
    rows = np.full((layer.in_height, layer.in_row), 255, np.uint8)
    pixels = rows[:, : layer.in_width * layer.in_pixel]
    pixels = pixels.reshape(layer.in_height, layer.in_width, layer.in_pixel)
    pixels[:, :, : layer.channels] = case.x + 128
    return np.concatenate([rows.ravel(), np.full(64, 255, np.uint8)])


@settings(
    max_examples=2, deadline=None, phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
@given(drawn=st.lists(cases(), min_size=40, max_size=40))
def test_every_variant_computes_the_definition(
    drawn: list[Case], tmp_path_factory: pytest.TempPathFactory
) -> None:
    for name, targets in run(drawn, tmp_path_factory.mktemp("pool")).items():
        for case, target in zip(drawn, targets, strict=True):
            layer = case.layer
            rows = target[:-1, : layer.out_width * layer.out_pixel]
            pixels = rows.reshape(layer.out_height, layer.out_width, layer.out_pixel)
            values = pixels[:, :, : layer.channels].astype(np.int64) - 128
            np.testing.assert_array_equal(values, case.expected(), err_msg=f"{name}: {case}")
            assert (pixels[:, :, layer.channels :] == UNTOUCHED).all(), f"{name}: {case}"
            behind = target[:-1, layer.out_width * layer.out_pixel :]
            assert (behind == UNTOUCHED).all() and (target[-1] == UNTOUCHED).all(), f"{name}"


def known_to_onnx_runtime(case: Case) -> bool:
    """It refuses windows that are larger than the padded map, and knows no dilation here."""
    layer = case.layer
    sizes = zip((layer.in_height, layer.in_width), layer.padding, layer.kernel, strict=True)
    fits = all(size + 2 * padding >= kernel for size, padding, kernel in sizes)
    return fits and case.kind in ("float", "global") and layer.dilation == (1, 1)


@settings(max_examples=30)
@given(case=cases().filter(known_to_onnx_runtime))
def test_the_float_rules_are_those_of_onnx_runtime(case: Case) -> None:
    layer, zero = case.layer, case.layer.clamp.zero_point
    scales = [np.float32(s) for s in case.scales]
    x = case.x.transpose(2, 0, 1)[None].astype(np.int8)
    operands = [x, scales[0], np.int8(case.in_zero), scales[1], np.int8(zero)]
    if case.kind == "global":
        y = quantised_operator("QLinearGlobalAveragePool", operands, channels_last=0)
    else:
        y = quantised_operator(
            "QLinearAveragePool",
            operands,
            kernel_shape=layer.kernel,
            strides=layer.stride,
            pads=(*layer.padding, *layer.padding),
            count_include_pad=int(case.padding_counts),
        )
    y = np.clip(y[0].transpose(1, 2, 0).astype(int), layer.clamp.low, layer.clamp.high)
    np.testing.assert_array_equal(case.expected()[: y.shape[0], : y.shape[1]], y)
