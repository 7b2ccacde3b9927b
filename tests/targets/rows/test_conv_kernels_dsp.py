"""The DSP extension's kernels, on emulated cores, against the arithmetic they stand for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conv_layers import BareLayers, Case, cases, driver, meaning, undefined_symbols
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgebed.targets._shared.rows.kernels import dsp
from edgebed.targets._shared.rows.kernels.dsp import DSP
from edgebed.targets._shared.rows.kernels.sets import Packed, WindowShape

KERNELS = {
    "eb_conv_dsp": "conv_dsp.h",
    "eb_dense_dsp": "conv_dsp.h",
    "eb_conv_rules_dsp": "conv_rules_dsp.h",
    "eb_dense_rules_dsp": "conv_rules_dsp.h",
    "eb_conv_more_dsp": "conv_more_dsp.h",
    "eb_conv_rules_more_dsp": "conv_more_dsp.h",
    "eb_conv_long_dsp": "conv_long_dsp.h",
    "eb_conv_portable_wide": "conv_portable.h",
    "eb_depthwise_portable_wide": "depthwise_portable.h",
    "eb_depthwise_nine_dsp": "depthwise_dsp.h",
    "eb_depthwise_dsp": "depthwise_dsp.h",
    "eb_depthwise_couples_dsp": "depthwise_couples_dsp.h",
    "eb_depthwise_rules_dsp": "depthwise_rules_dsp.h",
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


@given(case=cases(rules=(0,)))
def test_convolution(m4: BareLayers, case: Case) -> None:
    np.testing.assert_array_equal(m4.run(case, packed(case)), meaning(case))


@given(case=cases(rules=(0,), kind="1x1"))
def test_pointwise_convolution_also_in_place(m4: BareLayers, case: Case) -> None:
    np.testing.assert_array_equal(m4.run(case, packed(case)), meaning(case))


@pytest.fixture
def no_layer_is_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dsp, "_FEW_PRODUCTS", 0)


@pytest.mark.usefixtures("no_layer_is_too_small")
@pytest.mark.parametrize("kind", ["", "1x1"])
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_rules_that_are_no_lines(m4: BareLayers, kind: str, data: st.DataObject) -> None:
    case = data.draw(cases(kind=kind, rules=(2, 3, 4)))
    np.testing.assert_array_equal(m4.run(case, packed(case)), meaning(case))


@pytest.mark.usefixtures("no_layer_is_too_small")
@pytest.mark.parametrize("kind", ["", "1x1"])
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_weights_beyond_a_byte(m4: BareLayers, kind: str, data: st.DataObject) -> None:
    case = data.draw(cases(kind=kind, wide=True, rules=(0, 3)))
    if data.draw(st.booleans()):  # all 256 values of an unsigned byte
        low = data.draw(st.integers(-255, -1))
        case.weights.flat[:2] = case.weights.flat[-2:] = low, low + 255
        case = replace(case, weights=np.clip(case.weights, low, low + 255))
    if case.weights.max() < 255:
        assert packed(case).function.endswith("_dsp")
    np.testing.assert_array_equal(m4.run(case, packed(case)), meaning(case))


@pytest.mark.usefixtures("no_layer_is_too_small")
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=cases(kind="dense", rules=(0, 2, 3, 4)))
def test_dense_layer(m4: BareLayers, case: Case) -> None:
    shape, weights = case.shape, case.weights.reshape(len(case.weights), -1)
    linear = case.rule == 0
    dense = DSP.dense(shape.in_channels, shape.out_width, weights, "balanced", linear=linear)
    np.testing.assert_array_equal(m4.run(case, dense), meaning(case))


@settings(max_examples=50)
@given(case=cases(rules=(2, 3, 4), depthwise=True))
def test_depthwise_rules_that_are_no_lines(m4: BareLayers, case: Case) -> None:
    np.testing.assert_array_equal(m4.run(case, packed(case)), meaning(case))


@settings(max_examples=30)
@given(case=cases(rules=(0,), depthwise=True, wide=True))
def test_depthwise_weights_beyond_a_byte(m4: BareLayers, case: Case) -> None:
    np.testing.assert_array_equal(m4.run(case, packed(case)), meaning(case))


@given(case=cases(rules=(0,), depthwise=True))
def test_depthwise_convolution(m4: BareLayers, case: Case) -> None:
    np.testing.assert_array_equal(m4.run(case, packed(case)), meaning(case))


@given(case=cases(rules=(0,), depthwise=True, kind="3x3"))
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
    @given(some=st.tuples(cases(rules=(0,)), cases(rules=(0,), depthwise=True)))
    def check(some: tuple[Case, Case]) -> None:
        for case in some:
            np.testing.assert_array_equal(layers.run(case, packed(case)), meaning(case))

    check()


def full_range(case: Case, share: float) -> Case:
    """Return a layer in which a share of the weights is -128, and others the other limits."""
    rng = np.random.default_rng(case.weights.size)
    limits = rng.choice([-128, -128, 127], case.weights.shape)
    here = rng.random(case.weights.shape) < share
    return replace(case, weights=np.where(here, limits, case.weights))


@pytest.mark.usefixtures("no_layer_is_too_small")
@pytest.mark.parametrize("kind", ["", "1x1", "dense"])
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_weights_of_the_full_range(m4: BareLayers, kind: str, data: st.DataObject) -> None:
    """256 * -128 less something is no halfword: such layers are as fast as others."""
    case = data.draw(cases(kind=kind, rules=(0, 0, 2, 3, 4)))
    case = full_range(case, data.draw(st.sampled_from([0.01, 0.1, 1.0])))
    kernel = packed(case)
    assert kernel.function.endswith("_dsp")
    np.testing.assert_array_equal(m4.run(case, kernel), meaning(case))


@pytest.mark.usefixtures("no_layer_is_too_small")
@pytest.mark.parametrize("limits", [(-128, -119), (118, 127), (-110, 140)])
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_sums_that_are_added_in_parts(
    m4: BareLayers, limits: tuple[int, int], data: st.DataObject
) -> None:
    case = data.draw(cases(kind="1x1", rules=(0, 2, 3, 4)))
    inputs, outputs = data.draw(st.integers(1100, 1200)), data.draw(st.integers(1, 6))
    width = data.draw(st.integers(1, 3))
    rng = np.random.default_rng(inputs)
    shape = WindowShape(1, width, inputs, 1, width, outputs)
    weights = rng.integers(*limits, (outputs, 1, 1, inputs), endpoint=True)
    image = rng.integers(-128, -120, (1, width, inputs)).astype(np.int8)
    lines = np.tile(case.lines[:1], (outputs, 1))
    case = replace(case, shape=shape, weights=weights, lines=lines, image=image)
    kernel = packed(case)
    assert kernel.function == "eb_conv_long_dsp"
    np.testing.assert_array_equal(m4.run(case, kernel), meaning(case))


@pytest.mark.parametrize("depth", [512, 520])
@pytest.mark.parametrize("width", [1, 2])
def test_the_largest_sums_that_two_outputs_in_one_word_allow(
    m4: BareLayers, depth: int, width: int
) -> None:
    """127 * 516 is the most; what is beyond takes another kernel, and the answer is the same."""
    weights = np.full((4, 1, 1, depth), 127)
    weights[1:3] *= -1
    image = np.full((1, width, depth), -128, np.int8)
    image[:, 1:] = 127
    lines = np.array([[0, 1 << 24, 0]] * 4)
    shape = WindowShape(1, width, depth, 1, width, 4)
    case = Case(shape, False, weights, lines, 0, 9, (-128, 127), 0, 0, image)
    kernel = packed(case)
    assert kernel.function == ("eb_conv_dsp" if depth == 512 else "eb_conv_long_dsp")
    expected = meaning(case)
    assert expected.min() > -128 and expected.max() < 127
    np.testing.assert_array_equal(m4.run(case, kernel), expected)
