"""The Helium kernels on a virtual Cortex-M55 against the integer arithmetic they stand for."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
from conv_layers import Case, accumulators, cases, meaning
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from mve_batch import instructions, outputs, pack, run_layers

from edgebed.program.arithmetic import multiply_by_quantized
from edgebed.targets._shared.rows.kernels.mve import MVE
from edgebed.targets._shared.rows.kernels.sets import Goal, WindowShape

pytestmark = pytest.mark.skipif(
    shutil.which("qemu-system-arm") is None,
    reason="Helium runs in qemu-system-arm, which is not installed",
)
needs_gcc = pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None, reason="arm-none-eabi-gcc is not installed"
)
# Shrinking would start the emulator a thousand times.
FEW = settings(phases=(Phase.explicit, Phase.generate), deadline=None)
GOALS: tuple[Goal, ...] = ("time", "balanced", "ram")


def many(**kinds):
    """So many layers for each start of the emulator."""
    return st.lists(cases(**kinds), min_size=16, max_size=16)


def assert_exact(layers: list[Case], goal: Goal = "balanced", compiler: str = "") -> None:
    ran = run_layers(layers, goal, compiler)
    for case, (y, untouched) in zip(layers, outputs(ran, layers, goal), strict=True):
        np.testing.assert_array_equal(y, expected(case), err_msg=str(case))
        assert untouched, f"wrote beside its output: {case}"


def expected(case: Case) -> np.ndarray:
    """Return the output map by the arithmetic of the programs that lead to each rule."""
    if case.rule == 0:
        return meaning(case)
    bias, multiplier, c = case.lines.T
    total = accumulators(case) + bias
    if case.rule == 4:
        factors = multiplier.astype(np.uint32).view(np.float32)
        y = np.rint(total.astype(np.float32) * factors).astype(np.int64)
    else:
        shift = -1 - c if case.rule == 3 else c
        y = multiply_by_quantized(total, multiplier, shift, single=case.rule == 2)
    return np.clip(y + case.output_zero, *case.limits).astype(np.int8)


def requantisation(rng: np.random.Generator, rule: int, outputs: int, depth: int) -> np.ndarray:
    """Return lines [O, 3] that spread sums of `depth` products over the bytes."""
    bias = rng.integers(-3000, 3000, outputs)
    scale = 0.008 / np.sqrt(depth) * rng.uniform(0.2, 1, outputs)
    if rule == 0:
        offset = rng.integers(-(20 << 7), 20 << 7, outputs)
        return np.stack([bias, (scale * 2.0**39).astype(np.int64) // 2 * 2, offset], 1)
    if rule == 4:
        bits = scale.astype(np.float32).view(np.uint32).astype(np.int64)
        return np.stack([bias, bits, np.zeros_like(bias)], 1)
    shift = np.ceil(np.log2(scale)).astype(np.int64)
    multiplier = (scale / 2.0**shift * 2**31).astype(np.int64)
    if rule == 1:  # one channel whose sums are shifted to the left
        shift[0] = 2
        multiplier[0] = 1 << 22
    return np.stack([bias, multiplier, -1 - shift if rule == 3 else shift], 1)


def drawn(
    shape: WindowShape, *, depthwise: bool = False, seed: int = 0, rule: int = 0, least: int = -128
) -> Case:
    """Return a layer whose weights take all values from `least` to `least` + 255."""
    rng = np.random.default_rng(seed)
    inner = () if depthwise else (shape.in_channels,)
    weights = least + rng.integers(0, 256, (shape.out_channels, *shape.kernel, *inner))
    weights.flat[[0, -1]] = least, least + 255
    lines = requantisation(rng, rule, shape.out_channels, weights[0].size)
    size = (shape.in_height, shape.in_width, shape.in_channels)
    image = rng.integers(-128, 128, size).astype(np.int8)
    zero = int(rng.integers(-100, 100)) if rule else 0
    fraction = 0 if rule else 7
    return Case(
        *(shape, depthwise, weights, lines, rule, fraction, (-128, 127), -7, zero, image, (1, 3))
    )


@settings(FEW, max_examples=4)
@given(layers=many(), goal=st.sampled_from(GOALS))
def test_convolutions(layers: list[Case], goal: Goal) -> None:
    assert_exact(layers, goal)


@settings(FEW, max_examples=4)
@given(layers=many(kind="1x1"))
def test_pointwise_convolutions_also_in_place(layers: list[Case]) -> None:
    assert_exact(layers)


@settings(FEW, max_examples=4)
@given(layers=many(depthwise=True, largest=5), goal=st.sampled_from(GOALS))
def test_depthwise_convolutions(layers: list[Case], goal: Goal) -> None:
    assert_exact(layers, goal)


@settings(FEW, max_examples=3)
@given(
    layers=many(wide=True),
    flat=many(wide=True, kind="1x1"),
    deep=many(wide=True, depthwise=True),
    goal=st.sampled_from(GOALS),
)
def test_weights_beyond_a_byte(
    layers: list[Case], flat: list[Case], deep: list[Case], goal: Goal
) -> None:
    assert_exact([*layers, *flat, *deep], goal)


@settings(FEW, max_examples=1)
@given(layers=many(wide=True), deep=many(depthwise=True, largest=4, wide=True))
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("compiler", ["zig", pytest.param("gcc", marks=needs_gcc)])
def test_both_compilers(compiler: str, wide: bool, layers: list[Case], deep: list[Case]) -> None:
    both = [*layers, *deep]
    if not wide:
        both = [replace(case, weights=np.clip(case.weights, -128, 127)) for case in both]
    assert_exact(both, compiler=compiler)


WIDE = [
    WindowShape(1, 5, 640, 1, 5, 9),
    WindowShape(1, 1, 2100, 1, 1, 2),
    WindowShape(2, 37, 15, 2, 37, 16),
    WindowShape(2, 21, 16, 2, 21, 30),
    WindowShape(3, 60, 3, 2, 30, 8, (3, 3), (2, 2)),
    WindowShape(2, 9, 7, 2, 9, 7, in_place=True),
    WindowShape(2, 50, 48, 2, 50, 33, in_place=True),
    WindowShape(9, 10, 1, 2, 5, 12, (9, 4), (1, 2), (4, 1)),
]
DEEP = [
    WindowShape(4, width, channels, 2, out, channels, (3, 3), (2, stride), (1, 1))
    for width, out, stride in ((50, 50, 1), (50, 25, 2), (3, 3, 1), (1, 1, 1))
    for channels in (4, 7, 16, 17, 30, 35)
]


@pytest.mark.parametrize("goal", GOALS)
def test_sizes_beyond_the_drawn_ones(goal: Goal) -> None:
    layers = [drawn(shape, seed=n) for n, shape in enumerate(WIDE)]
    deep = [drawn(shape, depthwise=True, seed=n) for n, shape in enumerate(DEEP)]
    assert {pack(case, goal).function for case in deep} == {"eb_depthwise_mve"}
    assert_exact([*layers, *deep], goal)


@pytest.mark.parametrize("least", [-255, -129, -127, -1, 0])
def test_weights_with_every_offset(least: int) -> None:
    layers = [drawn(shape, seed=n, least=least) for n, shape in enumerate(WIDE)]
    deep = [drawn(shape, depthwise=True, seed=n, least=least) for n, shape in enumerate(DEEP)]
    assert all("offset" in pack(case).function for case in layers)
    kernels = {pack(case).function for case in deep}
    # 128 is no byte.
    assert kernels == {"eb_depthwise_any_wide_mve" if least == 0 else "eb_depthwise_offset_mve"}
    assert_exact([*layers, *deep])


@pytest.mark.parametrize("least", [-128, -180])
@pytest.mark.parametrize("rule", [1, 2, 3, 4])
def test_rules_that_are_no_line(rule: int, least: int) -> None:
    flat = [WindowShape(2, 5, 24, 2, 5, outputs) for outputs in (2, 9)]
    deep = [
        WindowShape(3, 5, channels, 3, 5, channels, (3, 3), (1, 1), (1, 1)) for channels in (4, 21)
    ]
    layers = [drawn(shape, seed=n, rule=rule, least=least) for n, shape in enumerate(flat)]
    deep += [WindowShape(3, 5, 2, 3, 5, outputs, (2, 5), (1, 1), (1, 2)) for outputs in (2, 6)]
    layers += [
        drawn(shape, depthwise=True, seed=n, rule=rule, least=least) for n, shape in enumerate(deep)
    ]
    assert all("mve" in pack(case).function for case in layers)
    assert_exact(layers)


def test_half_steps_round_away_from_zero_by_two_roundings() -> None:
    shape = WindowShape(1, 40, 1, 1, 40, 4)
    case = drawn(shape, rule=3)
    lines = np.tile([[0, 1 << 30, 1]], (4, 1))  # sums / 8, after an exact first rounding
    image = np.arange(-20, 20, dtype=np.int8).reshape(1, 40, 1)
    case = replace(case, weights=np.full((4, 1, 1, 1), 2), lines=lines, image=image, output_zero=0)
    ((y, _),) = outputs(run_layers([case]), [case])
    sums = 2 * image.ravel().astype(np.int64)
    away = np.sign(sums) * ((np.abs(sums) + 4) // 8)
    assert y[0, :, 0].tolist() == away.tolist()


def test_float_factors_round_half_to_even_and_saturate() -> None:
    shape = WindowShape(1, 40, 1, 1, 40, 4)
    case = drawn(shape, rule=4)
    factors = np.array([0.25, 0.5, 1e9, 1e-30], np.float32).view(np.uint32)
    lines = np.stack([np.zeros(4, np.int64), factors.astype(np.int64), np.zeros(4, np.int64)], 1)
    image = np.arange(-20, 20, dtype=np.int8).reshape(1, 40, 1)
    weights = np.full((4, 1, 1, 1), 2)
    case = replace(case, weights=weights, lines=lines, image=image, output_zero=50)
    ((y, _),) = outputs(run_layers([case]), [case])
    sums = 2 * image.ravel().astype(np.int64)
    assert y[0, :, 0].tolist() == [50 + round(value / 4) for value in sums.tolist()]
    assert y[0, :, 1].tolist() == (50 + image.ravel()).tolist()
    ends = np.where(sums > 0, 127, np.where(sums < 0, -128, 50))
    assert y[0, :, 2].tolist() == ends.tolist()
    assert set(y[0, :, 3].tolist()) == {50}


def test_a_convolution_takes_under_a_sixth_of_an_instruction_per_product() -> None:
    shape = WindowShape(4, 16, 32, 4, 16, 32, (3, 3), (1, 1), (1, 1))
    bytes_, beyond = instructions(run_layers([drawn(shape), drawn(shape, least=-200)]))
    assert bytes_ < 4 * 16 * 32 * 9 * 32 / 6
    assert beyond < 1.1 * bytes_


def test_a_depthwise_convolution_beyond_a_byte_takes_a_quarter_more() -> None:
    shape = WindowShape(4, 16, 32, 4, 16, 32, (3, 3), (1, 1), (1, 1))
    layers = [drawn(shape, depthwise=True, least=least) for least in (-128, -200)]
    bytes_, beyond = instructions(run_layers(layers))
    assert beyond < 1.25 * bytes_


def test_what_helium_cannot_do_goes_to_portable_code() -> None:
    shape = WindowShape(4, 4, 8, 4, 4, 8)
    weights = np.full((8, 1, 1, 8), 200)
    weights[0] = -56
    assert MVE.conv(shape, weights, "time", linear=True).function == "eb_conv_portable_wide"
    weights[0] = -55
    assert MVE.conv(shape, weights, "time", linear=True).function == "eb_conv_offset_mve"
