"""The virtual board's inner tensors go into traces under the program's names."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgebed.cli import execute
from edgebed.observe.recorders import reference
from edgebed.observe.trace_reader import TraceReader
from edgebed.program import to_onnx
from edgebed.program.arithmetic import PowerOfTwo
from edgebed.program.ops.add import Add
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.ops.max_pool import MaxPool
from edgebed.program.types import Constant, Program, TensorType
from edgebed.targets.max78000.machine import VirtualBoard

pytest.importorskip("unicorn", reason="unicorn is not installed")


def residual() -> Program:
    """Widths with gaps between processors, several passes, a sum of two maps, a pool."""
    rng = np.random.default_rng(0)
    shapes = {"w0": (12, 3, 3, 3), "w1": (12, 12, 3, 3), "w2": (70, 12, 1, 1), "w3": (5, 70, 3, 3)}
    held = {
        name: Constant(rng.integers(-20, 20, shape).astype(np.int8), 8, 2**-7)
        for name, shape in shapes.items()
    }
    same = {"padding": (1, 1, 1, 1), "requantize": PowerOfTwo(7), "activation": "relu"}
    ops = (
        Conv2d(name="a", inputs=("x",), output="first", weight="w0", **same),  # type: ignore[arg-type]
        Conv2d(name="b", inputs=("first",), output="second", weight="w1", **same),  # type: ignore[arg-type]
        Add(name="c", inputs=("first", "second"), output="sum"),
        MaxPool(name="d", inputs=("sum",), output="pooled", kernel=(2, 2), stride=(2, 2)),
        Conv2d(name="e", inputs=("pooled",), output="wide", weight="w2", requantize=PowerOfTwo(7)),
        Conv2d(name="f", inputs=("wide",), output="scores", weight="w3", **same),  # type: ignore[arg-type]
    )
    return Program("residual", {"x": TensorType((3, 12, 12))}, ops, ("scores",), held)


def test_layers_have_the_references_names_and_integers(tmp_path: Path) -> None:
    program = residual()
    to_onnx.save(program, tmp_path / "residual.onnx")
    folder, place = tmp_path / "board", tmp_path / "t.trace"
    words = ["compile", str(tmp_path / "residual.onnx"), "--target", "max78000"]
    assert execute([*words, "--out", str(folder), "--quiet"]) == 0
    x = np.random.default_rng(1).integers(-128, 128, (3, 12, 12)).astype(np.int8)
    np.save(tmp_path / "x.npy", x)
    words = ["run", str(folder), "--input", str(tmp_path / "x.npy"), "--quiet"]
    assert execute([*words, "--trace", str(place), "--level", "full"]) == 0
    with TraceReader(place) as reader:
        (frame,) = reader.frames()
    (right,) = reference.record(program, {"x": x})
    seen = {one.name for one in frame.tensors}
    assert {"x", "first", "second", "wide", "scores"} <= seen
    for one in frame.tensors:
        known = right.named(one.name)
        assert known is not None and one.scale == known.scale
        np.testing.assert_array_equal(one.values, known.values, one.name)
    whole = frame.figures["cnn_cycles"]
    memory = {n: one.value for n, one in frame.figures.items() if one.unit == "bytes"}
    assert set(memory) == {"weights_bytes", "biases_bytes", "data_bytes", "stack_bytes"}
    assert memory["weights_bytes"] == sum(one.values.size for one in program.constants.values())
    assert 0 < memory["stack_bytes"] < 16384
    costs = frame.layer_figures
    assert {"first", "second", "wide", "scores"} <= set(costs)
    assert sum(one["cycles"].value for one in costs.values()) + 1 == whole.value  # 1 to start
    energies = [one["energy"].value for one in costs.values()]
    assert sum(energies) == pytest.approx(frame.figures["cnn_energy"].value, rel=1e-3)
    kinds = {one.kind for figures in costs.values() for one in figures.values()}
    assert kinds == {"estimated", "emulated"} and whole.kind == "estimated"
    assert costs["second"]["macs"].value == 12 * 12 * 12 * 12 * 9


@pytest.fixture
def real_board(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A compiled folder, and the address of a board that runs it."""
    to_onnx.save(residual(), tmp_path / "residual.onnx")
    words = ["compile", str(tmp_path / "residual.onnx"), "--target", "max78000", "--quiet"]
    assert execute([*words, "--out", str(tmp_path / "board")]) == 0
    board, stop = VirtualBoard(), threading.Event()
    board.load(tmp_path / "board")

    def serve() -> None:
        while not stop.wait(0.001):
            board.idle(0.5)

    address = f"127.0.0.1:{board.serve_uart()}"
    thread = threading.Thread(target=serve)
    thread.start()
    yield tmp_path / "board", address
    stop.set()
    thread.join()
    board.close()


def test_a_real_boards_answers_are_recorded(
    real_board: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, address = real_board
    x = np.random.default_rng(2).integers(-128, 128, (3, 12, 12)).astype(np.int8)
    np.save(tmp_path / "x.npy", x)
    words = ["run", str(folder), "--input", str(tmp_path / "x.npy"), "--board", address, "--quiet"]
    assert execute([*words, "--trace", str(tmp_path / "t.trace"), "--level", "full"]) == 1
    assert "inputs, outputs and cycles only" in capsys.readouterr().err
    assert execute([*words, "--uart-port", "0"]) == 1
    assert execute([*words, "--trace", str(tmp_path / "t.trace")]) == 0
    with TraceReader(tmp_path / "t.trace") as reader:
        (frame,) = reader.frames()
    (right,) = reference.record(residual(), {"x": x}, "io")
    assert {one.role for one in frame.tensors} == {"input", "output"}
    for one in frame.tensors:
        np.testing.assert_array_equal(one.values, right.named(one.name).values)  # type: ignore[union-attr]
    assert frame.figures["cnn_cycles"].kind == "measured"
