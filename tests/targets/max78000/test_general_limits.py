"""What no device layer does at all, and what an author's grouping of ops may not ask of one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from networks_by_hand import Row, chain
from test_check import CONV, only_of, weights

from edgebed.errors import EdgebedError
from edgebed.program.arithmetic import Affine, multiplier_table
from edgebed.program.ops.add import Add
from edgebed.program.ops.concat import Concat
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.ops.dense import Dense
from edgebed.program.ops.identity import Identity
from edgebed.program.ops.max_pool import MaxPool
from edgebed.program.ops.reshape import Reshape
from edgebed.program.types import Constant, Op, Program, TensorType
from edgebed.targets.max78000.check import check
from edgebed.targets.max78000.compiler import compile_program
from edgebed.targets.max78000.hints import LayerHint, Options, Project

HALVES: dict[str, Any] = {"kernel": (2, 2), "stride": (2, 2)}
SAME = Identity(name="same", inputs=("input",), output="x")


def network(kind: TensorType, *ops: Op, **constants: Constant) -> Program:
    return Program("net", {"input": kind}, ops, (ops[-1].output,), constants)


@pytest.mark.parametrize(
    ("net", "layer", "what"),
    [
        (network(TensorType((8,)), SAME), "same", "'input' has shape (8,)"),
        (network(TensorType((3, 4, 4), zero_point=3), SAME), "same", "zero 3"),
        (network(TensorType((3, 4, 4), "float32"), SAME), "same", "float32"),
        (network(TensorType((3, 4, 4)), SAME,
                 Concat(name="join", inputs=("x", "x"), output="y", axis=1)),
         "join", "joins axis 1"),
        (network(TensorType((3, 4, 4)),
                 Reshape(name="view", inputs=("input",), output="y", shape=(6, 4, 2))),
         "view", "makes 6 channels"),
        (network(TensorType((3, 4, 4)),
                 MaxPool(name="p", inputs=("input",), output="y", padding=(1,) * 4, **HALVES)),
         "p", "pads by (1, 1, 1, 1)"),
        (network(TensorType((3, 4, 8)), Dense(**CONV | {"last_axis": True}), **weights(5, 8)),
         "the_layer", "last axis only"),
        (network(TensorType((3, 4, 4)),
                 Add(name="sum", inputs=("input",) * 2, output="y", requantize=Affine(0.01))),
         "sum", "rescales its operands"),
        (network(TensorType((3, 8, 8)),
                 Conv2d(**CONV | {"requantize": Affine(0.01), "multiplier": "m"}),
                 m=Constant(multiplier_table([0.01] * 4), 32), **weights(4, 3, 3, 3)),
         "the_layer", "requantises to scale 0.01"),
    ],
)  # fmt: skip
def test_what_no_layer_does_is_named_with_its_op(net: Program, layer: str, what: str) -> None:
    problem = next(p for p in check(net) if what in p.what)
    assert problem.layer == layer
    assert problem.limit and problem.try_
    with pytest.raises(EdgebedError, match=layer):
        compile_program(net)


# ---- an author's grouping of ops ----


def grouped(shape: tuple[int, int, int], groups: tuple[Op, ...], **constants: Constant) -> Project:
    """Return a project that puts all ops into one device layer."""
    net = network(TensorType(shape), *groups, **constants)
    names = tuple(op.name for op in groups)
    processors = (1 << min(shape[0], 64)) - 1
    return Project(net, (LayerHint("layer00", names, processors, None, 0, 0x4000),))


POOL = MaxPool(name="pool", inputs=("input",), output="x", **HALVES)
AFTER = CONV | {"inputs": ("x",)}


def added(count: int) -> Add:
    return Add(name="sum", inputs=("input",) * count, output="x")


@pytest.mark.parametrize(
    ("project", "layer", "what"),
    [
        (grouped((3, 8, 8), (POOL, Dense(**AFTER)), **weights(4, 48)),
         "the_layer", "pools what it flattens"),
        (grouped((3, 200, 1),
                 (MaxPool(name="pool", inputs=("input",), output="x", kernel=(2, 1), stride=(2, 2)),
                  Conv2d(**AFTER | {"dilation": (10, 1)})), **weights(4, 3, 3, 1)),
         "the_layer", "pools before a dilated convolution"),
        (grouped((100, 8, 8), (added(3), Conv2d(**AFTER)), **weights(4, 100, 3, 3)),
         "the_layer", "combines 3 operands of 100 channels in a convolution"),
        (grouped((100, 8, 8),
                 (added(2), MaxPool(name="pool", inputs=("x",), output="y", **HALVES))),
         "pool", "pools and combines 100 channels"),
        (grouped((3, 8, 8),
                 (added(3), MaxPool(name="pool", inputs=("x",), output="y", **HALVES))),
         "pool", "pools the sum of 3 operands"),
    ],
)  # fmt: skip
def test_a_grouping_that_no_layer_can_do_is_named(project: Project, layer: str, what: str) -> None:
    problem = next(p for p in check(project) if what in p.what)
    assert problem.layer == layer
    assert problem.limit and problem.try_
    assert check(project.program) == [], "in layers of its own choice it fits"


# ---- streams ----


def streamed(net: Program, count: int, **last: Any) -> Project:
    """Return a placement whose first `count` layers stream."""
    hints = [
        LayerHint(f"layer{i:02d}", (op.name,), 0x7 if i == 0 else 0xF, 0xF,
                  0x1000 + 0x200 * i if i else 0, 0x1200 + 0x200 * i, streaming=i < count)
        for i, op in enumerate(net.ops)
    ]  # fmt: skip
    hints[-1] = replace(hints[-1], **last)
    return Project(net, tuple(hints), Options(fifo=True))


def test_at_most_eight_layers_stream() -> None:
    net = chain("net", (3, 8, 8), (Row(4),) * 10)
    problem = only_of(streamed(net, 9))
    assert (problem.layer, problem.what) == ("layer08", "streams as layer 8")
    assert check(streamed(net, 8)) == []


def test_a_stream_ends_in_a_padded_layer() -> None:
    net = chain("net", (3, 8, 8), (Row(4),) * 3)
    bare = tuple(replace(op, padding=(0,) * 4) if op.name == "conv1" else op for op in net.ops)
    problem = only_of(streamed(net.with_(ops=bare), 2))
    assert (problem.layer, problem.what) == ("layer01", "ends the stream without padding")
    assert check(streamed(net, 2)) == []


def test_nothing_is_flattened_in_a_stream() -> None:
    net = chain("net", (3, 8, 8), (Row(4),))
    dense = Dense(**CONV | {"inputs": ("conv0",)})
    flat = network(net.input_type, *net.ops, dense, **{**net.constants, **weights(4, 256)})
    problem = only_of(streamed(flat, 2))
    assert (problem.layer, problem.what) == ("layer01", "flattens while streaming")
    assert check(streamed(flat, 0)) == []


def test_layers_in_the_wrong_order_are_refused() -> None:
    net = chain("net", (3, 8, 8), (Row(4), Row(4)))
    first, second = streamed(net, 0).layers
    swapped = (replace(second, name="layer00"), replace(first, name="layer01"))
    problem = only_of(Project(net, swapped))
    assert problem.layer == "layer00"
    assert "reads 'conv0', which no device layer before it writes" in problem.what
