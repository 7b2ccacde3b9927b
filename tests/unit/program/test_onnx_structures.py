"""Recurrent layers, branches, sums over indices, sizes that a network computes: as ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper
from onnx_model import Sketch, by_edgebed, by_onnxruntime, check, randoms

from edgebed.program.onnx_graph import from_model

RNG = np.random.default_rng(7)


def reals(*shape: int) -> np.ndarray:
    return RNG.normal(0, 0.5, shape).astype(np.float32)


def whole(*values: Any) -> np.ndarray:
    return np.array(values, np.int64)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_recurrent_layers(kind: str, direction: str) -> None:
    ways, gates = (2 if direction == "bidirectional" else 1), {"LSTM": 4, "GRU": 3, "RNN": 1}[kind]
    sketch = Sketch()
    parts = [reals(ways, gates * 4, 3), reals(ways, gates * 4, 4), reals(ways, gates * 8)]
    more = {"linear_before_reset": 1} if kind == "GRU" else {}
    outs = sketch.node(
        kind,
        sketch.input((5, 1, 3)),
        *map(sketch.constant, parts),
        outputs=2,
        hidden_size=4,
        direction=direction,
        **more,
    )
    check(sketch.model(*outs), randoms(sketch))


def test_sizes_computed_from_the_input_s_shape_are_worked_out() -> None:
    """What exporters write for x.view(x.size(0), -1) and for doubling a map."""
    sketch = Sketch()
    x = sketch.input(["N", 3, 4, 5])
    sizes = sketch.node("Shape", x)
    batch = sketch.node("Gather", sizes, sketch.constant(np.int64(0)), axis=0)
    batch = sketch.node("Unsqueeze", batch, sketch.constant(whole(0)))
    shape = sketch.node("Concat", batch, sketch.constant(whole(-1)), axis=0)
    flat = sketch.node("Reshape", x, shape)
    tail = sketch.node("Slice", sizes, sketch.constant(whole(2)), sketch.constant(whole(4)))
    head = sketch.node("Slice", sizes, sketch.constant(whole(0)), sketch.constant(whole(2)))
    twice = sketch.node("Mul", tail, sketch.constant(whole(2)))
    wanted = sketch.node("Concat", head, twice, axis=0)
    large = sketch.node("Resize", x, "", "", wanted, mode="nearest")
    feeds = {"x1": reals(1, 3, 4, 5)}
    model = sketch.model(flat, large)
    program = from_model(model, "model")
    assert [op.kind for op in program.ops] == ["reshape", "resize"]
    wanted_arrays = by_onnxruntime(model, feeds)
    for mine, theirs in zip(by_edgebed(program, feeds), wanted_arrays, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-6)


@pytest.mark.parametrize("size", [1, 3])
def test_a_branch_that_a_shape_decides(size: int) -> None:
    """What an exporter writes for squeeze(1) of a tensor of open size."""
    sketch = Sketch()
    x = sketch.input(["N", "C", 4])
    both = sketch.node("Relu", x)
    count = sketch.node("Gather", sketch.node("Shape", both), sketch.constant(np.int64(1)))
    single = sketch.node("Equal", count, sketch.constant(np.int64(1)))
    branches = {}
    for name, kind in (("then_branch", "Squeeze"), ("else_branch", "Identity")):
        inputs = [both, "axes"] if kind == "Squeeze" else [both]
        branches[name] = helper.make_graph(
            [helper.make_node(kind, inputs, [f"{name}_out"])],
            name,
            [],
            [helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(whole(1), "axes")] if kind == "Squeeze" else [],
        )
    model = sketch.model(sketch.node("If", single, **branches))
    program = from_model(model, "model", {x: (1, size, 4)})
    feeds = {x: reals(1, size, 4)}
    (mine,), (theirs,) = by_edgebed(program, feeds), by_onnxruntime(model, feeds)
    np.testing.assert_allclose(mine, theirs)
    assert mine.shape == theirs.shape


@pytest.mark.parametrize("equation", ["ij,jk->ik", "bij,bkj->bik", "bhwc,hkc->bhwk", "bi,bi->b"])
def test_einsum_of_two(equation: str) -> None:
    sizes = {"i": 3, "j": 4, "k": 2, "b": 1, "h": 3, "w": 5, "c": 4}
    left, right = equation.split("->")[0].split(",")
    sketch = Sketch()
    operands = [sketch.input([sizes[letter] for letter in part]) for part in (left, right)]
    check(sketch.model(sketch.node("Einsum", *operands, equation=equation)), randoms(sketch))


@pytest.mark.parametrize("equation", ["bij->bji", "bij->bj", "bij->", "bij"])
def test_einsum_of_one(equation: str) -> None:
    sketch = Sketch()
    out = sketch.node("Einsum", sketch.input((1, 3, 4)), equation=equation)
    check(sketch.model(out), randoms(sketch))


@pytest.mark.parametrize(
    ("kind", "more", "function"),
    [
        ("Sigmoid", {}, ["silu"]),
        ("HardSigmoid", {"alpha": 1 / 6}, ["hard_swish"]),
        ("HardSigmoid", {"alpha": 0.2}, None),
    ],
)
@pytest.mark.parametrize("swapped", [True, False])
def test_a_gate_of_itself_is_one_function(
    kind: str, more: dict[str, Any], function: list[str] | None, swapped: bool
) -> None:
    sketch = Sketch()
    x = sketch.input((1, 3, 4))
    gate = sketch.node(kind, x, **more)
    program = check(
        sketch.model(sketch.node("Mul", *((gate, x) if swapped else (x, gate)))), randoms(sketch)
    )
    assert function is None or [getattr(op, "function", "") for op in program.ops] == function


def test_channel_shuffle() -> None:
    sketch = Sketch()
    x = sketch.input((1, 6, 4, 5))
    split = sketch.node("Reshape", x, sketch.constant(whole(3, 2, 20)))
    moved = sketch.node("Transpose", split, perm=[1, 0, 2])
    halves = sketch.node("Reshape", moved, sketch.constant(whole(2, -1, 3, 4, 5)))
    parts = [sketch.node("Gather", halves, sketch.constant(np.int64(i)), axis=0) for i in range(2)]
    check(sketch.model(sketch.node("Concat", *parts, axis=1)), randoms(sketch))
