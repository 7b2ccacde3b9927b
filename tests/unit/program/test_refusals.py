"""What ops, programs and the saved forms refuse, and the words they use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_saving import everything

from edgebed.errors import EdgebedError
from edgebed.program.arithmetic import PowerOfTwo
from edgebed.program.from_onnx import load
from edgebed.program.ops import by_kind
from edgebed.program.ops.concat import Concat
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.ops.dense import Dense
from edgebed.program.ops.identity import Identity
from edgebed.program.run import run
from edgebed.program.text import parse, to_text
from edgebed.program.to_onnx import save
from edgebed.program.types import Constant, Op, Program, TensorType

MAP = TensorType((3, 4, 6))


def constant(*shape: int, dtype: type = np.int8, bits: int = 8, value: int = 1) -> Constant:
    return Constant(np.full(shape, value, dtype), bits, 1 / 128)


CONSTANTS = {
    "w": constant(5, 3, 3, 3),
    "up": constant(2, 5, 3, 3),
    "flat": constant(4, 71),
    "large": constant(5, 3, 7, 3),
    "b": constant(4, dtype=np.int32, bits=32),
}


@pytest.mark.parametrize(
    ("kind", "attributes", "types", "message"),
    [
        ("add", {}, [MAP], r"layer op \(add\): has 1 operand .*two or more"),
        ("subtract", {}, [MAP, TensorType((3, 4, 5))], r"operands differ: .*3, 4, 6.*3, 4, 5"),
        ("add", {}, [MAP, TensorType((3, 4, 6), scale=0.5)], r"operands differ: .* scale 0\.5"),
        ("bit_or", {}, [TensorType((3, 4, 6), "int32")] * 2, r"operands are int32"),
        ("max_pool", {"kernel": (5, 1), "stride": (1, 1)}, [MAP], r"kernel \(5, 1\) .* 4 x 6"),
        ("avg_pool", {"kernel": (1, 7), "stride": (1, 1)}, [MAP], r"kernel \(1, 7\) .* 4 x 6"),
        ("concat", {}, [MAP, TensorType((9, 4, 5))], r"inputs differ: .*3, 4, 6.*9, 4, 5"),
        ("slice", {"start": 1, "stop": 4}, [MAP], "channels 1:4 of 3"),
        ("slice", {"start": 2, "stop": 2}, [MAP], "channels 2:2 of 3"),
        ("space_to_depth", {"block": 4}, [MAP], "block 4 on a map of 4 x 6"),
        ("conv2d", {"weight": "w", "bias": "b"}, [MAP], r"bias has shape \(4,\) \(\(5,\) is"),
        ("conv2d", {"weight": "large"}, [MAP], r"would be \(5, -2, 4\).*try: a larger input"),
        ("conv2d", {"weight": "w"}, [TensorType((3, 4, 6), "int32")], "input is int32"),
        ("conv2d", {"weight": "w", "activation": "relu"}, [MAP], "'relu' on a raw 32-bit output"),
        ("conv_transpose2d", {"weight": "up"}, [MAP], r"weight \(2, 5, 3, 3\) on 3 channels"),
        ("dense", {"weight": "flat"}, [MAP], r"weight \(4, 71\) on \(3, 4, 6\) = 72 values"),
    ],
)
def test_an_op_names_itself_and_the_numbers_that_do_not_fit(
    kind: str, attributes: dict[str, Any], types: list[TensorType], message: str
) -> None:
    inputs = tuple(f"x{i}" for i in range(len(types)))
    op = by_kind(kind)(name="op", inputs=inputs, output="y", **attributes)
    with pytest.raises(EdgebedError, match=message):
        op.infer(types, CONSTANTS)


def copy(name: str, source: str, output: str) -> Op:
    return Identity(name=name, inputs=(source,), output=output)


@pytest.mark.parametrize(
    ("ops", "outputs", "message"),
    [
        ([copy("a", "x", "y"), copy("a", "y", "z")], ("z",), r"layer a .*two layers have this"),
        ([copy("a", "x", "y"), copy("b", "x", "y")], ("y",), r"layer b .*'y' is written twice"),
        ([copy("a", "x", "x")], ("x",), "'x' is written twice"),
        ([copy("a", "x", "y")], ("z",), "output 'z' of program 'p' is never written"),
        ([copy("a", "x", "y")], (), "program 'p' has no output"),
        (
            [Conv2d(name="c", inputs=("x",), output="y", weight="gone")],
            ("y",),
            r"layer c \(conv2d\): constant 'gone' is missing",
        ),
    ],
)
def test_a_program_that_exists_is_sound(
    ops: list[Op], outputs: tuple[str, ...], message: str
) -> None:
    with pytest.raises(EdgebedError, match=message):
        Program("p", {"x": MAP}, tuple(ops), outputs)


def test_a_sum_beyond_32_bits_is_an_error_and_no_wrong_number() -> None:
    count = 140_000  # x 128 x 127 passes 2**31
    weights = constant(1, count, value=-128)
    op = Dense(name="d", inputs=("x",), output="y", weight="w")
    program = Program("p", {"x": TensorType((count, 1, 1))}, (op,), ("y",), {"w": weights})
    with pytest.raises(EdgebedError, match=r"layer d .*leaves 32 bits; try: fewer input channels"):
        run(program, np.full((count, 1, 1), -128, np.int8))


def two_inputs() -> Program:
    op = Concat(name="j", inputs=("a", "b"), output="y")
    return Program("p", {"a": MAP, "b": MAP}, (op,), ("y",))


def test_all_inputs_are_given_alike() -> None:
    x = np.zeros(MAP.shape, np.int8)
    with pytest.raises(EdgebedError, match="input 'b' is missing; try: one of a"):
        run(two_inputs(), {"a": x})
    with pytest.raises(EdgebedError, match="some inputs have a batch axis and some have none"):
        run(two_inputs(), {"a": x, "b": x[None]})
    with pytest.raises(EdgebedError, match="program 'p' has 2 inputs, not one"):
        two_inputs().input_type  # noqa: B018


def test_work_is_counted_by_op() -> None:
    program = everything(0)
    macs = program.macs()
    # 8 x 8 folded by 2 is 4 x 4; rows x columns x (out x in x kernel rows x columns)
    assert macs["the c"] == 4 * 4 * (4 * 12 * 3 * 3)
    assert macs["the t"] == 8 * 8 * (4 * 3 * 3 * 3)
    assert macs["the d"] == 5 * 3 * 8 * 8
    assert macs["the m"] == macs["the plus"] == 0


def test_constants_that_no_op_reads_are_dropped() -> None:
    program = everything(0)
    kept = tuple(op for op in program.ops if op.output != "d")
    smaller = program.with_(ops=kept, outputs=("a",))
    assert set(program.constants) - set(smaller.constants) == {"w3"}


def test_equal_constants_are_one_key() -> None:
    assert len({constant(3), constant(3), constant(3, value=2), constant(3, bits=4)}) == 3


LINES = to_text(everything(0)).splitlines()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("program ", "# program ", "the text has no 'program' line"),
        ('program "', "program 7 #", r"line 1: a name in double quotes is needed at '7"),
        ("program ", "program x", r"line 1: not understood: program x"),
        (" bits 8", " bit 8", r"line \d+: constant '\w+' is not understood"),
        (" values ", " sha256 ", r"line \d+: the values of constant '\w+' are not here"),
        (" values ", " values AAAA", r"line \d+: not understood"),
        ("= max_pool(", "= max_pool[0](", r"line \d+: an op is needed after '='"),
        ("power_of_two(", "by_float(", r"requantisation 'by_float'; try: one of power_of_two"),
        (") : int8[", ") : int9[", r"line \d+: 'int9\[.*' is not a type; try: int8\["),
        ("kernel=(2, 2)", "kernel=(2, 2", r"line \d+: not understood"),
        ("stride=(1, 1)", "stride=(0, 1)", r"line \d+: not understood"),
        ("kernel=(2, 2)", "kernel='two'", r"line \d+: not understood"),
        ("requantize=power_of_two(11)", "requantize=11", r"line \d+: not understood"),
        ('="relu"', '="relo"', r"activation .relo. of conv2d.*mean .relu."),
    ],
)
def test_damaged_text_is_refused_in_words(old: str, new: str, message: str) -> None:
    text = "\n".join(LINES)
    assert old in text
    with pytest.raises(EdgebedError, match=message):
        parse(text.replace(old, new, 1))


def test_comments_and_empty_lines_change_nothing() -> None:
    text = "\n\n# a comment\n".join(LINES)
    assert parse(text) == everything(0)


@settings(max_examples=150)
@given(st.data())
def test_any_damage_is_an_error_in_words_or_another_program(data: st.DataObject) -> None:
    """Characters of one line are replaced or cut; no other exception may come out."""
    number = data.draw(st.integers(0, len(LINES) - 1))
    line = LINES[number]
    at = data.draw(st.integers(0, min(len(line), 120) - 1))
    count = data.draw(st.integers(0, 6))
    put = data.draw(st.text(st.sampled_from("()[]{}=,:'\"0159-aox \\"), max_size=4))
    lines = [*LINES[:number], line[:at] + put + line[at + count :], *LINES[number + 1 :]]
    try:
        program = parse("\n".join(lines))
    except EdgebedError as error:
        assert str(error)
    else:
        assert isinstance(program, Program)


def test_a_file_whose_weights_were_exchanged_is_named(tmp_path: Path) -> None:
    import onnx
    from onnx import numpy_helper

    path = tmp_path / "p.onnx"
    save(everything(0), path)
    model = onnx.load(str(path))
    tensor = next(t for t in model.graph.initializer if t.name == "w1")
    values = numpy_helper.to_array(tensor).copy()
    values.reshape(-1)[0] ^= 1
    tensor.CopyFrom(numpy_helper.from_array(values, "w1"))
    path.write_bytes(model.SerializeToString())
    with pytest.raises(EdgebedError, match=r"p\.onnx, line \d+: constant 'w1' has other values"):
        load(path)


def test_a_shift_of_the_constants_meaning_is_no_equality() -> None:
    op = Conv2d(name="c", inputs=("x",), output="y", weight="w", requantize=PowerOfTwo(3))
    one = Program("p", {"x": MAP}, (op,), ("y",), {"w": constant(5, 3, 3, 3)})
    other = Program("p", {"x": MAP}, (op,), ("y",), {"w": constant(5, 3, 3, 3, value=2)})
    assert one != other
