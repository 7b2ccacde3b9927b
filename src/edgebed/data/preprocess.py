"""From a picture to the network's input tensor, defined in integers so that C can repeat it.

The order is: resize, camera bits, channel order, offset. A camera module scales inside the sensor
and cuts its bits when it sends a pixel, so the bits are cut after resizing (fill bytes included).

Resizing is separable. Along an axis of S source and D destination pixels, destination pixel j is
a sum of source pixels i with integer weights w(j, i) >= 0 that add up to N for every j:

* `nearest`: N = 1; w = 1 for i = ((2 j + 1) S) div (2 D), else 0.
* `bilinear`: N = 256; p = ((2 j + 1) S 256) div (2 D) - 128 cut to 0 .. 256 (S - 1);
  with i = p div 256 and f = p mod 256: w(j, i) = 256 - f and w(j, i + 1) = f.
* `area` with D <= S: N = S; w(j, i) is the overlap of [j S, (j + 1) S) with [i D, (i + 1) D).
  `area` with D > S is `bilinear`. The rule is applied to each axis on its own.

A destination byte is (2 sum + Nx Ny) div (2 Nx Ny), where sum = sum of wy wx byte over the source:
one rounding, half up, nothing rounded in between. `div` is integer division; no operand is
negative except p before it is cut. The sum fits uint32 for pictures of up to 16.8 million pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgebed.data.dataset import Float32, UInt8
from edgebed.errors import EdgebedError
from edgebed.program.contract import ImageInput

Int8 = npt.NDArray[np.int8]
UInt16 = npt.NDArray[np.uint16]
Sums = npt.NDArray[Any]  # uint8, or what the largest sum needs
Interpolation = Literal["area", "bilinear", "nearest"]


@dataclass(frozen=True)
class Rectangle:
    """A part of a picture in whole pixels: left upper corner and size."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Geometry:
    """Where the picture lies in the network input: `source` is scaled onto `target`.

    Attributes:
        source: the part of the picture that the network sees, picture pixels.
        target: where it lands, network input pixels; the rest is fill.
    """

    source: Rectangle
    target: Rectangle

    @property
    def scale(self) -> Float32:
        """Network input pixels per picture pixel: x, y."""
        horizontal = self.target.width / self.source.width
        return np.array([horizontal, self.target.height / self.source.height], np.float32)

    def to_input(self, boxes: Float32) -> Float32:
        """Map boxes (n x 4, x1 y1 x2 y2, picture pixels) to network input pixels, uncut."""
        points = boxes.reshape(-1, 2, 2) - _corner(self.source)
        return (points * self.scale + _corner(self.target)).astype(np.float32).reshape(-1, 4)

    def to_picture(self, boxes: Float32) -> Float32:
        """Map boxes (n x 4, x1 y1 x2 y2, network input pixels) to picture pixels, uncut."""
        points = boxes.reshape(-1, 2, 2) - _corner(self.target)
        return (points / self.scale + _corner(self.source)).astype(np.float32).reshape(-1, 4)


def geometry(width: int, height: int, image_input: ImageInput) -> Geometry:
    """Place a picture of `width` x `height` pixels in the network input.

    Letterbox: the tighter axis is filled, the other is rounded half up (at least 1 pixel) and
    centred, the odd pixel of border at the right or bottom. Crop: the largest part of the input's
    aspect ratio, rounded and centred likewise.
    """
    w, h = image_input.width, image_input.height
    whole, full = Rectangle(0, 0, width, height), Rectangle(0, 0, w, h)
    wide = width * h >= height * w
    if image_input.resize == "letterbox":
        size = (w, _ratio(height * w, width)) if wide else (_ratio(width * h, height), h)
        return Geometry(whole, _centred(w, h, *size))
    if image_input.resize == "crop":
        size = (_ratio(height * w, h), height) if wide else (width, _ratio(width * h, w))
        return Geometry(_centred(width, height, *size), full)
    return Geometry(whole, full)


def to_tensor(picture: UInt8, image_input: ImageInput) -> Int8:
    """Return the network's input for a picture.

    Args:
        picture: uint8, height x width x 3, RGB, any size.
        image_input: the contract's description of the input.

    Returns:
        int8, 3 x image_input.height x image_input.width.

    Raises:
        EdgebedError: the array is not such a picture.
    """
    return frame_to_tensor(to_frame(picture, image_input), image_input)


def to_frame(picture: UInt8, image_input: ImageInput) -> UInt8:
    """Resize a picture as the contract says; uint8, input height x width x 3, RGB, all bits."""
    _check_picture(picture)
    place = geometry(picture.shape[1], picture.shape[0], image_input)
    source, target = place.source, place.target
    seen = picture[source.y : source.y + source.height, source.x : source.x + source.width]
    scaled = resize(seen, target.width, target.height, image_input.interpolation)
    if (target.width, target.height) == (image_input.width, image_input.height):
        return scaled
    frame = np.full((image_input.height, image_input.width, 3), image_input.fill, np.uint8)
    frame[target.y : target.y + target.height, target.x : target.x + target.width] = scaled
    return frame


def frame_to_tensor(frame: UInt8, image_input: ImageInput) -> Int8:
    """Cut the camera's bits, order the channels and add the offset.

    Args:
        frame: uint8, [...] x height x width x 3, RGB, already of the input's size.
        image_input: the contract's description of the input.

    Returns:
        int8, [...] x 3 x height x width.
    """
    if image_input.offset != -128:
        raise EdgebedError(
            f"offset {image_input.offset} does not map bytes onto int8",
            where="contract.input.offset",
            why="bytes are 0..255, int8 is -128..127",
            try_="offset -128",
        )
    seen = cut_bits(frame) if image_input.camera_bits == "rgb565" else frame
    ordered = seen if image_input.channels == "rgb" else seen[..., ::-1]
    signed = (ordered ^ np.uint8(0x80)).view(np.int8)  # byte - 128 in two's complement
    return np.ascontiguousarray(np.moveaxis(signed, -1, -3))


def to_picture(tensor: Int8, image_input: ImageInput) -> UInt8:
    """Return the RGB picture (uint8, height x width x 3) that an input tensor (int8) shows."""
    picture = np.moveaxis(tensor.view(np.uint8) ^ np.uint8(0x80), -3, -1)
    return np.ascontiguousarray(picture if image_input.channels == "rgb" else picture[..., ::-1])


def to_rgb565(frame: UInt8) -> UInt16:
    """Pack RGB (uint8, [...] x 3) into 16-bit words: red 15..11, green 10..5, blue 4..0."""
    red, green, blue = (frame[..., i].astype(np.uint16) for i in range(3))
    words = (red >> 3) << 11 | (green >> 2) << 5 | blue >> 3
    return words.astype(np.uint16)


def from_rgb565(words: UInt16) -> UInt8:
    """Unpack to RGB (uint8, [...] x 3); the missing low bits repeat the high ones."""
    red, green, blue = words >> 11, words >> 5 & 0x3F, words & 0x1F
    channels = (red << 3 | red >> 2, green << 2 | green >> 4, blue << 3 | blue >> 2)
    return np.stack(channels, -1).astype(np.uint8)


def cut_bits(frame: UInt8) -> UInt8:
    """Return what `from_rgb565(to_rgb565(frame))` does: r = (r & 0xf8) | r >> 5, and so on."""
    keep = np.array([0xF8, 0xFC, 0xF8], np.uint8)
    return (frame & keep) | (frame >> np.array([5, 6, 5], np.uint8))


def resize(picture: UInt8, width: int, height: int, interpolation: Interpolation) -> UInt8:
    """Scale to `width` x `height` by the module's integer formula.

    Args:
        picture: uint8, rows x columns x channels.
        width: destination columns.
        height: destination rows.
        interpolation: see the module's text.

    Returns:
        uint8, height x width x channels.
    """
    rows, columns = picture.shape[:2]
    if (rows, columns) == (height, width):
        return picture.copy()
    if interpolation == "nearest":
        return picture[_nearest(rows, height)][:, _nearest(columns, width)]
    across, down = (_taps(*sizes, interpolation) for sizes in ((columns, width), (rows, height)))
    total = across.total * down.total
    kind = np.min_scalar_type(255 * total + total // 2).type  # of the largest sum
    # Each axis is summed exactly. Rows, which lie together in memory, go first where they shrink.
    if height > rows:
        sums = _sum_rows(_sum_columns(picture, across, kind), down, kind)
    else:
        sums = _sum_columns(_sum_rows(picture, down, kind), across, kind)
    # Half up: (2 sum + total) div (2 total), without the factor 2.
    sums += kind(total // 2)
    sums //= kind(total)
    return sums.astype(np.uint8)


def _nearest(source: int, size: int) -> npt.NDArray[np.int64]:
    return ((2 * np.arange(size) + 1) * source) // (2 * size)


@dataclass(frozen=True)
class _Taps:
    """Destination pixel j is the sum over k of weights[k, j] * source pixel indices[k, j].

    Divided by the greatest common divisor of all weights, which changes no rounded result:
    sums of common ratios then fit 16 bits.
    """

    indices: npt.NDArray[np.int64]
    weights: npt.NDArray[np.int64]
    total: int


def _taps(source: int, size: int, interpolation: Interpolation) -> _Taps:
    area = interpolation == "area" and size <= source
    indices, weights = _area(source, size) if area else _bilinear(source, size)
    used = weights.any(1)
    divisor = int(np.gcd.reduce(weights, axis=None))
    total = (source if area else 256) // divisor
    return _Taps(np.minimum(indices, source - 1)[used], weights[used] // divisor, total)


def _bilinear(source: int, size: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    position = ((2 * np.arange(size) + 1) * source * 256) // (2 * size) - 128
    position = np.clip(position, 0, 256 * (source - 1))
    low, part = position >> 8, position & 255
    return np.stack([low, low + 1]), np.stack([256 - part, part])


def _area(source: int, size: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Overlaps, both axes in units in which a source pixel is `size` long."""
    edges = np.arange(size + 1) * source
    first, last = edges[:-1] // size, (edges[1:] - 1) // size
    indices = first + np.arange(int((last - first).max()) + 1)[:, None]
    begin, end = indices * size, (indices + 1) * size
    overlap = np.minimum(end, edges[1:]) - np.maximum(begin, edges[:-1])
    return indices, np.maximum(overlap, 0)


def _sum_rows(data: Sums, taps: _Taps, kind: type[Any]) -> Sums:
    """Weight and add along the first axis."""
    if taps.indices.size < len(data):  # `bilinear` leaves out most of a large picture
        used, positions = np.unique(taps.indices, return_inverse=True)
        data, taps = data[used], replace(taps, indices=positions.reshape(taps.indices.shape))
    flat = np.ascontiguousarray(data, dtype=kind).reshape(len(data), -1)
    sums = np.zeros((taps.indices.shape[1], flat.shape[1]), kind)
    for indices, weights in zip(taps.indices, taps.weights, strict=True):
        part = flat[indices]
        part *= weights.astype(kind)[:, None]
        sums += part
    return sums.reshape(-1, *data.shape[1:])


def _sum_columns(data: Sums, taps: _Taps, kind: type[Any]) -> Sums:
    # Whole rows are copied and multiplied far faster than single pixels.
    sums = _sum_rows(np.swapaxes(data, 0, 1), taps, kind)
    return np.ascontiguousarray(np.swapaxes(sums, 0, 1))


def _corner(part: Rectangle) -> Float32:
    return np.array([part.x, part.y], np.float32)


def _centred(outer_width: int, outer_height: int, width: int, height: int) -> Rectangle:
    width, height = min(max(width, 1), outer_width), min(max(height, 1), outer_height)
    return Rectangle((outer_width - width) // 2, (outer_height - height) // 2, width, height)


def _ratio(numerator: int, denominator: int) -> int:
    return (2 * numerator + denominator) // (2 * denominator)


def _check_picture(picture: UInt8) -> None:
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        raise EdgebedError(
            f"not a picture: {picture.dtype} array of shape {'x'.join(map(str, picture.shape))}",
            why="a picture is uint8, height x width x 3, RGB",
        )
