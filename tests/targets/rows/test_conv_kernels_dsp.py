"""The DSP extension's kernels, on emulated cores, against the arithmetic they stand for."""

from __future__ import annotations

import numpy as np
import pytest
from conv_layers import BareLayers, Case, cases, driver, meaning, undefined_symbols
from hypothesis import given

from edgebed.targets._shared.rows.kernels.dsp import DSP
from edgebed.targets._shared.rows.kernels.sets import Packed

KERNELS = {
    "eb_conv_dsp": "conv_dsp.h",
    "eb_depthwise_nine_dsp": "depthwise_dsp.h",
    "eb_depthwise_dsp": "depthwise_dsp.h",
    "eb_conv_portable": "conv_portable.h",
    "eb_depthwise_portable": "depthwise_portable.h",
}
CORES = ["m4", "m7", "m33"]


@pytest.fixture(scope="module")
def m4() -> BareLayers:
    return BareLayers(KERNELS, "m4")


def packed(case: Case) -> Packed:
    pack = DSP.depthwise if case.depthwise else DSP.conv
    return pack(case.shape, case.weights, "balanced", linear=case.rule == 0)


@given(case=cases(lines_only=True))
def test_convolution(m4: BareLayers, case: Case) -> None:
    np.testing.assert_array_equal(m4.run(case, packed(case)), meaning(case))


@given(case=cases(lines_only=True, pointwise=True))
def test_pointwise_convolution_also_in_place(m4: BareLayers, case: Case) -> None:
    np.testing.assert_array_equal(m4.run(case, packed(case)), meaning(case))


@given(case=cases(lines_only=True, depthwise=True))
def test_depthwise_convolution(m4: BareLayers, case: Case) -> None:
    np.testing.assert_array_equal(m4.run(case, packed(case)), meaning(case))


@given(case=cases(lines_only=True, depthwise=True, square=True))
def test_depthwise_convolution_3x3(m4: BareLayers, case: Case) -> None:
    np.testing.assert_array_equal(m4.run(case, packed(case)), meaning(case))


@pytest.mark.parametrize("compiler", ["zig", "gcc"])
@pytest.mark.parametrize("core", CORES)
def test_every_core_needs_no_library(core: str, compiler: str, tmp_path) -> None:
    assert undefined_symbols(driver(KERNELS), core, compiler, tmp_path) == set()
