"""Every runtime's frames say what it computed, under names and meanings that match."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from traces import float_network, integer_network

from edgebed.deploy.library import build
from edgebed.errors import EdgebedError
from edgebed.observe.recorders import library, litert, onnx_runtime, reference
from edgebed.observe.trace import Frame, Tensor
from edgebed.observe.trace_reader import TraceReader
from edgebed.observe.trace_writer import TraceWriter
from edgebed.program.read import read_model
from edgebed.program.run import run, trace
from edgebed.program.types import Array, Program
from edgebed.targets import load


def drawn(program: Program, count: int = 2) -> dict[str, Array]:
    rng = np.random.default_rng(0)
    (name,) = program.inputs
    return {name: rng.uniform(-1, 1, (count, *program.types[name].shape)).astype(np.float32)}


def in_program_order(tensor: Tensor) -> Array:
    assert tensor.values is not None
    return tensor.values.transpose(2, 0, 1) if tensor.layout == "HWC" else tensor.values


# ---- the interpreter ----


def test_reference_frames_hold_every_tensor_of_the_interpreter() -> None:
    program = integer_network()
    inputs = drawn(program, 3)
    frames = list(reference.record(program, inputs))
    assert [one.number for one in frames] == [0, 1, 2]
    for frame in frames:
        expected = dict(trace(program, {n: v[frame.number] for n, v in inputs.items()}))
        assert {one.name for one in frame.tensors} == set(expected)
        for one in frame.tensors:
            np.testing.assert_array_equal(one.values, expected[one.name])


def test_real_values_follow_from_scale_and_zero_point() -> None:
    program = integer_network()
    (frame, *_) = reference.record(program, drawn(program))
    for one in frame.of("layer"):
        kind = program.types[one.name]
        if not kind.is_float:
            assert one.values is not None
            expected = (one.values.astype(float) - kind.zero_point) * kind.scale
            np.testing.assert_allclose(one.real, expected, rtol=1e-6)


def test_level_io_has_inputs_and_outputs_only() -> None:
    program = float_network()
    (frame, *_) = reference.record(program, drawn(program), "io")
    assert {one.role for one in frame.tensors} == {"input", "output"}


def test_wrong_inputs_are_refused_in_words() -> None:
    program = float_network()
    with pytest.raises(EdgebedError, match="missing"):
        list(reference.record(program, {"y": np.zeros((1, 3, 24, 24), np.float32)}))
    with pytest.raises(EdgebedError, match="shape"):
        list(reference.record(program, {"x": np.zeros((1, 24, 24, 3), np.float32)}))


# ---- ONNX Runtime ----


def pooled(path: Path) -> Path:
    """Conv, relu, mean; between them what a quantiser writes, and a constant nobody observes."""
    rng = np.random.default_rng(1)
    weights = rng.integers(-100, 100, (4, 3, 3, 3)).astype(np.int8)
    scale, zero = np.float32(0.02), np.int8(-3)
    held = {
        "w": weights, "ws": np.float32(0.01), "wz": np.int8(0), "s": scale, "z": zero,
        "axes": np.array([2, 3], np.int64),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["x_q"]),
        helper.make_node("DequantizeLinear", ["x_q", "s", "z"], ["x_dq"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["w_dq"]),
        helper.make_node("Conv", ["x_dq", "w_dq"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("QuantizeLinear", ["r", "s", "z"], ["r_q"]),
        helper.make_node("DequantizeLinear", ["r_q", "s", "z"], ["r_dq"]),
        helper.make_node("ReduceMean", ["r_dq", "axes"], ["y"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes, "pooled",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in held.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def test_onnx_runtime_shows_integers_with_their_meaning(tmp_path: Path) -> None:
    path = pooled(tmp_path / "pooled.onnx")
    inputs = {"x": np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)}
    frames = list(onnx_runtime.record(path, inputs))
    assert len(frames) == 2
    for number, frame in enumerate(frames):
        quantised = frame.named("x_q")
        assert quantised is not None and quantised.role == "layer" and quantised.layout == "CHW"
        assert (quantised.scale, quantised.zero_point) == (pytest.approx(0.02), -3)
        clipped = np.clip(inputs["x"][number], -125 * 0.02, 130 * 0.02)
        np.testing.assert_allclose(quantised.real, clipped, atol=0.0101)
        mean, relu = frame.named("y"), frame.named("r_q")
        assert mean is not None and relu is not None and relu.kind == "Relu"
        np.testing.assert_allclose(mean.real, relu.real.mean((1, 2)), atol=1e-5)
        assert frame.figures["latency"].kind == "measured"
        assert frame.named("w_dq") is None


def test_optimised_and_plain_onnx_runtime_agree_on_the_reals(tmp_path: Path) -> None:
    path = pooled(tmp_path / "pooled.onnx")
    inputs = {"x": np.zeros((1, 3, 8, 8), np.float32)}
    graph = onnx_runtime.read(path)
    (fast,) = onnx_runtime.record(graph, inputs)
    (plain,) = onnx_runtime.record(graph, inputs, optimised=False)
    assert [one.name for one in fast.tensors] == [one.name for one in plain.tensors]
    assert graph.layers == ("x_q", "c", "r", "r_q")


def test_onnx_runtime_refuses_what_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(b"no model at all")
    with pytest.raises(EdgebedError, match="is no ONNX file"):
        onnx_runtime.read(path)


# ---- LiteRT ----


@pytest.mark.parametrize("kernels", ["reference", "optimised", "delegated"])
def test_litert_layers_match_the_interpreter_by_name(cases_dir: Path, kernels: Any) -> None:
    path = cases_dir / "models" / "kws_ref_model.tflite"
    program = read_model(path)
    (name,) = program.inputs
    shape = program.types[name].shape
    given = {name: np.random.default_rng(0).integers(-128, 128, (1, *shape)).astype(np.int8)}
    (theirs,) = litert.record(path, given, kernels=kernels)
    (ours,) = reference.record(program, given)
    shared = [one for one in theirs.tensors if ours.named(one.name) is not None]
    assert len(shared) == len(theirs.tensors) > 10  # nothing there has a name of its own
    for one in shared:
        other = ours.named(one.name)
        assert other is not None and other.values is not None and one.values is not None
        assert (one.scale, one.zero_point) == (other.scale, other.zero_point)
        assert one.layout == other.layout
        gap = np.abs(one.values.astype(int) - other.values.astype(int))
        # XNNPACK rounds otherwise, and its layers add that up
        assert gap.max(initial=0) <= {"reference": 0, "optimised": 1, "delegated": 4}[kernels]


# ---- compiled folders ----


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    place, program = tmp_path_factory.mktemp("compiled"), integer_network()
    for name in ("host", "cortex_m"):
        build(program, load(name), place / name)  # type: ignore[arg-type]
    return {name: place / name for name in ("host", "cortex_m")}


@pytest.mark.parametrize("target", ["host", "cortex_m"])
def test_layers_of_a_compiled_folder_equal_the_reference(
    folders: Mapping[str, Path], target: str
) -> None:
    program = library.program_of(folders[target])
    inputs = drawn(program)
    frames = list(library.record(folders[target], inputs))
    for expected, frame in zip(reference.record(program, inputs), frames, strict=True):
        assert len(frame.of("layer")) > 5
        for one in frame.tensors:
            right = expected.named(one.name)
            assert right is not None and right.values is not None
            np.testing.assert_array_equal(in_program_order(one), right.values)
            assert (one.scale, one.zero_point, one.dtype) == (
                right.scale, right.zero_point, right.dtype,
            )  # fmt: skip


def test_figures_say_whether_they_were_measured_or_counted(folders: Mapping[str, Path]) -> None:
    inputs = drawn(library.program_of(folders["host"]), 1)
    (here,) = library.record(folders["host"], inputs, "statistics")
    (there,) = library.record(folders["cortex_m"], inputs, "statistics")
    assert here.figures["latency"].kind == "measured"
    assert {one["latency"].kind for one in here.layer_figures.values()} == {"measured"}
    assert there.figures["instructions"].kind == "emulated"
    counted = sum(one["instructions"].value for one in there.layer_figures.values())
    # the loop over the schedule, outside of its entries, is the rest
    assert counted == pytest.approx(there.figures["instructions"].value, rel=0.01)
    assert there.figures["energy"].kind == "estimated"
    assert "latency" not in there.figures


def test_level_io_of_a_compiled_folder_writes_inputs_and_outputs(
    folders: Mapping[str, Path], tmp_path: Path
) -> None:
    program = library.program_of(folders["host"])
    inputs = drawn(program, 4)
    head = reference.manifest(program, "io")
    with TraceWriter(tmp_path / "a.trace", head) as writer:
        for frame in library.record(folders["host"], inputs, "io"):
            writer.write(frame)
    with TraceReader(tmp_path / "a.trace") as reader:
        read = list(reader.frames())
    expected = run(program, inputs)
    assert len(read) == 4
    for frame in read:
        assert not frame.of("layer")
        check_output(frame, expected)


def check_output(frame: Frame, expected: Mapping[str, Array]) -> None:
    for one in frame.of("output"):
        np.testing.assert_array_equal(one.values, expected[one.name][frame.number])


def test_traces_of_one_program_have_one_digest(folders: Mapping[str, Path]) -> None:
    from contextlib import closing

    from edgebed.targets import open_library

    found = set()
    for folder in folders.values():
        with closing(open_library(folder)) as opened:
            found.add(library.manifest(folder, opened, "full").digest)
        found.add(reference.manifest(library.program_of(folder), "full").digest)
    assert len(found) == 1
