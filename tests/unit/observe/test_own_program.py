"""A device beside a float reference and its own program: the smallest fault of a kernel shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from traces import Recorder, float_network, integer_network, pictures

from edgebed.cli import execute
from edgebed.observe.examine import examined
from edgebed.observe.own_program import find_program, recomputed
from edgebed.observe.recorders.described import digest
from edgebed.observe.trace import Tensor
from edgebed.observe.trace_comparison import compare_traces
from edgebed.observe.trace_reader import TraceReader
from edgebed.program import to_onnx
from edgebed.program.types import Array

INTEGER = integer_network()
Defect = Callable[[Array, Any], Array]


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    return Recorder(float_network(), digest="f").record(tmp_path / "f.trace", pictures(6))


def device(folder: Path, defects: dict[str, Defect], **settings: Any) -> Path:
    """Record the integer network with its program beside the trace."""
    folder.mkdir()
    to_onnx.save(INTEGER, folder / "program.onnx")
    recorder = Recorder(INTEGER, "board", defects=defects, digest=digest(INTEGER), **settings)
    return recorder.record(folder / "d.trace", pictures(6))


def one_step(right: Array, _before: Any) -> Array:
    """One value of one channel is one step off: far below what quantisation does."""
    wrong = right.copy()
    flat = wrong.reshape(-1)
    place = int(np.argmax(flat < 127))
    flat[place] += 1
    return wrong


@pytest.mark.parametrize(
    "layer", [op.output for op in INTEGER.ops if INTEGER.types[op.output].dtype == "int8"]
)
def test_one_step_in_one_value_names_its_layer(reference: Path, tmp_path: Path, layer: str) -> None:
    trace = device(tmp_path / "board", {layer: one_step})
    compared = compare_traces(reference, trace)
    found = examined(compared)
    (said,) = found.verdicts
    assert said.cause.startswith("kernel") and said.confidence > 0.95
    assert f"wrong first at {layer}." in found.notes[-1]
    assert "by at most 1 steps" in said.evidence
    assert compared.error_of(layer) is None or f"--layer {said.layer}" in said.command


def test_a_sound_device_is_clean_and_its_ops_are_counted(reference: Path, tmp_path: Path) -> None:
    trace = device(tmp_path / "board", {})
    found = examined(compare_traces(reference, trace))
    assert found.verdicts == ()
    assert "all right" in found.notes[-1]
    assert not any("stay unseen" in text for text in found.notes)


def test_layers_in_other_axes_and_unrecorded_ones_are_computed_too(
    reference: Path, tmp_path: Path
) -> None:
    def last(one: Tensor) -> Tensor:
        if one.role != "layer" or one.values is None or one.values.ndim != 3:
            return one
        values = np.ascontiguousarray(np.moveaxis(one.values, 0, -1))
        return replace(one, layout="HWC", shape=values.shape, values=values)

    hidden = INTEGER.ops[2].output
    sound = device(tmp_path / "sound", {}, changed=last, dropped=(hidden,))
    found = recomputed(compare_traces(reference, sound))
    assert found is not None and found.wrong is None and found.ops == len(INTEGER.ops) - 2
    wrong = device(tmp_path / "wrong", {hidden: one_step}, changed=last, dropped=(hidden,))
    found = recomputed(compare_traces(reference, wrong))
    assert found is not None and found.wrong is not None
    reader = next(op for op in INTEGER.ops if hidden in op.inputs)
    assert found.wrong.name == reader.output  # the first that was recorded behind it


def test_a_program_that_differs_by_itself_blames_no_kernel(tmp_path: Path) -> None:
    def other(right: Array, _before: Any) -> Array:
        return np.abs(right)

    reference = Recorder(float_network(), digest="f", defects={"deep": other})
    path = reference.record(tmp_path / "f.trace", pictures(6))
    found = examined(compare_traces(path, device(tmp_path / "board", {})))
    (said,) = found.verdicts
    assert (said.cause, said.layer) == ("operator_definition", "deep")
    assert "no kernel is at fault" in said.evidence


def test_another_program_beside_a_trace_is_not_taken(reference: Path, tmp_path: Path) -> None:
    trace = device(tmp_path / "board", {})
    to_onnx.save(float_network(), tmp_path / "board" / "program.onnx")
    with TraceReader(trace) as reader:
        assert find_program(trace, reader.manifest) is None
    found = examined(compare_traces(reference, trace))
    assert any("stay unseen" in text for text in found.notes)


def test_the_command_takes_a_program(
    reference: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = device(tmp_path / "board", {"deep.q": one_step})
    elsewhere = tmp_path / "elsewhere.onnx"
    (tmp_path / "board" / "program.onnx").rename(elsewhere)
    assert execute(["compare", str(reference), str(trace)]) == 0
    capsys.readouterr()
    words = ["compare", str(reference), str(trace), "--program", str(elsewhere)]
    assert execute(words) == 2
    assert "KERNEL" in capsys.readouterr().out


def test_what_assertions_did_not_look_at_is_said(tmp_path: Path) -> None:
    paths = [
        Recorder(INTEGER, source).record(tmp_path / f"{source}.trace", pictures(40))
        for source in ("reference", "board")
    ]
    found = examined(compare_traces(*paths))
    (said,) = [text for text in found.notes if text.startswith("Assertions looked at")]
    assert "of 40 frames" in said
    few = examined(compare_traces(*paths, only=3))
    assert not any(text.startswith("Assertions looked at") for text in few.notes)
