"""A detection data set in memory: pictures by reference, boxes as arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

UInt8 = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Sample:
    """One annotated picture.

    Attributes:
        name: identifier, unique in its data set (file stem).
        load: returns the picture, uint8, height x width x 3, RGB.
        width: picture width in pixels.
        height: picture height in pixels.
        boxes: n x 4 float32, x1 y1 x2 y2 in pixels, 0 <= x1 < x2 <= width.
        labels: n int64, index into the data set's classes.
        difficult: n bool; not counted by VOC AP, ignored in training.
    """

    name: str
    load: Callable[[], UInt8]
    width: int
    height: int
    boxes: Float32
    labels: Int64
    difficult: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Dataset:
    """Class names and the samples of each split (`train`, `val`, `test`)."""

    name: str
    classes: tuple[str, ...]
    splits: dict[str, tuple[Sample, ...]]
    left_out: tuple[str, ...] = ()
    """One line for each annotation that `skip_bad` left out, with file and line."""
    notes: tuple[str, ...] = ()
    """Choices made on reading that a user should know, such as a split drawn by seed."""

    @property
    def digest(self) -> str:
        """SHA-256 of classes, splits, names, sizes and annotations; pixels are not looked at."""
        content = hashlib.sha256(repr(self.classes).encode())
        for split, samples in sorted(self.splits.items()):
            content.update(repr((split, len(samples))).encode())
            for one in samples:
                content.update(repr((one.name, one.width, one.height, len(one.labels))).encode())
                for array in (one.boxes, one.labels, one.difficult):
                    content.update(array.tobytes())
        return content.hexdigest()
