"""Samples come from tensors and pictures; what does not fit is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgebed.data.samples import PictureForm, check_pixels, read_samples, to_input
from edgebed.errors import EdgebedError
from edgebed.program.types import TensorType

CHW = {"x": TensorType((3, 4, 6), "float32", 1.0)}
HWC = {"x": TensorType((4, 6, 3), "float32", 1.0)}


def save(path: Path, colour: tuple[int, int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 4), colour).save(path)


def test_channels_and_scale(tmp_path: Path) -> None:
    save(tmp_path / "a.png", (255, 0, 51))
    for form, expected in (
        (PictureForm("0..255"), [255, 0, 51]),
        (PictureForm("0..1", "bgr"), [0.2, 0, 1]),
        (PictureForm("-1..1"), [1, -1, -0.6]),
    ):
        chw = read_samples(tmp_path, CHW, form).inputs[0]["x"]
        hwc = read_samples(tmp_path, HWC, form).inputs[0]["x"]
        assert chw.shape == (3, 4, 6)
        np.testing.assert_allclose(chw[:, 2, 3], expected, atol=1e-6)
        np.testing.assert_array_equal(chw.transpose(1, 2, 0), hwc)


def test_bytes_stay_bytes() -> None:
    picture = np.full((4, 6, 3), 200, np.uint8)
    assert to_input(picture, TensorType((4, 6, 3), "uint8", 1.0), PictureForm()).max() == 200
    assert to_input(picture, TensorType((4, 6, 3), "int8", 1.0), PictureForm()).max() == 72
    assert to_input(picture, TensorType((1, 4, 6), "uint8", 1.0), PictureForm()).shape == (1, 4, 6)


def test_classes_from_folders_and_tables(tmp_path: Path) -> None:
    save(tmp_path / "folders" / "cat" / "1.png", (1, 1, 1))
    save(tmp_path / "folders" / "dog" / "2.png", (2, 2, 2))
    assert read_samples(tmp_path / "folders", CHW).labels == (0, 1)
    save(tmp_path / "table" / "images" / "b.png", (1, 1, 1))
    save(tmp_path / "table" / "images" / "a.png", (1, 1, 1))
    (tmp_path / "table" / "labels.csv").write_text("file,label\na.png,3\nb.png,1\n")
    found = read_samples(tmp_path / "table", CHW)
    assert (found.names, found.labels) == (("a.png", "b.png"), (3, 1))
    (tmp_path / "table" / "labels.csv").write_text("a.png,3\nb.png,one\n")
    with pytest.raises(EdgebedError, match=r"labels\.csv:2"):
        read_samples(tmp_path / "table", CHW)


def test_tensors(tmp_path: Path) -> None:
    kind = {"x": TensorType((4, 6, 1), "float32", 1.0)}
    values = np.arange(48, dtype=np.float16).reshape(2, 4, 6)
    np.savez(tmp_path / "d.npz", x=values, y=np.array([5, 2], np.uint8))
    found = read_samples(tmp_path / "d.npz", kind)
    assert found.labels == (5, 2)
    assert found.inputs[1]["x"].shape == (4, 6, 1)
    np.save(tmp_path / "one.npy", values[0][:, :, None])
    assert len(read_samples(tmp_path / "one.npy", kind).inputs) == 1
    two = {"a": TensorType((2,), "float32", 1.0), "b": TensorType((3,), "float32", 1.0)}
    np.savez(tmp_path / "two.npz", a=np.ones((5, 2)), b=np.zeros((5, 3)))
    drawn = read_samples(tmp_path / "two.npz", two, count=3, seed=1)
    assert [sorted(one) for one in drawn.inputs] == [["a", "b"]] * 3


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("a.npy", np.ones((2, 5, 5)), r"\(5, 5\).*needs \(3, 4, 6\)"),
        ("a.npy", np.full((3, 4, 6), np.nan), "NaN"),
        ("a.npy", np.full((3, 4, 6), 1e300), "more than float32"),
        ("a.npy", np.full((3, 4, 6), "text"), "holds <U4.*float32"),
        ("a.npy", np.full((3, 4, 6), 1j), "holds complex128"),
    ],
)
def test_tensors_that_do_not_fit(
    tmp_path: Path, name: str, values: np.ndarray, message: str
) -> None:
    np.save(tmp_path / name, values)
    with pytest.raises(EdgebedError, match=message):
        read_samples(tmp_path / name, CHW)


def test_nothing_to_read(tmp_path: Path) -> None:
    (tmp_path / "broken.npy").write_bytes(b"\x93NUMPY\x01")
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    for name, message in (
        ("broken.npy", "cannot be read"),
        ("empty", "no pictures"),
        ("absent", "no such file"),
        ("notes.txt", "holds no samples"),
    ):
        with pytest.raises(EdgebedError, match=message):
            read_samples(tmp_path / name, CHW)
    with pytest.raises(EdgebedError, match=r"unknown --pixels '0\.\.2'"):
        check_pixels("0..2")


def test_numbers_are_neither_cut_nor_wrapped(tmp_path: Path) -> None:
    kind = {"x": TensorType((2, 3), "int8", 0.1)}
    path = tmp_path / "a.npy"
    for values, message in (
        (np.full((2, 3), 200, np.uint8), r"holds 200\.\.200.*int8"),
        (np.full((2, 3), 0.7), "holds float64.*int8"),
    ):
        np.save(path, values)
        with pytest.raises(EdgebedError, match=message):
            read_samples(path, kind)
    np.save(path, np.full((2, 3), -128, np.int64))
    assert read_samples(path, kind).inputs[0]["x"].dtype == np.int8
    with pytest.raises(EdgebedError, match="input is int16"):
        to_input(np.zeros((4, 6, 3), np.uint8), TensorType((3, 4, 6), "int16", 0.1), PictureForm())


def test_archives_that_do_not_fit(tmp_path: Path) -> None:
    one = np.zeros((4, 3, 4, 6), np.float32)
    path = tmp_path / "a.npz"
    np.savez(path, x=one, y=np.arange(4)[:, None])
    assert read_samples(path, CHW).labels == (0, 1, 2, 3)
    np.savez(path, x=one, y=np.arange(3))
    with pytest.raises(EdgebedError, match="3 labels of 4 samples"):
        read_samples(path, CHW)
    np.savez(path, x=one, z=one[:2])
    with pytest.raises(EdgebedError, match="4 of x, 2 of z"):
        read_samples(path, {**CHW, "z": CHW["x"]})
    (tmp_path / "b.npy").write_bytes(path.read_bytes())
    with pytest.raises(EdgebedError, match=r"holds arrays x, z.*\.npz"):
        read_samples(tmp_path / "b.npy", CHW)
    np.save(tmp_path / "c.npy", one)
    (tmp_path / "c.npy").rename(path)
    with pytest.raises(EdgebedError, match="holds one array"):
        read_samples(path, CHW)
    np.savez(path, x=np.array([{}], object))
    with pytest.raises(EdgebedError, match="cannot be read"):
        read_samples(path, CHW)
    path.write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(EdgebedError, match="cannot be read"):
        read_samples(path, CHW)
