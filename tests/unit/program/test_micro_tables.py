"""Every entry of the int8 tables against TensorFlow Lite Micro's and TensorFlow Lite's kernels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_op import single as float32

from edgebed.program.ops.tables import Scales, prelu_table, real_table, table

pytest.importorskip("tflite")
from tflite_model import Tensor, constant, lite, micro, single

VALUES = np.arange(-128, 128, dtype=np.int8)
scale_values = st.floats(-3.0, 0.3).map(lambda x: float32(10.0**x))
ratios = st.floats(-1.0, 1.0).map(lambda x: 10.0**x)
zeros = st.integers(-128, 127)
SIGMOID, TANH = (2.0**-8, -128), (2.0**-7, 0)


@st.composite
def scales(draw: st.DrawFn) -> Scales:
    scale = draw(scale_values)
    return Scales(scale, draw(zeros), float32(scale * draw(ratios)), draw(zeros))


def tensors(s: Scales, count: int = 256) -> tuple[Tensor, Tensor]:
    x = Tensor("x", (1, count), "int8", s.scale_in, s.zero_in)
    return x, Tensor("y", (1, count), "int8", s.scale_out, s.zero_out)


@pytest.mark.parametrize(
    ("code", "function", "output"),
    [
        ("LOGISTIC", "sigmoid", SIGMOID),
        ("TANH", "tanh", TANH),
        ("RELU", "relu", None),
        ("RELU6", "relu6", None),
        ("HARD_SWISH", "hard_swish", None),
        ("ABS", "abs", None),
        ("ELU", "elu", None),
    ],
)
@settings(max_examples=40, deadline=None)
@given(s=scales())
def test_tables_are_the_micro_kernels(
    code: str, function: str, output: tuple[float, int] | None, s: Scales
) -> None:
    pytest.importorskip("tflite_micro")
    if output is not None:
        s = Scales(s.scale_in, s.zero_in, *output)
    x, y = tensors(s)
    (expected,) = micro(single(code, [x], [y]), VALUES[None])
    np.testing.assert_array_equal(table(function, s, alpha=1.0), expected[0])


@settings(max_examples=40, deadline=None)
@given(scales(), st.floats(-1.5, 1.5).map(float32))
def test_leaky_relu_is_the_micro_kernel(s: Scales, alpha: float) -> None:
    pytest.importorskip("tflite_micro")
    x, y = tensors(s)
    model = single("LEAKY_RELU", [x], [y], "LeakyReluOptions", Alpha=alpha)
    np.testing.assert_array_equal(
        table("leaky_relu", s, alpha=alpha), micro(model, VALUES[None])[0][0]
    )


@settings(max_examples=40, deadline=None)
@given(scales())
def test_reciprocal_square_root_is_the_micro_kernel(s: Scales) -> None:
    pytest.importorskip("tflite_micro")
    roots = VALUES[s.zero_in <= VALUES]
    x, y = tensors(s, len(roots))
    (expected,) = micro(single("RSQRT", [x], [y]), roots[None])
    np.testing.assert_array_equal(table("rsqrt", s)[roots.astype(int) + 128], expected[0])


@settings(max_examples=40, deadline=None)
@given(scales(), zeros, zeros, scale_values)
def test_prelu_is_the_micro_kernel(s: Scales, stored: int, zero: int, step: float) -> None:
    pytest.importorskip("tflite_micro")
    x = Tensor("x", (1, 1, 256, 1), "int8", s.scale_in, s.zero_in)
    y = Tensor("y", (1, 1, 256, 1), "int8", s.scale_out, s.zero_out)
    slope = constant("slope", [[[stored]]], "int8", scale=step, zero_point=zero)
    (expected,) = micro(single("PRELU", [x, slope], [y]), VALUES.reshape(1, 1, 256, 1))
    np.testing.assert_array_equal(prelu_table(s, stored - zero, step), expected.ravel())


@pytest.mark.parametrize(
    ("code", "options", "function", "bounds"),
    [
        ("EXP", "ExpOptions", "exp", {}),
        ("LOG", "", "log", {}),
        ("GELU", "GeluOptions", "gelu", {}),
        ("RELU_N1_TO_1", "", "clip", {"low": -1.0, "high": 1.0}),
        ("RELU_0_TO_1", "", "clip", {"low": 0.0, "high": 1.0}),
    ],
)
@settings(max_examples=20, deadline=None)
@given(s=scales())
def test_tables_without_a_micro_kernel_are_those_of_tensorflow_lite(
    code: str, options: str, function: str, bounds: dict[str, float], s: Scales
) -> None:
    pytest.importorskip("ai_edge_litert")
    x, y = tensors(s)
    (expected,) = lite(single(code, [x], [y], options), VALUES[None])
    np.testing.assert_array_equal(table(function, s, **bounds), expected[0])


@settings(max_examples=200, deadline=None)
@given(scales(), st.sampled_from(["sigmoid", "tanh", "relu", "exp", "sqrt", "square", "gelu"]))
def test_the_float_rule_is_the_nearest_integer_of_the_real_function(
    s: Scales, function: str
) -> None:
    real = {
        "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
        "tanh": np.tanh,
        "relu": lambda x: np.maximum(x, 0),
        "exp": np.exp,
        "sqrt": lambda x: np.sqrt(np.maximum(x, 0)),
        "square": np.square,
        "gelu": lambda x: table_erf(x),
    }[function]
    x = (VALUES.astype(float) - s.zero_in) * s.scale_in
    exact = np.clip(real(x) / s.scale_out + s.zero_out, -128, 127)
    found = table(function, s, rounding="float").astype(float)
    defined = x >= 0 if function == "sqrt" else np.ones(256, bool)
    assert np.abs(found - exact)[defined].max(initial=0) <= 0.5 + 1e-3


def table_erf(x: np.ndarray) -> np.ndarray:
    from math import erf, sqrt

    return np.array([value * (1 + erf(value / sqrt(2))) / 2 for value in x])


def test_any_real_function_can_become_a_table() -> None:
    cube = real_table(lambda x: x**3, Scales(1 / 64, 0, 1 / 16, 0), rounding="float")
    assert cube[128 + 64] == 16
    assert cube[128 - 64] == -16
    assert cube[0] == -128
