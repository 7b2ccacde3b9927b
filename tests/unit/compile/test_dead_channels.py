"""Channels that carry nothing go, with the border of padded maps held exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from affine_programs import assert_same
from hand_made import INT8, REAL, ZERO, Hand

from edgebed.compile.passes import optimise
from edgebed.compile.passes.dead_channels import DeadChannels
from edgebed.program import tflite
from edgebed.program.arithmetic import Affine
from edgebed.program.ops.maximum import Maximum
from edgebed.program.run import run
from edgebed.program.types import Program, TensorType

RULE = Affine(0.1, ZERO)
WEIGHTS = np.random.default_rng(7).integers(1, 100, (6, 4, 1, 1))


def _cut(program: Program) -> dict[str, int]:
    """Channels of every tensor after the pass, which computes the same."""
    result = DeadChannels().run(program)
    assert_same(program, result)
    assert result.inputs == program.inputs
    return {name: kind.shape[0] for name, kind in result.types.items()}


def _dead(at: int, bias: int) -> dict[str, np.ndarray]:
    """Six filters, one of which is zero with a bias."""
    weights, biases = WEIGHTS.copy(), np.zeros(6, np.int64)
    weights[at], biases[at] = 0, bias
    return {"weights": weights, "bias": biases}


@pytest.mark.parametrize("bias", [0, 3000])
def test_a_filter_of_zeros_goes_and_its_value_moves_into_the_bias(bias: int) -> None:
    h = Hand()
    x = h.conv("x", 6, **_dead(2, bias))
    out = h.conv(x, 3)
    assert _cut(h.program(out))[x] == 5


def test_a_constant_beside_a_padded_border_stays_unless_it_is_the_zero_point() -> None:
    """Padding is the zero point: another constant adds less at the border than inside."""
    for bias, left in ((0, 5), (3000, 6)):
        h = Hand()
        x = h.conv("x", 6, **_dead(2, bias))
        out = h.conv(x, 3, 3, padding=1)
        assert _cut(h.program(out))[x] == left


def test_a_constant_needs_no_inputs() -> None:
    """The channel that stays is written without its weights, so that what only it read goes."""
    h = Hand()
    first = h.conv("x", 3)
    weights = np.zeros((2, 3, 1, 1))
    weights[0, 0], weights[1, 1:] = 5, 1
    x = h.conv(first, 2, weights=weights, bias=np.array([10_000_000, 0]))
    y = h.conv(h.op("concat", x, h.conv("x", 2)), 3, 3, padding=1)
    assert _cut(h.program(y))[first] == 2


def test_dead_channels_pass_through_depthwise_layers_and_pools() -> None:
    h = Hand()
    x = h.conv("x", 6, **_dead(2, 0))
    deep = h.conv(x, 6, 3, padding=1, groups=6, bias=np.zeros(6))
    pool = h.op("max_pool", deep, kernel=(2, 2), stride=(2, 2))
    table = h.constant(h.rng.integers(-128, 128, (6, 256)).astype(np.int8))
    looked = h.op("lookup", pool, table=table, axis=0, scale=0.1, zero_point=ZERO)
    sizes = _cut(h.program(h.conv(looked, 3)))
    assert [sizes[name] for name in (x, deep, pool, looked)] == [5, 5, 5, 5]


def test_a_constant_plane_that_differs_at_its_border_is_evaluated() -> None:
    """A depthwise layer with padding makes a frame of a constant; a dense layer takes it in."""
    h = Hand()
    x = h.conv("x", 6, **_dead(2, 3000))
    deep = h.conv(x, 6, 3, padding=1, groups=6)
    factors = h.ops[0].multiplier  # type: ignore[attr-defined]
    weight = _dense(h, deep)
    flat = h.op("dense", deep, weight=weight, multiplier=factors, requantize=RULE)
    assert _cut(h.program(flat))[deep] == 5


def _dense(h: Hand, x: str, outputs: int = 6) -> str:
    return h.constant(h.rng.integers(-9, 9, (outputs, h.types[x].size)).astype(np.int8))


def test_channels_that_nobody_reads_go() -> None:
    h = Hand()
    x = h.conv("x", 6)
    weights = h.rng.integers(1, 9, (3, 6, 3, 3))
    weights[:, [0, 4]] = 0
    assert _cut(h.program(h.conv(x, 3, 3, weights=weights, padding=1)))[x] == 4


def test_a_channel_whose_sum_is_always_beyond_the_clamp_goes() -> None:
    h = Hand()
    bias = np.zeros(6)
    bias[3], bias[4] = 10_000_000, -10_000_000
    x = h.conv("x", 6, bias=bias, rule=Affine(0.1, ZERO, low=ZERO))
    assert _cut(h.program(h.conv(x, 2)))[x] == 4


def test_both_operands_of_a_sum_keep_a_channel_that_one_of_them_needs() -> None:
    h = Hand()
    first, second = h.conv("x", 6, **_dead(2, 0)), h.conv("x", 6, **_dead(1, 0))
    total = h.op("add", first, second, requantize=RULE)
    third = h.conv("x", 6, **_dead(2, 0))
    both = h.op("add", first, third, requantize=RULE)
    sizes = _cut(h.program(h.conv(total, 2), h.conv(both, 2)))
    assert sizes[first] == 6
    h = Hand()
    first, third = h.conv("x", 6, **_dead(2, 0)), h.conv("x", 6, **_dead(2, 0))
    both = h.op("add", first, third, requantize=RULE)
    sizes = _cut(h.program(h.conv(both, 2)))
    assert (sizes[first], sizes[third], sizes[both]) == (5, 5, 5)


def test_joins_and_slices_keep_track_of_channels() -> None:
    h = Hand()
    first, second = h.conv("x", 6, **_dead(2, 0)), h.conv("x", 6, **_dead(5, 0))
    whole = h.op("concat", first, second)
    part = h.op("slice", whole, start=1, stop=9)
    sizes = _cut(h.program(h.conv(part, 3), h.conv(whole, 3)))
    assert (sizes[first], sizes[second], sizes[whole], sizes[part]) == (5, 5, 10, 7)


@pytest.mark.parametrize(("multiple", "left"), [(1, 3), (2, 4), (4, 4), (5, 5), (8, 6)])
def test_dead_channels_fill_up_a_multiple(multiple: int, left: int) -> None:
    h = Hand()
    weights = WEIGHTS.copy()
    weights[[0, 2, 3]] = 0
    x = h.conv("x", 6, weights=weights, bias=np.zeros(6))
    program = h.program(h.conv(x, 2))
    result = DeadChannels(multiple).run(program)
    assert_same(program, result)
    assert result.types[x].shape[0] == left
    assert DeadChannels(multiple).run(result) is result


def test_outputs_keep_their_channels() -> None:
    h = Hand()
    x = h.conv("x", 6, **_dead(2, 0))
    assert _cut(h.program(x))[x] == 6


def test_a_network_that_ignores_its_input_becomes_a_constant() -> None:
    h = Hand()
    x = h.conv("x", 3, weights=np.zeros((3, 4, 1, 1)))
    out = h.conv(x, 2, 3, padding=1)
    result = DeadChannels().run(h.program(out))
    assert_same(h.program(out), result)
    assert [op.kind for op in result.ops] == ["constant"]


def test_float_networks_are_left_alone() -> None:
    """Their sums would be added in another order."""
    h = Hand(REAL)
    program = h.program(h.real_conv(h.real_conv("x", 3), 2))
    assert DeadChannels().run(program) is program


def test_grouped_convolutions_keep_their_channels() -> None:
    h = Hand()
    x = h.conv("x", 4, weights=np.zeros((4, 4, 1, 1)) + np.array([0, 1, 1, 1])[:, None, None, None])
    out = h.conv(x, 6, groups=2)
    assert _cut(h.program(out))[x] == 4
    assert INT8.shape[0] == 4


MODELS = ("vww_96_int8", "kws_ref_model", "pretrainedResnet_quant", "ad01_int8", "hello_world_int8")


@pytest.mark.parametrize("name", MODELS)
def test_a_public_network_answers_as_before(name: str, cases_dir: Path) -> None:
    """Against TensorFlow Lite Micro's answers, not only against our own before."""
    program = tflite.read(cases_dir / "models" / f"{name}.tflite")
    known = np.load(cases_dir / "models" / f"{name}.tflite.tflm.npz")
    better, changes = optimise(program)
    inputs = known["inputs"].reshape(-1, *program.input_type.shape)
    (found,) = run(better, inputs).values()
    np.testing.assert_array_equal(found.reshape(known["outputs"].shape), known["outputs"])
    inside = [op for op in better.ops if op.kind == "transpose"]
    assert all(op.inputs[0] in better.inputs for op in inside)
    assert changes or name == "ad01_int8"


def test_the_visual_wake_words_network_halves(cases_dir: Path) -> None:
    program = tflite.read(cases_dir / "models" / "vww_96_int8.tflite")
    better = DeadChannels().run(optimise(program)[0])
    assert sum(program.macs().values()) == 7_489_664
    assert sum(better.macs().values()) <= 3_730_000


def test_a_rescale_that_wraps_is_not_taken_for_a_constant() -> None:
    """Where a left shift leaves 32 bits, the ends of a range say nothing of its inside."""
    kind = TensorType((4, 5, 3), "int8", 0.05, -3)
    rule = Affine(1e-43, -3)
    op = Maximum(name="m", inputs=("a", "b"), output="y", requantize=rule)
    program = Program("wrap", {"a": kind, "b": kind}, (op,), ("y",))
    random = np.random.default_rng(1)
    given = {n: random.integers(-128, 128, (1, *kind.shape)).astype(np.int8) for n in "ab"}
    (whole,), (less,) = run(program, given).values(), run(optimise(program)[0], given).values()
    np.testing.assert_array_equal(whole, less)
