"""Public ONNX networks with known answers by ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgebed.program import onnx_graph
from edgebed.program.read import read_model
from edgebed.program.run import run
from edgebed.program.text import parse, to_text
from edgebed.program.types import Program


def chw(pictures: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pictures.transpose(0, 3, 1, 2).astype(np.float32))


def largest_error(program: Program, inputs: np.ndarray, golden: np.lib.npyio.NpzFile) -> float:
    """The largest difference, relative to each output's largest value."""
    found = run(program, inputs)
    errors = []
    for index, name in enumerate(program.outputs):
        wanted = golden[f"output_{index}"]
        assert program.file_shape(name)[1:] == wanted.shape[1:]
        away = np.abs(found[name].reshape(wanted.shape) - wanted).max()
        errors.append(float(away / np.abs(wanted).max()))
    return max(errors)


@pytest.fixture(scope="module")
def models(cases_dir: Path) -> Path:
    return cases_dir / "models"


def test_a_network_of_2018_with_its_weights_among_the_inputs(models: Path) -> None:
    program = onnx_graph.read(models / "mnist_cntk.onnx")
    golden = np.load(models / "mnist_cntk.onnx.golden.npz")
    assert list(program.inputs) == ["Input3"]
    assert largest_error(program, golden["input"], golden) < 1e-5


def test_a_face_detector_with_twelve_outputs(models: Path) -> None:
    program = onnx_graph.read(models / "yunet_n_320_320.onnx")
    golden = np.load(models / "yunet_n_320_320.onnx.golden.npz")
    assert len(program.outputs) == 12
    assert largest_error(program, chw(golden["input_u8"]), golden) < 1e-5


def test_a_detector_with_channel_shuffles(models: Path) -> None:
    program = onnx_graph.read(models / "FastestDet.onnx")
    golden = np.load(models / "FastestDet.onnx.golden.npz")
    inputs = chw(golden["input_u8"]) / np.float32(255)
    assert largest_error(program, inputs, golden) < 1e-4


QUANTISED = ["kws_ref_model_qdq", "mobilenet_v1_qdq", "resnet_qdq", "deep_autoencoder_qdq"]


def quantised_inputs(name: str, golden: np.lib.npyio.NpzFile) -> np.ndarray:
    if "input" in golden:
        return np.asarray(golden["input"])
    if name.startswith("mobilenet"):
        return chw(golden["input_u8"]) / np.float32(255)
    return golden["input_u8"].astype(np.float32)


@pytest.mark.parametrize("name", QUANTISED)
def test_quantised_networks_equal_onnx_runtime(models: Path, name: str) -> None:
    """Every integer is equal; what is left is the rounding of the real softmax at the end."""
    program = onnx_graph.read(models / f"{name}.onnx")
    golden = np.load(models / f"{name}.onnx.golden.npz")
    assert largest_error(program, quantised_inputs(name, golden), golden) < 1e-6


@pytest.mark.parametrize("name", QUANTISED)
def test_quantised_networks_are_integer_networks(models: Path, name: str) -> None:
    program = onnx_graph.read(models / f"{name}.onnx")
    weighted = [op for op in program.ops if op.kind in ("conv2d", "dense")]
    assert weighted
    assert all(program.types[op.inputs[0]].dtype == "int8" for op in weighted)


@pytest.mark.parametrize("name", ["mnist_cntk", "kws_ref_model_qdq"])
def test_an_imported_program_survives_its_text_form(models: Path, name: str) -> None:
    program = read_model(models / f"{name}.onnx")
    again = parse(to_text(program))
    assert again.ops == program.ops and again.inputs == program.inputs
