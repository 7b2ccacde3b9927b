"""Annotations that tools really write wrong, and numbers that no tool should write."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgebed.data.dataset import Dataset
from edgebed.data.readers import read
from edgebed.errors import EdgebedError


def coco(root: Path, **changes: Any) -> Path:
    """One 40 x 30 picture with one box; `changes` replace fields of its image or annotation."""
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(root / "a.png")
    image = {"id": 1, "file_name": "a.png", "width": 40, "height": 30}
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [4, 5, 20, 10]}
    sections = {
        "images": [{k: changes.get(k, v) for k, v in image.items()}],
        "annotations": [{k: changes.get(k, v) for k, v in box.items()} | changes.get("more", {})],
        "categories": changes.get("categories", [{"id": 1, "name": "cat"}]),
    }
    (root / "train.json").write_text(json.dumps(sections))
    return root


def spoiled(root: Path, **flags: bool) -> Dataset:
    return read(root, splits=("train",), **flags)


def test_coco_boxes_are_edges_from_zero_and_crowds_are_difficult(tmp_path: Path) -> None:
    (one,) = spoiled(coco(tmp_path, more={"iscrowd": 1})).splits["train"]
    assert one.boxes.tolist() == [[4, 5, 24, 15]]
    assert one.difficult.tolist() == [True]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"file_name": 3}, "file_name is 3, not a text"),
        ({"file_name": ""}, "not a text"),
        ({"width": "40"}, "width is '40', not a number"),
        ({"width": True}, "width is True, not a number"),
        ({"bbox": [1, 2, 3]}, "not 4 numbers"),
        ({"bbox": [1, 2, 3, "4"]}, "not 4 numbers"),
        ({"bbox": [1, 2, 3, 10**400]}, "not made of finite numbers"),
        ({"bbox": [1, 2, 0, 4]}, "has no area"),
        ({"bbox": [1, 2, float("nan"), 4]}, "not made of finite numbers"),
        ({"categories": [{"id": 1}]}, "name"),
        ({"categories": [{"id": "1", "name": "x"}]}, "id is '1', not a whole number"),
        ({"categories": [{"id": 1, "name": "x"}] * 2}, "is there twice"),
    ],
)
def test_wrong_fields_are_named_with_file_and_line(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(EdgebedError, match=said) as caught:
        spoiled(coco(tmp_path, **changes))
    assert str(tmp_path / "train.json") in str(caught.value)


def test_a_number_of_thousands_of_digits_is_no_traceback(tmp_path: Path) -> None:
    path = coco(tmp_path) / "train.json"
    path.write_text(path.read_text().replace("[4, ", f"[{'9' * 5000}, "))
    with pytest.raises(EdgebedError, match=r"train\.json: a number is too long"):
        spoiled(tmp_path)


def voc(root: Path, bounds: str) -> Path:
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(root / "a.png")
    (root / "a.xml").write_text(
        "<annotation><filename>a.png</filename><size><width>40</width><height>30</height></size>\n"
        f"<object><name>cat</name><bndbox>{bounds}</bndbox></object></annotation>"
    )
    (root / "train.txt").write_text("a\n")
    return root


def bounds(x1: object, y1: object, x2: object, y2: object) -> str:
    return f"<xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax>"


@pytest.mark.parametrize(
    ("written", "edges"),
    [
        ((1, 1, 40, 30), [0, 0, 40, 30]),  # the whole picture by VOC's rule
        ((0, 0, 40, 30), [0, 0, 40, 30]),  # the same from a tool that counts from 0
        ((11, 6, 20, 15), [10, 5, 20, 15]),
        ((39, 29, 40, 30), [38, 28, 40, 30]),
        ((0.5, 0.5, 20, 15), [0, 0, 20, 15]),
    ],
)
def test_voc_counts_pixels_from_one_and_includes_both_ends(
    tmp_path: Path, written: tuple[float, ...], edges: list[float]
) -> None:
    (one,) = spoiled(voc(tmp_path, bounds(*written))).splits["train"]
    assert one.boxes.tolist() == [edges]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (bounds(1, 1, "many", 5), "<xmax> is 'many', not a number"),
        (bounds(1, 1, 1, 5), "has no area"),
        (bounds(1, 1, "inf", 5), "not made of finite numbers"),
        (bounds(-5, 1, 9, 5), "reaches outside the 40x30 picture"),
        ("<xmin>1</xmin>", "<ymin> is missing"),
    ],
)
def test_wrong_bounds_are_named_with_the_line(tmp_path: Path, written: str, said: str) -> None:
    with pytest.raises(EdgebedError, match=rf"a\.xml:2: .*{said}"):
        spoiled(voc(tmp_path, written))
    kept = spoiled(tmp_path, skip_bad=True)
    assert len(kept.splits["train"][0].boxes) == 0
    assert len(kept.left_out) == 1 and said.split(",")[0] in kept.left_out[0]


def test_lists_that_are_no_text_are_named(tmp_path: Path) -> None:
    voc(tmp_path, bounds(1, 1, 9, 9))
    (tmp_path / "train.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(EdgebedError, match=r"train\.txt: not a UTF-8 text file"):
        spoiled(tmp_path)


@pytest.mark.parametrize("name", ["train.txt", "a.xml"])
def test_files_that_cannot_be_read_are_named(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    voc(tmp_path, bounds(1, 1, 9, 9))
    for method in ("read_text", "read_bytes"):
        real = getattr(Path, method)

        def refuse(path: Path, *args: Any, _real: Any = real, **kwargs: Any) -> Any:
            if path.name == name:
                raise PermissionError(13, os.strerror(13))
            return _real(path, *args, **kwargs)

        monkeypatch.setattr(Path, method, refuse)
    with pytest.raises(EdgebedError, match=rf"{name}: cannot be read: Permission denied"):
        spoiled(tmp_path)
