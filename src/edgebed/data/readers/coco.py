"""COCO instance annotations: one JSON file a split, or one for all with lists of names.

A file for a split is `annotations/instances_<split>*.json`, `annotations/<split>.json`,
`<split>.json` or `<split>/_annotations.coco.json` (`valid` may stand for `val`). Pictures are
looked for beside the JSON file and in `images/<split>`, `images`, `<split>*`. Boxes are x, y,
width, height in pixels from 0; `iscrowd` becomes `difficult`.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgebed.data.dataset import Dataset
from edgebed.data.readers import splits
from edgebed.data.readers.defects import DefectError, Findings
from edgebed.data.readers.json_lines import Entries, Entry, parse
from edgebed.data.readers.picture_files import is_file
from edgebed.data.readers.records import RawBox, Record, to_sample
from edgebed.errors import EdgebedError

ALIASES = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
PATTERNS = (
    "annotations/instances_{}*.json",
    "annotations/{}.json",
    "{}.json",
    "instances_{}*.json",
    "{}/_annotations.coco.json",
)
LISTS = ("ImageSets/Main", "ImageSets", "splits", ".")


@dataclass(frozen=True)
class Layout:
    """The JSON files of a COCO data set: one for each split, or `single` for all."""

    root: Path
    files: Mapping[str, Path]
    single: Path | None = None


def find_layout(path: Path, wanted: Sequence[str]) -> Layout | None:
    """Return the JSON files, or None if there are none.

    Raises:
        EdgebedError: some of the wanted splits have a file and one has not.
    """
    if path.is_file():
        return Layout(path.parent, {}, path) if path.suffix == ".json" else None
    files = {split: found for split in wanted if (found := _split_file(path, split))}
    missing = [split for split in wanted if split not in files]
    if files and missing:
        raise EdgebedError(
            f"split {missing[0]!r} is missing",
            where=str(path),
            why=f"found {', '.join(str(f.relative_to(path)) for f in files.values())}",
            try_=f"add {missing[0]}.json",
        )
    if files:
        return Layout(path, files)
    every = sorted([*path.glob("annotations/*.json"), *path.glob("*.json")])
    return Layout(path, {}, every[0]) if len(every) == 1 else None


def read(
    layout: Layout, classes: Sequence[str] | None, wanted: Sequence[str], skip_bad: bool
) -> Dataset:
    """Read and check a COCO data set; see `edgebed.data.readers.read`."""
    findings = Findings()
    notes: list[str] = []
    if layout.single is not None:
        parts, names, notes = _from_single(layout, layout.single, wanted, findings)
    else:
        files = {split: _File.of(path, findings) for split, path in layout.files.items()}
        parts = {s: list(file.records(layout.root, s, findings)) for s, file in files.items()}
        names = tuple(dict.fromkeys(n for file in files.values() for n in file.categories.values()))
        _check_disjoint(parts, findings)
        parts = _named_apart(parts)
    labels = tuple(classes) if classes is not None else names
    samples = {
        split: tuple(s for r in records if (s := to_sample(r, labels, findings)) is not None)
        for split, records in parts.items()
    }
    if not skip_bad:
        findings.stop()
    splits.check_filled({split: len(part) for split, part in samples.items()}, layout.root)
    return Dataset(layout.root.resolve().name, labels, samples, findings.lines(), tuple(notes))


def expectation() -> str:
    """Return what a COCO folder must contain, for the message when none is found."""
    return "COCO: annotations/instances_<split>.json, <split>.json or a single .json file"


@dataclass(frozen=True)
class _File:
    """The checked sections of one JSON file."""

    images: tuple[Entry, ...]
    boxes: Mapping[int, list[RawBox]]
    categories: Mapping[int, str]
    path: Path

    @staticmethod
    def of(path: Path, findings: Findings) -> _File:
        try:
            sections = parse(path, ("images", "annotations", "categories"))
        except DefectError as defect:
            raise EdgebedError(defect.what, where=defect.where) from None
        categories = _categories(sections["categories"])
        images = tuple(_unique(sections["images"], findings))
        known = {entry.integer("id") for entry in images}
        boxes = _boxes(sections["annotations"], known, categories, findings)
        return _File(images, boxes, categories, path)

    def records(self, root: Path, split: str, findings: Findings) -> Iterator[Record]:
        """Yield a record for each image entry that has what it needs."""
        folders = [self.path.parent, root / "images" / split, root / "images", root / split, root]
        folders += sorted(p for p in root.glob(f"{split}*") if p.is_dir())
        for entry in self.images:
            try:
                name = Path(entry.text("file_name"))
                width, height = (
                    entry.number(k) if k in entry.data else 0.0 for k in ("width", "height")
                )
            except DefectError as defect:
                findings.defects.append(defect)
                continue
            picture = next((f / name for f in folders if is_file(f / name)), root / "images" / name)
            boxes = tuple(self.boxes.get(entry.integer("id"), ()))
            yield Record(entry, _flat(name), picture, width, height, boxes)


def _from_single(
    layout: Layout, path: Path, wanted: Sequence[str], findings: Findings
) -> tuple[dict[str, list[Record]], tuple[str, ...], list[str]]:
    file = _File.of(path, findings)
    records = {r.name: r for r in _distinct(file.records(layout.root, "", findings), findings)}
    notes: list[str] = []
    lists = splits.read_lists([layout.root / part for part in LISTS], wanted, findings)
    if lists is None:
        lists, note = splits.draw(records, wanted)
        notes.append(note)
    parts: dict[str, list[Record]] = {split: [] for split in wanted}
    for split, entries in splits.check_overlap(lists, findings).items():
        for entry in entries:
            record = records.get(entry.name) or records.get(_flat(Path(entry.name)))
            if record is None:
                findings.add(entry.where, f"{entry.name!r} is not an image of {path}")
            else:
                parts[split].append(record)
    return parts, tuple(file.categories.values()), notes


def _categories(entries: Entries) -> dict[int, str]:
    names: dict[int, str] = {}
    for entry in entries:
        try:
            identity, name = entry.integer("id"), entry.text("name")
        except DefectError as defect:
            raise EdgebedError(defect.what, where=defect.where) from None
        if identity in names or name in names.values():
            raise EdgebedError(
                f"category {name!r} (id {identity}) is there twice", where=str(entry)
            )
        names[identity] = name
    return dict(sorted(names.items()))


def _unique(entries: Entries, findings: Findings) -> Iterator[Entry]:
    """Yield the entries whose id is new."""
    seen: set[int] = set()
    for entry in entries:
        try:
            identity = entry.integer("id")
        except DefectError as defect:
            findings.defects.append(defect)
            continue
        if identity in seen:
            findings.add(entry, f"id {identity} is already taken")
            continue
        seen.add(identity)
        yield entry


def _boxes(
    entries: Entries, images: set[int], categories: Mapping[int, str], findings: Findings
) -> dict[int, list[RawBox]]:
    boxes: dict[int, list[RawBox]] = {}
    for entry in _unique(entries, findings):
        try:
            image, category = entry.integer("image_id"), entry.integer("category_id")
            x, y, width, height = entry.numbers("bbox", 4)
        except DefectError as defect:
            findings.defects.append(defect)
            continue
        if image not in images:
            findings.add(entry, f"the annotation is for another picture, image id {image}")
        elif category not in categories:
            findings.add(entry, f"unknown class, category id {category}")
        else:
            corners = (x, y, x + width, y + height)
            crowd = bool(entry.data.get("iscrowd", 0))
            boxes.setdefault(image, []).append(
                RawBox(entry, entry, categories[category], corners, crowd)
            )
    return boxes


def _distinct(records: Iterator[Record], findings: Findings) -> Iterator[Record]:
    seen: set[str] = set()
    for record in records:
        if record.name in seen:
            findings.add(record.where, f"a picture named {record.name!r} is already there")
            continue
        seen.add(record.name)
        yield record


def _check_disjoint(parts: dict[str, list[Record]], findings: Findings) -> None:
    """Leave out pictures that appear twice, in one split or in two."""
    first: dict[Path, str] = {}
    for split, records in parts.items():
        for record in list(records):
            key = record.picture.resolve()
            if key in first:
                findings.add(
                    record.where, f"{record.picture.name!r} is already in split {first[key]!r}"
                )
                records.remove(record)
            first.setdefault(key, split)


def _named_apart(parts: dict[str, list[Record]]) -> dict[str, list[Record]]:
    """Put the split before names that different pictures of two splits share."""
    counts = Counter(record.name for records in parts.values() for record in records)
    return {
        split: [r if counts[r.name] == 1 else replace(r, name=f"{split}_{r.name}") for r in records]
        for split, records in parts.items()
    }


def _flat(name: Path) -> str:
    """Return the path without its ending, as one name."""
    return "_".join(part for part in name.with_suffix("").parts if part != name.anchor)


def _split_file(root: Path, split: str) -> Path | None:
    names = ALIASES.get(split, (split,))
    found = (sorted(root.glob(p.format(n))) for n, p in itertools.product(names, PATTERNS))
    return next((paths[0] for paths in found if paths), None)
