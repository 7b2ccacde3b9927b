"""Each op against a plain loop over its definition."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgebed.errors import EdgebedError
from edgebed.program.arithmetic import PowerOfTwo, divide, saturate, shift_half_up
from edgebed.program.ops import KINDS, by_kind
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.ops.conv_transpose2d import ConvTranspose2d
from edgebed.program.ops.crop import Crop
from edgebed.program.ops.dense import Dense
from edgebed.program.ops.max_pool import MaxPool
from edgebed.program.ops.reshape import Reshape
from edgebed.program.ops.space_to_depth import SpaceToDepth
from edgebed.program.run import run
from edgebed.program.types import Constant, Op, Program, TensorType

seeds = st.integers(0, 2**32 - 1)


def weights(values: np.ndarray, bits: int = 8) -> Constant:
    return Constant(values.astype(np.int8 if bits <= 8 else np.int32), bits, 1 / 128)


def compute(op: Op, x: np.ndarray, **constants: Constant) -> np.ndarray:
    program = Program(
        "one op", {"x": TensorType(x.shape)}, (op,), (op.output,), constants=constants
    )
    return run(program, x)[op.output]


def test_rounding_is_half_towards_plus_infinity() -> None:
    # acc, right shift -> result; from the device's published rule
    vectors = [(64, 7, 1), (-64, 7, 0), (-65, 7, -1), (16320, 7, 128), (-16449, 7, -129)]
    vectors += [(256, 9, 1), (7, 4, 0), (8, 4, 1), (13, 0, 13), (13, -2, 52)]
    for acc, shift, expected in vectors:
        assert shift_half_up(np.array(acc), shift) == expected


@pytest.mark.parametrize(
    ("total", "count", "truncated", "rounded"),
    [(3, 4, 0, 1), (-3, 4, 0, -1), (-2, 2, -1, -1), (-1, 2, 0, -1), (7, 9, 0, 1), (4, 9, 0, 0)],
)
def test_average_rounding(total: int, count: int, truncated: int, rounded: int) -> None:
    assert divide(np.array(total), count, "truncate") == truncated
    assert divide(np.array(total), count, "half_away") == rounded
    assert divide(np.array(total), count, "half_up") == math.floor(total / count + 0.5)


@settings(max_examples=40, deadline=None)
@given(
    seeds,
    st.integers(1, 3),
    st.integers(1, 4),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(*[st.integers(0, 2)] * 4),
    st.tuples(st.integers(1, 2), st.integers(1, 2)),
    st.tuples(st.integers(1, 2), st.integers(1, 2)),
    st.integers(1, 2),
)
def test_convolution_equals_its_definition(
    seed: int, inner: int, out: int, kernel: tuple[int, int], padding: tuple[int, ...],
    stride: tuple[int, int], dilation: tuple[int, int], groups: int,
) -> None:  # fmt: skip
    rng = np.random.default_rng(seed)
    x = rng.integers(-128, 128, (inner * groups, 6, 7)).astype(np.int8)
    w = rng.integers(-128, 128, (out * groups, inner, *kernel))
    b = rng.integers(-20000, 20000, out * groups)
    op = Conv2d(
        name="c", inputs=("x",), output="y", weight="w", bias="b", padding=padding,
        stride=stride, dilation=dilation, groups=groups,
    )  # fmt: skip
    got = compute(op, x, w=weights(w), b=weights(b, 32))
    top, left, bottom, right = padding
    padded = np.pad(x.astype(int), ((0, 0), (top, bottom), (left, right)))
    for o, r, c in itertools.product(*map(range, got.shape)):
        base = (o // out) * inner
        total = int(b[o])
        for i, ky, kx in itertools.product(range(inner), range(kernel[0]), range(kernel[1])):
            row, column = r * stride[0] + ky * dilation[0], c * stride[1] + kx * dilation[1]
            total += int(padded[base + i, row, column]) * int(w[o, i, ky, kx])
        assert got[o, r, c] == total


@settings(max_examples=20, deadline=None)
@given(seeds, st.integers(-3, 12), st.sampled_from(["none", "relu", "abs"]))
def test_requantisation_rounds_saturates_then_activates(
    seed: int, shift: int, activation: str
) -> None:
    rng = np.random.default_rng(seed)
    x = rng.integers(-128, 128, (5, 4, 4)).astype(np.int8)
    w = weights(rng.integers(-128, 128, (3, 5, 1, 1)))
    raw = Conv2d(name="c", inputs=("x",), output="y", weight="w")
    op = Conv2d(
        name="c", inputs=("x",), output="y", weight="w",
        requantize=PowerOfTwo(shift), activation=activation,
    )  # fmt: skip
    got = compute(op, x, w=w)
    for acc, y in zip(compute(raw, x, w=w).flat, got.flat, strict=True):
        real = int(np.floor(float(acc) * 2.0**-shift + 0.5))
        real = min(max(real, -128), 127)
        real = {"none": real, "relu": max(real, 0), "abs": min(abs(real), 127)}[activation]
        assert y == real


@settings(max_examples=20, deadline=None)
@given(seeds, st.integers(0, 2), st.integers(0, 1))
def test_transposed_convolution_equals_its_definition(seed: int, pad: int, extra: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.integers(-128, 128, (2, 4, 3)).astype(np.int8)
    w = rng.integers(-128, 128, (2, 3, 3, 3))
    op = ConvTranspose2d(
        name="t", inputs=("x",), output="y", weight="w",
        padding=(pad, pad), output_padding=(extra, extra),
    )  # fmt: skip
    got = compute(op, x, w=weights(w))
    expected = np.zeros(got.shape, dtype=int)
    for i, r, c, o, ky, kx in itertools.product(*map(range, (2, 4, 3, 3, 3, 3))):
        row, column = 2 * r + ky - pad, 2 * c + kx - pad
        if 0 <= row < got.shape[1] and 0 <= column < got.shape[2]:
            expected[o, row, column] += int(x[i, r, c]) * int(w[i, o, ky, kx])
    assert (got == expected).all()


def test_dense_flattens_channels_first() -> None:
    x = np.arange(12, dtype=np.int8).reshape(3, 2, 2)
    w = np.eye(12, dtype=int)[[7]]
    op = Dense(name="d", inputs=("x",), output="y", weight="w")
    assert compute(op, x, w=weights(w)) == x[1, 1, 1]


def test_pooling_ignores_what_is_left_over() -> None:
    x = np.arange(25, dtype=np.int8).reshape(1, 5, 5)
    op = MaxPool(name="p", inputs=("x",), output="y", kernel=(2, 3), stride=(2, 2))
    assert compute(op, x).tolist() == [[[7, 9], [17, 19]]]


def test_reshape_keeps_the_order_and_crop_takes_rows() -> None:
    x = np.arange(24, dtype=np.int8).reshape(2, 12, 1)
    folded = compute(Reshape(name="r", inputs=("x",), output="y", shape=(2, 3, 4)), x)
    assert folded[1].tolist() == [[12, 13, 14, 15], [16, 17, 18, 19], [20, 21, 22, 23]]
    part = compute(Crop(name="c", inputs=("x",), output="y", start=2, stop=5), x)
    assert part.tolist() == [[[2], [3], [4]], [[14], [15], [16]]]


@pytest.mark.parametrize(
    ("op", "message"),
    [
        (Reshape(name="r", inputs=("x",), output="y", shape=(2, 3, 3)), "cannot become"),
        (Crop(name="c", inputs=("x",), output="y", start=2, stop=5), "rows 2:5 of 4"),
    ],
)
def test_views_outside_the_map_are_refused(op: Op, message: str) -> None:
    with pytest.raises(EdgebedError, match=message):
        op.infer([TensorType((1, 4, 2))], {})


def test_folding_puts_pixel_offset_before_channel() -> None:
    x = np.arange(3 * 4 * 4, dtype=np.int8).reshape(3, 4, 4)
    got = compute(SpaceToDepth(name="s", inputs=("x",), output="y", block=2), x)
    for dy, dx, c, r, q in itertools.product(range(2), range(2), range(3), range(2), range(2)):
        assert got[(dy * 2 + dx) * 3 + c, r, q] == x[c, 2 * r + dy, 2 * q + dx]


@pytest.mark.parametrize(
    ("kind", "plain"),
    [
        ("add", lambda a, b, c: a + b + c),
        ("subtract", lambda a, b, c: a - b - c),
        ("bit_or", lambda a, b, c: a | b | c),
        ("bit_xor", lambda a, b, c: a ^ b ^ c),
    ],
)
def test_elementwise_saturates_once_at_the_end(kind: str, plain) -> None:
    a, b, c = (np.array(v, dtype=np.int8).reshape(1, 1, -1) for v in
               ([100, -100, 5, -1], [100, -100, -7, 1], [-100, 100, 3, 0]))  # fmt: skip
    names = ("a", "b", "c")
    op = by_kind(kind)(name="e", inputs=names, output="y")
    program = Program("e", dict.fromkeys(names, TensorType((1, 1, 4))), (op,), ("y",))
    got = run(program, dict(zip(names, (a, b, c), strict=True)))["y"]
    assert (got == saturate(plain(*(v.astype(int) for v in (a, b, c))))).all()


def test_a_batch_gives_what_single_inputs_give() -> None:
    rng = np.random.default_rng(1)
    x = rng.integers(-128, 128, (4, 2, 5, 5)).astype(np.int8)
    op = Conv2d(name="c", inputs=("x",), output="y", weight="w", requantize=PowerOfTwo(9))
    w = weights(rng.integers(-128, 128, (3, 2, 3, 3)))
    program = Program("b", {"x": TensorType((2, 5, 5))}, (op,), ("y",), {"w": w})
    together = run(program, x)["y"]
    assert all((together[i] == run(program, x[i])["y"]).all() for i in range(4))


def test_errors_name_the_layer_and_the_numbers() -> None:
    w = weights(np.zeros((3, 4, 3, 3)))
    op = Conv2d(name="conv7", inputs=("x",), output="y", weight="w")
    with pytest.raises(EdgebedError, match=r"conv7.*\(3, 4, 3, 3\).*2 channels"):
        Program("p", {"x": TensorType((2, 8, 8))}, (op,), ("y",), {"w": w})
    with pytest.raises(EdgebedError, match=r"reads tensor 'nothing'"):
        MaxPool(name="m", inputs=("nothing",), output="y", kernel=(1, 1), stride=(1, 1))
        Program(
            "p", {"x": TensorType((2, 8, 8))},
            (MaxPool(name="m", inputs=("nothing",), output="y", kernel=(1, 1), stride=(1, 1)),),
            ("y",),
        )  # fmt: skip
    with pytest.raises(EdgebedError, match=r"4 bits hold -8\.\.7"):
        Constant(np.array([9], dtype=np.int8), 4, 1.0)
    with pytest.raises(EdgebedError, match="did you mean 'conv2d'"):
        by_kind("conv2")


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((2, 8, 9), np.int8), r"shape \(2, 8, 9\).*\(2, 8, 8\) is needed"),
        (np.zeros((2, 8, 8)), "float64.*int8 integers"),
        (np.full((2, 8, 8), 300), r"300\.\.300.*-128\.\.127"),
    ],
)
def test_inputs_are_checked(x: np.ndarray, message: str) -> None:
    op = MaxPool(name="m", inputs=("x",), output="y", kernel=(2, 2), stride=(2, 2))
    program = Program("p", {"x": TensorType((2, 8, 8))}, (op,), ("y",))
    with pytest.raises(EdgebedError, match=message):
        run(program, x)


def test_every_op_has_a_file_of_its_own_name() -> None:
    for kind, op in KINDS.items():
        assert op.__module__.rpartition(".")[2] == kind
