"""The Helium kernels on a virtual Cortex-M55 against the integer arithmetic they stand for."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from conv_layers import Case, cases, meaning
from hypothesis import given, settings
from hypothesis import strategies as st
from mve_batch import instructions, outputs, pack, run_layers

from edgebed.targets._shared.rows.kernels.mve import MVE
from edgebed.targets._shared.rows.kernels.sets import Goal, WindowShape

pytestmark = pytest.mark.skipif(
    shutil.which("qemu-system-arm") is None,
    reason="Helium runs in qemu-system-arm, which is not installed",
)
needs_gcc = pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None, reason="arm-none-eabi-gcc is not installed"
)
GOALS: tuple[Goal, ...] = ("time", "balanced", "ram")


def many(**kinds):
    """So many layers for each start of the emulator."""
    return st.lists(cases(lines_only=True, **kinds), min_size=16, max_size=16)


def assert_exact(layers: list[Case], goal: Goal = "balanced", compiler: str = "") -> None:
    ran = run_layers(layers, goal, compiler)
    for case, (y, untouched) in zip(layers, outputs(ran, layers, goal), strict=True):
        np.testing.assert_array_equal(y, meaning(case), err_msg=str(case))
        assert untouched, f"wrote beside its output: {case}"


def drawn(shape: WindowShape, *, depthwise: bool = False, seed: int = 0) -> Case:
    rng = np.random.default_rng(seed)
    inner = () if depthwise else (shape.in_channels,)
    weights = rng.integers(-128, 128, (shape.out_channels, *shape.kernel, *inner))
    scale = 0.008 / np.sqrt(weights[0].size) * rng.uniform(0.2, 1, shape.out_channels)
    multiplier = (scale * 2.0**39).astype(np.int64) // 2 * 2
    offset = rng.integers(-(20 << 7), 20 << 7, shape.out_channels)
    bias = rng.integers(-3000, 3000, shape.out_channels)
    size = (shape.in_height, shape.in_width, shape.in_channels)
    image = rng.integers(-128, 128, size).astype(np.int8)
    lines = np.stack([bias, multiplier, offset], 1)
    return Case(shape, depthwise, weights, lines, 0, 7, (-128, 127), -7, 0, image, (1, 3))


@settings(max_examples=4, deadline=None)
@given(layers=many(), goal=st.sampled_from(GOALS))
def test_convolutions(layers: list[Case], goal: Goal) -> None:
    assert_exact(layers, goal)


@settings(max_examples=4, deadline=None)
@given(layers=many(pointwise=True))
def test_pointwise_convolutions_also_in_place(layers: list[Case]) -> None:
    assert_exact(layers)


@settings(max_examples=4, deadline=None)
@given(layers=many(depthwise=True, largest=4), goal=st.sampled_from(GOALS))
def test_depthwise_convolutions(layers: list[Case], goal: Goal) -> None:
    assert_exact(layers, goal)


@settings(max_examples=1, deadline=None)
@given(layers=many(), deep=many(depthwise=True, largest=4))
@pytest.mark.parametrize("compiler", ["zig", pytest.param("gcc", marks=needs_gcc)])
def test_both_compilers(compiler: str, layers: list[Case], deep: list[Case]) -> None:
    assert_exact([*layers, *deep], compiler=compiler)


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


def test_a_convolution_takes_under_a_sixth_of_an_instruction_per_product() -> None:
    shape = WindowShape(4, 16, 32, 4, 16, 32, (3, 3), (1, 1), (1, 1))
    (count,) = instructions(run_layers([drawn(shape)]))
    assert count < 4 * 16 * 32 * 9 * 32 / 6


def test_what_helium_cannot_do_goes_to_portable_code() -> None:
    shape = WindowShape(4, 4, 8, 4, 4, 8)
    weights = np.full((8, 1, 1, 8), 200)
    assert MVE.conv(shape, weights, "time", linear=True).function == "eb_conv_portable_wide"
    assert MVE.conv(shape, weights // 2, "time", linear=False).function == "eb_conv_portable"
    few = np.ones((2, 3, 3))
    small = WindowShape(4, 4, 2, 2, 2, 2, (3, 3))
    assert MVE.depthwise(small, few, "time", linear=True).function == "eb_depthwise_portable"
