"""Pascal VOC folders: one XML file a picture.

Layout: `Annotations` or `annotations_voc`, `JPEGImages` or `images`, and lists of names in
`ImageSets/Main`, `ImageSets` or the folder itself (`train.txt`, `val.txt`, `test.txt`). XML files
and pictures may also lie side by side in the folder.

Coordinates: VOC numbers pixels from 1 and includes both ends, so the edges of a box are
x1 = xmin - 1 and x2 = xmax. Annotation tools differ by a pixel; a 0 is read as 1, so that a box
from 0 to the width covers the whole picture. xmax <= xmin has no area and is a defect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgebed.data.dataset import Dataset, Sample
from edgebed.data.readers import picture_files, splits
from edgebed.data.readers.defects import DefectError, Findings
from edgebed.data.readers.records import RawBox, Record, class_names, to_sample
from edgebed.data.readers.xml_lines import Element, parse

ANNOTATIONS = ("annotations_voc", "Annotations", "annotations")
PICTURES = ("images", "JPEGImages")
LISTS = ("ImageSets/Main", "ImageSets", ".")


@dataclass(frozen=True)
class Layout:
    """Where the parts of a VOC folder are."""

    root: Path
    annotations: Path
    pictures: Path


def find_layout(root: Path) -> Layout | None:
    """Return the parts of a VOC folder, or None if this is not one."""
    pictures = next((root / name for name in PICTURES if (root / name).is_dir()), None)
    for texts in (root / name for name in ANNOTATIONS):
        if any(texts.glob("*.xml")):
            return Layout(root, texts, pictures or texts)
    beside = picture_files.find(pictures or root)
    if any(path.stem in beside for path in root.glob("*.xml")):
        return Layout(root, root, pictures or root)
    return None


def read(
    layout: Layout,
    classes: Sequence[str] | None,
    wanted: Sequence[str],
    skip_bad: bool,
) -> Dataset:
    """Read and check a VOC folder; see `edgebed.data.readers.read`."""
    findings, notes = Findings(), []
    lists = splits.read_lists([layout.root / part for part in LISTS], wanted, findings)
    if lists is None:
        lists, note = splits.draw((path.stem for path in layout.annotations.glob("*.xml")), wanted)
        notes.append(note)
    lists = splits.check_overlap(lists, findings)
    records = _read_records(layout, lists, findings)
    by_name = [records[name] for name in sorted(records)]
    names = tuple(classes) if classes is not None else class_names(by_name)
    samples = {
        split: tuple(_samples(entries, records, names, findings))
        for split, entries in lists.items()
    }
    if not skip_bad:
        findings.stop()
    splits.check_filled({split: len(part) for split, part in samples.items()}, layout.root)
    return Dataset(layout.root.resolve().name, names, samples, findings.lines(), tuple(notes))


def _read_records(
    layout: Layout, lists: Mapping[str, list[splits.Listed]], findings: Findings
) -> dict[str, Record]:
    pictures, records = picture_files.find(layout.pictures), {}
    for entry in (entry for entries in lists.values() for entry in entries):
        path = layout.annotations / f"{entry.name}.xml"
        try:
            if not path.is_file():
                raise DefectError(entry.where, f"annotation {path} is missing")
            records[entry.name] = _record(path, pictures, layout.pictures, findings)
        except DefectError as defect:
            findings.defects.append(defect)
    return records


def _samples(
    entries: Sequence[splits.Listed],
    records: Mapping[str, Record],
    names: Sequence[str],
    findings: Findings,
) -> list[Sample]:
    known = (records[entry.name] for entry in entries if entry.name in records)
    found = (to_sample(record, names, findings) for record in known)
    return [sample for sample in found if sample is not None]


def _record(
    path: Path, pictures: Mapping[str, list[Path]], folder: Path, findings: Findings
) -> Record:
    root = parse(path)
    if root.tag != "annotation":
        raise DefectError(f"{path}:{root.line}", f"<{root.tag}> where <annotation> is expected")
    size = root.find("size") or Element("size", root.line)
    width, height = (_number(path, size, tag, 0) for tag in ("width", "height"))
    picture = _picture(path, root, path.stem, pictures, folder)
    boxes = []
    for element in root.all("object"):
        try:
            boxes.append(_box(path, element))
        except DefectError as defect:
            findings.defects.append(defect)
    return Record(f"{path}:{size.line}", path.stem, picture, width, height, tuple(boxes))


def _picture(
    path: Path, root: Element, name: str, pictures: Mapping[str, list[Path]], folder: Path
) -> Path:
    """Return the picture of an annotation: the one with its stem, which `filename` must confirm."""
    stated = Path(root.value("filename").replace("\\", "/")).name
    same = pictures.get(name, [])
    element = root.find("filename") or root
    where = f"{path}:{element.line}"
    if same and stated and Path(stated).stem != name:
        raise DefectError(where, f"the annotation is for another picture, {stated!r}")
    exact = [picture for picture in same if picture.name == stated]
    if len(same) > 1 and not exact:
        both = " and ".join(picture.name for picture in same[:2])
        raise DefectError(where, f"two pictures fit the annotation, {both}")
    if same:
        return (exact or same)[0]
    if stated and picture_files.is_file(folder / stated):
        return folder / stated
    raise DefectError(where, f"picture {folder / (stated or name)} is missing")


def _box(path: Path, element: Element) -> RawBox:
    label, bounds = element.value("name"), element.find("bndbox")
    if not label:
        raise DefectError(f"{path}:{element.line}", "the object has no name")
    if bounds is None:
        raise DefectError(f"{path}:{element.line}", "the object has no bndbox")
    x1, y1, x2, y2 = (_number(path, bounds, tag) for tag in ("xmin", "ymin", "xmax", "ymax"))
    where = f"{path}:{bounds.line}"
    named = f"{path}:{(element.find('name') or element).line}"
    difficult = element.value("difficult") in ("1", "true", "True")
    if x2 <= x1 or y2 <= y1:  # before the shift to edges, which would give it a pixel
        return RawBox(where, named, label, (x1, y1, x2, y2), difficult)
    return RawBox(where, named, label, (_edge(x1), _edge(y1), x2, y2), difficult)


def _edge(first: float) -> float:
    return 0.0 if 0 <= first < 1 else first - 1


def _number(path: Path, element: Element, tag: str, default: float | None = None) -> float:
    text = element.value(tag)
    if not text and default is not None:
        return default
    try:
        return float(text)
    except ValueError:
        child = element.find(tag) or element
        what = f"<{tag}> is {text!r}, not a number" if text else f"<{tag}> is missing"
        raise DefectError(f"{path}:{child.line}", what) from None


def expectation() -> str:
    """Return what a VOC folder must contain, for the message when none is found."""
    return f"VOC: {' or '.join(ANNOTATIONS)} with .xml files, {' or '.join(PICTURES)}"
