"""How far apart two answers are, in counts, quanta and real units; and whose fault it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgebed.observe.compare import (
    difference,
    op_by_op,
    own_runtime,
    random_inputs,
    step,
)
from edgebed.program import to_onnx
from edgebed.program.ops.add import Add
from edgebed.program.ops.dequantize import Dequantize
from edgebed.program.ops.identity import Identity
from edgebed.program.ops.reshape import Reshape
from edgebed.program.run import trace
from edgebed.program.types import Program, TensorType


def _chain() -> Program:
    ops = (
        Add(name="first", inputs=("x", "x"), output="a"),
        Add(name="second", inputs=("a", "a"), output="b"),
        Dequantize(name="real", inputs=("b",), output="r"),
        Reshape(name="flat", inputs=("r",), output="y", shape=(8,)),
    )
    return Program("chain", {"x": TensorType((2, 4), "int8", 0.5)}, ops, ("y",))


@given(st.integers(1, 200), st.integers(0, 50), st.integers(1, 120))
def test_integers_are_counted_and_measured(size: int, wrong: int, off: int) -> None:
    wrong = min(wrong, size)
    a = np.zeros(size, np.int8)
    b = a.copy()
    b[:wrong] = off
    found = difference("y", a, b, 0.25)
    assert (found.values, found.differing, found.equal) == (size, wrong, wrong == 0)
    assert found.quanta == (off if wrong else 0)
    assert found.largest == 0.25 * found.quanta


def test_extreme_integers_do_not_wrap() -> None:
    found = difference("y", np.array([-128], np.int8), np.array([127], np.int8))
    assert found.quanta == 255


@pytest.mark.parametrize(
    ("answer", "equal"),
    [
        ([100.0, 1.0], True),
        ([100.009, 1.009], True),
        ([100.0, 1.02], False),
        ([np.nan, 1.0], False),
        ([np.inf, 1.0], False),
    ],
)
def test_reals_are_equal_within_a_share_of_the_largest(answer: list[float], equal: bool) -> None:
    reference = np.array([100.0, 1.0], np.float32)
    assert difference("y", reference, np.array(answer, np.float32)).equal is equal


def test_the_same_nan_or_infinity_is_equal() -> None:
    odd = np.array([np.nan, np.inf, -np.inf, 1.0], np.float32)
    assert difference("y", odd, odd.copy()).equal


def test_other_shapes_are_never_equal() -> None:
    assert not difference("y", np.zeros(4, np.int8), np.zeros((2, 2), np.int8)).equal


def test_reals_made_from_integers_know_their_step() -> None:
    program = _chain()
    assert step(program, "y") == program.types["b"].scale
    assert step(program, "x") == 0.5
    real = Program(
        "real",
        {"x": TensorType((2,), "float32", 1.0)},
        (Identity(name="i", inputs=("x",), output="y"),),
        ("y",),
    )
    assert step(real, "y") is None


def test_an_op_is_blamed_for_its_own_difference_only() -> None:
    """The first op's answer is off by one; the second, given that, agrees with the runtime."""
    program = _chain()
    x = np.arange(16, dtype=np.int8).reshape(2, 2, 4)
    theirs = dict(trace(program, x))
    theirs["a"] = theirs["a"] + np.int8(1)
    theirs["b"] = (2 * theirs["a"].astype(np.int16)).clip(-128, 127).astype(np.int8)
    (found,) = op_by_op(program, {"x": x}, {n: theirs[n] for n in ("a", "b")})
    assert (found.layer, found.difference.quanta, found.difference.differing) == ("first", 1, 16)


def test_unsigned_bytes_of_a_runtime_are_compared_as_signed_ones() -> None:
    program = _chain()
    x = np.arange(8, dtype=np.int8).reshape(1, 2, 4)
    unsigned = (dict(trace(program, x))["a"].astype(np.int16) + 128).astype(np.uint8)
    assert op_by_op(program, {"x": x}, {"a": unsigned.reshape(1, 1, 2, 4)}) == []


def test_random_inputs_cover_the_type_and_repeat() -> None:
    kinds = {
        "a": TensorType((500,), "int8"),
        "b": TensorType((500,), "uint8"),
        "c": TensorType((500,), "bool", 1.0),
        "d": TensorType((500,), "float32", 1.0),
    }
    ops = tuple(Identity(name=f"i{n}", inputs=(n,), output=f"o{n}") for n in kinds)
    program = Program("kinds", kinds, ops, tuple(op.output for op in ops))
    found = random_inputs(program, 4, seed=3)
    assert {n: (v.shape, v.dtype.name) for n, v in found.items()} == {
        n: ((4, 500), kind.dtype) for n, kind in kinds.items()
    }
    assert found["a"].min() < -120 and found["a"].max() > 120
    assert found["b"].min() < 8 and found["b"].max() > 247
    again = random_inputs(program, 4, seed=3)
    assert all(np.array_equal(found[n], again[n]) for n in kinds)


def test_our_own_files_have_no_other_runtime(tmp_path: Path) -> None:
    path = tmp_path / "chain.onnx"
    to_onnx.save(_chain(), path)
    inputs = random_inputs(_chain(), 1, seed=0)
    assert own_runtime(path, _chain(), inputs) == "the file has no runtime of its own"


@pytest.mark.parametrize(
    "name", ["hello_world_int8.tflite", "resnet_qdq.onnx", "deep_autoencoder_qdq.onnx"]
)
def test_the_files_own_runtime_agrees_on_public_networks(name: str, cases_dir: Path) -> None:
    from edgebed.program.read import read_model
    from edgebed.program.run import run

    path = cases_dir / "models" / name
    if not path.is_file():
        pytest.skip(f"{name} is absent")
    program = read_model(path)
    inputs = random_inputs(program, 2, seed=5)
    theirs = own_runtime(path, program, inputs)
    assert not isinstance(theirs, str), theirs
    ours = run(program, inputs)
    for output in program.outputs:
        assert difference(output, theirs.outputs[output], ours[output]).equal
    assert name.endswith(".tflite") or len(theirs.tensors) > 5
