"""Real arithmetic, and integers under the float rule, against ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_op import affine, compute
from one_op import single as float32

from edgebed.program.ops.tables import Scales, table
from edgebed.program.types import Constant, TensorType

pytest.importorskip("onnxruntime")
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

seeds = st.integers(0, 2**32 - 1)
SHAPE = (2, 3, 5, 7)


def runtime(
    nodes: Sequence[Any], inputs: Mapping[str, np.ndarray], constants: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Return output y of a graph as ONNX Runtime computes it."""
    types = {np.float32: TensorProto.FLOAT, np.int8: TensorProto.INT8, np.uint8: TensorProto.UINT8}
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [
            helper.make_tensor_value_info(name, types[x.dtype.type], x.shape)
            for name, x in inputs.items()
        ],
        [helper.make_empty_tensor_value_info("y")],
        [numpy_helper.from_array(np.asarray(x), name) for name, x in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return np.asarray(session.run(["y"], dict(inputs))[0])


def onnx_op(name: str, inputs: Mapping[str, np.ndarray], *extra: Any, **attributes: Any) -> Any:
    """Return y = name(inputs, extra): extra inputs are arrays, None for one left out."""
    names = [f"c{i}" if value is not None else "" for i, value in enumerate(extra)]
    constants = {n: v for n, v in zip(names, extra, strict=True) if n}
    node = helper.make_node(name, [*inputs, *names], ["y"], **attributes)
    return runtime([node], inputs, constants)


def reals(seed: int, shape: tuple[int, ...] = SHAPE) -> tuple[np.ndarray, TensorType]:
    x = (np.random.default_rng(seed).normal(size=shape) * 3).astype(np.float32)
    return x, TensorType(shape[1:], "float32", 1.0)


FUNCTIONS = [
    ("Relu", "relu", {}),
    ("LeakyRelu", "leaky_relu", {"alpha": 0.1}),
    ("Sigmoid", "sigmoid", {}),
    ("Tanh", "tanh", {}),
    ("HardSwish", "hard_swish", {}),
    ("HardSigmoid", "hard_sigmoid", {"alpha": 0.3, "beta": 0.4}),
    ("Exp", "exp", {}),
    ("Log", "log", {}),
    ("Sqrt", "sqrt", {}),
    ("Abs", "abs", {}),
    ("Neg", "neg", {}),
    ("Floor", "floor", {}),
    ("Ceil", "ceil", {}),
    ("Round", "round", {}),
    ("Elu", "elu", {"alpha": 0.7}),
    ("Celu", "celu", {"alpha": 0.7}),
    ("Selu", "selu", {}),
    ("Gelu", "gelu", {}),
    ("Mish", "mish", {}),
    ("Softplus", "softplus", {}),
    ("Softsign", "softsign", {}),
    ("Erf", "erf", {}),
    ("Sign", "sign", {}),
    ("Reciprocal", "reciprocal", {}),
    ("Sin", "sin", {}),
    ("Cos", "cos", {}),
]


@pytest.mark.parametrize(("name", "function", "numbers"), FUNCTIONS)
def test_functions(name: str, function: str, numbers: dict[str, float]) -> None:
    x, kind = reals(1)
    if function in ("log", "sqrt"):
        x = np.abs(x) + np.float32(0.01)
    expected = onnx_op(name, {"x": x}, **numbers)
    found = compute("unary", [(x, kind)], function=function, **numbers)
    np.testing.assert_allclose(found, expected, rtol=5e-7, atol=1e-6)


def test_gelu_by_tanh_and_clip() -> None:
    x, kind = reals(2)
    expected = onnx_op("Gelu", {"x": x}, approximate="tanh")
    found = compute("unary", [(x, kind)], function="gelu_tanh")
    np.testing.assert_allclose(found, expected, rtol=5e-7, atol=1e-6)
    bounds = (np.float32(-1.5), np.float32(2.5))
    found = compute("unary", [(x, kind)], function="clip", low=-1.5, high=2.5)
    np.testing.assert_array_equal(found, onnx_op("Clip", {"x": x}, *bounds))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_softmax(axis: int) -> None:
    x, kind = reals(3)
    found = compute("softmax", [(x, kind)], axis=axis)
    np.testing.assert_allclose(found, onnx_op("Softmax", {"x": x}, axis=axis + 1), atol=1e-6)
    found = compute("softmax", [(x, kind)], axis=axis, log=True)
    expected = onnx_op("LogSoftmax", {"x": x}, axis=axis + 1)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=2e-6)


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("ReduceMean", "mean"),
        ("ReduceSum", "sum"),
        ("ReduceMax", "max"),
        ("ReduceMin", "min"),
        ("ReduceProd", "prod"),
        ("ReduceL2", "l2"),
    ],
)
def test_reduce(name: str, function: str, keep: bool) -> None:
    x, kind = reals(4)
    for axes in ((1, 2), (0,), (2,)):
        expected = onnx_op(name, {"x": x}, np.array(axes) + 1, keepdims=int(keep))
        found = compute("reduce", [(x, kind)], function=function, axes=axes, keep=keep)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Mul", "multiply"),
        ("Div", "divide"),
        ("Max", "maximum"),
        ("Min", "minimum"),
        ("Pow", "power"),
    ],
)
@pytest.mark.parametrize("other", [(3, 5, 7), (3, 1, 1), (7,), (5, 1), (1, 1, 1)])
def test_two_operands_broadcast_without_the_batch(
    name: str, kind: str, other: tuple[int, ...]
) -> None:
    a, a_kind = reals(5)
    b, b_kind = reals(6, (2, *other))
    if kind == "power":
        a = np.abs(a)
    aligned = b.reshape(2, *(1,) * (3 - len(other)), *other)
    found = compute(kind, [(a, a_kind), (b, b_kind)])
    np.testing.assert_allclose(found, onnx_op(name, {"a": a, "b": aligned}), rtol=1e-6)


def test_prelu_and_l2_normalize() -> None:
    x, kind = reals(7)
    slope = np.random.default_rng(8).normal(size=(3, 1, 1)).astype(np.float32)
    found = compute("prelu", [(x, kind)], {"s": Constant(slope.copy(), 32)}, slope="s")
    np.testing.assert_array_equal(found, onnx_op("PRelu", {"x": x}, slope))
    found = compute("l2_normalize", [(x, kind)], axis=0)
    expected = onnx_op("LpNormalization", {"x": x}, axis=1, p=2)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("flip", [(False, False), (True, False), (False, True)])
def test_batch_matmul(flip: tuple[bool, bool]) -> None:
    a, a_kind = reals(9, (2, 4, 5, 6) if not flip[0] else (2, 4, 6, 5))
    b, b_kind = reals(10, (2, 4, 6, 3) if not flip[1] else (2, 4, 3, 6))
    straight = [
        np.swapaxes(x, -1, -2) if turned else x for x, turned in zip((a, b), flip, strict=True)
    ]
    found = compute(
        "batch_matmul", [(a, a_kind), (b, b_kind)], transpose_a=flip[0], transpose_b=flip[1]
    )
    expected = onnx_op("MatMul", {"a": straight[0].copy(), "b": straight[1].copy()})
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("mode", "name"), [("bilinear", "linear"), ("cubic", "cubic")])
@pytest.mark.parametrize(
    "coordinates", ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]
)
def test_resize_interpolates(mode: str, name: str, coordinates: str) -> None:
    x, kind = reals(11)
    for size in ((10, 14), (3, 4), (13, 5), (1, 1)):
        scales = tuple(float32(out / n) for out, n in zip(size, SHAPE[2:], strict=True))
        given_sizes = np.array([*SHAPE[:2], *size])
        expected = onnx_op(
            "Resize",
            {"x": x},
            None,
            None,
            given_sizes,
            mode=name,
            coordinate_transformation_mode=coordinates,
        )
        for known in (scales, ()):
            attributes = {"mode": mode, "size": size, "coordinates": coordinates}
            found = compute("resize", [(x, kind)], scales=known, **attributes)
            np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("coordinates", ["half_pixel", "asymmetric", "align_corners"])
@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(1, 60),
    out=st.integers(1, 60),
    rounding=st.sampled_from(["round_prefer_floor", "floor", "ceil", "round_prefer_ceil"]),
)
def test_resize_takes_the_nearest(coordinates: str, width: int, out: int, rounding: str) -> None:
    x = np.arange(width, dtype=np.float32).reshape(1, 1, 1, width)
    expected = onnx_op(
        "Resize",
        {"x": x},
        None,
        None,
        np.array([1, 1, 1, out]),
        mode="nearest",
        coordinate_transformation_mode=coordinates,
        nearest_mode=rounding,
    )
    found = compute(
        "resize",
        [(x, TensorType((1, 1, width), "float32", 1.0))],
        mode="nearest",
        size=(1, out),
        coordinates=coordinates,
        nearest=rounding,
        scales=(1.0, float(np.float32(out) / np.float32(width))),
    )
    np.testing.assert_array_equal(found, expected)


class Quantised:
    """A tensor of integers with a random meaning."""

    def __init__(self, rng: np.random.Generator, shape: tuple[int, ...], spread: float = 1.0):
        self.values = rng.integers(-128, 128, shape).astype(np.int8)
        self.scale = float32(spread * 10 ** rng.uniform(-3, 0))
        self.zero = int(rng.integers(-128, 128))

    @property
    def pair(self) -> tuple[np.ndarray, TensorType]:
        return self.values, TensorType(self.values.shape[1:], "int8", self.scale, self.zero)


def between(
    name: str, tensors: Sequence[Quantised], scale: float, zero: int, *extra: Any, **attributes: Any
) -> np.ndarray:
    """Return an op between DequantizeLinear and QuantizeLinear, in unsigned numbers inside."""
    nodes, inputs, constants = [], {}, {"so": np.float32(scale), "zo": np.uint8(zero + 128)}
    for i, tensor in enumerate(tensors):
        inputs[f"q{i}"] = (tensor.values.astype(int) + 128).astype(np.uint8)
        constants |= {f"s{i}": np.float32(tensor.scale), f"z{i}": np.uint8(tensor.zero + 128)}
        nodes.append(helper.make_node("DequantizeLinear", [f"q{i}", f"s{i}", f"z{i}"], [f"d{i}"]))
    names = [f"c{i}" if value is not None else "" for i, value in enumerate(extra)]
    constants |= {n: v for n, v in zip(names, extra, strict=True) if n}
    real = [f"d{i}" for i in range(len(tensors))]
    nodes.append(helper.make_node(name, [*real, *names], ["f"], **attributes))
    nodes.append(helper.make_node("QuantizeLinear", ["f", "so", "zo"], ["y"]))
    return (runtime(nodes, inputs, constants).astype(int) - 128).astype(np.int8)


quick = settings(max_examples=15, deadline=None)


@quick
@given(seeds)
def test_the_float_rule_multiplies_as_the_runtime(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = Quantised(rng, (1, 3, 9, 9)), Quantised(rng, (1, 3, 9, 9))
    out = (float32(a.scale * b.scale * 10 ** rng.uniform(0, 2)), int(rng.integers(-128, 128)))
    found = compute("multiply", [a.pair, b.pair], requantize=affine(*out, rounding="float"))
    np.testing.assert_array_equal(found, between("Mul", [a, b], *out))


@quick
@given(seeds)
def test_the_float_rule_of_matrix_products_as_the_runtime(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = Quantised(rng, (2, 5, 16)), Quantised(rng, (2, 16, 6))
    out = (float32(a.scale * b.scale * 100), int(rng.integers(-128, 128)))
    found = compute("batch_matmul", [a.pair, b.pair], requantize=affine(*out, rounding="float"))
    np.testing.assert_array_equal(found, between("MatMul", [a, b], *out))


@quick
@given(seeds)
def test_the_float_rule_of_softmax_mean_and_resize(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = Quantised(rng, (1, 3, 5, 7))
    share = (2.0**-8, -128)
    cases: list[tuple[str, tuple[float, int], list[Any], dict[str, Any], str, dict[str, Any]]] = [
        ("Softmax", share, [], {"axis": 3}, "softmax", {"axis": 2}),
        (
            "ReduceMean",
            (float32(x.scale / 2), 3),
            [np.array([2, 3])],
            {},
            "reduce",
            {"function": "mean", "axes": (1, 2)},
        ),
        (
            "Resize",
            (x.scale, x.zero),
            [None, None, np.array([1, 3, 9, 13])],
            {"mode": "linear"},
            "resize",
            {"mode": "bilinear", "size": (9, 13), "scales": (float32(9 / 5), float32(13 / 7))},
        ),
    ]
    for name, out, extra, attributes, kind, own in cases:
        found = compute(kind, [x.pair], requantize=affine(*out, rounding="float"), **own)
        np.testing.assert_array_equal(found, between(name, [x], *out, *extra, **attributes))


@pytest.mark.parametrize(
    ("name", "function", "numbers"), [case for case in FUNCTIONS if case[0] in
    ("Relu", "LeakyRelu", "Sigmoid", "Tanh", "HardSwish", "Exp", "Elu", "Gelu", "Softplus")],
)  # fmt: skip
@quick
@given(seed=seeds)
def test_the_float_rule_of_tables(
    name: str, function: str, numbers: dict[str, float], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x = Quantised(rng, (1, 256), 0.3)
    x.values = np.arange(-128, 128, dtype=np.int8)[None]
    out = (float32(x.scale * 10 ** rng.uniform(-0.5, 0.5)), int(rng.integers(-128, 128)))
    made = table(function, Scales(x.scale, x.zero, *out), rounding="float", **numbers)
    np.testing.assert_array_equal(made, between(name, [x], *out, **numbers)[0])
