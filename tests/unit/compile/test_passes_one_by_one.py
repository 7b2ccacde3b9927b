"""What each pass finds, on the smallest program that shows it."""

from __future__ import annotations

import numpy as np
import pytest
from affine_programs import assert_same
from hand_made import INT8, REAL, ZERO, Hand, kinds

from edgebed.compile.passes.fold_affine import FoldAffine
from edgebed.compile.passes.fold_constants import FoldConstants
from edgebed.compile.passes.fuse_activation import FuseActivation
from edgebed.compile.passes.fuse_pad import FusePad
from edgebed.compile.passes.remove_transposes import RemoveTransposes
from edgebed.compile.passes.schedule import Schedule, peak_live_bytes
from edgebed.compile.passes.simplify import Simplify
from edgebed.program.arithmetic import Affine
from edgebed.program.types import Program, TensorType

IN, OUT = (2, 0, 1), (1, 2, 0)
ROWS_FIRST = TensorType((6, 5, 4), "int8", 0.1, ZERO)
RULE = Affine(0.1, ZERO)


def after(one: object, program: Program) -> Program:
    """The program after a pass, which computes the same."""
    result: Program = one.run(program)  # type: ignore[attr-defined]
    assert_same(program, result)
    return result


def test_ops_on_constants_are_computed_once() -> None:
    h = Hand()
    c = h.op("constant", value=h.constant(np.arange(4, dtype=np.int8), scale=0.1, zero_point=ZERO))
    c = h.op("reshape", c, shape=(4, 1, 1))
    c = h.op("requantize", c, requantize=Affine(0.05))
    out = h.op("multiply", "x", c, requantize=RULE)
    assert kinds(after(FoldConstants(), h.program(out))) == ["constant", "multiply"]


def test_what_is_there_twice_is_kept_once() -> None:
    h = Hand()
    weights = np.ones((3, 4, 1, 1))
    first, second = (h.conv("x", 3, weights=weights, bias=np.zeros(3)) for _ in range(2))
    out = h.op("add", first, second, requantize=RULE)
    better = after(FoldConstants(), h.program(out))
    assert kinds(better) == ["conv2d", "add"]
    assert len(better.constants) == 3


def test_identities_go_and_outputs_keep_their_names() -> None:
    h = Hand()
    x = h.op("reshape", h.op("identity", h.conv("x", 2)), shape=(2, 6, 5))
    h.op("identity", x, name="file_name")
    better = after(FoldConstants(), h.program("file_name"))
    assert kinds(better) == ["conv2d"]
    assert better.outputs == ("file_name",)


def test_an_output_that_is_an_input_stays_an_identity() -> None:
    h = Hand()
    h.op("reshape", "x", shape=INT8.shape, name="out")
    assert kinds(after(FoldConstants(), h.program("out"))) == ["identity"]


@pytest.mark.parametrize("padding", [0, 1])
def test_batch_normalisation_becomes_weights(padding: int) -> None:
    h = Hand(REAL)
    x = h.real_conv("x", 3, 3, padding=(padding,) * 4)
    x = h.op("subtract", x, h.real_vector(3))
    x = h.op("multiply", x, h.real_vector(3))
    x = h.op("divide", x, h.real_vector(3))
    x = h.op("add", x, h.real_vector(3))
    assert kinds(after(FoldAffine(), h.program(h.op("unary", x, function="tanh")))) == [
        "conv2d",
        "unary",
    ]


def test_an_offset_before_a_padded_convolution_stays() -> None:
    """The border is padded with 0, not with the offset."""
    for padding, left in ((0, ["conv2d"]), (1, ["add", "conv2d"])):
        h = Hand(REAL)
        x = h.op("add", "x", h.real_vector(4))
        out = h.real_conv(x, 2, 3, padding=(padding,) * 4)
        better = after(FoldAffine(), h.program(out))
        assert [kind for kind in kinds(better) if kind != "constant"] == left


def test_relu_becomes_the_layers_activation() -> None:
    h = Hand(REAL)
    better = after(FuseActivation(), h.program(h.op("unary", h.real_conv("x", 2), function="relu")))
    assert kinds(better) == ["conv2d"]


def test_a_result_that_others_read_is_not_clamped() -> None:
    h = Hand(REAL)
    x = h.real_conv("x", 2)
    better = after(FuseActivation(), h.program(h.op("unary", x, function="relu"), x))
    assert kinds(better) == ["conv2d", "unary"]


def test_a_clamp_narrows_the_rule_before_it() -> None:
    h = Hand()
    x = h.conv("x", 3)
    better = after(
        FuseActivation(), h.program(h.op("requantize", x, requantize=Affine(0.1, ZERO, low=ZERO)))
    )
    assert kinds(better) == ["conv2d"]
    assert better.ops[0].requantize.low == ZERO  # type: ignore[attr-defined]


def test_a_table_that_only_clamps_narrows_the_rule_before_it() -> None:
    h = Hand()
    table = h.constant(np.clip(np.arange(-128, 128), ZERO, 60).astype(np.int8))
    x = h.op("lookup", h.conv("x", 3), table=table, scale=0.1, zero_point=ZERO)
    assert kinds(after(FuseActivation(), h.program(x))) == ["conv2d"]


def test_tables_in_a_row_become_one_also_by_channel() -> None:
    h = Hand()
    drawn = h.rng.integers(-128, 128, (4, 256)).astype(np.int8)
    x = h.op("lookup", "x", table=h.constant(drawn), axis=0, scale=0.2)
    x = h.op("requantize", x, requantize=Affine(0.07, 5))
    x = h.op("dequantize", x)
    x = h.op("unary", x, function="sigmoid")
    x = h.op("quantize", x, scale=1 / 256, zero_point=-128)
    better = after(FuseActivation(), h.program(x))
    assert kinds(better) == ["lookup"]


def test_padding_with_the_zero_point_becomes_the_convolutions() -> None:
    for value, left in ((None, ["conv2d"]), (ZERO, ["conv2d"]), (0, ["pad", "conv2d"])):
        h = Hand()
        x = h.op("pad", "x", before=(0, 1, 0), after=(0, 0, 2), value=value)
        assert kinds(after(FusePad(), h.program(h.conv(x, 2, 3, padding=1)))) == left


def test_padding_becomes_the_average_pools() -> None:
    h = Hand()
    x = h.op("pad", "x", before=(0, 1, 1), after=(0, 1, 1))
    x = h.op("avg_pool", x, kernel=(3, 3), stride=(2, 2), rounding="half_away")
    better = after(FusePad(), h.program(x))
    assert kinds(better) == ["avg_pool"]


@pytest.mark.parametrize(("low", "left"), [(ZERO, ["conv2d", "max_pool"]), (-128, None)])
def test_padding_becomes_the_max_pools_where_it_cannot_win(low: int, left: object) -> None:
    h = Hand()
    x = h.conv("x", 3, rule=Affine(0.1, ZERO, low=low))
    x = h.op("pad", x, before=(0, 1, 1), after=(0, 1, 1))
    x = h.op("max_pool", x, kernel=(3, 3), stride=(2, 2))
    assert kinds(after(FusePad(), h.program(x))) == (left or ["conv2d", "pad", "max_pool"])


def test_paddings_in_a_row_become_one() -> None:
    h = Hand()
    x = h.op("pad", "x", before=(0, 1, 0), after=(1, 0, 0), value=7)
    x = h.op("pad", x, before=(2, 0, 3), after=(0, 0, 1), value=7)
    assert kinds(after(FusePad(), h.program(x))) == ["pad"]


def _residual(h: Hand) -> str:
    x = h.op("transpose", "x", perm=IN)
    first = h.op("transpose", h.conv(x, 4), perm=OUT)
    second = h.conv(h.op("transpose", first, perm=IN), 4, 3, padding=1)
    total = h.op("add", first, h.op("transpose", second, perm=OUT), requantize=RULE)
    vector = h.op("constant", value=h.constant(np.arange(4, dtype=np.int8), scale=0.1))
    total = h.op("multiply", total, vector, requantize=RULE)
    mean = h.op("reduce", total, function="mean", axes=(0, 1), keep=True, requantize=RULE)
    gated = h.op("multiply", total, mean, requantize=RULE)
    return h.op("pad", gated, before=(1, 1, 0), after=(1, 1, 0))


def test_an_imported_network_keeps_the_transpose_of_its_input_only() -> None:
    h = Hand(ROWS_FIRST)
    x = h.conv(h.op("transpose", _residual(h), perm=IN), 3, 3)
    x = h.op("reshape", h.op("transpose", x, perm=OUT), shape=(h.types[x].size,))
    table = h.constant(h.rng.integers(-128, 128, 256).astype(np.int8))
    x = h.op("lookup", x, table=table, scale=0.1, zero_point=ZERO)
    weights = h.rng.integers(-127, 128, (5, h.types[x].size)).astype(np.int8)
    factors = h.constant(np.array([[1 << 30], [-8]], dtype=np.int32))
    weight = h.constant(weights, scale=0.02)
    x = h.op("dense", x, weight=weight, multiplier=factors, requantize=RULE, last_axis=True)
    better = after(RemoveTransposes(), h.program(x))
    assert kinds(better).count("transpose") == 1
    assert better.ops[0].inputs == ("x",)
    assert "reshape" not in kinds(better)[:-1]


def test_a_padding_of_the_input_ends_up_before_the_convolution() -> None:
    h = Hand(ROWS_FIRST)
    x = h.op("pad", "x", before=(1, 1, 0), after=(0, 0, 0))
    x = h.conv(h.op("transpose", x, perm=IN), 2, 3)
    better = FusePad().run(after(RemoveTransposes(), h.program(x)))
    assert kinds(better) == ["transpose", "conv2d"]


def test_a_channel_shuffle_becomes_two_slices() -> None:
    h = Hand(TensorType((6, 4, 5), "int8", 0.1, ZERO))
    x = h.op("reshape", "x", shape=(3, 2, 20))
    x = h.op("transpose", x, perm=(1, 0, 2))
    x = h.op("reshape", x, shape=(6, 4, 5))
    first, second = (h.op("slice", x, start=i, stop=i + 3) for i in (0, 3))
    better = after(RemoveTransposes(), h.program(first, second))
    assert kinds(better) == ["strided_slice", "strided_slice"]


def test_a_transpose_of_single_values_is_a_reshape() -> None:
    h = Hand(TensorType((1, 7, 1), "int8", 0.1))
    better = after(RemoveTransposes(), h.program(h.op("transpose", "x", perm=(1, 0, 2))))
    assert kinds(better) == ["reshape"]


def test_parts_of_joins_and_joins_of_parts() -> None:
    h = Hand()
    first, second = h.conv("x", 2), h.conv("x", 3)
    whole = h.op("concat", first, second)
    part = h.op("slice", whole, start=2, stop=5)
    halves = [h.op("slice", "x", start=0, stop=2), h.op("slice", "x", start=2, stop=4)]
    again = h.op("concat", *halves)
    out = h.op("add", again, h.conv(part, 4), requantize=RULE)
    better = after(Simplify(), h.program(out))
    assert kinds(better) == ["conv2d", "conv2d", "add"]


def test_a_convolution_with_one_window_is_a_fully_connected_layer() -> None:
    h = Hand(TensorType((4, 3, 3), "int8", 0.1, ZERO))
    assert kinds(after(Simplify(), h.program(h.conv(h.conv("x", 5, 3), 2)))) == ["dense", "dense"]


@pytest.mark.parametrize("size", [1, 3, 4, 7])
def test_a_mean_becomes_a_pool_only_where_every_sum_agrees(size: int) -> None:
    h = Hand(TensorType((4, size, size), "int8", 0.1, 0))
    rule = Affine(0.1, 0)
    mean = h.op("reduce", "x", function="mean", axes=(1, 2), requantize=rule)
    after(Simplify(), h.program(mean))


def _two_branches(h: Hand) -> Program:
    """Two large maps that could both be small before the second is computed."""
    large = [h.conv("x", 40) for _ in range(3)]
    small = [h.conv(one, 1) for one in large]
    return h.program(h.op("concat", *small))


def test_branches_run_one_after_the_other() -> None:
    h = Hand()
    wide = _two_branches(h)
    better = after(Schedule(), wide)
    assert peak_live_bytes(wide) == 4 * 30 + 3 * 40 * 30
    assert peak_live_bytes(better) == 4 * 30 + 2 * 30 + 40 * 30
    assert sorted(op.name for op in better.ops) == sorted(op.name for op in wide.ops)


def test_a_narrow_search_is_never_worse_than_the_order_it_was_given() -> None:
    wide = _two_branches(Hand())
    assert peak_live_bytes(after(Schedule(width=1), wide)) <= peak_live_bytes(wide)
