"""Quantised ONNX graphs (QDQ, QLinear, run-time scales) against ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from onnx import TensorProto
from onnx_model import ALL, NONE, Sketch, by_edgebed, by_onnxruntime, check, randoms

from edgebed.program.onnx_graph import from_model
from edgebed.program.types import Program

RNG = np.random.default_rng(11)
MICROSOFT = {"domain": "com.microsoft"}
STEP = 0.04071  # no simple fraction of the scales below, so that few sums lie between two integers
KINDS = {"int8": TensorProto.INT8, "uint8": TensorProto.UINT8}
MAP = (1, 8, 9, 7)
Body = Callable[..., str]


def zero(dtype: str, value: int = 7) -> Any:
    """A zero point; that of uint8 lies 128 higher and means the same."""
    return np.dtype(dtype).type(value + (128 if dtype == "uint8" else 0))


def weights(
    sketch: Sketch, shape: tuple[int, ...], axis: int | None, dtype: str = "int8"
) -> tuple[str, Any]:
    """A dequantised constant and its scales; one scale for axis None."""
    limits = np.iinfo(dtype)
    values = RNG.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    if axis is None:
        point = 0 if dtype == "int8" else 120
        return sketch.dequantise(sketch.constant(values), 0.004, np.array(point, dtype)), 0.004
    scales = RNG.uniform(0.002, 0.006, shape[axis]).astype(np.float32)
    points = np.full(shape[axis], 0 if dtype == "int8" else 128, dtype)
    return sketch.dequantise(sketch.constant(values), scales, points, axis=axis), scales


def bias(sketch: Sketch, channels: int, scales: Any, step: float = STEP) -> str:
    values = RNG.integers(-2000, 2000, channels).astype(np.int32)
    steps = np.float32(step) * np.asarray(scales, np.float32)
    more = {"axis": 0} if np.ndim(steps) else {}
    return sketch.dequantise(
        sketch.constant(values), steps, np.zeros(np.shape(steps), np.int32), **more
    )


def program_and_difference(
    body: Body,
    shape: tuple[int, ...],
    dtype: str,
    out: tuple[float, int],
    inputs: int = 1,
) -> tuple[Program, float, int]:
    """Return the program, the share of integers that differ, and the largest difference."""
    sketch = Sketch()
    parts = []
    for index in range(inputs):
        step, point = STEP * (1 + 0.37 * index), zero(dtype, 7 - 3 * index)
        parts.append(
            sketch.dequantise(sketch.quantise(sketch.input(shape), step, point), step, point)
        )
    result = sketch.quantise(body(sketch, *parts), out[0], zero(dtype, out[1]))
    model = sketch.model(result, kinds={result: KINDS[dtype]})
    feeds = randoms(sketch)
    program = from_model(model, "model")
    (mine,) = by_edgebed(program, feeds)
    share, largest = 0.0, 0
    for level in (ALL, NONE):
        (theirs,) = by_onnxruntime(model, feeds, level)
        assert mine.dtype == theirs.dtype and mine.shape == theirs.shape
        away = np.abs(mine.astype(int) - theirs.astype(int))
        share, largest = max(share, float((away > 0).mean())), max(largest, int(away.max()))
    return program, share, largest


def _conv(
    axis: int | None = 0, dtype: str = "int8", act: str = "", kernel: int = 3, groups: int = 1
) -> Body:
    def body(sketch: Sketch, x: str) -> str:
        out = 8 if groups == 8 else 12
        w, scales = weights(sketch, (out, 8 // groups, kernel, kernel), axis, dtype)
        y = sketch.node(
            "Conv", x, w, bias(sketch, out, scales), group=groups, pads=[kernel // 2] * 4
        )
        if act == "Relu":
            return str(sketch.node("Relu", y))
        if act == "Clip":
            bounds = [sketch.constant(np.float32(b)) for b in (0, 3)]
            return str(sketch.node("Clip", y, *bounds))
        return str(y)

    return body


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize(
    "body",
    [
        _conv(), _conv(None), _conv(None, "uint8"), _conv(0, "uint8"), _conv(act="Relu"),
        _conv(act="Clip"), _conv(kernel=1), _conv(groups=8), _conv(groups=2),
    ],
)  # fmt: skip
def test_convolutions_are_integer_layers(body: Body, dtype: str) -> None:
    """ONNX Runtime may sum in float32, whose rounding moves a value that lies between two."""
    program, share, largest = program_and_difference(body, MAP, dtype, (0.05, 2))
    assert "dequantize" not in [op.kind for op in program.ops]
    assert share <= 0.002 and largest <= 1


def _gemm(sketch: Sketch, x: str) -> str:
    w, scale = weights(sketch, (16, 40), None)
    return str(sketch.node("Gemm", x, w, bias(sketch, 16, scale), transB=1))


def _gemm_per_channel(sketch: Sketch, x: str) -> str:
    w, scales = weights(sketch, (40, 16), 1)
    return str(sketch.node("Gemm", x, w, bias(sketch, 16, scales)))


def _matmul_add(sketch: Sketch, x: str) -> str:
    w, _ = weights(sketch, (40, 16), 1)
    added = sketch.constant(RNG.normal(0, 1, 16).astype(np.float32))
    return str(sketch.node("Relu", sketch.node("Add", sketch.node("MatMul", x, w), added)))


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("body", [_gemm, _gemm_per_channel, _matmul_add])
def test_matrix_products_are_integer_layers(body: Body, dtype: str) -> None:
    program, share, largest = program_and_difference(body, (6, 40), dtype, (0.05, 2))
    assert [op.kind for op in program.ops if op.kind != "requantize"] == ["quantize", "dense"]
    assert share <= 0.02 and largest <= 1


def _node(kind: str, **more: Any) -> Body:
    return lambda sketch, *x: str(sketch.node(kind, *x, **more))


def _scaled_add(sketch: Sketch, a: str) -> str:
    return str(sketch.node("Add", a, weights(sketch, (8, 1, 1), None)[0]))


EXACT: list[tuple[Body, int, tuple[float, int]]] = [
    (_node("Add"), 2, (0.06, 3)),
    (_scaled_add, 1, (0.05, 3)),
    (_node("Sub"), 2, (0.06, 3)),
    (_node("Mul"), 2, (0.1, 3)),
    (_node("Max"), 2, (0.05, 3)),
    (_node("Concat", axis=1), 2, (0.05, 3)),
    (_node("GlobalAveragePool"), 1, (0.01, 3)),
    (_node("ReduceMean", axes=[2, 3]), 1, (0.01, 3)),
    (_node("AveragePool", kernel_shape=[3, 3], strides=[2, 2]), 1, (0.02, 3)),
    (_node("MaxPool", kernel_shape=[2, 2], strides=[2, 2]), 1, (STEP, 7)),
    (_node("MaxPool", kernel_shape=[2, 2], strides=[2, 2]), 1, (0.03, 7)),
    (_node("Transpose", perm=[0, 2, 3, 1]), 1, (0.03, 0)),
    (_node("Flatten"), 1, (STEP, 7)),
    (_node("Sigmoid"), 1, (1 / 256, -128)),
    (_node("Tanh"), 1, (1 / 128, 0)),
    (_node("LeakyRelu", alpha=0.1), 1, (0.03, 0)),
    (_node("HardSigmoid"), 1, (1 / 256, -128)),
    (_node("HardSwish"), 1, (0.03, 0)),
    (_node("Relu"), 1, (0.02, -128)),
    (_node("Softmax", axis=-1), 1, (1 / 256, -128)),
]


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("case", range(len(EXACT)))
def test_operators_without_weights_are_exact(case: int, dtype: str) -> None:
    body, inputs, out = EXACT[case]
    program, share, _ = program_and_difference(body, MAP, dtype, out, inputs)
    assert "dequantize" not in [op.kind for op in program.ops]
    assert share == 0


AFTER: dict[str, Body] = {
    "max": _node("MaxPool", kernel_shape=[2, 2]),
    "transpose": _node("Transpose", perm=[0, 2, 3, 1]),
    "flatten": _node("Flatten"),
    "reshape and transpose": lambda sketch, x: str(
        sketch.node(
            "Transpose",
            sketch.node("Reshape", x, sketch.constant(np.array([1, 2, -1]))),
            perm=[0, 2, 1],
        )
    ),
}


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("after", list(AFTER))
@pytest.mark.parametrize("kind", ["Add", "AveragePool", "Conv"])
def test_moves_before_quantisation_work_on_integers(kind: str, after: str, dtype: str) -> None:
    """Quantisers leave them without a QuantizeLinear of their own; the order changes nothing."""
    bodies: dict[str, tuple[Body, int]] = {
        "Add": (_node("Add"), 2),
        "AveragePool": (_node("AveragePool", kernel_shape=[2, 2]), 1),
        "Conv": (_conv(act="Relu"), 1),
    }
    first, inputs = bodies[kind]

    def body(sketch: Sketch, *x: str) -> str:
        return AFTER[after](sketch, first(sketch, *x))

    program, share, largest = program_and_difference(body, MAP, dtype, (0.06, 3), inputs)
    assert "dequantize" not in [op.kind for op in program.ops]
    assert share <= 0.002 and largest <= 1


@pytest.mark.parametrize("transposed", [True, False])
def test_zero_points_of_their_own_for_each_channel_stay_real(transposed: bool) -> None:
    """An int32 bias without a scale has the accumulator's, also where the layer stays real."""
    sketch = Sketch()
    x = sketch.input((1, 8), TensorProto.UINT8)
    shape = (5, 8) if transposed else (8, 5)
    w = sketch.constant(RNG.integers(0, 255, shape).astype(np.uint8))
    steps = sketch.constant(RNG.uniform(0.01, 0.02, 5).astype(np.float32))
    points = sketch.constant(np.array([100, 120, 128, 130, 140], np.uint8))
    added = sketch.constant(RNG.integers(-2000, 2000, 5).astype(np.int32))
    scale, point = sketch.constant(np.float32(0.02)), sketch.constant(np.uint8(120))
    out = sketch.node(
        "QGemm", x, scale, point, w, steps, points, added, sketch.constant(np.float32(0.3)), point,
        transB=int(transposed), **MICROSOFT,
    )  # fmt: skip
    model = sketch.model(out, kinds={out: TensorProto.UINT8})
    feeds = {x: RNG.integers(0, 255, (1, 8)).astype(np.uint8)}
    (mine,), (theirs,) = by_edgebed(from_model(model, "m"), feeds), by_onnxruntime(model, feeds)
    np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_activations_with_a_scale_a_channel(dtype: str, axis: int) -> None:
    """NNCF writes them in front of depthwise convolutions; they are computed in reals."""
    sketch, count = Sketch(), MAP[axis]
    scales = RNG.uniform(0.01, 0.04, count).astype(np.float32)
    points = RNG.integers(100, 127, count).astype(dtype)
    parts = [sketch.constant(scales), sketch.constant(points)]
    q = sketch.node("QuantizeLinear", sketch.input(MAP), *parts, axis=axis)
    real = sketch.node("DequantizeLinear", q, *parts, axis=axis)
    w, _ = weights(sketch, (8, 1, 3, 3), 0)
    y = sketch.quantise(sketch.node("Conv", real, w, group=8), 0.05, zero(dtype))
    model = sketch.model(real, y, kinds={y: KINDS[dtype]})
    feeds = randoms(sketch)
    # Its integer convolution takes these scales for one and stops, of uint8.
    level = ALL if dtype == "int8" else NONE
    mine, theirs = by_edgebed(from_model(model, "m"), feeds), by_onnxruntime(model, feeds, level)
    np.testing.assert_array_equal(mine[0], theirs[0])
    away = np.abs(mine[1].astype(int) - theirs[1].astype(int))
    assert away.max() <= 1 and (away > 0).mean() <= 0.002


def test_parts_without_quantisation_stay_real() -> None:
    sketch = Sketch()
    x = sketch.input(MAP)
    real = sketch.dequantise(sketch.quantise(x, 0.04, zero("int8")), 0.04, zero("int8"))
    w, _ = weights(sketch, (4, 8, 1, 1), 0)
    y = sketch.node("Conv", real, w)
    program = check(sketch.model(sketch.node("Sigmoid", y)), randoms(sketch))
    assert [op.kind for op in program.ops] == ["quantize", "dequantize", "conv2d", "unary"]


def test_weights_quantised_in_the_graph_become_integers() -> None:
    """Exporters that fake quantisation keep real weights before a QuantizeLinear."""
    sketch = Sketch()
    x = sketch.dequantise(sketch.quantise(sketch.input(MAP), 0.04, np.int8(3)), 0.04, np.int8(3))
    real = sketch.constant(RNG.normal(0, 0.3, (4, 8, 3, 3)).astype(np.float32))
    w = sketch.dequantise(sketch.quantise(real, 0.01, np.int8(0)), 0.01, np.int8(0))
    out = sketch.quantise(sketch.node("Conv", x, w), 0.1, np.int8(0))
    model = sketch.model(out, kinds={out: TensorProto.INT8})
    program = check(model, randoms(sketch), atol=1)
    conv = program.ops[-1]
    assert conv.kind == "conv2d" and program.constants["Conv_4.weight"].values.dtype == np.int8


def test_blockwise_weights_are_dequantised() -> None:
    sketch = Sketch(opset=21)
    values = RNG.integers(-128, 127, (6, 8)).astype(np.int8)
    scales = RNG.uniform(0.01, 0.02, (3, 8)).astype(np.float32)
    w = sketch.node(
        "DequantizeLinear",
        sketch.constant(values),
        sketch.constant(scales),
        axis=0,
        block_size=2,
    )
    check(sketch.model(sketch.node("MatMul", sketch.input((1, 6)), w)), randoms(sketch))


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_qlinear_network(dtype: str) -> None:
    """The operators that older quantisers write: integers in, integers out."""
    sketch = Sketch()
    x = sketch.input(MAP, KINDS[dtype])
    kind = np.dtype(dtype).type

    def number(scale: float, point: int) -> tuple[str, str]:
        return sketch.constant(np.float32(scale)), sketch.constant(zero(dtype, point))

    first, second, third = number(0.04, 3), number(0.05, -5), number(0.06, 1)
    w = sketch.constant(RNG.integers(-127, 127, (8, 8, 3, 3)).astype(np.int8))
    scales = sketch.constant(RNG.uniform(0.001, 0.003, 8).astype(np.float32))
    points = sketch.constant(np.zeros(8, np.int8))
    added = sketch.constant(RNG.integers(-900, 900, 8).astype(np.int32))
    y = sketch.node("QLinearConv", x, *first, w, scales, points, *second, added, pads=[1, 1, 1, 1])
    more = {"domain": "com.microsoft"}
    y = sketch.node("QLinearAdd", y, *second, x, *first, *third, **more)
    y = sketch.node("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2])
    y = sketch.node("QLinearLeakyRelu", y, *third, *third, alpha=0.1, **more)
    z = sketch.node("QLinearSigmoid", y, *third, *second, **more)
    y = sketch.node("QLinearConcat", *first, y, *third, z, *second, axis=1, **more)
    y = sketch.node("QLinearGlobalAveragePool", y, *first, *second, channels_last=0, **more)
    y = sketch.node("Flatten", y)
    w2 = sketch.constant(RNG.integers(-127, 127, (16, 5)).astype(kind))
    step = sketch.constant(np.float32(0.01))
    y = sketch.node("QLinearMatMul", y, *second, w2, step, sketch.constant(kind(0)), *third)
    model = sketch.model(y, kinds={y: KINDS[dtype]})
    program = from_model(model, "model")
    feeds = {x: RNG.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, MAP).astype(dtype)}
    (mine,), (theirs,) = by_edgebed(program, feeds), by_onnxruntime(model, feeds)
    assert mine.dtype == theirs.dtype == dtype
    assert np.abs(mine.astype(int) - theirs.astype(int)).max() <= 1
    assert "dequantize" not in [op.kind for op in program.ops]


def test_scales_found_at_run_time() -> None:
    sketch = Sketch()
    x = sketch.input((1, 4, 24))
    q, scale, point = sketch.node("DynamicQuantizeLinear", x, outputs=3)
    w = sketch.constant(RNG.integers(-127, 127, (24, 6)).astype(np.int8))
    product = sketch.node("MatMulInteger", q, w, point, sketch.constant(np.int8(3)))
    real = sketch.node("Cast", product, to=TensorProto.FLOAT)
    out = sketch.node("Mul", real, sketch.node("Mul", scale, sketch.constant(np.float32(0.02))))
    check(sketch.model(out), randoms(sketch), rtol=1e-3, atol=1e-3)


def test_integer_convolution() -> None:
    sketch = Sketch()
    x = sketch.input((1, 3, 6, 5), TensorProto.UINT8)
    w = sketch.constant(RNG.integers(0, 255, (4, 3, 3, 3)).astype(np.uint8))
    points = [sketch.constant(np.uint8(n)) for n in (120, 131)]
    out = sketch.node("ConvInteger", x, w, *points, pads=[1, 1, 1, 1])
    model = sketch.model(out, kinds={out: TensorProto.INT32})
    feeds = {x: RNG.integers(0, 255, (1, 3, 6, 5)).astype(np.uint8)}
    (mine,), (theirs,) = by_edgebed(from_model(model, "m"), feeds), by_onnxruntime(model, feeds)
    assert mine.dtype == np.int32
    np.testing.assert_array_equal(mine, theirs)


def test_a_byte_picture_as_input() -> None:
    """uint8 in, cast to real numbers, as cameras' networks begin."""
    sketch = Sketch()
    x = sketch.input((1, 3, 4, 5), TensorProto.UINT8)
    real = sketch.node("Cast", x, to=TensorProto.FLOAT)
    out = sketch.node("Mul", real, sketch.constant(np.float32(1 / 255)))
    feeds = {x: RNG.integers(0, 255, (1, 3, 4, 5)).astype(np.uint8)}
    program = check(sketch.model(out), feeds)
    assert program.inputs[x].dtype == "uint8"


def test_fused_operators_of_onnx_runtime() -> None:
    sketch = Sketch()
    w = sketch.constant(RNG.normal(0, 0.3, (4, 3, 3, 3)).astype(np.float32))
    b = sketch.constant(RNG.normal(0, 0.3, 4).astype(np.float32))
    y = sketch.node(
        "FusedConv", sketch.input((1, 3, 6, 5)), w, b, domain="com.microsoft", activation="Relu"
    )
    y = sketch.node("Flatten", y)
    w2 = sketch.constant(RNG.normal(0, 0.3, (48, 5)).astype(np.float32))
    out = sketch.node(
        "FusedGemm", y, w2, domain="com.microsoft", activation="LeakyRelu", activation_alpha=0.2
    )
    y = sketch.node("BiasGelu", out, sketch.constant(np.ones(5, np.float32)), **MICROSOFT)
    check(sketch.model(y), randoms(sketch))


def test_an_output_that_is_also_read_inside_keeps_its_type() -> None:
    sketch = Sketch()
    q = sketch.quantise(sketch.input(MAP), 0.05, np.uint8(120))
    real = sketch.dequantise(q, 0.05, np.uint8(120))
    model = sketch.model(q, real, kinds={q: TensorProto.UINT8})
    check(model, randoms(sketch), rtol=0, atol=0)
