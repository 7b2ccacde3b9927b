"""The DSP extension's kernels, on emulated cores, against the arithmetic they stand for."""

from __future__ import annotations

import numpy as np
import pytest
from conv_layers import BareLayers, Case, cases, driver, meaning, undefined_symbols
from hypothesis import given, settings
from hypothesis import strategies as st

from edgebed.targets._shared.rows.kernels.dsp import DSP
from edgebed.targets._shared.rows.kernels.sets import Packed

KERNELS = {
    "eb_conv_dsp": "conv_dsp.h",
    "eb_dense_dsp": "conv_dsp.h",
    "eb_depthwise_nine_dsp": "depthwise_dsp.h",
    "eb_depthwise_dsp": "depthwise_dsp.h",
    "eb_depthwise_couples_dsp": "depthwise_dsp.h",
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


@given(case=cases(lines_only=True, kind="1x1"))
def test_pointwise_convolution_also_in_place(m4: BareLayers, case: Case) -> None:
    np.testing.assert_array_equal(m4.run(case, packed(case)), meaning(case))


@settings(max_examples=40)
@given(case=cases(lines_only=True, kind="dense"))
def test_dense_layer(m4: BareLayers, case: Case) -> None:
    shape, weights = case.shape, case.weights.reshape(len(case.weights), -1)
    dense = DSP.dense(shape.in_channels, shape.out_width, weights, "balanced", linear=True)
    np.testing.assert_array_equal(m4.run(case, dense), meaning(case))


@given(case=cases(lines_only=True, depthwise=True))
def test_depthwise_convolution(m4: BareLayers, case: Case) -> None:
    np.testing.assert_array_equal(m4.run(case, packed(case)), meaning(case))


@given(case=cases(lines_only=True, depthwise=True, kind="3x3"))
def test_depthwise_convolution_3x3(m4: BareLayers, case: Case) -> None:
    np.testing.assert_array_equal(m4.run(case, packed(case)), meaning(case))


@pytest.mark.parametrize("compiler", ["zig", "gcc"])
@pytest.mark.parametrize("core", CORES)
def test_every_core_needs_no_library(core: str, compiler: str, tmp_path) -> None:
    assert undefined_symbols(driver(KERNELS), core, compiler, tmp_path) == set()


@pytest.mark.parametrize(("core", "compiler"), [("m4", "gcc"), ("m7", "zig"), ("m33", "zig")])
def test_other_cores_and_the_other_compiler(core: str, compiler: str) -> None:
    layers = BareLayers(KERNELS, core, compiler)

    @settings(max_examples=8)
    @given(some=st.tuples(cases(lines_only=True), cases(lines_only=True, depthwise=True)))
    def check(some: tuple[Case, Case]) -> None:
        for case in some:
            np.testing.assert_array_equal(layers.run(case, packed(case)), meaning(case))

    check()
