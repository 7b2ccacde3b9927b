"""Public .tflite networks with known answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tflite")

from edgebed.program.run import run
from edgebed.program.tflite import read

INT8 = ["ad01_int8", "hello_world_int8", "kws_ref_model", "pretrainedResnet_quant", "vww_96_int8"]


def _file(cases_dir: Path, name: str) -> Path:
    path = cases_dir / "models" / name
    if not path.exists():
        pytest.skip(f"{name} is absent")
    return path


@pytest.mark.parametrize("name", INT8)
def test_int8_networks_answer_as_tensorflow_lite_micro(cases_dir: Path, name: str) -> None:
    program = read(_file(cases_dir, f"{name}.tflite"))
    known = np.load(_file(cases_dir, f"{name}.tflite.tflm.npz"))
    ((tensor, kind),) = program.inputs.items()
    found = run(program, {tensor: known["inputs"].reshape(-1, *kind.shape)})
    (output,) = program.outputs
    np.testing.assert_array_equal(found[output].ravel(), known["outputs"].ravel())
    assert program.file_shape(tensor) == known["inputs"].shape[1:]
    assert program.file_shape(output) == known["outputs"].shape[1:]


def test_an_unsigned_network_is_within_a_quantum_of_tensorflow_lite(cases_dir: Path) -> None:
    program = read(_file(cases_dir, "mobilenet_v1_0.25_128_quant.tflite"))
    known = np.load(_file(cases_dir, "mobilenet_v1_0.25_128_quant.tflite.golden.npz"))
    ((tensor, kind),) = program.inputs.items()
    assert (tensor, str(kind)) == ("input", "uint8[128, 128, 3] scale 0.0078125 zero 128")
    found = run(program, {tensor: known["input_u8"]})[program.outputs[0]]
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - known["output_0"].astype(int)).max() <= 1
