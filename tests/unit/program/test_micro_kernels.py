"""The fixed-point arithmetic of the ops against TensorFlow Lite Micro's kernels, bit for bit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_op import affine, compute
from one_op import single as float32

from edgebed.program.types import TensorType

pytest.importorskip("tflite")
pytest.importorskip("tflite_micro")
from tflite_model import Tensor, constant, micro, single

seeds = st.integers(0, 2**32 - 1)
quick = settings(max_examples=25, deadline=None)


class Draw:
    """Random tensors of one seed."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def scale(self, low: float = -3.0, high: float = 0.0) -> float:
        return float32(10 ** self.rng.uniform(low, high))

    def zero(self, dtype: str = "int8") -> int:
        limits = np.iinfo(dtype)
        symmetric = dtype in ("int16", "int32")
        return 0 if symmetric else int(self.rng.integers(limits.min, limits.max + 1))

    def tensor(self, name: str, shape: tuple[int, ...], dtype: str, scale: float) -> Tensor:
        return Tensor(name, shape, dtype, float32(scale), self.zero(dtype))

    def values(self, tensor: Tensor) -> np.ndarray:
        limits = np.iinfo(tensor.dtype)
        return self.rng.integers(limits.min, limits.max + 1, tensor.shape).astype(tensor.dtype)

    def pick(self, *choices: object) -> object:
        return choices[int(self.rng.integers(len(choices)))]


def meaning(tensor: Tensor) -> TensorType:
    """Return the Program's type of a file's tensor with a leading axis of 1."""
    return TensorType(tensor.shape[1:], tensor.dtype, tensor.scale, tensor.zero_point)


def rule(tensor: Tensor) -> object:
    return affine(tensor.scale, tensor.zero_point, tensor.dtype)


def check(
    kind: str, model: bytes, inputs: list[tuple[np.ndarray, Tensor]], **attributes: object
) -> None:
    (expected,) = micro(model, *(values for values, _ in inputs))
    found = compute(kind, [(values, meaning(x)) for values, x in inputs], **attributes)
    np.testing.assert_array_equal(found.reshape(expected.shape), expected)


SHAPES = ((1, 4, 5, 3), (1, 1, 1, 3), (1, 4, 1, 1))


def binary(
    code: str, kind: str, options: str, seed: int, dtype: str, output: Callable[..., float]
) -> None:
    draw = Draw(seed)
    a = draw.tensor("a", SHAPES[0], dtype, draw.scale(-2))
    b = draw.tensor("b", draw.pick(*SHAPES), dtype, a.scale * draw.scale(-1, 1))
    y = draw.tensor("y", SHAPES[0], dtype, output(a.scale, b.scale) * draw.scale(0, 2.5))
    inputs = [(draw.values(a), a), (draw.values(b), b)]
    check(kind, single(code, [a, b], [y], options), inputs, requantize=rule(y))


@pytest.mark.parametrize("dtype", ["int8", "int16"])
@quick
@given(seed=seeds)
def test_multiply(dtype: str, seed: int) -> None:
    binary("MUL", "multiply", "MulOptions", seed, dtype, lambda a, b: a * b)


@pytest.mark.parametrize("dtype", ["int8", "int16"])
@quick
@given(seed=seeds)
def test_squared_difference(dtype: str, seed: int) -> None:
    binary(
        "SQUARED_DIFFERENCE",
        "squared_difference",
        "SquaredDifferenceOptions",
        seed,
        dtype,
        lambda a, b: max(a, b) ** 2,
    )


@quick
@given(seeds)
def test_divide(seed: int) -> None:
    draw = Draw(seed)
    a = draw.tensor("a", SHAPES[0], "int8", draw.scale(-2))
    b = draw.tensor("b", SHAPES[0], "int8", a.scale * draw.scale(-1, 1))
    # Quotients of less than half a step need shifts that the kernel leaves undefined.
    y = draw.tensor("y", SHAPES[0], "int8", a.scale / b.scale / 200)
    divisor = draw.values(b)
    divisor[divisor == b.zero_point] = b.zero_point + (1 if b.zero_point < 127 else -1)
    inputs = [(draw.values(a), a), (divisor, b)]
    check("divide", single("DIV", [a, b], [y], "DivOptions"), inputs, requantize=rule(y))


@pytest.mark.parametrize(("code", "kind"), [("MAXIMUM", "maximum"), ("MINIMUM", "minimum")])
@quick
@given(seed=seeds)
def test_extremes_of_two(code: str, kind: str, seed: int) -> None:
    draw = Draw(seed)
    a = Tensor("a", SHAPES[0], "int8", 0.1, 3)
    b = Tensor("b", draw.pick(*SHAPES), "int8", 0.1, 3)
    y = Tensor("y", SHAPES[0], "int8", 0.1, 3)
    model = single(code, [a, b], [y], "MaximumMinimumOptions")
    check(kind, model, [(draw.values(a), a), (draw.values(b), b)])


@pytest.mark.parametrize("dtype", ["int8", "int16"])
@pytest.mark.parametrize(("code", "function"), [("MEAN", "mean"), ("SUM", "sum")])
@quick
@given(seed=seeds)
def test_mean_and_sum(code: str, function: str, dtype: str, seed: int) -> None:
    if function == "sum" and dtype == "int16":
        dtype = "int8"
    draw = Draw(seed)
    shape = (1, *map(int, draw.rng.integers(1, 9, 3)))
    axes, keep = draw.pick((1, 2), (2,), (3,), (1,), (2, 3)), bool(draw.pick(True, False))
    reduced = [1 if i in axes else n for i, n in enumerate(shape) if keep or i not in axes]
    a = draw.tensor("a", shape, dtype, draw.scale())
    y = draw.tensor("y", tuple(reduced), dtype, a.scale * float(draw.pick(1.0, 0.4, 3.3)))
    model = single(code, [a, constant("axes", axes)], [y], "ReducerOptions", KeepDims=keep)
    check(
        "reduce",
        model,
        [(draw.values(a), a)],
        function=function,
        axes=tuple(axis - 1 for axis in axes),
        keep=keep,
        requantize=rule(y),
    )


@pytest.mark.parametrize(("code", "function"), [("REDUCE_MAX", "max"), ("REDUCE_MIN", "min")])
@quick
@given(seed=seeds)
def test_extremes_along_axes(code: str, function: str, seed: int) -> None:
    draw = Draw(seed)
    a = Tensor("a", (1, 5, 6, 3), "int8", 0.1, 3)
    y = Tensor("y", (1, 1, 1, 3), "int8", 0.1, 3)
    model = single(code, [a, constant("axes", (1, 2))], [y], "ReducerOptions", KeepDims=True)
    check("reduce", model, [(draw.values(a), a)], function=function, axes=(0, 1))


@pytest.mark.parametrize(
    ("dtype", "scale", "zero"), [("int8", 2.0**-8, -128), ("int16", 2.0**-16, -32768)]
)
@settings(max_examples=60, deadline=None)
@given(seed=seeds)
def test_softmax(dtype: str, scale: float, zero: int, seed: int) -> None:
    draw = Draw(seed)
    count, beta = int(draw.rng.integers(1, 60)), float(draw.pick(1.0, 0.5, 2.0))
    a = draw.tensor("a", (1, 7, count), "int8", draw.scale(-3, 0.3))
    y = Tensor("y", a.shape, dtype, scale, zero)
    model = single("SOFTMAX", [a], [y], "SoftmaxOptions", Beta=beta)
    check("softmax", model, [(draw.values(a), a)], axis=1, beta=beta, requantize=rule(y))


@quick
@given(seeds)
def test_l2_normalize(seed: int) -> None:
    draw = Draw(seed)
    a = draw.tensor("a", (1, 7, int(draw.rng.integers(1, 60))), "int8", draw.scale())
    y = Tensor("y", a.shape, "int8", 1 / 128, 0)
    model = single("L2_NORMALIZATION", [a], [y], "L2NormOptions")
    check("l2_normalize", model, [(draw.values(a), a)], axis=1, requantize=rule(y))


@pytest.mark.parametrize("dtype", ["int8", "int16"])
@quick
@given(seed=seeds)
def test_batch_matmul(dtype: str, seed: int) -> None:
    draw = Draw(seed)
    rows, inner, columns, batch = map(int, draw.rng.integers(1, 7, 4))
    flip_a, flip_b = bool(draw.pick(True, False)), bool(draw.pick(True, False))
    left = (inner, rows) if flip_a else (rows, inner)
    right = (columns, inner) if flip_b else (inner, columns)
    a = draw.tensor("a", (1, batch, *left), dtype, draw.scale())
    b = draw.tensor("b", (1, batch, *right), dtype, draw.scale())
    larger = draw.scale(0, 2) * (100 if dtype == "int16" else 1)
    y = draw.tensor("y", (1, batch, rows, columns), dtype, a.scale * b.scale * larger)
    model = single("BATCH_MATMUL", [a, b], [y], "BatchMatMulOptions", AdjX=flip_a, AdjY=flip_b)
    check(
        "batch_matmul",
        model,
        [(draw.values(a), a), (draw.values(b), b)],
        transpose_a=flip_a,
        transpose_b=flip_b,
        requantize=rule(y),
    )


@pytest.mark.parametrize(
    ("source", "target"),
    [
        *(("int8", to) for to in ("int8", "uint8", "int16", "int32")),
        ("uint8", "int8"),
        *(("int16", to) for to in ("int8", "int16", "int32")),
        *(("int32", to) for to in ("int8", "int16")),
    ],
)
@settings(max_examples=12, deadline=None)
@given(seed=seeds)
def test_requantize(source: str, target: str, seed: int) -> None:
    draw = Draw(seed)
    a = draw.tensor("a", (1, 300), source, draw.scale())
    y = draw.tensor("y", (1, 300), target, a.scale * float(draw.pick(1.0, draw.scale(-1, 1))))
    model = single("QUANTIZE", [a], [y], "QuantizeOptions")
    check("requantize", model, [(draw.values(a), a)], requantize=rule(y))


@pytest.mark.parametrize("dtype", ["int8", "int16"])
@quick
@given(seed=seeds)
def test_quantize(dtype: str, seed: int) -> None:
    draw = Draw(seed)
    a = Tensor("a", (1, 500), "float32")
    y = draw.tensor("y", (1, 500), dtype, draw.scale())
    x = (draw.rng.normal(size=a.shape) * 100 * y.scale).astype(np.float32)
    x[0, :100] = (np.arange(100, dtype=np.float32) - 50.5) * np.float32(y.scale)
    (expected,) = micro(single("QUANTIZE", [a], [y], "QuantizeOptions"), x)
    found = compute(
        "quantize",
        [(x, TensorType((500,), "float32", 1.0))],
        scale=y.scale,
        zero_point=y.zero_point,
        dtype=dtype,
    )
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
@quick
@given(seed=seeds)
def test_dequantize(dtype: str, seed: int) -> None:
    draw = Draw(seed)
    a = draw.tensor("a", (1, 500), dtype, draw.scale())
    y = Tensor("y", (1, 500), "float32")
    check("dequantize", single("DEQUANTIZE", [a], [y]), [(draw.values(a), a)])


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@pytest.mark.parametrize("coordinates", ["asymmetric", "half_pixel", "align_corners"])
@quick
@given(seed=seeds)
def test_resize(mode: str, coordinates: str, seed: int) -> None:
    draw = Draw(seed)
    height, width, rows, columns = map(int, draw.rng.integers(1, 14, 4))
    a = Tensor("a", (1, height, width, 3), "int8", 0.1, 3)
    y = Tensor("y", (1, rows, columns, 3), "int8", 0.1, 3)
    code, table = {
        "bilinear": ("RESIZE_BILINEAR", "ResizeBilinearOptions"),
        "nearest": ("RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighborOptions"),
    }[mode]
    model = single(
        code,
        [a, constant("size", [rows, columns])],
        [y],
        table,
        AlignCorners=coordinates == "align_corners",
        HalfPixelCenters=coordinates == "half_pixel",
    )
    values = draw.values(a)
    (expected,) = micro(model, values)
    if mode == "nearest" and coordinates == "half_pixel":
        coordinates = "tf_half_pixel_for_nn"
    found = compute(
        "resize",
        [(values.transpose(0, 3, 1, 2), TensorType((3, height, width), "int8", 0.1, 3))],
        mode=mode,
        size=(rows, columns),
        coordinates=coordinates,
        nearest="round_prefer_ceil" if coordinates == "align_corners" else "floor",
        requantize=rule(y) if mode == "bilinear" else None,
    )
    np.testing.assert_array_equal(found.transpose(0, 2, 3, 1), expected)
