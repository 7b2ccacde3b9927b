"""Damaged network files: a program or one sentence that names the file, within time and memory."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

pytest.importorskip("tflite")

sys.path.insert(0, str(Path(__file__).parents[2] / "fuzz"))

from fuzz_importers import Plan, case_folders, fuzz, report
from outcome import judge

from edgebed.errors import EdgebedError
from edgebed.program.ops.constant import Constant as ConstantOp
from edgebed.program.read import read_model
from edgebed.program.to_onnx import save
from edgebed.program.types import Constant, Program


def _spotless(plan: Plan, count: int) -> None:
    tally = fuzz(plan, range(count))
    assert not tally.defects, report(tally, 0.0)
    # Not every damage may be noticed at once, and not every file may be beyond reading.
    assert tally.counts["program"] > count // 20
    assert tally.counts["sentence"] > count // 20


def test_some_damaged_files() -> None:
    _spotless(Plan(seed=11), 400)


@pytest.mark.slow
def test_many_damaged_files() -> None:
    _spotless(Plan(seed=12, folders=case_folders()), 10_000)


@pytest.mark.parametrize("length", [0, 1, 7, 8, 100])
def test_the_outcome_of_a_file_that_is_cut_short(length: int, tmp_path: Path) -> None:
    path = tmp_path / "cut.tflite"
    path.write_bytes(b"\x1c\0\0\0TFL3".ljust(100, b"\0")[:length])
    found = judge(path)
    assert found.kind == "sentence" and "cut.tflite" in found.detail


def test_names_of_the_file_cannot_fill_or_control_the_terminal(tmp_path: Path) -> None:
    text = "\x1b[2J" + "n" * 5000
    node = onnx.helper.make_node(text, ["x"], ["y"])
    values = [onnx.helper.make_tensor_value_info(n, 1, [1, 3]) for n in "xy"]
    graph = onnx.helper.make_graph([node], "net", values[:1], values[1:])
    path = tmp_path / "net.onnx"
    path.write_bytes(onnx.helper.make_model(graph).SerializeToString())
    found = judge(path)
    assert found.kind == "sentence" and r"\x1b[2J" in found.detail


def test_a_program_s_external_constants_may_lie_beside_it_alone(tmp_path: Path) -> None:

    op = ConstantOp(name="k", inputs=(), output="y", value="k")
    save(Program("own", {}, (op,), ("y",), {"k": Constant(np.ones(4, np.int8), 8)}),
         tmp_path / "program.onnx")  # fmt: skip
    model = onnx.load(tmp_path / "program.onnx")
    tensor = next(t for t in model.graph.initializer if t.name == "k")
    (tmp_path / "k.bin").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "k.bin"
    onnx.save(model, tmp_path / "moved.onnx")
    assert len(read_model(tmp_path / "moved.onnx").ops) == 1
    entry.value = "../k.bin"
    onnx.save(model, tmp_path / "moved.onnx")
    with pytest.raises(EdgebedError, match="beside the model"):
        read_model(tmp_path / "moved.onnx")
