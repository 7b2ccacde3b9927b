"""Laws that hold for any tensor, what is refused, and how the ops are written down."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from one_op import affine, compute, program

from edgebed.errors import EdgebedError
from edgebed.program.ops.constant import Constant as ConstantOp
from edgebed.program.run import run
from edgebed.program.text import parse, to_text
from edgebed.program.types import Constant, TensorType

quick = settings(max_examples=40, deadline=None)
shapes = arrays.array_shapes(min_dims=1, max_dims=4, max_side=5)


@st.composite
def tensors(draw: st.DrawFn, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """A batch of two int8 tensors."""
    size = draw(shapes) if shape is None else shape
    return draw(arrays.arrays(np.int8, (2, *size)))


def kind_of(x: np.ndarray, scale: float = 0.1, zero: int = 7) -> TensorType:
    return TensorType(x.shape[1:], "int8", scale, zero)


@quick
@given(tensors(), st.data())
def test_transposing_back_gives_the_tensor(x: np.ndarray, data: st.DataObject) -> None:
    perm = tuple(data.draw(st.permutations(range(x.ndim - 1))))
    there = compute("transpose", [(x, kind_of(x))], perm=perm)
    back = tuple(int(axis) for axis in np.argsort(perm))
    np.testing.assert_array_equal(compute("transpose", [(there, kind_of(there))], perm=back), x)
    assert there.shape[1:] == tuple(x.shape[1 + axis] for axis in perm)


@quick
@given(tensors(), st.data(), st.sampled_from(["constant", "edge"]))
def test_a_slice_undoes_a_pad(x: np.ndarray, data: st.DataObject, mode: str) -> None:
    widths = st.lists(st.integers(0, 3), min_size=x.ndim - 1, max_size=x.ndim - 1).map(tuple)
    before, after = data.draw(widths), data.draw(widths)
    padded = compute("pad", [(x, kind_of(x))], before=before, after=after, mode=mode)
    end = tuple(b + n for b, n in zip(before, x.shape[1:], strict=True))
    inner = compute(
        "strided_slice",
        [(padded, kind_of(padded))],
        begin=before,
        end=end,
        step=(1,) * len(before),
    )
    np.testing.assert_array_equal(inner, x)
    if mode == "constant":
        border = int((padded == 7).sum() - (x == 7).sum())
        assert border == padded.size - x.size  # the zero point stands for 0.0


@quick
@given(tensors(), st.data())
def test_slicing_twice_backwards_gives_the_tensor(x: np.ndarray, data: st.DataObject) -> None:
    axis = data.draw(st.integers(0, x.ndim - 2))
    begin, end, step = [0] * (x.ndim - 1), list(x.shape[1:]), [1] * (x.ndim - 1)
    begin[axis], end[axis], step[axis] = x.shape[axis + 1] - 1, None, -1
    flip: dict[str, Any] = {"begin": tuple(begin), "end": tuple(end), "step": tuple(step)}
    once = compute("strided_slice", [(x, kind_of(x))], **flip)
    np.testing.assert_array_equal(once, np.flip(x, axis + 1))
    np.testing.assert_array_equal(compute("strided_slice", [(once, kind_of(once))], **flip), x)


@quick
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.data())
def test_depth_to_space_undoes_space_to_depth(
    block: int, channels: int, rows: int, columns: int, data: st.DataObject
) -> None:
    x = data.draw(tensors((channels, rows * block, columns * block)))
    deep = compute("space_to_depth", [(x, kind_of(x, zero=0))], block=block)
    wide = compute("depth_to_space", [(deep, kind_of(deep, zero=0))], block=block)
    np.testing.assert_array_equal(wide, x)


def test_pixel_shuffle_has_its_own_order() -> None:
    x = np.arange(8, dtype=np.int8).reshape(1, 8, 1, 1)
    kind = TensorType((8, 1, 1), "int8", 0.1)
    crd = compute("depth_to_space", [(x, kind)], block=2, order="crd")
    assert crd.tolist() == [[[[0, 1], [2, 3]], [[4, 5], [6, 7]]]]
    dcr = compute("depth_to_space", [(x, kind)], block=2)
    assert dcr.tolist() == [[[[0, 2], [4, 6]], [[1, 3], [5, 7]]]]


@quick
@given(tensors(), arrays.arrays(np.int8, 256))
def test_lookup_reads_each_value_from_the_table(x: np.ndarray, values: np.ndarray) -> None:
    constants = {"t": Constant(values, 8)}
    found = compute("lookup", [(x, kind_of(x))], constants, table="t", scale=0.5, zero_point=-3)
    expected = [values[q + 128] for q in x.ravel().astype(int)]
    assert found.ravel().tolist() == [int(q) for q in expected]


@quick
@given(tensors((3, 2, 4)), st.integers(0, 2), st.integers(0, 2**32 - 1))
def test_lookup_with_an_axis_has_a_table_for_each_index(
    x: np.ndarray, axis: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    tables = rng.integers(-128, 128, (x.shape[axis + 1], 256)).astype(np.int8)
    constants = {"t": Constant(tables.copy(), 8)}
    found = compute("lookup", [(x, kind_of(x))], constants, table="t", axis=axis, scale=0.5)
    for place in np.ndindex(x.shape):
        assert found[place] == tables[place[axis + 1], int(x[place]) + 128]


@quick
@given(tensors(), st.data())
def test_gathering_every_index_gives_the_tensor(x: np.ndarray, data: st.DataObject) -> None:
    axis = data.draw(st.integers(0, x.ndim - 2))
    order = np.array(data.draw(st.permutations(range(x.shape[axis + 1]))), np.int64)
    once = compute("gather", [(x, kind_of(x))], {"i": Constant(order, 64)}, axis=axis, indices="i")
    back = {"i": Constant(np.argsort(order), 64)}
    twice = compute("gather", [(once, kind_of(once))], back, axis=axis, indices="i")
    np.testing.assert_array_equal(twice, x)


@quick
@given(arrays.arrays(np.uint8, (2, 9)), st.integers(0, 255))
def test_unsigned_and_signed_numbers_of_one_scale_differ_by_128(x: np.ndarray, zero: int) -> None:
    kind = TensorType((9,), "uint8", 0.3, zero)
    for rounding in ("fixed_point", "float"):
        rule = affine(0.3, zero - 128, rounding=rounding)
        found = compute("requantize", [(x, kind)], requantize=rule)
        np.testing.assert_array_equal(found, x.astype(int) - 128)


@quick
@given(arrays.arrays(np.int8, (2, 9)), st.integers(-128, 127), st.sampled_from([0.004, 0.1, 3.0]))
def test_quantising_what_was_dequantised_gives_the_integers(
    x: np.ndarray, zero: int, scale: float
) -> None:
    real = compute("dequantize", [(x, TensorType((9,), "int8", scale, zero))])
    for rounding in ("half_even", "half_away"):
        back = compute(
            "quantize",
            [(real, TensorType((9,), "float32", 1.0))],
            scale=scale,
            zero_point=zero,
            rounding=rounding,
        )
        np.testing.assert_array_equal(back, x)


def test_rounding_of_halves() -> None:
    x = np.array([[-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 1e9, -1e9]], np.float32)
    kind = TensorType((8,), "float32", 1.0)
    even = compute("quantize", [(x, kind)], scale=1.0, rounding="half_even")
    assert even.tolist() == [[-2, -2, 0, 0, 2, 2, 127, -128]]
    away = compute("quantize", [(x, kind)], scale=1.0, rounding="half_away", low=-100, high=100)
    assert away.tolist() == [[-3, -2, -1, 1, 2, 3, 100, -100]]


@settings(max_examples=60, deadline=None)
@given(
    arrays.arrays(np.int8, (2, 3, 6)),
    st.floats(0.001, 1.0),
    st.sampled_from([("int8", 2.0**-8, -128), ("int16", 2.0**-16, -32768)]),
)
def test_exact_softmax_is_close_to_the_real_one(
    x: np.ndarray, scale: float, output: tuple[str, float, int]
) -> None:
    dtype, step, zero = output
    kind = TensorType((3, 6), "int8", scale, 5)
    shares = compute("softmax", [(x, kind)], axis=1, requantize=affine(step, zero, dtype))
    exact = np.exp((x - x.max(axis=2, keepdims=True).astype(float)) * scale)
    exact /= exact.sum(axis=2, keepdims=True)
    found = (shares.astype(float) - zero) * step
    assert np.abs(found - exact).max() <= max(1.5 * step, 2e-4)


def test_a_constant_is_the_same_for_every_sample() -> None:
    weights = Constant(np.arange(6, dtype=np.int8).reshape(2, 3), 8, 0.5, 1)
    x = TensorType((2, 3), "int8", 0.5, 1)
    made = program("maximum", [x, x])
    fixed = ConstantOp(name="fixed", inputs=(), output="b", value="w")
    joined = made.with_(inputs={"a": x}, ops=(fixed, *made.ops), constants={"w": weights})
    batch = np.zeros((4, 2, 3), np.int8)
    expected = np.broadcast_to(np.arange(6).reshape(2, 3), (4, 2, 3))
    np.testing.assert_array_equal(run(joined, batch)["y"], expected)


X = TensorType((4, 6, 8), "int8", 0.1, 3)
REAL = TensorType((4, 6, 8), "float32", 1.0)
BYTES = Constant(np.zeros(256, np.int8), 8)
PLACES = Constant(np.array([0, 5], np.int32), 32)
REFUSED: list[tuple[str, TensorType, dict[str, Constant], dict[str, Any], str]] = [
    ("transpose", X, {}, {"perm": (0, 0, 1)}, "every axis once"),
    ("strided_slice", X, {}, {"begin": (0, 0, 8), "end": (4, 6, 8), "step": (1, 1, 1)}, "8:8:1"),
    ("strided_slice", X, {}, {"begin": (0,), "end": (4,), "step": (1,)}, "3 entries"),
    ("pad", X, {}, {"before": (0, -1, 0), "after": (0, 0, 0)}, "negative"),
    ("pad", X, {}, {"before": (0, 0, 0), "after": (0, 0, 0), "value": 300}, "300"),
    ("pad", X, {}, {"before": (4, 0, 0), "after": (0, 0, 0), "mode": "reflect"}, "axis of 4"),
    ("depth_to_space", X, {}, {"block": 3}, "divisible"),
    ("lookup", REAL, {"t": BYTES}, {"table": "t", "scale": 1.0}, "int8"),
    ("lookup", X, {"t": BYTES}, {"table": "t", "scale": 1.0, "axis": 0}, r"\(4, 256\)"),
    ("gather", X, {"i": PLACES}, {"axis": 0, "indices": "i"}, "0..5 of an axis of 4"),
    ("unary", X, {}, {"function": "exp"}, "lookup"),
    ("softmax", X, {}, {"axis": 3}, "axis 3"),
    ("softmax", X, {}, {"axis": 0, "requantize": affine(0.1, 0)}, "1/256"),
    ("reduce", X, {}, {"function": "mean", "axes": (0,)}, "rule"),
    ("reduce", X, {}, {"function": "max", "axes": (1, 0)}, "rising"),
    ("resize", X, {}, {"mode": "bilinear", "size": (3, 3)}, "rule"),
    ("resize", X, {}, {"mode": "nearest", "size": (0, 3)}, "C x H x W"),
    ("quantize", X, {}, {"scale": 0.1}, "requantize"),
    ("requantize", REAL, {}, {"requantize": affine(0.1, 0)}, "float32"),
    ("l2_normalize", X, {}, {"axis": 0, "requantize": affine(0.1, 0)}, "1/128"),
    ("argmax", X, {}, {"axis": -1}, "axis -1"),
]


@pytest.mark.parametrize(("kind", "x", "constants", "attributes", "said"), REFUSED)
def test_what_does_not_fit_is_refused_by_the_layers_name(
    kind: str, x: TensorType, constants: dict[str, Constant], attributes: dict[str, Any], said: str
) -> None:
    with pytest.raises(EdgebedError, match=said) as caught:
        program(kind, [x], constants, **attributes)
    assert f"layer one ({kind})" in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "types", "said"),
    [
        ("multiply", [X, X], "rule"),
        ("divide", [X, X], "rule"),
        ("maximum", [X, X.with_shape((5, 8))], "broadcast|shapes"),
        ("minimum", [X, TensorType((4, 6, 8), "int8", 0.2)], "differ"),
        ("power", [X, X], "float32"),
        ("batch_matmul", [REAL, REAL], "6 x 8 times 6 x 8"),
    ],
)
def test_operands_that_do_not_fit_are_refused(
    kind: str, types: list[TensorType], said: str
) -> None:
    with pytest.raises(EdgebedError, match=said):
        program(kind, types)


WRITTEN: list[tuple[str, list[TensorType], dict[str, Constant], dict[str, Any]]] = [
    ("pad", [X], {}, {"before": (0, 1, 2), "after": (0, 0, 1), "value": -7}),
    ("strided_slice", [X], {}, {"begin": (3, 0, 0), "end": (None, 6, 8), "step": (-1, 2, 1)}),
    ("lookup", [X], {"t": BYTES}, {"table": "t", "scale": 0.25, "zero_point": 4}),
    ("gather", [X], {"i": PLACES}, {"axis": 1, "indices": "i"}),
    ("unary", [REAL], {}, {"function": "clip", "low": -1.5}),
    ("softmax", [X], {}, {"axis": 0, "requantize": affine(2.0**-16, -32768, "int16")}),
    ("reduce", [X], {}, {"function": "mean", "axes": (1, 2), "requantize": affine(0.1, 0)}),
    ("resize", [REAL], {}, {"mode": "cubic", "size": (9, 9), "scales": (1.5, 1.125)}),
    ("multiply", [X, X], {}, {"requantize": affine(0.3, -1, rounding="float")}),
    ("cast", [X], {}, {"dtype": "float32"}),
    ("argmax", [X], {}, {"axis": 2, "last": True, "dtype": "int64"}),
]


@pytest.mark.parametrize(("kind", "types", "constants", "attributes"), WRITTEN)
def test_programs_of_the_ops_print_and_parse_back(
    kind: str, types: list[TensorType], constants: dict[str, Constant], attributes: dict[str, Any]
) -> None:
    made = program(kind, types, constants, **attributes)
    again = parse(to_text(made))
    assert again.ops == made.ops
    assert again.types == made.types
