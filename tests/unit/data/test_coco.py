import copy
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgebed.data.readers import read
from edgebed.errors import EdgebedError

CATEGORIES = [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}]


def content(*names: str, start: int = 1) -> dict:
    images = [
        {"id": i, "file_name": f"{name}.png", "width": 40, "height": 30}
        for i, name in enumerate(names, start)
    ]
    boxes = [
        {
            "id": i["id"],
            "image_id": i["id"],
            "category_id": 7,
            "bbox": [10, 5, 10.5, 10],
            "iscrowd": 0,
        }
        for i in images
    ]
    return {"images": images, "annotations": boxes, "categories": CATEGORIES}


def write(path: Path, data: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=1))
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "set"
    (root / "images").mkdir(parents=True)
    for name in "abcd":
        Image.new("RGB", (40, 30), (ord(name), 0, 0)).save(root / "images" / f"{name}.png")
    return root


@pytest.fixture
def three(root: Path) -> Path:
    for split, names in {"train": "ab", "val": "c", "test": "d"}.items():
        write(root / "annotations" / f"instances_{split}2017.json", content(*names))
    return root


def test_reads_a_file_for_each_split(three):
    data = read(three)
    assert data.classes == ("cat", "dog")
    assert {s: [x.name for x in part] for s, part in data.splits.items()} == {
        "train": ["a", "b"],
        "val": ["c"],
        "test": ["d"],
    }
    sample = data.splits["train"][1]
    assert sample.boxes.tolist() == [[10, 5, 20.5, 15]] and sample.labels.tolist() == [1]
    assert sample.load()[0, 0].tolist() == [ord("b"), 0, 0]


def test_reads_split_folders(root):
    for split, name in {"train": "a", "valid": "c", "test": "d"}.items():
        write(root / split / "_annotations.coco.json", content(name))
        (root / "images" / f"{name}.png").rename(root / split / f"{name}.png")
    assert [len(part) for part in read(root).splits.values()] == [1, 1, 1]


@pytest.mark.parametrize("direct", [False, True])
def test_a_single_file_is_split_by_lists(root, direct):
    path = write(root / "annotations.json", content(*"abcd"))
    for split, names in {"train": "a\nb.png", "val": "c", "test": "d"}.items():
        (root / f"{split}.txt").write_text(names)
    data = read(path if direct else root)
    assert [len(part) for part in data.splits.values()] == [2, 1, 1] and data.notes == ()


def test_a_single_file_without_lists_is_drawn(root):
    names = [f"p{i}" for i in range(20)]
    for name in names:
        Image.new("RGB", (40, 30)).save(root / "images" / f"{name}.png")
    write(root / "all.json", content(*names))
    data = read(root)
    assert [len(part) for part in data.splits.values()] == [14, 3, 3] and "seed" in data.notes[0]


def test_given_classes_and_crowds(three):
    data = content("a")
    data["annotations"][0]["iscrowd"] = 1
    write(three / "annotations/instances_train2017.json", data)
    sample = read(three, classes=["dog"]).splits["train"][0]
    assert sample.labels.tolist() == [0] and sample.difficult.tolist() == [True]


def test_rounding_beyond_the_border_is_cut(three):
    data = content("a")
    data["annotations"][0]["bbox"] = [-0.2, 0, 40.4, 30.01]
    write(three / "annotations/instances_train2017.json", data)
    assert read(three).splits["train"][0].boxes.tolist() == [[0, 0, 40, 30]]


def change(section: str, **values: object):
    def spoil(data: dict) -> None:
        data[section][1].update(values)

    return spoil


def repeat(section: str):
    def spoil(data: dict) -> None:
        data[section].append(copy.deepcopy(data[section][0]))

    return spoil


def drop(section: str, key: str):
    def spoil(data: dict) -> None:
        del data[section][1][key]

    return spoil


SPOILS = {
    "outside": (
        change("annotations", bbox=[35, 5, 10, 10]),
        r"annotations\[1\], id 2\): box 35 5 45",
    ),
    "area": (change("annotations", bbox=[5, 5, 0, 3]), "has no area"),
    "negative": (change("annotations", bbox=[5, 5, -4, 3]), "has no area"),
    "nan": (change("annotations", bbox=[5, 5, float("nan"), 3]), "finite"),
    "three": (change("annotations", bbox=[5, 5, 4]), "not 4 numbers"),
    "words": (change("annotations", bbox=[5, 5, 4, "x"]), "not 4 numbers"),
    "picture": (change("annotations", image_id=99), "another picture, image id 99"),
    "category": (change("annotations", category_id=99), "unknown class, category id 99"),
    "box id": (change("annotations", id=1), "id 1 is already taken"),
    "no box": (drop("annotations", "bbox"), "bbox is missing"),
    "missing": (change("images", file_name="z.png"), r"z\.png is missing"),
    "long name": (change("images", file_name="9" * 300 + ".png"), r"9\.png is missing"),
    "size": (change("images", width=41), "picture of 41x30 pixels"),
    "image id": (repeat("images"), r"images\[2\], id 1\): id 1 is already taken"),
    "id kind": (change("annotations", id="two"), "id is 'two', not a whole number"),
    "no name": (drop("images", "file_name"), "file_name is missing"),
}


@pytest.mark.parametrize("kind", SPOILS)
def test_defects_stop_or_are_left_out(three, kind):
    spoil, message = SPOILS[kind]
    data = content(*"ab")
    spoil(data)
    path = write(three / "annotations/instances_train2017.json", data)
    with pytest.raises(EdgebedError, match=message) as caught:
        read(three)
    assert "--skip-bad" in str(caught.value)
    # The line that is named is the one on which the entry starts.
    line = int(str(caught.value).split(".json:")[1].split()[0])
    assert path.read_text().splitlines()[line - 1].strip() == "{"
    left = read(three, skip_bad=True)
    assert len(left.left_out) == 1 and "a" in [s.name for s in left.splits["train"]]


def test_the_same_picture_in_two_splits(three):
    write(three / "annotations/instances_val2017.json", content("c", "a"))
    with pytest.raises(EdgebedError, match=r"'a\.png' is already in split 'train'"):
        read(three)
    assert [s.name for s in read(three, skip_bad=True).splits["val"]] == ["c"]


def test_broken_json_names_the_line(three):
    path = three / "annotations/instances_val2017.json"
    path.write_text('{"images": [],\n "annotations": [}\n')
    with pytest.raises(EdgebedError, match=r"val2017\.json:2: broken JSON"):
        read(three)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "an object with images"),
        ({"images": [], "annotations": []}, "section 'categories' is missing"),
        ({"images": [3], "annotations": [], "categories": []}, "not a list of objects"),
    ],
)
def test_other_json_is_refused(three, data, message):
    write(three / "annotations/instances_val2017.json", data)
    with pytest.raises(EdgebedError, match=message):
        read(three)


def test_a_category_given_twice_is_refused(three):
    data = content("c")
    data["categories"] = [*CATEGORIES, {"id": 9, "name": "cat"}]
    write(three / "annotations/instances_val2017.json", data)
    with pytest.raises(EdgebedError, match=r"'cat' .* twice"):
        read(three)


def test_a_missing_split_is_named(three):
    (three / "annotations/instances_test2017.json").unlink()
    with pytest.raises(EdgebedError, match="split 'test' is missing"):
        read(three)
    assert set(read(three, splits=("train", "val")).splits) == {"train", "val"}


def test_an_empty_split_is_refused(three):
    write(three / "annotations/instances_val2017.json", content())
    with pytest.raises(EdgebedError, match="split 'val' is empty"):
        read(three)


def test_unlisted_name_is_found(root):
    write(root / "all.json", content(*"abcd"))
    for split, names in {"train": "a\nq", "val": "c", "test": "d"}.items():
        (root / f"{split}.txt").write_text(names)
    with pytest.raises(EdgebedError, match=r"train\.txt:2: 'q' is not an image"):
        read(root)


def test_boxes_are_float32(three):
    assert read(three).splits["train"][0].boxes.dtype == np.float32


def test_names_stay_unique_across_split_folders(root):
    for split, shade in {"train": 10, "valid": 20, "test": 30}.items():
        write(root / split / "_annotations.coco.json", content("x"))
        Image.new("RGB", (40, 30), (shade, 0, 0)).save(root / split / "x.png")
    data = read(root)
    assert [part[0].name for part in data.splits.values()] == ["train_x", "val_x", "test_x"]
    assert [part[0].load()[0, 0, 0] for part in data.splits.values()] == [10, 20, 30]


def test_a_stray_xml_file_does_not_make_it_voc(three):
    (three / "project.xml").write_text("<project/>")
    assert len(read(three).splits["train"]) == 2
