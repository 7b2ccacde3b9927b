"""Every op of an imported network prints, saves, loads, and means the same in ONNX Runtime."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgebed.program.arithmetic import Affine, multiplier_table
from edgebed.program.from_onnx import load
from edgebed.program.ops import KINDS, by_kind
from edgebed.program.run import run
from edgebed.program.text import parse, to_text
from edgebed.program.to_onnx import save, to_model
from edgebed.program.types import Constant, Program, TensorType

REAL = TensorType((4, 6, 6), "float32", 1.0)
BYTE = TensorType((4, 6, 6), "int8", 0.05, 7)
RULE = Affine(0.1, -3, "float", -100, 90)
FIXED = Affine(0.1, -3)
RNG = np.random.default_rng(4)


@dataclass(frozen=True)
class Case:
    """One op, the types of its inputs, and its constants."""

    kind: str
    types: tuple[TensorType, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    constants: dict[str, Constant] = field(default_factory=dict)

    def program(self) -> Program:
        names = tuple(f"x{number}" for number in range(len(self.types)))
        op = by_kind(self.kind)(name="the op", inputs=names, output="y", **self.attributes)  # type: ignore[arg-type]
        inputs = dict(zip(names, self.types, strict=True)) or {"x": REAL}
        return Program("one op", inputs, (op,), ("y",), self.constants)


def weights(*shape: int, zero: int = 0) -> Constant:
    scales = tuple(0.01 * (1 + n) for n in range(shape[0]))
    values = RNG.integers(-127, 128, shape).astype(np.int8)
    return Constant(values, 8, 0.01, zero, () if zero else scales)


def reals(*shape: int) -> Constant:
    return Constant(RNG.normal(size=shape).astype(np.float32), 32)


def factors(count: int, scale: float, rule: Affine) -> Constant:
    real = [scale * 0.01 * (1 + n) / rule.scale for n in range(count)]
    if rule.rounding == "float":
        return Constant(np.array(real, np.float32), 32)
    return Constant(multiplier_table(real), 32)


def weighted(kind: str, rule: Affine, shape: tuple[int, ...], **attributes: Any) -> Case:
    out = shape[1] if kind == "conv_transpose2d" else shape[0]
    w = weights(*shape) if kind != "conv_transpose2d" else Constant(
        weights(*shape).values.copy(), 8, 0.01, 0, tuple(0.01 * (1 + n) for n in range(out))
    )  # fmt: skip
    bias = RNG.integers(-500, 500, out).astype(np.int32)
    scales = tuple(0.05 * one for one in w.scales)
    constants = {"w": w, "b": Constant(bias, 32, 0.05 * 0.01, 0, scales)}
    constants["m"] = factors(out, BYTE.scale, rule)
    named = {"weight": "w", "bias": "b", "multiplier": "m", "requantize": rule}
    return Case(kind, (BYTE,), {**named, **attributes}, constants)


def unscaled(case: Case) -> Case:
    """The bias without a scale, as a .tflite file's: its unit is the accumulator's."""
    plain = Constant(case.constants["b"].values, 32)
    return replace(case, constants={**case.constants, "b": plain})


TABLE = Constant(RNG.integers(-128, 128, 256).astype(np.int8), 8)
TABLES = Constant(RNG.integers(-128, 128, (4, 256)).astype(np.int8), 8)
SAME = {"padding": (1, 0, 1, 2)}
CASES = [
    weighted("conv2d", RULE, (5, 4, 3, 3), **SAME),
    weighted("conv2d", FIXED, (5, 4, 3, 3), stride=(2, 1)),
    weighted("conv2d", FIXED, (8, 1, 3, 3), groups=4),
    Case("conv2d", (REAL,), {"weight": "w", "bias": "b", "activation": "relu"},
         {"w": reals(3, 4, 3, 3), "b": reals(3)}),
    weighted("conv_transpose2d", RULE, (4, 3, 3, 3)),
    weighted("dense", FIXED, (5, 6), last_axis=True),
    weighted("dense", RULE, (5, 144)),
    unscaled(weighted("conv2d", FIXED, (5, 4, 3, 3))),
    unscaled(weighted("dense", FIXED, (5, 144))),
    Case("dense", (REAL,), {"weight": "w", "last_axis": True}, {"w": reals(3, 6)}),
    Case("max_pool", (BYTE,), {"kernel": (3, 3), "stride": (2, 2), "padding": (1, 1, 0, 1)}),
    Case("avg_pool", (BYTE,), {"kernel": (3, 3), "stride": (2, 2), "padding": (1, 1, 0, 1),
                               "rounding": "half_away"}),
    Case("avg_pool", (BYTE,), {"kernel": (3, 3), "stride": (1, 1), "requantize": RULE}),
    Case("avg_pool", (REAL,), {"kernel": (3, 3), "stride": (1, 1), "padding": (1, 1, 1, 1),
                               "include_padding": True}),
    *(Case(kind, (BYTE, TensorType((4, 1, 6), "int8", 0.02, -9)), {"requantize": rule})
      for kind in ("add", "subtract", "multiply", "maximum", "minimum", "squared_difference")
      for rule in (RULE, FIXED)),
    *(Case(kind, (REAL, TensorType((6,), "float32", 1.0)))
      for kind in ("add", "subtract", "multiply", "divide", "maximum", "minimum",
                   "squared_difference")),
    Case("concat", (BYTE, BYTE), {"axis": 2}),
    Case("reshape", (BYTE,), {"shape": (24, 6)}),
    Case("transpose", (BYTE,), {"perm": (1, 2, 0)}),
    Case("pad", (BYTE,), {"before": (0, 1, 2), "after": (1, 0, 0)}),
    Case("pad", (REAL,), {"before": (0, 1, 2), "after": (1, 0, 0), "mode": "reflect"}),
    Case("constant", (), {"value": "v"}, {"v": reals(3, 4)}),
    Case("strided_slice", (BYTE,), {"begin": (0, 1, 5), "end": (4, 5, None), "step": (2, 1, -2)}),
    Case("depth_to_space", (BYTE,), {"block": 2, "order": "crd"}),
    Case("gather", (BYTE,), {"axis": 1, "indices": "i"},
         {"i": Constant(np.array([5, 0, 3], np.int64), 64)}),
    Case("lookup", (BYTE,), {"table": "t", "scale": 0.1}, {"t": TABLE}),
    Case("lookup", (BYTE,), {"table": "t", "scale": 0.1, "axis": 0}, {"t": TABLES}),
    *(Case("unary", (REAL,), {"function": name, "alpha": 0.2, "beta": 0.5, "low": -1.0})
      for name in ("relu", "relu6", "leaky_relu", "sigmoid", "tanh", "hard_swish", "hard_sigmoid",
                   "exp", "abs", "elu", "silu", "clip", "erf", "softplus", "square", "rsqrt")),
    Case("unary", (REAL,), {"function": "gelu_tanh"}),
    Case("prelu", (REAL,), {"slope": "s"}, {"s": reals(4, 1, 1)}),
    Case("softmax", (REAL,), {"axis": 0, "beta": 2.0}),
    Case("softmax", (BYTE,), {"axis": 2, "requantize": Affine(1 / 256, -128, "float")}),
    *(Case("reduce", (REAL,), {"function": name, "axes": (1, 2), "keep": False})
      for name in ("mean", "sum", "max", "min", "l2")),
    *(Case("reduce", (BYTE,), {"function": "mean", "axes": (1, 2), "requantize": rule})
      for rule in (RULE, FIXED)),
    Case("reduce", (BYTE,), {"function": "sum", "axes": (0, 2),
                             "requantize": Affine(1.5, 0, "float")}),
    Case("resize", (REAL,), {"mode": "bilinear", "size": (9, 12)}),
    Case("resize", (REAL,), {"mode": "nearest", "size": (12, 12), "coordinates": "asymmetric",
                             "nearest": "floor"}),
    Case("requantize", (BYTE,), {"requantize": FIXED}),
    Case("requantize", (BYTE,), {"requantize": Affine(0.05, 135, dtype="uint8", low=0, high=255)}),
    Case("quantize", (REAL,), {"scale": 0.03, "zero_point": 5, "rounding": "half_even"}),
    Case("dequantize", (BYTE,)),
    Case("dequantize", (TensorType((5,), "int16", 0.001),)),
    Case("cast", (REAL,), {"dtype": "int32"}),
    Case("argmax", (REAL,), {"axis": 1, "dtype": "int64"}),
    Case("batch_matmul", (REAL, REAL), {"transpose_b": True}),
    Case("batch_matmul", (BYTE, BYTE), {"requantize": RULE}),
    Case("batch_matmul", (REAL, TensorType((5, 6), "float32", 1.0)), {"transpose_b": True}),
    Case("identity", (BYTE,)),
    Case("power", (TensorType((3,), "float32", 1.0),) * 2),
    Case("l2_normalize", (REAL,), {"axis": 2}),
]  # fmt: skip
ELSEWHERE = {"bit_or", "bit_xor", "crop", "slice", "space_to_depth", "detection_post_process"}
NAMES = [f"{case.kind}-{number}" for number, case in enumerate(CASES)]


def test_every_op_is_tried() -> None:
    assert {case.kind for case in CASES} | ELSEWHERE == set(KINDS)


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_an_op_survives_text_and_file(case: Case, tmp_path: Path) -> None:
    program = case.program()
    assert parse(to_text(program)) == program
    save(program, tmp_path / "p.onnx")
    assert load(tmp_path / "p.onnx") == program


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_onnx_runtime_agrees_within_a_quantum(case: Case) -> None:
    ort = pytest.importorskip("onnxruntime")
    import onnx

    program = case.program()
    model = to_model(program)
    if model.graph.node[0].domain:
        pytest.skip("ONNX has no such op")
    onnx.checker.check_model(model, full_check=True)
    inputs = {name: _values(kind, case.kind) for name, kind in program.inputs.items()}
    session = ort.InferenceSession(model.SerializeToString())
    used = {one.name for one in session.get_inputs()}
    (got,) = session.run(None, {name: x for name, x in inputs.items() if name in used})
    expected = run(program, inputs)["y"]
    assert got.dtype == expected.dtype
    if program.types["y"].is_float:
        np.testing.assert_allclose(got[: len(expected)], expected[: len(got)], 1e-5, 1e-5)
    else:
        assert np.abs(got.astype(int) - expected).max() <= 1


def test_the_shape_in_the_file_is_kept(tmp_path: Path) -> None:
    program = Case("identity", (BYTE,)).program().with_(file_shapes={"y": (4, 6, 6)})
    save(program, tmp_path / "p.onnx")
    assert load(tmp_path / "p.onnx").file_shape("y") == (4, 6, 6)
    assert program.file_shape("x0") == (1, 4, 6, 6)


def _values(kind: TensorType, op: str) -> np.ndarray[Any, Any]:
    shape = (2, *kind.shape)
    if kind.is_float:
        drawn = RNG.normal(size=shape).astype(np.float32)
        return np.abs(drawn) + np.float32(0.1) if op in ("unary", "power") else drawn
    limits = np.iinfo(kind.dtype)
    return RNG.integers(limits.min, limits.max + 1, shape).astype(kind.dtype)


@given(st.text(max_size=8), st.text(max_size=8))
def test_any_name_survives_text(name: str, other: str) -> None:
    x, y = f"{name}x", f"{other}y"
    op = by_kind("identity")(name=name, inputs=(x,), output=y)
    program = Program(other, {x: BYTE}, (op,), (y,), notes={name: other}, file_shapes={y: (144,)})
    assert parse(to_text(program)) == program


@given(st.floats(allow_nan=False, width=32), st.floats(allow_nan=False, width=32))
def test_any_number_survives_text(low: float, high: float) -> None:
    for value in (low, np.float32(low), np.float64(low)):
        given = {"function": "clip", "low": value, "high": high}
        program = Case("unary", (REAL,), given).program()
        assert parse(to_text(program)) == program
    scale = np.float32(abs(high) if 0 < abs(high) < np.inf else 1)
    program = Case("identity", (TensorType((3,), "int8", scale, -5),)).program()  # type: ignore[arg-type]
    assert parse(to_text(program)) == program


def test_a_constant_without_axes_keeps_its_shape(tmp_path: Path) -> None:
    one = Case("gather", (REAL,), {"indices": "i", "axis": 0}, {"i": Constant(np.array(2), 64)})
    save(one.program(), tmp_path / "one.onnx")
    assert load(tmp_path / "one.onnx") == one.program()
