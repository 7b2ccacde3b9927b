"""Depthwise convolution against its definition, for drawn shapes, in every C variant."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from variants import build, pointer

from edgebed.program.ops._float import fused_multiply_add
from edgebed.targets.host.kernels.affine import find_affine
from edgebed.targets.host.kernels.depthwise import Depthwise, PackedDepthwise, pack
from edgebed.targets.host.kernels.requantize import Bounds, Clamp
from edgebed.targets.host.kernels.rules import Rescale, RuleName

Ints = npt.NDArray[np.int64]
UNTOUCHED = 0x5A
KERNELS = [(3, 3), (3, 3), (5, 5), (1, 3), (3, 1), (2, 2), (4, 7), (7, 1)]
RULES: list[RuleName] = ["fixed", "fixed", "fixed_single", "float", "shift", "none"]


@dataclass(frozen=True, eq=False)
class Case:
    """A layer with everything that its output depends on; arrays are drawn from the seed."""

    layer: Depthwise
    rule: RuleName
    clamp: Clamp
    zero_point: int
    reach: int  # weights are smaller; beyond 128 they are uint8 weights minus a zero point
    seed: int

    def packed(self) -> PackedDepthwise:
        return pack(self.layer, self.weights, self.bias, self.zero_point, self.rescale)

    @cached_property
    def x(self) -> Ints:
        """Int8 values of the padded map, [height, width, channels]."""
        shape = (*in_size(self.layer), self.layer.channels)
        return np.random.default_rng(self.seed).integers(-128, 128, shape)

    @cached_property
    def weights(self) -> Ints:
        shape = (*self.layer.kernel, self.layer.outputs)
        rng = np.random.default_rng(self.seed + 1)
        return rng.integers(1 - self.reach, self.reach, shape)

    @cached_property
    def bias(self) -> Ints:
        return np.random.default_rng(self.seed + 2).integers(-20000, 20000, self.layer.outputs)

    @cached_property
    def rescale(self) -> Rescale:
        rng, outputs = np.random.default_rng(self.seed + 3), self.layer.outputs
        spread = self.reach * 40 * np.sqrt(self.layer.kernel[0] * self.layer.kernel[1])
        shift = int(np.ceil(np.log2(100 / spread))) + rng.integers(-2, 2, outputs)
        if self.rule == "shift":
            return Rescale(self.rule, self.clamp, shifts=-shift)
        if self.rule == "float":
            scales = (2.0**shift * rng.uniform(0.5, 1, outputs)).astype(np.float32)
            return Rescale(self.rule, self.clamp, scales=scales)
        return Rescale(self.rule, self.clamp, rng.integers(2**30, 2**31, outputs), shift)

    def accumulators(self) -> Ints:
        layer = self.layer
        acc = np.tile(self.bias, (layer.out_height, layer.out_width, 1))
        x = np.repeat(self.x - self.zero_point, layer.multiplier, axis=2)
        for ky in range(layer.kernel[0]):
            for kx in range(layer.kernel[1]):
                rows = ky * layer.dilation[0] + layer.stride[0] * np.arange(layer.out_height)
                columns = kx * layer.dilation[1] + layer.stride[1] * np.arange(layer.out_width)
                acc += x[rows][:, columns] * self.weights[ky, kx]
        return acc

    def expected(self) -> Ints:
        """Int8 values, [height, width, channels]; int32 accumulators for the rule `none`."""
        acc = self.accumulators()
        if self.rescale.rule == "none":
            return acc
        clamp = self.rescale.clamp
        levels = requantised(acc, self.rescale) + clamp.zero_point
        return np.clip(levels, clamp.low, clamp.high)


def requantised(acc: Ints, rescale: Rescale) -> Ints:
    """The rules as their definitions say; channels on the last axis."""
    if rescale.rule == "float":
        product = acc.astype(np.float32) * rescale.scales.astype(np.float32)
        return np.rint(product).astype(np.int64)
    shift = rescale.shifts.astype(np.int64)
    if rescale.rule == "shift":
        return np.floor(acc / 2.0**shift + 0.5).astype(np.int64)
    m = rescale.multipliers.astype(np.int64)
    if rescale.rule == "fixed_single":
        return (acc * m + (1 << (30 - shift))) >> (31 - shift)
    high = (acc * (1 << np.maximum(shift, 0)) * m + (1 << 30)) >> 31
    divisor = np.int64(1) << np.maximum(-shift, 0)
    away: Ints = np.sign(high) * ((np.abs(high) + divisor // 2) // divisor)
    return away


def in_size(layer: Depthwise) -> tuple[int, int]:
    out = (layer.out_height, layer.out_width)
    parts = zip(out, layer.stride, layer.kernel, layer.dilation, strict=True)
    height, width = ((o - 1) * s + (k - 1) * d + 1 for o, s, k, d in parts)
    return height, width


@st.composite
def cases(draw: st.DrawFn) -> Case:
    channels = draw(st.sampled_from([1, 3, 8, 16, 24, 32, 33, 40, 64, 65, 96, 128, 130]))
    extra_in, extra_out = draw(st.sampled_from([(0, 0), (0, 0), (7, 0), (0, 5), (16, 16)]))
    rule = draw(st.sampled_from(RULES))
    layer = Depthwise(
        out_height=draw(st.integers(1, 5)),
        out_width=draw(st.integers(1, 9)),
        channels=channels,
        in_row=0,
        in_pixel=channels + extra_in,
        out_row=0,
        out_pixel=0,
        kernel=draw(st.sampled_from(KERNELS)),
        stride=draw(st.sampled_from([(1, 1), (1, 1), (2, 2), (1, 2), (3, 1)])),
        dilation=draw(st.sampled_from([(1, 1), (1, 1), (1, 1), (2, 2), (1, 3), (2, 1)])),
        multiplier=draw(st.sampled_from([1, 1, 1, 1, 2, 8])),
    )
    pixel = (layer.outputs + extra_out) * (4 if rule == "none" else 1)
    layer = replace(
        layer,
        in_row=in_size(layer)[1] * layer.in_pixel + 3,
        out_pixel=pixel,
        out_row=layer.out_width * pixel + 4,
    )
    zero = draw(st.sampled_from([-128, 0, 5, 127]))
    low = draw(st.sampled_from([-128, zero]))
    clamp = Clamp(zero, low, max(low, draw(st.sampled_from([127, 90]))))
    reach = draw(st.sampled_from([128, 128, 180, 256]))
    return Case(layer, rule, clamp, draw(st.integers(-128, 127)), reach, draw(st.integers(0, 999)))


def run(cases_: list[Case], folder: Path) -> dict[str, list[npt.NDArray[Any]]]:
    """The output maps of each case, [rows, row bytes], by variant; two row ranges each."""
    packed = [case.packed() for case in cases_]
    text = '#include "depthwise.h"\n' + "".join(
        f"void layer{i}(const uint8_t *in, const uint8_t *packed, uint8_t *out, int y0, int y1) {{"
        f"\n  {p.call('in', 'out', 'packed', 'y0', 'y1')}\n}}\n"
        for i, p in enumerate(packed)
    )
    results: dict[str, list[npt.NDArray[Any]]] = {}
    for name, library in build(text, folder):
        results[name] = []
        for i, (case, p) in enumerate(zip(cases_, packed, strict=True)):
            source, constants = stored(case), aligned(p.data)
            target = np.full((case.layer.out_height + 1, case.layer.out_row), UNTOUCHED, np.uint8)
            middle = (case.layer.out_height + 1) // 2
            for rows in ((0, middle), (middle, case.layer.out_height)):
                library[f"layer{i}"](pointer(source), pointer(constants), pointer(target), *rows)
            results[name].append(target)
    return results


def stored(case: Case) -> npt.NDArray[np.uint8]:
    """The input map as it lies in memory, with the bytes that may be read behind it."""
    height, width, channels = case.x.shape
    rows = np.full((height, case.layer.in_row), 77, np.uint8)
    pixels = rows[:, : width * case.layer.in_pixel].reshape(height, width, case.layer.in_pixel)
    pixels[:, :, :channels] = case.x + 128
    return np.concatenate([rows.ravel(), np.full(64, 201, np.uint8)])


def aligned(data: bytes) -> npt.NDArray[np.uint8]:
    room = np.zeros(len(data) + 64, np.uint8)
    start = -room.ctypes.data % 64
    room[start : start + len(data)] = np.frombuffer(data, np.uint8)
    return room[start : start + len(data)]


def check(case: Case, target: npt.NDArray[np.uint8], what: str) -> None:
    layer, raw = case.layer, case.rescale.rule == "none"
    rows = target[:-1, : layer.out_width * layer.out_pixel]
    pixels = rows.reshape(layer.out_height, layer.out_width, layer.out_pixel)
    used = layer.outputs * (4 if raw else 1)
    got = np.ascontiguousarray(pixels[:, :, :used])
    values = got.view("<i4") if raw else got.astype(np.int64) - 128
    np.testing.assert_array_equal(values, case.expected(), err_msg=f"{what}: {case.layer}")
    assert (pixels[:, :, used:] == UNTOUCHED).all(), f"{what}: wrote between pixels: {layer}"
    behind = target[:-1, layer.out_width * layer.out_pixel :]
    assert (behind == UNTOUCHED).all() and (target[-1] == UNTOUCHED).all(), f"{what}: {layer}"


@settings(
    max_examples=3,
    deadline=None,
    phases=(Phase.generate,),
    suppress_health_check=[HealthCheck.function_scoped_fixture, *HealthCheck],
)
@given(drawn=st.lists(cases(), min_size=12, max_size=12))
def test_every_variant_computes_the_definition(
    drawn: list[Case], tmp_path_factory: pytest.TempPathFactory
) -> None:
    for name, targets in run(drawn, tmp_path_factory.mktemp("depthwise")).items():
        for case, target in zip(drawn, targets, strict=True):
            check(case, target, name)


@given(
    x=st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=-1e9, max_value=1e9),
    a=st.floats(width=32, min_value=2.0**-30, max_value=4),
    b=st.floats(width=32, min_value=-300, max_value=300),
)
def test_the_modelled_multiply_add_rounds_once(x: float, a: float, b: float) -> None:
    exact = Fraction(x) * Fraction(a) + Fraction(b)
    got = float(fused_multiply_add(np.array([x], np.float32), np.float32(a), np.float32(b))[0])
    error = abs(Fraction(got) - exact)
    for end in (-np.inf, np.inf):
        neighbour = float(np.nextafter(np.float32(got), np.float32(end)))
        assert error <= abs(Fraction(neighbour) - exact)


@settings(max_examples=60)
@given(
    rule=st.sampled_from(["fixed", "fixed_single", "shift"]),
    steps=st.floats(6, 16.5),
    zero=st.integers(-128, 127),
    seed=st.integers(0, 999),
)
def test_a_proved_line_is_exact_for_every_accumulator(
    rule: RuleName, steps: float, zero: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    real = 256 / 2 ** (steps - rng.uniform(0, 2, 4))
    fraction, exponent = np.frexp(real)
    low, high = (int(v) for v in np.sort(rng.integers(-128, 128, 2)))
    clamp = Clamp(zero, low, high)
    rescale = (
        Rescale(rule, clamp, shifts=-exponent.astype(int))
        if rule == "shift"
        else Rescale(rule, clamp, np.rint(fraction * 2**31).astype(int), exponent.astype(int))
    )
    ends = np.sort(rng.integers(-100_000, 100_000, (2, 4)), axis=0)
    found = find_affine(rescale, Bounds(ends[0], ends[1]))
    if found is None:
        return
    acc = np.clip(np.arange(-100_000, 100_001)[None], ends[0][:, None], ends[1][:, None])
    expected = np.clip(requantised(acc.T, rescale).T + zero, low, high) + 128
    np.testing.assert_array_equal(np.clip(found.levels(acc), low + 128, high + 128), expected)


def test_layers_like_trained_ones_get_a_line() -> None:
    """256 levels over 2**14 to 2**16 of the accumulator, after a ReLU: so lie trained layers."""
    rng = np.random.default_rng(5)
    fraction, exponent = np.frexp(256 / 2 ** rng.uniform(14, 16, 128))
    clamp = Clamp(-128)
    rescale = Rescale("fixed", clamp, np.rint(fraction * 2**31).astype(int), exponent.astype(int))
    layer = Depthwise(6, 6, 128, 8 * 128, 128, 6 * 128, 128)
    weights = rng.integers(-127, 128, (3, 3, 128))
    assert pack(layer, weights, np.zeros(128, int), -128, rescale).line
