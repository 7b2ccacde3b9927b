from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgebed.data.readers import read
from edgebed.errors import EdgebedError


def box(
    name: str = "cat", corners: tuple[object, ...] = (11, 6, 20, 15), difficult: int = 0
) -> str:
    x1, y1, x2, y2 = corners
    return (
        f"<object><name>{name}</name><difficult>{difficult}</difficult>\n<bndbox><xmin>{x1}</xmin>"
        f"<ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
    )


class Folder:
    """A small VOC folder to be spoiled: a, b in train, c in val, d in test; all 40 x 30 pixels."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for part in ("Annotations", "JPEGImages", "ImageSets/Main"):
            (root / part).mkdir(parents=True)
        for name in "abcd":
            self.picture(name)
            self.annotation(name, box())
        self.lists(train="a\nb\n", val="c\n", test="d\n")

    def picture(self, name: str, size: tuple[int, int] = (40, 30)) -> Path:
        path = self.root / "JPEGImages" / f"{name}.jpg"
        noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
        Image.fromarray(noise).save(path)
        return path

    def annotation(
        self, name: str, *boxes: str, filename: str = "", size: tuple[object, object] = (40, 30)
    ) -> Path:
        path = self.root / "Annotations" / f"{name}.xml"
        path.write_text(
            f"<annotation>\n<filename>{filename or name + '.jpg'}</filename>\n"
            f"<size><width>{size[0]}</width><height>{size[1]}</height></size>\n"
            + "\n".join(boxes)
            + "\n</annotation>\n"
        )
        return path

    def lists(self, **splits: str) -> None:
        for split, text in splits.items():
            (self.root / "ImageSets/Main" / f"{split}.txt").write_text(text)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "set")


def test_reads_boxes_as_edges(folder):
    folder.annotation(
        "a", box(), box("dog", (1, 1, 40, 30), difficult=1), box("dog", (0, 0, 40, 30))
    )
    data = read(folder.root)
    assert data.name == "set" and data.classes == ("cat", "dog") and data.left_out == ()
    assert [s.name for s in data.splits["train"]] == ["a", "b"]
    first = data.splits["train"][0]
    assert first.boxes.tolist() == [[10, 5, 20, 15], [0, 0, 40, 30], [0, 0, 40, 30]]
    assert first.labels.tolist() == [0, 1, 1] and first.difficult.tolist() == [False, True, False]
    assert (first.width, first.height) == (40, 30) and first.load().shape == (30, 40, 3)


def test_given_classes_fix_the_order(folder):
    data = read(folder.root, classes=("dog", "cat"))
    assert data.classes == ("dog", "cat") and data.splits["val"][0].labels.tolist() == [1]


def test_a_picture_without_objects_is_kept(folder):
    folder.annotation("b")
    assert len(read(folder.root).splits["train"][1].labels) == 0


def test_without_split_files_the_draw_is_stated_and_repeatable(folder):
    for path in (folder.root / "ImageSets/Main").iterdir():
        path.unlink()
    for i in range(16):
        folder.picture(f"e{i}")
        folder.annotation(f"e{i}", box())
    data = read(folder.root)
    assert [len(data.splits[s]) for s in ("train", "val", "test")] == [14, 3, 3]
    assert "seed" in data.notes[0] and "14/3/3" in data.notes[0]
    again = read(folder.root)
    assert [s.name for s in again.splits["test"]] == [s.name for s in data.splits["test"]]
    names = [s.name for part in data.splits.values() for s in part]
    assert len(names) == len(set(names)) == 20


def spoil_outside(f: Folder) -> str:
    f.annotation("b", box(), box("cat", (30, 5, 41, 15)))
    return r"b\.xml:7: box 29 4 41 15 reaches outside the 40x30 picture"


def spoil_negative(f: Folder) -> str:
    f.annotation("b", box("cat", (-3, 5, 20, 15)))
    return r"b\.xml:5: box -4 4 20 15 reaches outside"


def spoil_area(f: Folder) -> str:
    f.annotation("b", box("cat", (20, 5, 20, 15)))
    return r"b\.xml:5: box .* has no area"


def spoil_order(f: Folder) -> str:
    f.annotation("b", box("cat", (20, 15, 30, 5)))
    return r"b\.xml:5: box .* has no area"


def spoil_number(f: Folder) -> str:
    f.annotation("b", box("cat", ("ten", 5, 20, 15)))
    return r"b\.xml:5: <xmin> is 'ten', not a number"


def spoil_nan(f: Folder) -> str:
    f.annotation("b", box("cat", ("nan", 5, 20, 15)))
    return r"b\.xml:5: box .* finite"


def spoil_missing_corner(f: Folder) -> str:
    f.annotation("b", box().replace("<ymax>15</ymax>", ""))
    return r"b\.xml:5: <ymax> is missing"


def spoil_no_name(f: Folder) -> str:
    f.annotation("b", box(""))
    return r"b\.xml:4: the object has no name"


def spoil_no_bounds(f: Folder) -> str:
    f.annotation("b", "<object><name>cat</name></object>")
    return r"b\.xml:4: the object has no bndbox"


def spoil_picture_missing(f: Folder) -> str:
    (f.root / "JPEGImages/b.jpg").unlink()
    return r"b\.xml:2: picture .*b\.jpg is missing"


def spoil_filename(f: Folder) -> str:
    f.annotation("b", box(), filename="a.jpg")
    return r"b\.xml:2: the annotation is for another picture, 'a\.jpg'"


def spoil_size(f: Folder) -> str:
    f.annotation("b", box(), size=(80, 60))
    return r"b\.xml:3: the annotation is for a picture of 80x60 pixels, .*b\.jpg has 40x30"


def spoil_not_an_image(f: Folder) -> str:
    (f.root / "JPEGImages/b.jpg").write_text("not a picture")
    return r"b\.jpg: not an image"


def spoil_empty_file(f: Folder) -> str:
    (f.root / "JPEGImages/b.jpg").write_bytes(b"")
    return r"b\.jpg: not an image"


def spoil_truncated(f: Folder) -> str:
    path = f.root / "JPEGImages/b.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    return r"b\.jpg: the picture is cut short"


def spoil_xml(f: Folder) -> str:
    path = f.annotation("b", box())
    path.write_text(path.read_text().replace("</size>", "</sise>"))
    return r"b\.xml:3: broken XML: mismatched tag"


def spoil_empty_xml(f: Folder) -> str:
    (f.root / "Annotations/b.xml").write_text("")
    return r"b\.xml:1: broken XML"


def spoil_entities(f: Folder) -> str:
    path = f.annotation("b", box())
    path.write_text('<!DOCTYPE x [<!ENTITY e SYSTEM "/etc/passwd">]>\n' + path.read_text())
    return r"b\.xml:1: a document type is not allowed"


def spoil_root(f: Folder) -> str:
    (f.root / "Annotations/b.xml").write_text("<html></html>")
    return r"b\.xml:1: <html> where <annotation>"


def spoil_annotation_missing(f: Folder) -> str:
    (f.root / "Annotations/b.xml").unlink()
    return r"train\.txt:2: annotation .*b\.xml is missing"


def spoil_twice(f: Folder) -> str:
    f.lists(train="a\nb\na\n")
    return r"train\.txt:3: 'a' is already listed in .*train\.txt:1"


def spoil_two_splits(f: Folder) -> str:
    f.lists(test="d\nb\n")
    return r"test\.txt:2: 'b' is already listed in .*train\.txt:2"


def spoil_two_pictures(f: Folder) -> str:
    Image.new("RGB", (40, 30)).save(f.root / "JPEGImages/b.png")
    f.annotation("b", box(), filename="b.bmp")
    return r"b\.xml:2: two pictures fit the annotation"


SPOILS = [value for name, value in sorted(globals().items()) if name.startswith("spoil_")]


@pytest.mark.parametrize("spoil", SPOILS, ids=lambda s: s.__name__[6:])
def test_defects_stop_or_are_left_out(folder, spoil):
    message = spoil(folder)
    with pytest.raises(EdgebedError, match=message) as caught:
        read(folder.root)
    assert "--skip-bad" in str(caught.value) and "\n" not in str(caught.value)
    data = read(folder.root, skip_bad=True)
    assert len(data.left_out) == 1
    names = {s.name for part in data.splits.values() for s in part}
    assert names >= {"a", "c", "d"}


def test_unknown_class_suggests_the_near_one(folder):
    folder.annotation("b", box("cart"))
    with pytest.raises(EdgebedError, match=r"b\.xml:4.*unknown class 'cart'.*did you mean 'cat'"):
        read(folder.root, classes=("cat", "dog"))


def test_further_defects_are_counted(folder):
    folder.annotation("b", box("cat", (5, 5, 5, 5)), box("cat", (1, 1, 99, 9)))
    folder.annotation("c", box(), size=(1, 1))
    with pytest.raises(EdgebedError, match="2 more defects"):
        read(folder.root)
    folder.lists(val="c\n")
    folder.annotation("c", box())
    data = read(folder.root, skip_bad=True)
    assert len(data.left_out) == 2 and len(data.splits["train"][1].labels) == 0


def test_a_missing_split_is_named(folder):
    (folder.root / "ImageSets/Main/val.txt").unlink()
    with pytest.raises(EdgebedError, match=r"val\.txt: split 'val' is missing"):
        read(folder.root)
    assert set(read(folder.root, splits=("train", "test")).splits) == {"train", "test"}


@pytest.mark.parametrize("skip_bad", [False, True])
def test_an_empty_split_is_refused(folder, skip_bad):
    folder.lists(val="\n\n")
    with pytest.raises(EdgebedError, match="split 'val' is empty"):
        read(folder.root, skip_bad=skip_bad)


def test_an_annotation_may_name_a_picture_of_another_stem(folder):
    folder.picture("IMG_1")
    (folder.root / "JPEGImages/b.jpg").unlink()
    folder.annotation("b", box(), filename="C:\\photos\\IMG_1.jpg")
    assert read(folder.root).splits["train"][1].load().shape == (30, 40, 3)


def test_a_picture_that_breaks_later_is_named_on_loading(folder):
    sample = read(folder.root).splits["train"][1]
    path = folder.root / "JPEGImages/b.jpg"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(EdgebedError, match=r"b\.jpg"):
        sample.load()
    path.unlink()
    with pytest.raises(EdgebedError, match=r"b\.jpg: the picture is missing"):
        sample.load()


def test_grey_and_palette_pictures_become_rgb(folder):
    for name, mode in (("a", "L"), ("b", "P")):
        (folder.root / f"JPEGImages/{name}.jpg").unlink()
        Image.new(mode, (40, 30)).save(folder.root / f"JPEGImages/{name}.png")
    for sample in read(folder.root).splits["train"]:
        assert sample.load().shape == (30, 40, 3)


def test_pictures_beside_annotations(tmp_path):
    folder = Folder(tmp_path / "x")
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in (*folder.root.glob("Annotations/*"), *folder.root.glob("JPEGImages/*")):
        path.rename(flat / path.name)
    (flat / "train.txt").write_text("a\nb")
    assert len(read(flat, splits=("train",)).splits["train"]) == 2


def test_an_unknown_folder_says_what_was_looked_for(tmp_path):
    with pytest.raises(EdgebedError, match=r"Annotations.*instances_"):
        read(tmp_path)
    with pytest.raises(EdgebedError, match="no such"):
        read(tmp_path / "absent")


@pytest.mark.parametrize(
    ("name", "classes", "counts"),
    [
        ("bccd", {"RBC", "WBC", "Platelets"}, None),
        ("raccoon", {"raccoon"}, None),
        ("facemask", {"with_mask", "without_mask"}, None),
        ("faces_video", {"face"}, None),
    ],
)
def test_real_data_reads_whole(data_dir, name, classes, counts):
    root = data_dir / name
    data = read(root)
    assert set(data.classes) == classes and data.left_out == ()
    texts = list((root / "annotations_voc").glob("*.xml"))
    assert sum(len(part) for part in data.splits.values()) == len(texts)
    objects = sum(path.read_text().count("<object>") for path in texts)
    assert sum(len(s.labels) for part in data.splits.values() for s in part) == objects
    for split in data.splits:
        sample = data.splits[split][0]
        assert sample.load().shape == (sample.height, sample.width, 3)
