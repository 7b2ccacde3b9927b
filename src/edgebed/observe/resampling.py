"""The ways pipelines bring a picture to the network's size, each as one matrix an axis.

Sources: the sampling positions of OpenCV's `resize`, of Pillow's (filters stretched when shrinking)
and of TensorFlow 1 (no half-pixel centres, `align_corners`), as their manuals describe them.
Pillow resizes bytes along the rows first, and rounds to bytes before it goes on along the columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Final, Literal

import numpy as np

from edgebed.program.types import Array

Placing = Literal["stretch", "letterbox", "crop", "crop_corner", "crop_central"]
CENTRAL_CROP: Final = 0.875
"""Share of each side that the usual evaluation crop of ImageNet pipelines keeps."""


def _nearest(source: int, size: int) -> Array:
    return _picked(((2 * np.arange(size) + 1) * source) // (2 * size), source)


def _nearest_summed(source: int, size: int) -> Array:
    """Pillow's: the place is a sum of float64 steps, which decides where two pixels are as near."""
    step = source / size
    return _picked(np.cumsum([step * 0.5, *[step] * (size - 1)]).astype(int), source)


def _nearest_floor(source: int, size: int) -> Array:
    return _picked((np.arange(size) * source) // size, source)


def _picked(index: Array, source: int) -> Array:
    return np.asarray(np.eye(source, dtype=np.float32)[np.clip(index, 0, source - 1)])


def _linear(position: Array, source: int) -> Array:
    position = np.clip(position, 0, source - 1)
    low = np.floor(position).astype(int)
    part = (position - low)[:, None]
    return np.asarray(_picked(low, source) * (1 - part) + _picked(low + 1, source) * part)


def _bilinear(source: int, size: int) -> Array:
    return _linear((np.arange(size) + 0.5) * source / size - 0.5, source)


def _bilinear_legacy(source: int, size: int) -> Array:
    return _linear(np.arange(size) * source / size, source)


def _bilinear_corners(source: int, size: int) -> Array:
    return _linear(np.arange(size) * (source - 1) / max(size - 1, 1), source)


def _area(source: int, size: int) -> Array:
    if size > source:
        return _bilinear(source, size)
    edges = np.arange(size + 1) * source / size
    pixel = np.arange(source)
    overlap = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    return np.asarray(np.maximum(overlap, 0) * size / source)


def _cubic_weight(x: Array, a: float) -> Array:
    x = np.abs(x)
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return np.asarray(np.where(x < 1, near, np.where(x < 2, far, 0.0)))


def _bicubic(source: int, size: int) -> Array:
    """Four taps without smoothing, a = -0.75; places beyond the border repeat its pixel."""
    position = (np.arange(size) + 0.5) * source / size - 0.5
    low = np.floor(position).astype(int)
    result = np.zeros((size, source), np.float32)
    for tap in range(-1, 3):
        weight = _cubic_weight(position - (low + tap), -0.75)
        np.add.at(result, (np.arange(size), np.clip(low + tap, 0, source - 1)), weight)
    return result


def _smoothed(support: float, filter_: Callable[[Array], Array], source: int, size: int) -> Array:
    """Pillow's way: the filter is stretched by the scale when shrinking, then normalised."""
    scale = max(source / size, 1.0)
    centre = (np.arange(size) + 0.5) * source / size
    distance = (np.arange(source) + 0.5 - centre[:, None]) / scale
    weights = np.where((distance > -support) & (distance <= support), filter_(distance), 0.0)
    return np.asarray(weights / weights.sum(1, keepdims=True))


def _ones(x: Array) -> Array:
    return np.ones_like(x)


def _triangle(x: Array) -> Array:
    return np.asarray(np.maximum(1 - np.abs(x), 0))


def _lanczos(x: Array) -> Array:
    return np.asarray(np.sinc(x) * np.sinc(x / 3))


METHODS: Final[Mapping[str, Callable[[int, int], Array]]] = {
    "area": _area,
    "bilinear": _bilinear,
    "nearest": _nearest,
    "bicubic": _bicubic,
    "smoothed bilinear": partial(_smoothed, 1.0, _triangle),
    "smoothed bicubic": partial(_smoothed, 2.0, partial(_cubic_weight, a=-0.5)),
    "box": partial(_smoothed, 0.5, _ones),
    "Lanczos": partial(_smoothed, 3.0, _lanczos),
    "nearest by summed steps": _nearest_summed,
    "nearest without half-pixel centres": _nearest_floor,
    "bilinear without half-pixel centres": _bilinear_legacy,
    "bilinear with aligned corners": _bilinear_corners,
}
BETWEEN: Final = frozenset({"smoothed bilinear", "smoothed bicubic", "box", "Lanczos"})
"""Methods of Pillow, which holds bytes between the two axes."""
PLACINGS: Final[tuple[Placing, ...]] = (
    "stretch", "letterbox", "crop", "crop_corner", "crop_central",
)  # fmt: skip


@dataclass(frozen=True)
class Sampler:
    """Brings pictures to one size, with the rows asked for only.

    Attributes:
        height: of the result in pixels.
        width: of the result in pixels.
        rows: of the result that are computed.
    """

    height: int
    width: int
    rows: tuple[int, ...]

    def placed(self, picture: Array, placing: Placing, method: str) -> Array:
        """Return the picture, rows x width x channels, float32; letterbox borders are NaN.

        Args:
            picture: height x width x channels, any numbers.
            placing: how the aspect ratio is treated.
            method: one of METHODS.
        """
        seen = _cut(picture, placing, self.height, self.width)
        top, left, high, wide = self._target(seen, placing)
        down, across = _weights(method, seen.shape[0], high), _weights(method, seen.shape[1], wide)
        inside = [row - top for row in self.rows if top <= row < top + high]
        result = np.full((len(self.rows), self.width, seen.shape[2]), np.nan, np.float32)
        used = down[inside]
        taps = np.flatnonzero(used.any(0))
        source = seen[taps].astype(np.float32)
        if method in BETWEEN and _are_bytes(source):
            filled = np.tensordot(
                used[:, taps], np.floor(_along_rows(across, source) + 0.5), (1, 0)
            )
        else:
            filled = _along_rows(across, np.tensordot(used[:, taps], source, (1, 0)))
        lines = [at for at, row in enumerate(self.rows) if top <= row < top + high]
        result[lines, left : left + wide] = np.clip(filled, 0, 255)
        return result

    def _target(self, seen: Array, placing: Placing) -> tuple[int, int, int, int]:
        if placing != "letterbox":
            return 0, 0, self.height, self.width
        share = min(self.height / seen.shape[0], self.width / seen.shape[1])
        high, wide = (max(1, int(side * share + 0.5)) for side in seen.shape[:2])
        return (self.height - high) // 2, (self.width - wide) // 2, high, wide


@lru_cache(maxsize=64)
def _weights(method: str, source: int, size: int) -> Array:
    return METHODS[method](source, size).astype(np.float32)


def _along_rows(across: Array, rows: Array) -> Array:
    """Return rows x source columns x channels at the new width, within a byte."""
    columns = np.ascontiguousarray(np.moveaxis(rows, 1, -1)) @ across.T
    return np.asarray(np.clip(np.moveaxis(columns, -1, 1), 0, 255))


def _are_bytes(values: Array) -> bool:
    """Say whether a picture's values are whole numbers, judged by its first rows."""
    return bool(np.array_equal(values[:4], np.rint(values[:4])))


def _cut(picture: Array, placing: Placing, height: int, width: int) -> Array:
    rows, columns = picture.shape[:2]
    if placing in ("stretch", "letterbox"):
        return picture
    if placing == "crop_central":
        high, wide = (max(1, int(side * CENTRAL_CROP + 0.5)) for side in (rows, columns))
    else:
        share = min(rows / height, columns / width)
        high, wide = (max(1, int(side * share + 0.5)) for side in (height, width))
    top, left = ((rows - high) // 2, (columns - wide) // 2)
    if placing == "crop_corner":
        top = left = 0
    return picture[top : top + high, left : left + wide]
