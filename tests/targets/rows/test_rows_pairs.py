"""Rules of two bytes equal the interpreter on all 65,536 pairs, in Python and in C."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from row_programs import TWO, byte, check_on, one_op
from row_programs import check as check_program

from edgebed.program.arithmetic import Affine
from edgebed.program.ops.add import Add
from edgebed.program.ops.constant import Constant as ConstantOp
from edgebed.program.ops.maximum import Maximum
from edgebed.program.ops.minimum import Minimum
from edgebed.program.ops.multiply import Multiply
from edgebed.program.ops.squared_difference import SquaredDifference
from edgebed.program.ops.subtract import Subtract
from edgebed.program.types import Constant, Program, TensorType
from edgebed.targets._shared.rows import pairs

ROUNDINGS = ("fixed_point", "fixed_point_single", "float")
scales = st.floats(-8, 0).map(lambda power: float(np.float32(2.0**power)))
zeros = st.integers(-128, 127)


@st.composite
def rules(draw, product: bool):
    """Draw two operands' types and a rule whose result is no constant."""
    kinds = tuple(TensorType((256,), "int8", draw(scales), draw(zeros)) for _ in range(2))
    if draw(st.booleans()):
        kinds = (kinds[0], kinds[1].__class__((256,), "int8", kinds[0].scale, kinds[1].zero_point))
    base = kinds[0].scale * kinds[1].scale * 64 if product else max(k.scale for k in kinds)
    scale = float(np.float32(base * 2.0 ** draw(st.floats(-1, 2))))
    rounding = draw(st.sampled_from((*ROUNDINGS, "early")))
    zero = draw(zeros)
    low = draw(st.sampled_from([-128, zero]))
    if rounding != "early":
        return kinds, Affine(scale, zero, rounding, low)
    file = draw(st.sampled_from(["int8", "uint8"]))
    return kinds, Affine(scale, zero, "float", low, zero_first=file)


def levels(op, kinds, rule) -> pairs.Levels:
    out = TensorType((256,), rule.dtype, rule.scale, rule.zero_point)
    return pairs.levels_of(op(**TWO, requantize=rule), kinds, {}, out)


@given(rules(product=False))
def test_sums_of_all_pairs(drawn):
    kinds, rule = drawn
    found = levels(Add, kinds, rule)
    pair = pairs.sum_pair(found, 1, kinds)
    assert np.array_equal(pairs.computed(pair), found.out)
    assert pair.form != "table"


@given(rules(product=False))
def test_differences_of_all_pairs(drawn):
    kinds, rule = drawn
    if rule.zero_first:
        return
    found = levels(Subtract, kinds, rule)
    assert np.array_equal(pairs.computed(pairs.sum_pair(found, -1, kinds)), found.out)


def all_pairs(op, kinds, rule) -> Program:
    """Return a program that computes the op on every pair of bytes."""
    shapes = (1, 256), (256, 1)
    b, a = (kind.with_shape(shape) for kind, shape in zip(kinds, shapes, strict=True))
    return one_op(op(**TWO, requantize=rule), [a, b])


@settings(max_examples=6)
@given(rules(product=True), st.sampled_from([Multiply, Maximum, Minimum]))
def test_products_and_extremes_in_c(drawn, op):
    kinds, rule = drawn
    if op is not Multiply and rule.zero_first:
        return
    check_program(all_pairs(op, kinds, rule), samples=3)


@settings(max_examples=6)
@given(rules(product=False))
def test_sums_in_c(drawn):
    check_program(all_pairs(Add, *drawn), samples=3)


def test_squared_differences():
    kinds = byte((256,)), byte((256,), 0.03, -8)
    check_program(all_pairs(SquaredDifference, kinds, Affine(0.2, -128)))


@pytest.mark.parametrize(
    "shapes",
    [
        ((8, 5, 6), (8, 5, 6)), ((8, 5, 6), (8, 1, 1)), ((1, 5, 6), (8, 1, 6)),
        ((4, 5, 6), (6,)), ((7,), (6, 7)), ((2, 1, 7, 3), (6, 7, 1)), ((5,), ()),
    ],
)  # fmt: skip
@pytest.mark.parametrize("op", [Add, Multiply])
def test_broadcasting(op, shapes):
    first, second = byte(shapes[0]), byte(shapes[1], 0.02, -7)
    check_program(one_op(op(**TWO, requantize=Affine(0.06, 5)), [first, second]))


@pytest.mark.parametrize("shape", [(), (8, 1, 1), (8, 5, 6), (5, 6)])
def test_a_constant_operand(shape):
    values = np.random.default_rng(0).integers(-128, 128, shape).astype(np.int8)
    held = Constant(values, 8, 0.1, 4)
    ops = (
        ConstantOp(name="c", inputs=(), output="b", value="k"),
        Add(**TWO, requantize=Affine(0.1, 1)),
    )
    program = Program("one", {"a": byte((8, 5, 6))}, ops, ("o",), {"k": held})
    project = check_program(program)
    assert "b" not in project.network.tensors  # it lies in the code, not in the arena


def test_unsigned_operands():
    kinds = [byte((6, 4, 5), 0.1, zero, "uint8") for zero in (100, 7)]
    rule = Affine(0.11, 128, low=0, high=255, dtype="uint8")
    check_program(one_op(Add(**TWO, requantize=rule), kinds))


@pytest.mark.parametrize("core", ["m0plus", "m4"])
def test_a_residual_sum_on_a_core(core):
    """The scales of a residual network's sum; most of its pairs are inside the limits."""
    kinds = [byte((16, 32, 16), 0.0394, -12), byte((16, 32, 16), 0.1042, 5)]
    ran = check_on(core, one_op(Add(**TWO, requantize=Affine(0.0509, -128)), kinds))
    if core == "m4":
        assert dict(ran.functions or {})["eb_sum"] < 8 * 32 * 16 * 16
