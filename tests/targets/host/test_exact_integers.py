"""What is exact in the interpreter is exact in generated code: sums in any order, wide integers."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from test_drawn_programs import check

from edgebed.compile.passes.pipeline import optimise
from edgebed.program.arithmetic import Affine
from edgebed.program.ops import by_kind
from edgebed.program.run import run
from edgebed.program.types import DType, Program, TensorType
from edgebed.targets.host.build import compile_program
from edgebed.targets.host.session import load

ZERO = {"int8": -3, "uint8": 120, "int16": 0}


def program(types: tuple[TensorType, ...], *ops: tuple[str, dict[str, object]]) -> Program:
    inputs = {f"x{i}": kind for i, kind in enumerate(types)}
    made = tuple(
        by_kind(kind)(name=f"y{i}", inputs=tuple(inputs), output=f"y{i}", **given)  # type: ignore[arg-type]
        for i, (kind, given) in enumerate(ops)
    )
    return Program("sums", inputs, made, tuple(op.output for op in made))


@pytest.mark.parametrize("dtype", list(ZERO))
def test_means_and_sums_by_the_rule_float(dtype: DType, tmp_path: Path) -> None:
    kind = TensorType((5, 7, 6), dtype, 0.0123, ZERO[dtype])
    mean, total = Affine(0.0041, 5, "float"), Affine(0.3, -7, "float")
    drawn = program(
        (kind,),
        ("reduce", {"function": "mean", "axes": (1, 2), "requantize": mean}),
        ("reduce", {"function": "mean", "axes": (0,), "keep": False, "requantize": mean}),
        ("reduce", {"function": "sum", "axes": (2,), "requantize": total}),
        ("reduce", {"function": "sum", "axes": (0, 1, 2), "keep": False, "requantize": total}),
        ("reduce", {"function": "l2", "axes": (), "requantize": total}),
    )
    check(drawn, tmp_path)


@pytest.mark.parametrize("first", ["int8", "int16"])
def test_operands_of_8_and_16_bits(first: DType, tmp_path: Path) -> None:
    second: DType = "int16" if first == "int8" else "int8"
    scales = {"int8": 0.02, "int16": 0.02 / 200}
    types = tuple(TensorType((3, 9), one, scales[one], 0) for one in (first, second))
    rule = Affine(0.03, 4)
    kinds = ("add", "subtract", "multiply", "squared_difference", "maximum")
    check(program(types, *((kind, {"requantize": rule}) for kind in kinds)), tmp_path)


def test_products_of_matrices_are_counted(tmp_path: Path) -> None:
    types = (TensorType((2, 3, 5), "int8", 0.1), TensorType((2, 5, 4), "int8", 0.1))
    drawn = program(types, ("batch_matmul", {"requantize": Affine(0.5)}))
    assert drawn.macs() == {"y0": 2 * 3 * 5 * 4}
    check(drawn, tmp_path)
    by_floats = {"requantize": Affine(0.1, -3, "float", -100, 90), "transpose_b": True}
    square = (TensorType((4, 40, 40), "int8", 0.05, 7),) * 2
    check(program(square, ("batch_matmul", by_floats)), tmp_path / "floats")
    turned = (TensorType((2, 5, 3), "int8", 0.1), TensorType((4, 5), "int8", 0.1))
    given = {"transpose_a": True, "transpose_b": True, "requantize": Affine(0.5)}
    assert program(turned, ("batch_matmul", given)).macs() == {"y0": 2 * 3 * 5 * 4}


def test_a_mean_by_the_rule_float_does_not_depend_on_the_order_of_axes() -> None:
    rng = np.random.default_rng(0)
    x = TensorType((9, 8, 3), "int8", 0.017, 11)
    turned = by_kind("transpose")(name="t", inputs=("x",), output="t", perm=(2, 0, 1))  # type: ignore[call-arg]
    given = {"function": "mean", "axes": (1, 2), "requantize": Affine(0.001, 3, "float")}
    mean = by_kind("reduce")(name="m", inputs=("t",), output="m", keep=False, **given)  # type: ignore[arg-type]
    before = Program("mean", {"x": x}, (turned, mean), ("m",))
    after, _ = optimise(before)
    assert "transpose" not in {op.kind for op in after.ops}
    values = rng.integers(-128, 128, (32, *x.shape)).astype(np.int8)
    np.testing.assert_array_equal(run(before, values)["m"], run(after, values)["m"])


def test_reals_beyond_an_integer_type_take_its_nearest_bound(tmp_path: Path) -> None:
    kinds = ("int8", "uint8", "int16", "int32", "int64", "bool")
    x = TensorType((10,), "float32", 1.0)
    square = by_kind("multiply")(name="s", inputs=("x", "x"), output="s")  # type: ignore[call-arg]
    cube = by_kind("multiply")(name="c", inputs=("s", "x"), output="c")  # type: ignore[call-arg]
    casts = [by_kind("cast")(name=k, inputs=("c",), output=k, dtype=k) for k in kinds]  # type: ignore[call-arg]
    drawn = Program("casts", {"x": x}, (square, cube, *casts), kinds)
    values = np.array([[1e30, -1e30, 2**21, -(2**21), 1e6, -1e6, 0.5, -1.5, 5.05, -5.04]], "f4")
    compile_program(drawn, tmp_path, passes=False)
    with load(tmp_path) as session:
        for found, wanted in zip(session.run(values), run(drawn, values).values(), strict=True):
            np.testing.assert_array_equal(found.reshape(-1), wanted.reshape(-1))


@pytest.mark.parametrize("first", ["int8", "uint8"])
def test_zero_points_added_before_rounding(first: Literal["int8", "uint8"], tmp_path: Path) -> None:
    """Scales in simple ratios, so that many results lie in the middle of two integers."""
    types = tuple(TensorType((5, 6, 6), "int8", scale, 3) for scale in (0.125, 0.25))
    rule = Affine(0.5, 5, "float", -100, 120, zero_first=first)
    drawn = program(types, ("add", {"requantize": rule}), ("multiply", {"requantize": rule}))
    swapped = by_kind("transpose")(name="s", inputs=("x1",), output="s", perm=(0, 2, 1))  # type: ignore[call-arg]
    more = tuple(
        by_kind(kind)(name=f"{kind}s", inputs=("x0", "s"), output=f"{kind}s", requantize=rule)  # type: ignore[call-arg]
        for kind in ("add", "multiply")
    )
    pools = tuple(
        by_kind("avg_pool")(
            name=f"p{counted}", inputs=("x0",), output=f"p{counted}", kernel=(2, 3), stride=(1, 2),  # type: ignore[call-arg]
            padding=(1, 1, 0, 1), include_padding=counted, requantize=rule,
        )
        for counted in (False, True)
    )  # fmt: skip
    ops = (*drawn.ops, swapped, *more, *pools)
    outputs = tuple(op.output for op in ops if op.output != "s")
    check(Program("early", drawn.inputs, ops, outputs), tmp_path)
