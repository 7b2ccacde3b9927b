"""Whatever happens to a file, reading it ends in a data set or in an error that names the file."""

import io
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edgebed.data.readers import picture_files, read
from edgebed.data.readers.defects import DefectError
from edgebed.errors import EdgebedError

XML = (
    b"<annotation><filename>a.png</filename><size><width>8</width><height>8</height></size>"
    b"<object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>6</xmax><ymax>7</ymax>"
    b"</bndbox></object></annotation>"
)
COCO = json.dumps(
    {
        "images": [{"id": 1, "file_name": "a.png", "width": 8, "height": 8}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 4, 4]}],
        "categories": [{"id": 1, "name": "cat"}],
    }
).encode()
TOKENS = [b"", b"<", b">", b"</", b"&e;", b'"', b"{", b"[", b"]", b"-", b"1e999", b"NaN", b"null"]
TOKENS += [b"\x00", b"\xff\xfe", b"<!DOCTYPE a>", b"true", b"9" * 400, b"../x", b"[" * 2000]


def picture(kind: str) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    Image.fromarray(noise).save(buffer, kind)
    return buffer.getvalue()


@st.composite
def spoiled(draw: st.DrawFn, data: bytes) -> bytes:
    """Replace a few stretches of bytes by others or by tokens that mean something."""
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data)))
        stop = min(start + draw(st.integers(0, 12)), len(data))
        data = data[:start] + draw(st.sampled_from(TOKENS) | st.binary(max_size=6)) + data[stop:]
    return data


def read_any(root: Path) -> None:
    for skip_bad in (False, True):
        try:
            for sample in read(root, splits=("train",), skip_bad=skip_bad).splits["train"]:
                inside = (sample.boxes >= 0).all() and (sample.boxes <= 8).all()
                assert inside and (sample.boxes[:, 2:] > sample.boxes[:, :2]).all()
        except EdgebedError as error:
            assert str(root) in str(error)


@given(spoiled(XML))
@settings(max_examples=150, deadline=None)
def test_spoiled_xml(data):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "a.xml").write_bytes(data)
        Image.new("RGB", (8, 8)).save(root / "a.png")
        (root / "train.txt").write_text("a")
        read_any(root)


@given(spoiled(COCO))
@settings(max_examples=150, deadline=None)
def test_spoiled_json(data):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "train.json").write_bytes(data)
        Image.new("RGB", (8, 8)).save(root / "a.png")
        read_any(root)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP"])
@given(st.data())
@settings(max_examples=80, deadline=None)
@pytest.mark.filterwarnings("ignore")
def test_spoiled_pictures(kind, data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.bin"
        path.write_bytes(data.draw(spoiled(picture(kind))))
        try:
            header = picture_files.header(path, "here:1")
            shape = picture_files.load(path).shape
        except (DefectError, EdgebedError) as error:
            assert "a.bin" in str(error)
        else:
            assert shape == (header.height, header.width, 3)
