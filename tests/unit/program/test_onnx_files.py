"""ONNX files on the disk: cut short, with data beside them, with sizes that are left open."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

pytest.importorskip("onnxruntime")

from onnx import TensorProto
from onnx_model import Sketch, network, refused

from edgebed.errors import EdgebedError
from edgebed.program import onnx_graph
from edgebed.program.onnx_graph import from_model


@pytest.mark.parametrize("end", range(0, 400, 37))
def test_a_cut_file_is_refused(tmp_path: Path, end: int) -> None:
    path = tmp_path / "cut.onnx"
    path.write_bytes(network().SerializeToString()[:end])
    with pytest.raises(EdgebedError, match=r"cut\.onnx"):
        onnx_graph.read(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(EdgebedError, match="cannot read"):
        onnx_graph.read(tmp_path / "none.onnx")


def _external(path: Path, location: str, **more: int) -> Path:
    model = network()
    tensor = model.graph.initializer[0]
    (path / "weights.bin").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **more}.items():
        tensor.external_data.add(key=key, value=str(value))
    file = path / "net.onnx"
    file.write_bytes(model.SerializeToString())
    return file


def test_external_data_beside_the_model_is_read(tmp_path: Path) -> None:
    program = onnx_graph.read(_external(tmp_path, "weights.bin"))
    assert program.constants["Conv_0.weight"].values.shape == (4, 3, 3, 3)


@pytest.mark.parametrize(
    ("location", "more", "word"),
    [
        ("other.bin", {}, "other.bin"),
        ("../weights.bin", {}, "beside the model"),
        ("/etc/passwd", {}, "beside the model"),
        ("", {}, "beside the model"),
        ("weights.bin", {"offset": 100}, "damaged"),
        ("weights.bin", {"length": 1 << 40}, "not there"),
        ("weights.bin", {"offset": -4}, "not there"),
    ],
)
def test_external_data_that_is_absent_or_elsewhere(
    tmp_path: Path, location: str, more: dict[str, int], word: str
) -> None:
    with pytest.raises(EdgebedError, match=word):
        onnx_graph.read(_external(tmp_path, location, **more))


def test_a_model_in_memory_has_no_external_data(tmp_path: Path) -> None:
    model = onnx.load(str(_external(tmp_path, "weights.bin")), load_external_data=False)
    assert "another file" in refused(model)


def _open_sizes() -> onnx.ModelProto:
    sketch = Sketch()
    x = sketch.input(["batch", 3, "height", "width"])
    return sketch.model(sketch.node("Relu", x))


def test_open_sizes_other_than_the_batch_are_asked_for() -> None:
    text = refused(_open_sizes())
    assert "height" in text and "--input-shape x1=1,3,height,width" in text


def test_given_sizes_fill_what_is_open() -> None:
    program = from_model(_open_sizes(), "net.onnx", {"x1": (1, 3, 6, 7)})
    assert program.inputs["x1"].shape == (3, 6, 7)


@pytest.mark.parametrize(
    ("given_shapes", "word"),
    [
        ({"x1": (1, 4, 6, 7)}, "cannot have shape"),
        ({"x1": (1, 3, 6)}, "cannot have shape"),
        ({"y": (1, 3, 6, 7)}, "no input 'y'"),
        ({"x1": (1, 3, 0, 7)}, "shape"),
    ],
)
def test_given_sizes_must_fit(given_shapes: dict[str, tuple[int, ...]], word: str) -> None:
    assert word in refused(_open_sizes(), input_shapes=given_shapes)
