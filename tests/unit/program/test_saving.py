"""Text and ONNX forms print, parse back, run in ONNX Runtime, and refuse what is broken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgebed.errors import EdgebedError
from edgebed.program.arithmetic import PowerOfTwo
from edgebed.program.contract import Contract, GridDecode, ImageInput
from edgebed.program.from_onnx import load
from edgebed.program.ops import by_kind
from edgebed.program.run import run, trace
from edgebed.program.text import parse, to_text
from edgebed.program.to_onnx import save, to_model
from edgebed.program.types import Constant, Op, Program, TensorType

CONTRACT = Contract(
    input=ImageInput(8, 8, channels="bgr"),
    classes=("a b", 'quo"te'),
    decode=GridDecode(2, 2, 1, ((0.5, 0.25),), size="squared", stretch=2.0),
)


def everything(seed: int, bits: int = 8) -> Program:
    """A program that uses every op of a device, with random weights."""
    rng = np.random.default_rng(seed)

    def constant(*shape: int) -> Constant:
        low, high = -(1 << (bits - 1)), 1 << (bits - 1)
        return Constant(rng.integers(low, high, shape).astype(np.int8), bits, 2.0 ** (1 - bits))

    def op(kind: str, output: str, *inputs: str, **attributes: object) -> Op:
        return by_kind(kind)(name=f"the {output}", inputs=inputs, output=output, **attributes)  # type: ignore[arg-type]

    constants = {
        "w1": constant(4, 12, 3, 3),
        "b1": Constant(rng.integers(-128, 128, 4).astype(np.int32) * 128, 32, 2.0 ** (-6 - bits)),
        "w2": constant(4, 3, 3, 3),
        "w3": constant(5, 3 * 8 * 8),
    }
    shift = PowerOfTwo(bits + 3)
    ops = (
        op("space_to_depth", "folded", "x", block=2),
        op("conv2d", "c", "folded", weight="w1", bias="b1", padding=(1, 1, 1, 1),
           requantize=shift, activation="relu"),
        op("max_pool", "m", "c", kernel=(2, 2), stride=(1, 1)),
        op("avg_pool", "a", "c", kernel=(2, 2), stride=(1, 1), rounding="half_away"),
        op("identity", "i", "m"),
        op("concat", "joined", "m", "i"),
        op("slice", "s", "joined", start=1, stop=5),
        op("conv_transpose2d", "t", "c", weight="w2", padding=(1, 1), output_padding=(1, 1),
           requantize=PowerOfTwo(7), activation="abs"),
        op("dense", "d", "t", weight="w3"),
        op("add", "plus", "s", "s"),
        op("subtract", "minus", "m", "s"),
        op("bit_or", "either", "m", "s"),
        op("bit_xor", "differ", "m", "s"),
        op("reshape", "long", "x", shape=(3, 4, 16)),
        op("crop", "middle", "long", start=1, stop=3),
    )  # fmt: skip
    outputs = ("d", "a", "plus", "minus", "either", "differ", "middle")
    return Program(
        "every op", {"x": TensorType((3, 8, 8))}, ops, outputs, constants, CONTRACT, {"k": "v\n"}
    )


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 4, 8]))
def test_text_prints_and_parses_back(seed: int, bits: int) -> None:
    program = everything(seed, bits)
    assert parse(to_text(program)) == program
    short = to_text(program, values=False)
    assert parse(short, program.constants) == program
    assert to_text(parse(short, program.constants)) == to_text(program)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_onnx_saves_and_loads(tmp_path: Path, bits: int) -> None:
    program = everything(3, bits)
    save(program, tmp_path / "p.onnx")
    assert load(tmp_path / "p.onnx") == program


def test_onnx_runtime_stays_within_one_quantum_per_op() -> None:
    ort = pytest.importorskip("onnxruntime")
    import onnx

    program = everything(5)
    x = np.random.default_rng(0).integers(-128, 128, (2, 3, 8, 8)).astype(np.int8)
    tensors = dict(trace(program, x))
    for op in program.ops:  # one op at a time, fed with the exact integers
        inputs = {name: program.types[name] for name in op.inputs}
        constants = {name: program.constants[name] for name in op.constants}
        part = Program("part", inputs, (op,), (op.output,), constants)
        model = to_model(part)
        onnx.checker.check_model(model, full_check=True)
        session = ort.InferenceSession(model.SerializeToString())
        (got,) = session.run(None, {name: tensors[name] for name in inputs})
        assert np.abs(got.astype(int) - tensors[op.output]).max() <= 1, op.name
    model = to_model(program)
    onnx.checker.check_model(model, full_check=True)
    session = ort.InferenceSession(model.SerializeToString())
    assert [output.name for output in session.get_outputs()] == list(run(program, x))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("= max_pool(", "= max_pol(", r"line \d+: unknown op.*did you mean 'max_pool'"),
        ("kernel=", "kernal=", r"line \d+: max_pool has no attribute 'kernal'"),
        ("format 1", "format 9", "line 1"),
        ("int8[4, 3, 3] scale", "int8[4, 3, 2] scale", "declared as"),
        ("input ", "imput ", r"line \d+: unknown word 'imput'"),
        ("classes", "clases", r"line \d+, contract: unknown field 'clases'.*'classes'"),
    ],
)
def test_broken_text_is_refused_by_line(old: str, new: str, message: str) -> None:
    text = to_text(everything(0))
    assert old in text
    with pytest.raises(EdgebedError, match=message):
        parse(text.replace(old, new, 1))


def test_another_set_of_weights_is_refused() -> None:
    with pytest.raises(EdgebedError, match="other values"):
        parse(to_text(everything(0), values=False), everything(1).constants)


def test_broken_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.onnx"
    with pytest.raises(EdgebedError, match="cannot read"):
        load(path)
    path.write_bytes(b"\xff\xd8 a picture")
    with pytest.raises(EdgebedError, match="not an ONNX file"):
        load(path)
    save(everything(0), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(EdgebedError, match=r"p\.onnx"):
        load(path)
    model = to_model(everything(0))
    del model.metadata_props[:]
    path.write_bytes(model.SerializeToString())
    with pytest.raises(EdgebedError, match="holds no edgebed program"):
        load(path)


def test_shortened_text_names_the_first_scales_and_their_number() -> None:
    scales = tuple(0.001 * n for n in range(1, 65))
    weight = Constant(np.zeros((64, 3), np.int8), 8, scales[0], scales=scales)
    dense = by_kind("dense")(name="d", inputs=("x",), output="y", weight="w")  # type: ignore[call-arg]
    program = Program("wide", {"x": TensorType((3, 1, 1))}, (dense,), ("y",), {"w": weight})
    short = to_text(program, values=False, full=False)
    assert " scales 0.001,0.002,0.003,... (64) sha256" in short
    assert parse(to_text(program)).constants["w"].scales == scales
