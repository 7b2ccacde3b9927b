"""Real operators of ONNX files against ONNX Runtime, one node each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from onnx import TensorProto
from onnx_model import Sketch, check, randoms

RNG = np.random.default_rng(7)


def reals(*shape: int) -> np.ndarray:
    return RNG.normal(0, 0.5, shape).astype(np.float32)


def whole(*values: Any) -> np.ndarray:
    return np.array(values, np.int64)


CONVOLUTIONS: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((1, 3, 9, 8), (5, 3, 3, 3), {"pads": [1, 0, 2, 1], "strides": [2, 1]}),
    ((1, 4, 7, 7), (4, 1, 3, 3), {"group": 4, "pads": [1, 1, 1, 1]}),
    ((1, 4, 7, 7), (6, 2, 3, 3), {"group": 2, "dilations": [2, 2]}),
    ((1, 3, 9, 8), (5, 3, 4, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 3]}),
    ((1, 3, 9, 8), (5, 3, 4, 3), {"auto_pad": "SAME_LOWER", "strides": [2, 3]}),
    ((1, 3, 9, 8), (5, 3, 3, 3), {"auto_pad": "VALID", "kernel_shape": [3, 3]}),
    ((1, 3, 21), (5, 3, 4), {"strides": [2], "pads": [1, 2]}),
]


@pytest.mark.parametrize(("x", "w", "more"), CONVOLUTIONS)
@pytest.mark.parametrize("bias", [True, False])
def test_convolutions(
    x: tuple[int, ...], w: tuple[int, ...], more: dict[str, Any], bias: bool
) -> None:
    sketch = Sketch()
    rest = [sketch.constant(reals(w[0]))] if bias else []
    out = sketch.node("Conv", sketch.input(x), sketch.constant(reals(*w)), *rest, **more)
    check(sketch.model(out), randoms(sketch))


TRANSPOSED: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((1, 3, 5, 6), (3, 4, 2, 2), {"strides": [2, 2]}),
    ((1, 3, 5, 6), (3, 4, 4, 3), {"strides": [2, 3], "pads": [1, 0, 2, 1]}),
    ((1, 3, 5, 6), (3, 4, 3, 3), {"strides": [2, 2], "output_padding": [1, 1], "pads": [1] * 4}),
    ((1, 4, 5, 6), (4, 1, 3, 3), {"strides": [2, 2], "group": 4}),
    ((1, 4, 5, 6), (4, 3, 3, 3), {"group": 2, "dilations": [2, 1]}),
    ((1, 3, 5, 6), (3, 4, 3, 3), {"strides": [2, 2], "output_shape": [10, 13]}),
    ((1, 3, 5, 6), (3, 4, 4, 4), {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    ((1, 3, 9), (3, 4, 4), {"strides": [2], "pads": [1, 1]}),
]


@pytest.mark.parametrize(("x", "w", "more"), TRANSPOSED)
def test_transposed_convolutions(
    x: tuple[int, ...], w: tuple[int, ...], more: dict[str, Any]
) -> None:
    sketch = Sketch()
    channels = w[1] * more.get("group", 1)
    weight, bias = sketch.constant(reals(*w)), sketch.constant(reals(channels))
    out = sketch.node("ConvTranspose", sketch.input(x), weight, bias, **more)
    check(sketch.model(out), randoms(sketch))


POOLS: list[tuple[str, tuple[int, ...], dict[str, Any]]] = [
    ("MaxPool", (1, 3, 9, 8), {"kernel_shape": [3, 2], "strides": [2, 2]}),
    ("MaxPool", (1, 3, 9, 8), {"kernel_shape": [3, 3], "pads": [1] * 4, "strides": [2, 2]}),
    ("MaxPool", (1, 3, 8, 8), {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    ("MaxPool", (1, 3, 9, 8), {"kernel_shape": [2, 2], "auto_pad": "SAME_LOWER"}),
    ("MaxPool", (1, 3, 9, 8), {"kernel_shape": [2, 2], "dilations": [2, 3], "pads": [1, 0, 0, 1]}),
    ("MaxPool", (1, 3, 15), {"kernel_shape": [3], "strides": [2]}),
    ("AveragePool", (1, 3, 9, 8), {"kernel_shape": [3, 3], "pads": [1] * 4}),
    ("AveragePool", (1, 3, 9, 8), {"kernel_shape": [3, 3], "pads": [1] * 4,
                                   "count_include_pad": 1}),
    ("AveragePool", (1, 3, 8, 8), {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    ("AveragePool", (1, 3, 9, 8), {"kernel_shape": [2, 3], "auto_pad": "SAME_UPPER"}),
    ("AveragePool", (1, 3, 15), {"kernel_shape": [4], "strides": [3]}),
    ("GlobalAveragePool", (1, 3, 9, 8), {}),
    ("GlobalMaxPool", (1, 3, 9, 8), {}),
    ("LRN", (1, 6, 4, 5), {"size": 3, "alpha": 0.01, "beta": 0.7, "bias": 1.5}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "shape", "more"), POOLS)
def test_pools(kind: str, shape: tuple[int, ...], more: dict[str, Any]) -> None:
    sketch = Sketch()
    out = sketch.node(kind, sketch.input(shape), **more)
    check(sketch.model(out), randoms(sketch))


FUNCTIONS: list[tuple[str, dict[str, Any]]] = [
    ("Relu", {}), ("LeakyRelu", {"alpha": 0.2}), ("Sigmoid", {}), ("Tanh", {}), ("Elu", {}),
    ("Celu", {"alpha": 0.7}), ("Selu", {}), ("Selu", {"alpha": 2.0, "gamma": 0.5}),
    ("HardSigmoid", {"alpha": 0.3}), ("HardSwish", {}), ("Softplus", {}), ("Softsign", {}),
    ("Exp", {}), ("Abs", {}), ("Neg", {}), ("Floor", {}), ("Ceil", {}), ("Round", {}), ("Erf", {}),
    ("Sign", {}), ("Reciprocal", {}), ("Sin", {}), ("Cos", {}), ("Identity", {}),
    ("ThresholdedRelu", {"alpha": 0.5}), ("Shrink", {"lambd": 0.5, "bias": 0.25}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "more"), FUNCTIONS)
def test_functions(kind: str, more: dict[str, Any]) -> None:
    sketch = Sketch()
    out = sketch.node(kind, sketch.input((1, 3, 5)), **more)
    check(sketch.model(out), randoms(sketch))


@pytest.mark.parametrize(
    ("kind", "more"), [("Mish", {}), ("Gelu", {}), ("Gelu", {"approximate": "tanh"})]
)
def test_newer_functions(kind: str, more: dict[str, Any]) -> None:
    sketch = Sketch(opset=20)
    check(sketch.model(sketch.node(kind, sketch.input((1, 3, 5)), **more)), randoms(sketch))


@pytest.mark.parametrize("kind", ["Sqrt", "Log"])
def test_functions_of_positive_numbers(kind: str) -> None:
    sketch = Sketch()
    out = sketch.node(kind, sketch.input((1, 3, 5)))
    check(sketch.model(out), randoms(sketch, low=0.1))


@pytest.mark.parametrize("bounds", [(-1.0, 1.5), (0.0, None), (None, 6.0), (None, None)])
def test_clip(bounds: tuple[float | None, float | None]) -> None:
    sketch = Sketch()
    x = sketch.input((1, 3, 5))
    given = [sketch.constant(np.float32(b)) if b is not None else "" for b in bounds]
    check(sketch.model(sketch.node("Clip", x, *given)), randoms(sketch))


SHAPES = [
    ((1, 3, 4, 5), (1, 3, 4, 5)),
    ((1, 3, 4, 5), (3, 1, 1)),
    ((1, 3, 4, 5), (1, 1, 4, 5)),
    ((1, 5), (1, 1, 5)),
    ((2, 3), (1, 2, 3)),
    ((2, 2, 3), (1, 2, 3)),
    ((1, 3), (4, 1)),
    ((5,), (1, 5)),
    ((1, 3, 4), ()),
]


@pytest.mark.parametrize("kind", ["Add", "Sub", "Mul", "Div", "Max", "Min"])
@pytest.mark.parametrize(("a", "b"), SHAPES)
def test_two_operands(kind: str, a: tuple[int, ...], b: tuple[int, ...]) -> None:
    sketch = Sketch()
    out = sketch.node(kind, sketch.input(a), sketch.input(b))
    check(sketch.model(out), randoms(sketch, low=0.5))


@pytest.mark.parametrize("kind", ["Add", "Sub", "Mul", "Div", "Max"])
@pytest.mark.parametrize("swapped", [True, False])
@pytest.mark.parametrize("shape", [(3, 1, 1), (1, 3, 1, 1), (), (1,), (3, 4, 5), (1, 1, 4, 5)])
def test_a_constant_operand_behind_a_convolution(
    kind: str, swapped: bool, shape: tuple[int, ...]
) -> None:
    """Folded into the layer or not, the answer is the same."""
    sketch = Sketch()
    x = sketch.node("Conv", sketch.input((1, 2, 4, 5)), sketch.constant(reals(3, 2, 1, 1)))
    other = sketch.constant(np.abs(reals(*shape)) + np.float32(0.5))
    operands = (other, x) if swapped else (x, other)
    check(sketch.model(sketch.node(kind, *operands)), randoms(sketch), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", ["Sum", "Mean", "Max", "Min"])
def test_several_operands(kind: str) -> None:
    sketch = Sketch()
    out = sketch.node(kind, *(sketch.input((1, 3, 4)) for _ in range(3)))
    check(sketch.model(out), randoms(sketch))


@pytest.mark.parametrize("exponent", [2.0, 0.5, -1.0, -0.5, 3.0, 1.7])
def test_powers(exponent: float) -> None:
    sketch = Sketch()
    out = sketch.node("Pow", sketch.input((1, 3, 4)), sketch.constant(np.float32(exponent)))
    check(sketch.model(out), randoms(sketch, low=0.2))


@pytest.mark.parametrize("shape", [(3, 1, 1), (1,), (1, 3, 1, 1), (3, 4, 5)])
def test_prelu(shape: tuple[int, ...]) -> None:
    sketch = Sketch()
    out = sketch.node("PRelu", sketch.input((1, 3, 4, 5)), sketch.constant(reals(*shape)))
    check(sketch.model(out), randoms(sketch))


MATRICES: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((1, 6), (6, 4)), ((1, 5, 6), (6, 4)), ((3, 5, 6), (6, 4)), ((1, 2, 5, 6), (1, 2, 6, 4)),
    ((1, 2, 5, 6), (2, 6, 4)), ((5, 6), (6,)), ((6,), (6, 4)), ((1, 6), (6, 1)), ((6,), (6,)),
    ((1, 1, 6), (3, 6, 4)),
]  # fmt: skip


@pytest.mark.parametrize(("a", "b"), MATRICES)
@pytest.mark.parametrize("known", ["none", "right", "left"])
def test_matrix_products(a: tuple[int, ...], b: tuple[int, ...], known: str) -> None:
    sketch = Sketch()
    left = sketch.constant(reals(*a)) if known == "left" else sketch.input(a)
    right = sketch.constant(reals(*b)) if known == "right" else sketch.input(b)
    check(sketch.model(sketch.node("MatMul", left, right)), randoms(sketch))


@pytest.mark.parametrize("more", [{}, {"transB": 1}, {"transA": 1}, {"alpha": 0.5, "beta": 2.0}])
@pytest.mark.parametrize("bias", [(), (4,), (1, 4), (3, 1), (3, 4), None])
def test_gemm(more: dict[str, Any], bias: tuple[int, ...] | None) -> None:
    sketch = Sketch()
    x = sketch.input((6, 3) if more.get("transA") else (3, 6))
    weight = sketch.constant(reals(4, 6) if more.get("transB") else reals(6, 4))
    rest = [] if bias is None else [sketch.constant(reals(*bias))]
    check(sketch.model(sketch.node("Gemm", x, weight, *rest, **more)), randoms(sketch))


@pytest.mark.parametrize("before", ["Conv", "Relu", "Gemm"])
def test_batch_normalisation(before: str) -> None:
    sketch = Sketch()
    if before == "Gemm":
        x = sketch.node("Gemm", sketch.input((1, 6)), sketch.constant(reals(6, 3)))
    else:
        x = sketch.input((1, 3, 4, 5))
        more = [sketch.constant(reals(3, 3, 1, 1))] if before == "Conv" else []
        x = sketch.node(before, x, *more)
    numbers = [reals(3), reals(3), reals(3), np.abs(reals(3)) + np.float32(0.1)]
    out = sketch.node("BatchNormalization", x, *map(sketch.constant, numbers), epsilon=1e-3)
    program = check(sketch.model(out), randoms(sketch))
    assert len(program.ops) == (1 if before != "Relu" else 5)


def test_a_layer_that_others_read_is_not_changed_by_a_fold() -> None:
    sketch = Sketch()
    x = sketch.node("Conv", sketch.input((1, 2, 4, 5)), sketch.constant(reals(3, 2, 1, 1)))
    alias = sketch.node("Identity", x)
    scaled = sketch.node("Mul", alias, sketch.constant(reals(3, 1, 1)))
    check(sketch.model(sketch.node("Add", scaled, x), x), randoms(sketch))


def test_normalisations() -> None:
    sketch = Sketch(opset=21)
    x = sketch.input((1, 6, 4, 5))
    rows = [sketch.constant(reals(6)) for _ in range(2)]
    a = sketch.node("InstanceNormalization", x, *rows, epsilon=1e-3)
    b = sketch.node("GroupNormalization", a, *rows, num_groups=3)
    last = [sketch.constant(reals(4, 5)) for _ in range(2)]
    c = sketch.node("LayerNormalization", b, *last, axis=-2)
    d = sketch.node("MeanVarianceNormalization", c)
    out = sketch.node("LpNormalization", d, axis=1)
    check(sketch.model(out), randoms(sketch), rtol=1e-3, atol=1e-4)


REDUCTIONS = ["Mean", "Sum", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSum", "LogSumExp"]


@pytest.mark.parametrize("kind", REDUCTIONS)
@pytest.mark.parametrize("axes", [[1], [2, 3], [-1], [0, 1], None])
@pytest.mark.parametrize("keep", [0, 1])
def test_reductions(kind: str, axes: list[int] | None, keep: int) -> None:
    sketch = Sketch(opset=13)
    x = sketch.input((1, 2, 3, 4))
    if kind == "Sum":
        given = [sketch.constant(whole(*axes))] if axes else []
        out = sketch.node("ReduceSum", x, *given, keepdims=keep)
    else:
        more = {"axes": axes} if axes else {}
        out = sketch.node(f"Reduce{kind}", x, keepdims=keep, **more)
    check(sketch.model(out), randoms(sketch, low=0.5), rtol=1e-3)


@pytest.mark.parametrize("opset", [11, 13])
@pytest.mark.parametrize("axis", [1, 2, 3])
@pytest.mark.parametrize("kind", ["Softmax", "LogSoftmax"])
def test_softmax_of_both_meanings(opset: int, axis: int, kind: str) -> None:
    sketch = Sketch(opset=opset)
    out = sketch.node(kind, sketch.input((1, 2, 3, 4)), axis=axis)
    check(sketch.model(out), randoms(sketch))


@pytest.mark.parametrize("kind", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("more", [{"axis": 1}, {"axis": -1, "keepdims": 0}])
def test_where_the_extreme_is(kind: str, more: dict[str, Any]) -> None:
    sketch = Sketch()
    out = sketch.node(kind, sketch.input((1, 5, 4)), **more)
    check(sketch.model(out, kinds={out: TensorProto.INT64}), randoms(sketch))


@pytest.mark.parametrize("kind", ["Greater", "Less", "GreaterOrEqual", "LessOrEqual", "Equal"])
def test_comparisons_choose(kind: str) -> None:
    sketch = Sketch()
    a, b = sketch.input((1, 3, 4)), sketch.input((1, 3, 4))
    rounded = [sketch.node("Round", x) for x in (a, b)]
    choice = sketch.node(kind, *rounded)
    out = sketch.node("Where", choice, a, b)
    check(sketch.model(out, choice, kinds={choice: TensorProto.BOOL}), randoms(sketch))


def test_logic() -> None:
    sketch = Sketch()
    zero = sketch.constant(np.float32(0))
    a, b = (sketch.node("Greater", sketch.input((1, 3, 4)), zero) for _ in range(2))
    outs = [sketch.node(kind, a, b) for kind in ("And", "Or", "Xor")]
    outs.append(sketch.node("Not", a))
    kinds = dict.fromkeys(outs, TensorProto.BOOL)
    check(sketch.model(*outs, kinds=kinds), randoms(sketch))


@pytest.mark.parametrize("kind", [TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL])
def test_casts(kind: int) -> None:
    sketch = Sketch()
    cut = sketch.node("Cast", sketch.input((1, 3, 4)), to=kind)
    back = sketch.node("Cast", cut, to=TensorProto.FLOAT)
    check(sketch.model(cut, back, kinds={cut: kind}), randoms(sketch))


@pytest.mark.parametrize("shape", [(1, 3, 4, 5), (2, 3, 1, 5), (4, 1)])
def test_expand_and_tile(shape: tuple[int, ...]) -> None:
    sketch = Sketch()
    x = sketch.input((1, 3, 1, 1))
    wide = sketch.node("Expand", x, sketch.constant(whole(*shape)))
    out = sketch.node("Tile", wide, sketch.constant(whole(1, 2, 1, 3)))
    check(sketch.model(out), randoms(sketch))
