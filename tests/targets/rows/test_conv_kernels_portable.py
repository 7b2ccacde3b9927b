"""The kernels in plain C against the integer arithmetic they stand for."""

from __future__ import annotations

import numpy as np
import pytest
from conv_layers import BareLayers, Case, NativeLayers, cases, driver, meaning, undefined_symbols
from hypothesis import given, settings

from edgebed.targets._shared.arm_cores import CORES
from edgebed.targets._shared.rows.kernels.portable import PORTABLE
from edgebed.targets._shared.rows.kernels.sets import Packed

KERNELS = {
    "eb_conv_portable": "conv_portable.h",
    "eb_conv_portable_wide": "conv_portable.h",
    "eb_depthwise_portable": "depthwise_portable.h",
    "eb_depthwise_portable_wide": "depthwise_portable.h",
}


@pytest.fixture(scope="module")
def native() -> NativeLayers:
    return NativeLayers(KERNELS)


@pytest.fixture(scope="module")
def smallest() -> BareLayers:
    return BareLayers(KERNELS, "m0plus")


def packed(case: Case) -> Packed:
    pack = PORTABLE.depthwise if case.depthwise else PORTABLE.conv
    return pack(case.shape, case.weights, "balanced", linear=case.rule == 0)


@given(case=cases())
def test_convolution(native: NativeLayers, case: Case) -> None:
    np.testing.assert_array_equal(native.run(case, packed(case)), meaning(case))


@given(case=cases(kind="1x1"))
def test_pointwise_convolution_also_in_place(native: NativeLayers, case: Case) -> None:
    np.testing.assert_array_equal(native.run(case, packed(case)), meaning(case))


@settings(max_examples=30)
@given(case=cases(wide=True))
def test_weights_beyond_a_byte(native: NativeLayers, case: Case) -> None:
    np.testing.assert_array_equal(native.run(case, packed(case)), meaning(case))


@given(case=cases(depthwise=True))
def test_depthwise_convolution(native: NativeLayers, case: Case) -> None:
    np.testing.assert_array_equal(native.run(case, packed(case)), meaning(case))


@settings(max_examples=30)
@given(case=cases(depthwise=True, wide=True))
def test_depthwise_weights_beyond_a_byte(native: NativeLayers, case: Case) -> None:
    np.testing.assert_array_equal(native.run(case, packed(case)), meaning(case))


@settings(max_examples=25)
@given(case=cases(largest=3))
def test_convolution_on_the_smallest_core(smallest: BareLayers, case: Case) -> None:
    np.testing.assert_array_equal(smallest.run(case, packed(case)), meaning(case))


@settings(max_examples=15)
@given(case=cases(depthwise=True, largest=3))
def test_depthwise_convolution_on_the_smallest_core(smallest: BareLayers, case: Case) -> None:
    np.testing.assert_array_equal(smallest.run(case, packed(case)), meaning(case))


@pytest.mark.parametrize("compiler", ["zig", "gcc"])
@pytest.mark.parametrize("core", CORES)
def test_every_core_needs_no_library(core: str, compiler: str, tmp_path) -> None:
    assert undefined_symbols(driver(KERNELS), core, compiler, tmp_path) == set()
