"""From raw annotations of any format to checked samples."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgebed.data.dataset import Float32, Sample
from edgebed.data.readers.defects import DefectError, Findings
from edgebed.data.readers.picture_files import PictureHeader, header, load
from edgebed.errors import did_you_mean

ROUNDING_PIXELS = 0.5
"""Boxes that leave the picture by less are cut to it: tools write rounded sums of real numbers."""


@dataclass(frozen=True)
class RawBox:
    """An annotated box as written.

    Attributes:
        where: file and line of the corners (or something that turns into that as a string).
        named: the same of the class name.
        label: class name.
        corners: x1 y1 x2 y2 as edges in picture pixels, already by the format's own rule.
        difficult: VOC's flag (COCO: a crowd).
    """

    where: object
    named: object
    label: str
    corners: tuple[float, float, float, float]
    difficult: bool = False


@dataclass(frozen=True)
class Record:
    """One annotated picture as written; width and height are 0 where they are not stated."""

    where: object
    name: str
    picture: Path
    width: float
    height: float
    boxes: tuple[RawBox, ...]


def class_names(records: Iterable[Record]) -> tuple[str, ...]:
    """Return the labels in order of first appearance."""
    return tuple(dict.fromkeys(box.label for record in records for box in record.boxes))


def to_sample(record: Record, classes: Sequence[str], findings: Findings) -> Sample | None:
    """Check a record against its picture; None when the picture cannot be used.

    Defects go to `findings`; a bad box is left out, a bad picture leaves out the sample.
    """
    try:
        picture = header(record.picture, record.where)
        _check_size(record, picture)
    except DefectError as defect:
        findings.defects.append(defect)
        return None
    boxes = [box for box in record.boxes if _usable(box, picture, classes, findings)]
    return Sample(
        name=record.name,
        load=functools.partial(load, record.picture),
        width=picture.width,
        height=picture.height,
        boxes=_corners(boxes, picture),
        labels=np.array([classes.index(box.label) for box in boxes], np.int64),
        difficult=np.array([box.difficult for box in boxes], np.bool_),
    )


def _corners(boxes: Sequence[RawBox], picture: PictureHeader) -> Float32:
    limit = np.array([picture.width, picture.height] * 2, np.float32)
    corners = np.array([box.corners for box in boxes], np.float32).reshape(-1, 4)
    cut: Float32 = np.clip(corners, 0, limit)
    return cut


def _check_size(record: Record, picture: PictureHeader) -> None:
    stated, real = (record.width, record.height), (picture.width, picture.height)
    if 0 not in stated and stated != real:
        raise DefectError(
            record.where,
            f"the annotation is for a picture of {stated[0]:g}x{stated[1]:g} pixels, "
            f"{record.picture} has {real[0]}x{real[1]}",
        )


def _usable(
    box: RawBox, picture: PictureHeader, classes: Sequence[str], findings: Findings
) -> bool:
    shown = "{:g} {:g} {:g} {:g}".format(*box.corners)
    if box.label not in classes:
        findings.add(box.named, f"unknown class {box.label!r}", did_you_mean(box.label, classes))
    elif not all(map(math.isfinite, box.corners)):
        findings.add(box.where, f"box {shown} is not made of finite numbers")
    elif not _has_area(box.corners, picture):
        findings.add(box.where, f"box {shown} has no area")
    elif _leaves(box.corners, picture):
        size = f"{picture.width}x{picture.height}"
        findings.add(box.where, f"box {shown} reaches outside the {size} picture")
    else:
        return True
    return False


def _has_area(corners: tuple[float, float, float, float], picture: PictureHeader) -> bool:
    x1, y1, x2, y2 = corners
    if _leaves(corners, picture):
        return x2 > x1 and y2 > y1
    return min(x2, picture.width) > max(x1, 0) and min(y2, picture.height) > max(y1, 0)


def _leaves(corners: tuple[float, float, float, float], picture: PictureHeader) -> bool:
    x1, y1, x2, y2 = corners
    beyond = max(-x1, -y1, x2 - picture.width, y2 - picture.height)
    return beyond >= ROUNDING_PIXELS
