"""More limits of device layers, the cost figures, and what a placement may not say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from networks_by_hand import Row, chain
from test_check import CONV, conv1d, only, only_of, program, weights

from edgebed.errors import EdgebedError
from edgebed.program.ops.add import Add
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.ops.conv_transpose2d import ConvTranspose2d
from edgebed.program.ops.dense import Dense
from edgebed.program.ops.identity import Identity
from edgebed.program.ops.max_pool import MaxPool
from edgebed.program.ops.slice import Slice
from edgebed.program.types import Constant, Op, Program, TensorType
from edgebed.targets import load
from edgebed.targets.contract import Problem
from edgebed.targets.layout import MemoryMap, Region
from edgebed.targets.max78000.check import check
from edgebed.targets.max78000.compiler import compile_program
from edgebed.targets.max78000.cost import cost_of
from edgebed.targets.max78000.hints import LayerHint, Options, Project

TARGET = load("max78000")


class Cosine(Identity):
    """An op that the device does not have."""

    kind = "cosine"


def two(first: Op, second: Op, shape: tuple[int, int, int], **constants: Constant) -> Program:
    return Program("net", {"input": TensorType(shape)}, (first, second), ("out",), constants)


@pytest.mark.parametrize(
    ("net", "layer", "what", "limit"),
    [
        (program(Cosine(name="c", inputs=("input",), output="out"), (3, 4, 4), {}),
         "c", "op 'cosine'", "the device has conv2d"),
        (conv1d(3, padding=(0, 1, 0, 1)), "the_layer", "1 columns of padding", "none on a map"),
        (program(Conv2d(**CONV | {"dilation": (1030, 1)}), (3, 1200, 1), weights(4, 3, 2, 1)),
         "the_layer", "dilation 1030", "1023"),
        (program(ConvTranspose2d(**CONV, padding=(3, 1), output_padding=(1, 1)), (3, 8, 8),
                 weights(3, 4, 3, 3)), "the_layer", "padding (3, 1)", "0, 1 or 2"),
        (program(MaxPool(name="p", inputs=("input",), output="out", kernel=(2, 2),
                         stride=(17, 17)), (3, 60, 60), {}), "p", "stride 17", "16"),
        (program(Add(name="sum", inputs=("input",) * 17, output="out"), (3, 4, 4), {}),
         "sum", "17 operands", "16"),
        (program(Dense(**CONV), (257, 8, 8), weights(2, 257 * 64)),
         "the_layer", "16448 inputs", "16384 inputs"),
    ],
)  # fmt: skip
def test_what_the_device_lacks_is_named(net: Program, layer: str, what: str, limit: str) -> None:
    problem = next(p for p in check(net) if what in p.what)
    assert problem.layer == layer
    assert limit in problem.limit
    assert problem.try_
    assert str(problem) == f"{layer}: {problem.what} ({problem.limit}); try: {problem.try_}"


def test_networks_of_two_inputs_are_refused() -> None:
    inputs = {"a": TensorType((3, 4, 4)), "b": TensorType((3, 4, 4))}
    net = Program("net", inputs, (Add(name="s", inputs=("a", "b"), output="y"),), ("y",))
    assert any(p.layer == "net" and "2 inputs" in p.what for p in check(net))


def test_raw_accumulators_feed_no_layer() -> None:
    raw = Conv2d(name="raw", inputs=("input",), output="wide", weight="w")
    pool = MaxPool(name="p", inputs=("wide",), output="out", kernel=(2, 2), stride=(2, 2))
    problem = only(two(raw, pool, (3, 8, 8), **weights(4, 3, 3, 3)))
    assert (problem.layer, problem.try_) == ("p", "requantise them")
    assert "'wide'" in problem.what


def test_weights_wider_than_a_byte_are_refused() -> None:
    wide = weights(4, 3, 3, 3, bits=16)
    problem = only(program(Conv2d(**CONV), (3, 8, 8), wide))
    assert (problem.what, problem.try_) == ("weights of 16 bits", "8 bits")


def test_channels_of_an_inner_map_are_left_out_by_convolutions_only() -> None:
    ops = (
        Conv2d(**CONV | {"output": "map"}),
        Slice(name="part", inputs=("map",), output="some", start=1, stop=3),
        MaxPool(name="p", inputs=("some",), output="out", kernel=(2, 2), stride=(2, 2)),
    )
    net = Program("net", {"input": TensorType((3, 8, 8))}, ops, ("out",), weights(4, 3, 3, 3))
    problem = only(net)
    assert problem.layer == "part"
    assert "only convolutions" in problem.limit


# ---- what a placement may not say ----

HINT = LayerHint("layer00", ("conv0",), 0x7, 0xF, 0, 0x400)


def one(**changes: Any) -> Project:
    return Project(chain("net", (3, 8, 8), (Row(4),)), (replace(HINT, **changes),))


@pytest.mark.parametrize(
    ("project", "what"),
    [
        (one(output_processors=0x1F), "5 output processors"),
        (one(out_offset=0x402), "0x402"),
        (replace(one(processors=0x111), options=Options(fifo=True)), "read a FIFO"),
    ],
)
def test_placements_the_registers_cannot_express_are_named(project: Project, what: str) -> None:
    problem = next(p for p in check(project) if what in p.what)
    assert problem.layer == "layer00"
    assert problem.limit and problem.try_


def test_narrow_weights_start_at_a_multiple_of_four() -> None:
    net = program(Conv2d(**CONV), (3, 8, 8), weights(4, 3, 3, 3, bits=4))
    hint = LayerHint("layer00", ("the_layer",), 0x7, 0x3C, 0, 0x400)
    problem = only_of(Project(net, (hint,)))
    assert "first output processor 2 with 4-bit weights" in problem.what
    assert problem.try_ == "processor 0"


def test_streams_start_at_the_first_layer() -> None:
    net = chain("net", (3, 8, 8), (Row(4), Row(4)))
    hints = (
        replace(HINT),
        LayerHint("layer01", ("conv1",), 0xF, 0xF, 0x400, 0x800, streaming=True),
    )
    problems = check(Project(net, hints))
    assert any(p.layer == "layer01" and "streams after a layer that does not" in p.what
               for p in problems)  # fmt: skip


def test_an_unknown_op_in_a_placement_is_named() -> None:
    with pytest.raises(EdgebedError, match=r"layer00: the placement names an unknown op 'conv9'"):
        compile_program(one(ops=("conv9",)))


def test_a_placement_that_forgets_an_op_is_refused() -> None:
    net = chain("net", (3, 8, 8), (Row(4), Row(4)))
    with pytest.raises(EdgebedError, match=r"conv1 .*no device layer computes it.*every op"):
        compile_program(Project(net, (HINT,)))


# ---- cost, layout, target ----


def test_cost_counts_macs_and_bytes_of_every_layer() -> None:
    net = chain("net", (3, 16, 16), (Row(8), Row(4, pool=2), Row(5, 1, wide=True)))
    cost = cost_of(compile_program(net))
    macs = [8 * 3 * 9 * 256, 4 * 8 * 9 * 64, 5 * 4 * 64]
    assert [layer.macs for layer in cost.layers] == macs
    sizes = [layer.figures["weights"].value for layer in cost.layers]
    assert sizes == [8 * 3 * 9, 4 * 8 * 9, 5 * 4]
    assert [layer.figures["biases"].value for layer in cost.layers] == [8, 4, 5]
    # input and result; the last result has 4 bytes a value
    data = [layer.figures["data"].value for layer in cost.layers]
    assert data == [(3 + 8) * 256, 8 * 256 + 4 * 64, 4 * 64 + 5 * 64 * 4]
    assert cost.total["weights"].value == sum(sizes)
    assert cost.total["data"].value == max(data)


def test_every_estimate_has_a_band_around_it_and_a_source() -> None:
    cost = TARGET.cost(chain("net", (3, 16, 16), (Row(8), Row(4))))
    for figures in (cost.total, *(layer.figures for layer in cost.layers)):
        for name in ("time", "energy"):
            figure = figures[name]
            assert figure.kind == "estimated" and figure.source
            assert figure.low is not None and figure.high is not None
            assert figure.low <= figure.high
        energy = figures["energy"]
        assert energy.low <= energy.value <= energy.high  # type: ignore[operator]
    whole = sum(layer.figures["cycles"].value for layer in cost.layers)
    assert whole <= cost.total["cycles"].value


def test_less_work_costs_less() -> None:
    small, large = (TARGET.cost(chain("n", (3, 16, 16), (Row(8), Row(c)))) for c in (4, 64))
    for name in ("cycles", "time", "energy", "weights"):
        assert small.total[name].value < large.total[name].value


def test_narrow_weights_take_fewer_bytes() -> None:
    def size(bits: int) -> float:
        net = program(Conv2d(**CONV), (3, 8, 8), weights(4, 3, 3, 3, bits=bits))
        return TARGET.cost(net).total["weights"].value

    assert [size(bits) for bits in (8, 4, 2, 1)] == [108, 54, 27, 14]


def test_the_target_plans_what_it_checked() -> None:
    net = chain("net", (3, 8, 8), (Row(4),))
    assert TARGET.check(net) == []
    plan = TARGET.plan(net)
    assert plan.digest == TARGET.plan(net).digest
    assert "main.c" in plan.files
    np.testing.assert_array_equal(TARGET.image(net).init, compile_program(net).image.init)


def test_a_map_says_how_full_it_is() -> None:
    regions = (Region("a", 0, (0, 2), (0, 10)), Region("b", 1, (2, 4), (0, 5)))
    assert MemoryMap("m", "x", "y", (0, 4), (0, 20), regions).used == pytest.approx(30 / 80)


def test_a_problem_can_be_a_warning_and_reads_the_same() -> None:
    problem = Problem("conv", "is large", "8", "a small one", warning=True)
    assert str(problem) == "conv: is large (8); try: a small one"


def test_what_a_placement_leaves_open_follows_from_its_neighbours() -> None:
    net = chain("net", (3, 8, 8), (Row(4), Row(4)))
    hints = (
        LayerHint("layer00", ("conv0",), 0x7, out_offset=0x400),
        LayerHint("layer01", ("conv1",), 0xF0, out_offset=0x800),
    )
    first, second = (placed.at for placed in compile_program(Project(net, hints)).chain)
    assert first.output_processors == 0xF0  # where the next layer reads
    assert second.output_processors == 0xF  # nobody reads it: packed from processor 0
    assert (first.in_offset, second.in_offset) == (0, 0x400)
