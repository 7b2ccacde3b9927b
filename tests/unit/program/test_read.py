"""Which reader a file goes to: its content decides, not its name."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgebed.errors import EdgebedError
from edgebed.program.ops.identity import Identity
from edgebed.program.read import read_model
from edgebed.program.to_onnx import save
from edgebed.program.types import Program, TensorType


def foreign() -> bytes:
    node = helper.make_node("Relu", ["x"], ["y"])
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 3]) for n in "xy"]
    graph = helper.make_graph([node], "net", values[:1], values[1:])
    return bytes(helper.make_model(graph).SerializeToString())


def test_another_s_onnx_file_whatever_its_name(tmp_path: Path) -> None:
    path = tmp_path / "network.bin"
    path.write_bytes(foreign())
    assert [op.kind for op in read_model(path).ops] == ["unary"]


def test_our_own_onnx_file_is_the_exact_program(tmp_path: Path) -> None:
    kind = TensorType((2, 3, 3))
    op = Identity(name="copy", inputs=("x",), output="y")
    program = Program("own", {"x": kind}, (op,), ("y",), notes={"from": "a test"})
    save(program, tmp_path / "program.onnx")
    assert read_model(tmp_path / "program.onnx") == program


def test_a_tflite_file_whatever_its_name(cases_dir: Path, tmp_path: Path) -> None:
    pytest.importorskip("tflite")
    path = tmp_path / "network.onnx"
    shutil.copyfile(cases_dir / "models" / "hello_world_int8.tflite", path)
    assert len(read_model(path).ops) == 3


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "is empty"),
        (b"{}", "no network"),
        (b"hello, this is text", "no network"),
        (b"PK\x03\x04 and no more", "damaged archive"),
        (bytes(64), "no network"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, word: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(EdgebedError, match=word):
        read_model(path)


def test_arrays_are_no_network(tmp_path: Path) -> None:
    np.savez(tmp_path / "arrays.npz", a=np.zeros(3))
    with pytest.raises(EdgebedError, match=r"torch\.export did not write"):
        read_model(tmp_path / "arrays.npz")


def test_folders_and_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(EdgebedError, match="folder"):
        read_model(tmp_path)
    with pytest.raises(EdgebedError, match="cannot read"):
        read_model(tmp_path / "none.onnx")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("net.onnx", b"", "is empty; try: save, download"),
        ("net.onnx", b"\x89PNG\r\n\x1a\n" + bytes(50), "is a picture"),
        ("net.onnx", b"\x89HDF\r\n\x1a\n" + bytes(50), "from_keras_model"),
        ("net.onnx", b"<!DOCTYPE html><html>404</html>", "is a web page"),
        ("net.tflite", b"version https://git-lfs.github.com/spec/v1\noid", "try: git lfs pull"),
        ("net.onnx", b"\x1f\x8b\x08" + bytes(50), "try: gunzip"),
        ("net.onnx", b"\x93NUMPY\x01\0" + bytes(50), "is an array"),
        ("net.pt", b"\x80\x02}q\x00." + bytes(50), r"torch\.export\.save"),
        ("net.pb", b"\x08\x01", "TensorFlow graph; try: tf.lite.TFLiteConverter"),
    ],
)
def test_what_is_taken_for_a_network_is_called_by_its_name(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(EdgebedError, match=words) as caught:
        read_model(path)
    assert str(caught.value).startswith(str(path))


def test_a_saved_model_is_a_folder_to_convert(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").touch()
    with pytest.raises(EdgebedError, match=r"SavedModel; try: .*from_saved_model"):
        read_model(tmp_path)


def test_a_pipe_and_a_device_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    (tmp_path / "endless.onnx").symlink_to("/dev/zero")
    for name in ("pipe.onnx", "endless.onnx"):
        with pytest.raises(EdgebedError, match=f"{name}: is no file"):
            read_model(tmp_path / name)


def test_a_file_beyond_the_limit_is_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "large.onnx"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # no block of it is stored
    with pytest.raises(EdgebedError, match="1099511627776 bytes"):
        read_model(path)
