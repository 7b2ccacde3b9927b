"""Augmentation for small detection sets: more views of few pictures, boxes kept true.

One view is built like this: a window is cut from the cached picture at a random scale and place
(or four windows from four pictures meet at a random point: the mosaic), flipped, its colours are
turned and its brightness changed by one 3x4 matrix, then noise and a hole may be added. Scale 1
means objects are as large as the device will see them, in a mosaic as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from edgebed.data.dataset import Float32, Int64, Sample, UInt8
from edgebed.data.preprocess import geometry, to_frame
from edgebed.errors import EdgebedError
from edgebed.program.contract import ImageInput

Float64 = npt.NDArray[np.float64]
Range = tuple[float, float]
FILTERS = (Image.Resampling.BOX, Image.Resampling.BILINEAR, Image.Resampling.HAMMING)
TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
FROM_YIQ = np.linalg.inv(TO_YIQ)


class View(NamedTuple):
    """One training example.

    Attributes:
        picture: uint8, height x width x 3, RGB.
        boxes: n x 4 float32, x1 y1 x2 y2 in pixels of the picture, inside it.
        labels: n int64, class indices.
    """

    picture: UInt8
    boxes: Float32
    labels: Int64


@dataclass(frozen=True)
class Cache:
    """All pictures of a split in memory at a reduced size, boxes to match.

    Attributes:
        width: network input width in pixels.
        height: network input height in pixels.
        views: one per sample, each showing what the network input shows; `difficult` boxes are
            left out.
    """

    width: int
    height: int
    views: tuple[View, ...]

    @staticmethod
    def of(
        samples: Sequence[Sample],
        image_input: ImageInput,
        factor: float = 1.5,
        progress: Callable[[int], None] | None = None,
    ) -> Cache:
        """Load and resize every picture as the contract does, but up to `factor` times as large.

        Args:
            samples: the split.
            image_input: gives size, resize form and interpolation.
            factor: above 1 keeps detail for views that enlarge; pictures that have less are cached
                at their own size, but never below the network input's.
            progress: called with the number of pictures done.
        """
        views = []
        for number, sample in enumerate(samples, 1):
            views.append(_cached(sample, image_input, factor))
            if progress is not None:
                progress(number)
        return Cache(image_input.width, image_input.height, tuple(views))

    def __len__(self) -> int:
        return len(self.views)


@dataclass(frozen=True)
class Augmentation:
    """How views vary. Probabilities are 0..1; ranges are drawn from evenly.

    Attributes:
        mosaic: probability that a view shows parts of four pictures.
        mixup: probability that a second view is laid over the first at equal strength.
        flip_horizontal: probability of a mirror image left to right.
        flip_vertical: probability of a mirror image top to bottom; only where up means nothing.
        quarter_turns: turn by 0, 90, 180 or 270 degrees; only where up means nothing, and only
            square inputs.
        scale: size of objects against what the device will see.
        mosaic_scale: the same inside a mosaic, where less of each picture is seen.
        focus: probability that a window is placed to contain the centre of a random object.
        aspect: largest stretch of one axis against the other, 1.0 = none.
        translate: how far the window may leave the picture, as a fraction of the window.
        hue: largest turn of the colour circle, degrees, either way.
        saturation: factor on colourfulness.
        brightness: largest shift, fraction of full scale, either way.
        contrast: factor around mid-grey.
        tint: largest change of a single channel's gain, either way.
        noise: largest amplitude of pixel noise, in byte steps.
        cutout: probability of one hole of even colour.
        cutout_size: side of the hole as a fraction of the picture's.
        least_visible: boxes that keep less than this fraction of their area are dropped.
        least_side: boxes with a side below this many pixels are dropped.
    """

    mosaic: float = 0.5
    mixup: float = 0.0
    flip_horizontal: float = 0.5
    flip_vertical: float = 0.0
    quarter_turns: bool = False
    scale: Range = (0.75, 1.35)
    mosaic_scale: Range = (0.5, 1.15)
    focus: float = 0.5
    aspect: float = 1.15
    translate: float = 0.15
    hue: float = 12.0
    saturation: Range = (0.6, 1.5)
    brightness: float = 0.12
    contrast: Range = (0.75, 1.3)
    tint: float = 0.06
    noise: int = 8
    cutout: float = 0.15
    cutout_size: Range = (0.08, 0.3)
    least_visible: float = 0.4
    least_side: float = 3.0

    def __post_init__(self) -> None:
        """Refuse values that no view can be made with; EdgebedError names the field."""
        chances = ("mosaic", "mixup", "flip_horizontal", "flip_vertical", "focus", "cutout")
        _within(self, (*chances, "translate", "least_visible"), 0, 1)
        _within(self, ("scale", "mosaic_scale"), 0.05, 20)
        _within(self, ("cutout_size",), 0, 1)
        _within(self, ("aspect",), 1, 10)
        _within(self, ("noise",), 0, 127)
        if self.translate > 0.9:
            raise EdgebedError(
                f"translate {self.translate:g} moves the window off the picture",
                where="augmentation.translate",
                try_="at most 0.9",
            )

    def apply(
        self,
        rng: np.random.Generator,
        cache: Cache,
        index: int,
        size: tuple[int, int] | None = None,
    ) -> View:
        """Return a random view of picture `index`.

        Args:
            rng: the only source of chance.
            cache: the split.
            index: which picture leads the view.
            size: width and height of the view; None takes the network input's.
        """
        width, height = size or (cache.width, cache.height)
        view = self._view(rng, cache, index, width, height)
        if self.mixup and rng.random() < self.mixup:
            other = self._view(rng, cache, int(rng.integers(len(cache))), width, height)
            view = _laid_over(view, other)
        view = self._turned(rng, view)
        picture = self._coloured(rng, view.picture)
        return self._holed(rng, View(picture, view.boxes, view.labels))

    def _view(
        self, rng: np.random.Generator, cache: Cache, index: int, width: int, height: int
    ) -> View:
        if rng.random() >= self.mosaic:
            source = cache.views[index]
            return self._part(rng, source, (width, height), self._scales(rng, cache, source))
        centre_x = int(width * rng.uniform(0.3, 0.7))
        centre_y = int(height * rng.uniform(0.3, 0.7))
        others = [index, *rng.integers(len(cache), size=3).tolist()]
        tiles = [
            (x, y, w, h)
            for y, h in ((0, centre_y), (centre_y, height - centre_y))
            for x, w in ((0, centre_x), (centre_x, width - centre_x))
        ]
        picture = np.empty((height, width, 3), np.uint8)
        parts = []
        for (x, y, w, h), other in zip(tiles, rng.permutation(others).tolist(), strict=True):
            source = cache.views[other]
            scales = self._scales(rng, cache, source, mosaic=True)
            part = self._part(rng, source, (w, h), scales)
            picture[y : y + h, x : x + w] = part.picture
            parts.append(part._replace(boxes=part.boxes + np.array([x, y, x, y], np.float32)))
        boxes = np.concatenate([part.boxes for part in parts])
        return View(picture, boxes, np.concatenate([part.labels for part in parts]))

    def _scales(
        self, rng: np.random.Generator, cache: Cache, source: View, mosaic: bool = False
    ) -> Float64:
        """Return output pixels per pixel of `source` along x and y."""
        low, high = self.mosaic_scale if mosaic else self.scale
        scale = math.exp(rng.uniform(math.log(low), math.log(high)))
        stretch = self.aspect ** rng.uniform(-0.5, 0.5)
        rows, columns = source.picture.shape[:2]
        return np.array(
            [scale * stretch * cache.width / columns, scale / stretch * cache.height / rows]
        )

    def _part(
        self, rng: np.random.Generator, source: View, size: tuple[int, int], scales: Float64
    ) -> View:
        """Cut one window of `source` and scale it to `size` (width, height)."""
        window = np.array(size) / scales
        start = self._start(rng, source, window)
        picture = _window(rng, source.picture, start, window, size)
        boxes = ((source.boxes - np.tile(start, 2)) * np.tile(scales, 2)).astype(np.float32)
        return self._cut(View(picture, boxes, source.labels))

    def _start(self, rng: np.random.Generator, source: View, window: Float64) -> Float64:
        """Return the window's corner: anywhere inside, with `translate` of it outside at most."""
        bounds = np.array([source.picture.shape[1], source.picture.shape[0]], np.float64)
        slack, over = bounds - window, self.translate * np.minimum(window, bounds)
        low, high = np.minimum(slack, 0) - over, np.maximum(slack, 0) + over
        if len(source.boxes) and rng.random() < self.focus:
            box = source.boxes[rng.integers(len(source.boxes))]
            centre = (box[:2] + box[2:]) / 2
            low, high = np.maximum(low, centre - window), np.minimum(high, centre)
        start: Float64 = low + rng.random(2) * (high - low)
        return start

    def _cut(self, view: View) -> View:
        """Cut boxes to the picture and drop those that lost too much."""
        height, width = view.picture.shape[:2]
        limit = np.array([width, height, width, height], np.float32)
        boxes = np.clip(view.boxes, 0, limit)
        sides = boxes[:, 2:] - boxes[:, :2]
        whole = np.prod(view.boxes[:, 2:] - view.boxes[:, :2], 1)
        keep = (sides.min(1, initial=np.inf) >= self.least_side) & (
            np.prod(sides, 1) >= self.least_visible * whole
        )
        return View(view.picture, boxes[keep], view.labels[keep])

    def _turned(self, rng: np.random.Generator, view: View) -> View:
        if rng.random() < self.flip_horizontal:
            view = mirrored(view, horizontal=True)
        if rng.random() < self.flip_vertical:
            view = mirrored(view, horizontal=False)
        if self.quarter_turns and rng.random() < 0.5:
            view = quarter_turned(view)
        if self.quarter_turns and rng.random() < 0.5:
            view = mirrored(mirrored(view, horizontal=True), horizontal=False)
        return view

    def _coloured(self, rng: np.random.Generator, picture: UInt8) -> UInt8:
        matrix = self._colour_matrix(rng)
        image = Image.fromarray(np.ascontiguousarray(picture))
        coloured = np.asarray(image.convert("RGB", tuple(matrix.ravel().tolist())))
        amplitude = int(rng.integers(self.noise + 1))
        if not amplitude:
            return coloured
        # Even noise: drawn ten times as fast as normal noise, and bytes do not show the difference.
        grain = rng.integers(-amplitude, amplitude + 1, picture.shape, np.int8)
        noisy = np.add(coloured, grain, dtype=np.int16)
        result: UInt8 = np.clip(noisy, 0, 255, out=noisy).astype(np.uint8)
        return result

    def _colour_matrix(self, rng: np.random.Generator) -> Float64:
        """Return 3 x 4: hue and saturation turn and stretch the colour plane of YIQ."""
        angle = math.radians(rng.uniform(-self.hue, self.hue))
        strength = rng.uniform(*self.saturation)
        cosine, sine = strength * math.cos(angle), strength * math.sin(angle)
        plane = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
        contrast = rng.uniform(*self.contrast)
        gain = contrast * (1 + rng.uniform(-self.tint, self.tint, 3))
        shift = 127.5 * (1 - contrast) + 255 * rng.uniform(-self.brightness, self.brightness)
        turned = gain[:, None] * (FROM_YIQ @ plane @ TO_YIQ)
        return np.concatenate((turned, np.full((3, 1), shift)), 1)

    def _holed(self, rng: np.random.Generator, view: View) -> View:
        if rng.random() >= self.cutout:
            return view
        height, width = view.picture.shape[:2]
        w, h = (max(int(side * rng.uniform(*self.cutout_size)), 1) for side in (width, height))
        x, y = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
        picture = view.picture.copy()
        picture[y : y + h, x : x + w] = rng.integers(0, 256, 3, np.uint8)
        hole = np.array([x, y, x + w, y + h], np.float32)
        inner = np.minimum(view.boxes[:, 2:], hole[2:]) - np.maximum(view.boxes[:, :2], hole[:2])
        hidden = np.prod(np.maximum(inner, 0), 1)
        whole = np.prod(view.boxes[:, 2:] - view.boxes[:, :2], 1)
        keep = hidden <= (1 - self.least_visible) * whole
        return View(picture, view.boxes[keep], view.labels[keep])


def _within(settings: Augmentation, names: Sequence[str], low: float, high: float) -> None:
    for name in names:
        value = getattr(settings, name)
        ends = value if isinstance(value, tuple | list) else (value, value)
        if not low <= ends[0] <= ends[1] <= high:
            raise EdgebedError(
                f"{name} {value} is out of range",
                where=f"augmentation.{name}",
                try_=f"between {low:g} and {high:g}, the smaller number first",
            )


def mirrored(view: View, horizontal: bool) -> View:
    """Return the mirror image, left to right or top to bottom."""
    axis = 1 if horizontal else 0
    low, high = 1 - axis, 3 - axis
    boxes = view.boxes.copy()
    size = view.picture.shape[axis]
    boxes[:, low], boxes[:, high] = size - view.boxes[:, high], size - view.boxes[:, low]
    return View(np.flip(view.picture, axis), boxes, view.labels)


def transposed(view: View) -> View:
    """Return the view with x and y exchanged: a mirror image about the diagonal."""
    return View(view.picture.transpose(1, 0, 2), view.boxes[:, [1, 0, 3, 2]], view.labels)


def quarter_turned(view: View) -> View:
    """Return the view turned clockwise by 90 degrees; one that is not square stays as it is."""
    if view.picture.shape[0] != view.picture.shape[1]:
        return view
    return mirrored(transposed(view), horizontal=True)


def _cached(sample: Sample, network: ImageInput, factor: float) -> View:
    detail = max(sample.width / network.width, sample.height / network.height, 1.0)
    factor = min(factor, detail)
    size = (round(network.width * factor), round(network.height * factor))
    image_input = replace(network, width=size[0], height=size[1])
    place = geometry(sample.width, sample.height, image_input)
    limit = np.array([image_input.width, image_input.height] * 2, np.float32)
    boxes = np.clip(place.to_input(sample.boxes), 0, limit)
    keep = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]) & ~sample.difficult
    return View(to_frame(sample.load(), image_input), boxes[keep], sample.labels[keep])


def _window(
    rng: np.random.Generator,
    picture: UInt8,
    start: Float64,
    window: Float64,
    size: tuple[int, int],
) -> UInt8:
    """Scale a window of real position to `size`; outside lies about the picture's mean colour."""
    bounds = np.array([picture.shape[1], picture.shape[0]])
    low, high = np.clip(start, 0, bounds), np.clip(start + window, 0, bounds)
    scale = np.array(size) / window
    # Of a window that is nearly outside, one pixel still shows the picture.
    first = np.minimum(np.round((low - start) * scale).astype(int), np.array(size) - 1)
    last = np.maximum(np.round((high - start) * scale).astype(int), first + 1)
    last = np.minimum(last, size)
    enlarging = scale.max() > 1
    kind = Image.Resampling.BILINEAR if enlarging else FILTERS[int(rng.integers(len(FILTERS)))]
    image = Image.fromarray(picture)
    part = (int(last[0] - first[0]), int(last[1] - first[1]))
    scaled = np.asarray(image.resize(part, kind, box=(*low.tolist(), *high.tolist())))
    if part == size:
        return scaled
    result = np.empty((size[1], size[0], 3), np.uint8)
    mean = picture[::16, ::16].mean((0, 1)) + rng.uniform(-40, 40)
    result[:] = np.clip(mean, 0, 255).astype(np.uint8)
    result[first[1] : last[1], first[0] : last[0]] = scaled
    return result


def _laid_over(first: View, second: View) -> View:
    # One rounding, half up, in 16 bits.
    total = np.add(first.picture, second.picture, dtype=np.uint16)
    picture = ((total + 1) >> 1).astype(np.uint8)
    boxes = np.concatenate((first.boxes, second.boxes))
    return View(picture, boxes, np.concatenate((first.labels, second.labels)))
