"""Each broken limit is named with its layer, its number, the limit and a way out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from networks_by_hand import Row, chain

from edgebed.errors import EdgebedError
from edgebed.program.arithmetic import PowerOfTwo
from edgebed.program.ops.add import Add
from edgebed.program.ops.avg_pool import AvgPool
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.ops.conv_transpose2d import ConvTranspose2d
from edgebed.program.ops.dense import Dense
from edgebed.program.ops.identity import Identity
from edgebed.program.ops.max_pool import MaxPool
from edgebed.program.ops.slice import Slice
from edgebed.program.ops.space_to_depth import SpaceToDepth
from edgebed.program.types import Constant, Op, Program, TensorType
from edgebed.targets.contract import Problem
from edgebed.targets.max78000.check import check
from edgebed.targets.max78000.compiler import compile_program
from edgebed.targets.max78000.hints import LayerHint, Options, Project
from edgebed.targets.max78000.lowering import lower
from edgebed.targets.max78000.planner import stream_lengths

CONV: dict[str, Any] = {
    "name": "the_layer",
    "inputs": ("input",),
    "output": "out",
    "weight": "w",
    "requantize": PowerOfTwo(9),
}


def weights(*shape: int, bits: int = 8) -> dict[str, Constant]:
    values = np.zeros(shape, dtype=np.int8 if bits <= 8 else np.int16)
    return {"w": Constant(values, bits, 1 / 128)}


def program(op: Op, shape: tuple[int, int, int], constants: dict[str, Constant]) -> Program:
    return Program("net", {"input": TensorType(shape)}, (op,), (op.output,), constants)


def conv(shape: tuple[int, ...] = (4, 3, 3, 3), **changes: Any) -> Program:
    groups = changes.get("groups", 1)
    map_ = (shape[1] * groups, 12, 12)
    return program(Conv2d(**CONV | changes), map_, weights(*shape))


def conv1d(length: int, **changes: Any) -> Program:
    return program(Conv2d(**CONV | changes), (3, 90, 1), weights(4, 3, length, 1))


def only(net: Program) -> Problem:
    (problem,) = check(net)
    return problem


@pytest.mark.parametrize(
    ("net", "what", "limit"),
    [
        (conv(stride=(2, 2)), "stride 2x2", "stride 1"),
        (conv(groups=2, shape=(4, 3, 3, 3)), "2 groups", "1 group"),
        (conv((4, 3, 5, 5), padding=(2, 2, 2, 2)), "kernel 5x5", "1x1 or 3x3"),
        (conv(padding=(3, 3, 3, 3)), "padding 3", "0, 1 or 2"),
        (conv(padding=(0, 0, 1, 1)), "padding (0, 0, 1, 1)", "opposite"),
        (conv(dilation=(2, 2)), "dilation (2, 2)", "1"),
        (conv((1030, 3, 1, 1)), "1030 output channels", "1024"),
        (conv(requantize=PowerOfTwo(30)), "right shift 30", "-8 to 22"),
        (conv1d(10), "length 10", "length 9"),
        (conv1d(4, dilation=(3, 1)), "dilation 3", "length 3"),
        (conv1d(3, dilation=(6, 1), padding=(1, 0, 1, 0)), "padding 1", "padding 0"),
    ],
)
def test_convolutions_the_device_lacks_are_refused(net: Program, what: str, limit: str) -> None:
    problem = only(net)
    assert problem.layer == "the_layer"
    assert what in problem.what
    assert limit in problem.limit
    assert problem.try_


@pytest.mark.parametrize(
    ("op", "shape", "what"),
    [
        (MaxPool(name="p", inputs=("input",), output="o", kernel=(17, 1), stride=(1, 1)),
         (3, 20, 20), "window 17x1"),
        (MaxPool(name="p", inputs=("input",), output="o", kernel=(2, 2), stride=(2, 1)),
         (3, 20, 20), "strides 2 and 1"),
        (Identity(name="p", inputs=("input",), output="o"), (3, 1024, 1), "1024 rows"),
    ],
)  # fmt: skip
def test_layers_without_weights_have_limits_too(
    op: Op, shape: tuple[int, int, int], what: str
) -> None:
    problem = only(program(op, shape, {}))
    assert problem.layer == "p"
    assert what in problem.what


def test_pooling_many_channels_is_a_convolution() -> None:
    op = MaxPool(name="p", inputs=("input",), output="o", kernel=(2, 2), stride=(2, 2))
    net = program(op, (65, 8, 8), {})
    assert check(net) == []
    assert compile_program(net).chain[0].layer.operator == "conv2d"


def test_a_dense_layer_flattens_256_pixels_of_64_channels() -> None:
    fields = CONV | {"weight": "w"}
    problem = only(program(Dense(**fields), (1, 17, 16), weights(4, 272)))
    assert "272 passes" in problem.what and "256" in problem.limit
    assert check(program(Dense(**fields), (1, 16, 16), weights(4, 256))) == []
    problem = only(program(Dense(**fields), (70, 12, 12), weights(1, 10080)))
    assert "128 pixels" in problem.try_


def test_a_transposed_convolution_doubles_exactly() -> None:
    op = ConvTranspose2d(**CONV, padding=(1, 1))
    problem = only(program(op, (3, 4, 4), weights(3, 4, 3, 3)))
    assert "output padding" in problem.what


def test_biases_must_be_storable() -> None:
    for values, what in (([100, 128], "no multiples of 128"), ([128 * 200, 0], "bias of 25600")):
        constants = weights(2, 3, 3, 3) | {"b": Constant(np.array(values, np.int32), 32, 1 / 128)}
        assert what in only(program(Conv2d(**CONV, bias="b"), (3, 8, 8), constants)).what


def test_averages_have_one_rounding() -> None:
    pool: dict[str, Any] = {"kernel": (2, 2), "stride": (1, 1)}
    ops = (
        AvgPool(name="a", inputs=("input",), output="x", **pool),
        AvgPool(name="b", inputs=("x",), output="y", rounding="half_away", **pool),
    )
    problem = only(Program("net", {"input": TensorType((3, 8, 8))}, ops, ("y",)))
    assert "truncates averages while b rounds them" in problem.what


def test_averages_that_round_half_up_are_refused() -> None:
    pool = AvgPool(name="a", inputs=("input",), output="y", rounding="half_up", kernel=(2, 2),
                   stride=(1, 1))  # fmt: skip
    problem = only(program(pool, (3, 8, 8), {}))
    assert "half up" in problem.what and "half_away" in problem.try_


def test_a_foreign_tensor_is_named_once() -> None:
    ops = (
        Identity(name="i", inputs=("input",), output="x"),
        MaxPool(name="a", inputs=("x",), output="y", kernel=(2, 2), stride=(2, 2)),
        MaxPool(name="b", inputs=("x",), output="z", kernel=(2, 2), stride=(2, 2)),
    )
    kind = TensorType((3, 8, 8), "int8", 0.1, -128)
    found = check(Program("net", {"input": kind}, ops, ("y", "z")))
    named = [problem.what.split("'")[1] for problem in found]
    assert named == ["input", "x", "y", "z"]


def test_pixels_are_folded_in_front_of_the_network_only() -> None:
    ops = (
        Identity(name="i", inputs=("input",), output="x"),
        SpaceToDepth(name="fold", inputs=("x",), output="y", block=2),
    )
    assert only(Program("net", {"input": TensorType((3, 8, 8))}, ops, ("y",))).layer == "fold"


def test_all_problems_are_listed_at_once() -> None:
    assert len(check(conv((4, 3, 5, 5), stride=(2, 2), padding=(4, 4, 4, 4)))) == 3


def test_too_many_layers_are_counted() -> None:
    problem = only(chain("deep", (3, 8, 8), (Row(4, 1),) * 34))
    assert "34 device layers" in problem.what and "32" in problem.limit


def test_full_kernel_memory_names_processor_and_columns() -> None:
    problem = only(chain("heavy", (64, 8, 8), (Row(64),) * 14))
    assert "896 columns" in problem.what and "768" in problem.limit


def test_full_data_memory_names_tensor_bytes_and_what_would_fit() -> None:
    problem = only(chain("wide", (64, 100, 90), (Row(64),)))
    assert "36000 bytes" in problem.what
    assert "32768 bytes" in problem.limit
    assert "%" in problem.try_


def test_a_wide_border_around_a_1x1_kernel_ends_the_stream_before() -> None:
    # In a stream the 1x1 kernel would become a 3x3 one with padding 3, which no layer has.
    net = chain("border", (3, 8, 8), (Row(4), Row(4, 1), Row(4)))
    wide = [replace(op, padding=(2,) * 4) if op.name == "conv1" else op for op in net.ops]
    net = net.with_(ops=tuple(wide))
    layers = lower(net)
    assert stream_lengths(net, layers) == ()
    hints = [
        LayerHint("layer00", ("conv0",), 0x7, 0xF, 0, 0x400, streaming=True),
        LayerHint("layer01", ("conv1",), 0xF, 0xF, 0x400, 0x800),
        LayerHint("layer02", ("conv2",), 0xF, 0xF, 0x800, 0x1000),
    ]
    problem = only_of(Project(net, tuple(hints), Options(fifo=True)))
    assert problem.layer == "layer01"
    assert "1x1 kernel with padding 2" in problem.what


def test_a_placement_that_overwrites_its_own_input_is_a_warning() -> None:
    net = chain("two", (3, 8, 8), (Row(4), Row(4)))
    layers = [
        LayerHint("layer00", ("conv0",), 0x7, 0xF, 0, 0x400),
        LayerHint("layer01", ("conv1",), 0xF, 0xF, 0x400, 0x480),
    ]
    problem = only_of(Project(net, tuple(layers)))
    assert problem.layer == "layer01"
    assert "writes over its own input 'conv0'" in problem.what
    assert problem.warning
    layers[1] = replace(layers[1], out_offset=0)
    assert check(Project(net, tuple(layers))) == []


def test_a_placement_that_overwrites_a_map_needed_later_is_refused() -> None:
    net = chain("three", (3, 8, 8), (Row(4), Row(4), Row(4)))
    layers = [
        LayerHint("layer00", ("conv0",), 0x7, 0xF, 0, 0x400),
        LayerHint("layer01", ("conv1",), 0xF, 0xF, 0x400, 0x800),
        LayerHint("layer02", ("conv2",), 0xF, 0xF, 0x800, 0x480),
    ]
    assert check(Project(net, tuple(layers))) == []
    both = net.with_(outputs=("conv2", "conv0"))
    problem = only_of(Project(both, tuple(layers)))
    assert problem.layer == "layer02"
    assert "writes over 'conv0'" in problem.what
    assert not problem.warning


def only_of(project: Project) -> Problem:
    (problem,) = check(project)
    return problem


def test_a_placement_that_reads_the_wrong_place_is_refused() -> None:
    net = chain("two", (3, 8, 8), (Row(4), Row(4)))
    layers = (
        LayerHint("layer00", ("conv0",), 0x7, 0xF, 0, 0x400),
        LayerHint("layer01", ("conv1",), 0xF, 0xF, 0x800, 0x1000),
    )
    assert "offset 0x400, read from 0x800" in only_of(Project(net, layers)).what
    with pytest.raises(EdgebedError, match="layer01"):
        compile_program(Project(net, layers))
    assert compile_program(Project(net, layers), replan=True).chain


def test_a_placement_beyond_the_memory_is_refused() -> None:
    net = chain("one", (3, 64, 64), (Row(4),))
    problem = only_of(Project(net, (LayerHint("layer00", ("conv0",), 0x7, 0xF, 0, 0x7000),)))
    assert "offset 0xb000" in problem.what and "0x4000" in problem.try_


def test_sums_of_parts_of_the_input_need_no_layer_of_their_own() -> None:
    ops = (
        Slice(name="a", inputs=("input",), output="left", start=0, stop=4),
        Slice(name="b", inputs=("input",), output="right", start=4, stop=8),
        Add(name="sum", inputs=("left", "right"), output="y"),
    )
    net = Program("net", {"input": TensorType((8, 5, 5))}, ops, ("y",))
    assert check(net) == []
    assert len(compile_program(net).chain) == 1
