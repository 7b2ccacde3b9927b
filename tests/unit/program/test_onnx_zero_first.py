"""ONNX Runtime's quantised Add, Mul, AveragePool and Resize, also in the middle of two integers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto
from onnx_model import ALL, Sketch, by_edgebed, by_onnxruntime

from edgebed.errors import EdgebedError
from edgebed.program import text, to_onnx
from edgebed.program.arithmetic import Affine
from edgebed.program.onnx_graph import from_model
from edgebed.program.read import read_model
from edgebed.program.types import Array, Program

KINDS = {"int8": TensorProto.INT8, "uint8": TensorProto.UINT8}
Body = Callable[..., str]
Number = tuple[float, int]
"""Scale, zero point as an int8."""

dtypes = st.sampled_from(["int8", "uint8"])
scales = st.one_of(st.sampled_from([0.0625, 0.125, 0.25, 0.5]), st.floats(0.004, 0.4))
numbers = st.tuples(scales, st.integers(-128, 127))


def every_pair() -> list[Array]:
    a, b = np.meshgrid(np.arange(256), np.arange(256), indexing="ij")
    return [a.reshape(1, 256, 256), b.reshape(1, 256, 256)]


def both(
    body: Body, dtype: str, stored: Sequence[Array], given: Sequence[Number], out: Number
) -> tuple[Program, Array, Array]:
    """Return the program, its answer and ONNX Runtime's (with its default optimisations).

    stored: bytes 0 to 255; an int8 network gets them less 128.
    """
    sketch, kind = Sketch(), np.dtype(dtype).type
    offset = 128 if dtype == "int8" else 0
    zeros = [kind(zero + 128 - offset) for _, zero in (*given, out)]
    parts, feeds = [], {}
    for values, (scale, _), zero in zip(stored, given, zeros, strict=False):
        name = sketch.input(values.shape, KINDS[dtype])
        feeds[name] = (values - offset).astype(dtype)
        parts.append(sketch.dequantise(name, scale, zero))
    result = sketch.quantise(body(sketch, *parts), out[0], zeros[-1])
    model = sketch.model(result, kinds={result: KINDS[dtype]})
    program = from_model(model, "model")
    (mine,), (theirs,) = by_edgebed(program, feeds), by_onnxruntime(model, feeds, ALL)
    return program, mine, theirs


def node(kind: str, **more: Any) -> Body:
    return lambda sketch, *x: str(sketch.node(kind, *x, **more))


def early(program: Program) -> list[str]:
    rules = [getattr(op, "requantize", None) for op in program.ops]
    return [rule.zero_first for rule in rules if isinstance(rule, Affine) and rule.zero_first]


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(["Add", "Mul"]), dtypes, numbers, numbers, numbers)
def test_every_pair_of_bytes(kind: str, dtype: str, a: Number, b: Number, out: Number) -> None:
    program, mine, theirs = both(node(kind), dtype, every_pair(), [a, b], out)
    assert early(program) == [dtype]
    np.testing.assert_array_equal(mine, theirs)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["Add", "Mul"]),
    dtypes,
    st.sampled_from(
        [((8, 6, 6), (8, 1, 1)), ((1, 6, 6), (1, 1, 6)), ((1, 9, 1), (1, 1, 9)), ((5, 7), (1,))]
    ),
    st.booleans(),
    numbers,
    numbers,
    st.integers(0, 2**31),
)
def test_operands_that_repeat(
    kind: str, dtype: str, shapes: Any, turned: bool, a: Number, b: Number, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    stored = [rng.integers(0, 256, shape) for shape in (shapes[::-1] if turned else shapes)]
    _, mine, theirs = both(node(kind), dtype, stored, [a, b], (0.21, 3))
    np.testing.assert_array_equal(mine, theirs)


@settings(max_examples=40, deadline=None)
@given(dtypes, numbers, numbers, st.booleans(), st.booleans(), st.booleans(), st.integers(0, 2**31))
def test_average_pool(
    dtype: str, x: Number, out: Number, padded: bool, counted: bool, ceil: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    kernel = [int(n) for n in rng.integers(2, 4, 2)]
    body = node(
        "AveragePool", kernel_shape=kernel, strides=[2, 2], pads=[int(padded)] * 4,
        count_include_pad=int(counted), ceil_mode=int(ceil),
    )  # fmt: skip
    program, mine, theirs = both(body, dtype, [rng.integers(0, 256, (1, 8, 8, 9))], [x], out)
    assert early(program) == [dtype]
    np.testing.assert_array_equal(mine, theirs)


@settings(max_examples=40, deadline=None)
@given(
    dtypes, numbers, st.booleans(), st.sampled_from(["half_pixel", "asymmetric", "align_corners"]),
    st.tuples(st.integers(1, 12), st.integers(1, 12)), st.integers(0, 2**31),
)  # fmt: skip
def test_linear_resize(
    dtype: str, x: Number, same: bool, where: str, size: tuple[int, int], seed: int
) -> None:
    rng = np.random.default_rng(seed)

    def body(sketch: Sketch, real: str) -> str:
        sizes = sketch.constant(np.array([1, 4, *size], np.int64))
        more = {"mode": "linear", "coordinate_transformation_mode": where}
        return str(sketch.node("Resize", real, "", "", sizes, **more))

    stored = rng.integers(0, 256, (1, 4, 5, 6))
    _, mine, theirs = both(body, dtype, [stored], [x], x if same else (0.17, 5))
    np.testing.assert_array_equal(mine, theirs)


def test_activations_between_keep_the_real_sum() -> None:
    """ONNX Runtime computes Add, Relu, QuantizeLinear one after the other where Relu cuts."""
    relu = lambda sketch, a, b: str(sketch.node("Relu", sketch.node("Add", a, b)))  # noqa: E731
    for zero, found in ((-128, ["int8"]), (5, [])):
        given = [(0.125, 3), (0.25, 4)]
        program, mine, theirs = both(relu, "int8", every_pair(), given, (0.5, zero))
        assert early(program) == found
        np.testing.assert_array_equal(mine, theirs)


MOVES: dict[str, Callable[[Sketch, str], Any]] = {
    "transpose": lambda sketch, x: sketch.node("Transpose", x, perm=[0, 1, 3, 2]),
    "squeeze": lambda sketch, x: sketch.node(
        "Unsqueeze",
        sketch.node("Squeeze", x, sketch.constant(np.array([0]))),
        sketch.constant(np.array([0])),
    ),
    "max": lambda sketch, x: sketch.node("MaxPool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    "identity": lambda sketch, x: sketch.node("Identity", x),
    "relu": lambda sketch, x: sketch.node("Relu", x),
    "flatten": lambda sketch, x: sketch.node(
        "Reshape", sketch.node("Flatten", x), sketch.constant(np.array([1, 8, 6, 6]))
    ),
}


@pytest.mark.parametrize("move", list(MOVES))
def test_what_stands_between_dequantize_and_the_sum(move: str) -> None:
    """ONNX Runtime still adds integers behind some moves, and reals behind others."""
    rng = np.random.default_rng(3)
    stored = [rng.integers(0, 256, (1, 8, 6, 6)) for _ in range(2)]

    def body(sketch: Sketch, a: str, b: str) -> str:
        return str(sketch.node("Add", a, MOVES[move](sketch, b)))

    for dtype in KINDS:
        _, mine, theirs = both(body, dtype, stored, [(0.125, 3), (0.25, 7)], (0.5, 5))
        np.testing.assert_array_equal(mine, theirs)


def all_early(dtype: str) -> tuple[Program, dict[str, Array]]:
    """A network of the three ops, with layouts that only plain loops take too."""
    sketch, kind = Sketch(), np.dtype(dtype).type
    shift = 128 if dtype == "uint8" else 0
    zero = lambda n: kind(n + shift)  # noqa: E731
    x, y = (sketch.input((1, 5, 6, 6), KINDS[dtype]) for _ in range(2))
    a, b = sketch.dequantise(x, 0.125, zero(3)), sketch.dequantise(y, 0.25, zero(-7))
    ends = []
    for name, body, scale in (
        ("Add", [a, b], 0.5), ("Mul", [a, b], 0.5), ("AveragePool", [a], 0.25),
        ("Add", [a, sketch.node("Transpose", b, perm=[0, 1, 3, 2])], 0.5),
        ("Mul", [sketch.node("Transpose", a, perm=[0, 1, 3, 2]), b], 0.5),
    ):  # fmt: skip
        more: dict[str, Any] = {}
        if name == "AveragePool":
            more = {"kernel_shape": [2, 2], "pads": [1, 1, 1, 1], "count_include_pad": 1}
        ends.append(sketch.quantise(sketch.node(name, *body, **more), scale, zero(5)))
    model = sketch.model(*ends, kinds=dict.fromkeys(ends, KINDS[dtype]))
    rng = np.random.default_rng(4)
    feeds = {n: rng.integers(0, 256, (1, 5, 6, 6)).astype("uint8").view(dtype) for n in (x, y)}
    return from_model(model, "early"), feeds


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_text_and_file_keep_it(dtype: str, tmp_path: Path) -> None:
    program, feeds = all_early(dtype)
    assert early(program)
    again = text.parse(text.to_text(program))
    assert again.ops == program.ops
    to_onnx.save(program, tmp_path / "saved.onnx")
    saved = read_model(tmp_path / "saved.onnx")
    assert saved.ops == program.ops
    for mine, theirs in zip(by_edgebed(program, feeds), by_edgebed(saved, feeds), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_it_needs_float_bytes_and_an_op_that_knows_it() -> None:
    with pytest.raises(EdgebedError, match="zero_first"):
        Affine(0.1, 0, "fixed_point", zero_first="int8")
    with pytest.raises(EdgebedError, match="zero_first"):
        Affine(0.1, 0, "float", -32768, 32767, "int16", zero_first="int8")
    program, _ = all_early("int8")
    line = text.to_text(program)
    with pytest.raises(EdgebedError, match="zero_first"):
        text.parse(line.replace('zero_first="int8"', 'zero_first="int4"'))
    add = next(op for op in program.ops if op.kind == "add")
    rule: Any = getattr(add, "requantize")  # noqa: B009 - only some ops have one
    assert replace(rule, zero_first="").zero_first == ""
    wrong = next(row for row in line.splitlines() if " = add(" in row)
    with pytest.raises(EdgebedError, match="zero_first"):
        text.parse(line.replace(wrong, wrong.replace(" = add(", " = subtract(")))


@pytest.mark.parametrize("where", ["half_pixel", "asymmetric", "align_corners"])
def test_nearest_resize_to_sizes(where: str) -> None:
    """A ratio that float32 rounds decides which of two values is the nearest."""
    for size, out in ((3, 29), (4, 14), (4, 30), (6, 21), (7, 26), (9, 5), (1, 8)):

        def body(sketch: Sketch, real: str, out: int = out) -> str:
            sizes = sketch.constant(np.array([1, 1, out, 1], np.int64))
            more = {"mode": "nearest", "coordinate_transformation_mode": where}
            return str(sketch.node("Resize", real, "", "", sizes, **more))

        stored = np.arange(size).reshape(1, 1, size, 1)
        _, mine, theirs = both(body, "uint8", [stored], [(0.1, 0)], (0.1, 0))
        np.testing.assert_array_equal(mine, theirs)
