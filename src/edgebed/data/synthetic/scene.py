"""One scene: what lies where, what of it is visible, and how it looks through a cheap camera."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from edgebed.data.dataset import Float32, Int64, UInt8
from edgebed.data.synthetic.clutter import CLUTTER, background
from edgebed.data.synthetic.light import Light, grain
from edgebed.data.synthetic.shapes import SHAPES, Shape

LEAST_VISIBLE = 0.4
"""Objects of which less is visible (hidden or outside the picture) are not annotated."""

COUNTS = (0.04, 0.2, 0.28, 0.24, 0.14, 0.1)
"""Probability of 0, 1, 2, ... objects in a scene."""


@dataclass(frozen=True)
class Thing:
    """Something that lies in the scene; lengths in pixels, angle in radians.

    `label` is the class index, -1 for clutter.
    """

    shape: Shape
    label: int
    x: float
    y: float
    radius: float
    angle: float
    genes: Float32


@dataclass(frozen=True)
class Layout:
    """A scene before it is drawn: its light and its things, back to front."""

    light: Light
    things: tuple[Thing, ...]


@dataclass(frozen=True)
class Patch:
    """The part of a thing that falls into the picture.

    Attributes:
        rows: rows of the picture.
        columns: columns of the picture.
        alpha: coverage 0..1 of each pixel.
        x: the thing's own coordinates of each pixel, in radii.
        y: likewise.
        area: covered pixels, those outside the picture included.
    """

    rows: slice
    columns: slice
    alpha: Float32
    x: Float32
    y: Float32
    area: float


def generator(seed: int, index: int, purpose: int) -> np.random.Generator:
    """Return the source of chance of one scene: independent of all other scenes."""
    return np.random.default_rng([seed, index, purpose])


def layout(rng: np.random.Generator, size: int) -> Layout:
    """Throw a scene: objects that overlap moderately, clutter below them and sometimes above."""
    turn, height = rng.uniform(-math.pi, 0), rng.uniform(0.45, 1.1)
    flat = math.cos(height)
    light = Light(flat * math.cos(turn), flat * math.sin(turn), math.sin(height))
    below = [_clutter(rng, size) for _ in range(int(rng.integers(0, 5)))]
    objects: list[Thing] = []
    for _ in range(int(rng.choice(len(COUNTS), p=COUNTS))):
        objects.append(_object(rng, size, objects))
    objects.sort(key=lambda thing: thing.y)  # what lies lower is nearer
    above = [_clutter(rng, size)] if rng.random() < 0.3 else []
    return Layout(light, (*below, *objects, *above))


def visible_boxes(things: Sequence[Thing], size: int) -> tuple[Float32, Int64]:
    """Return the boxes (n x 4 pixels, of the visible extent) and labels of a layout."""
    free = np.ones((size, size), np.float32)
    boxes, labels = [], []
    for thing in reversed(things):
        patch = cover(thing, size)
        visible = patch.alpha * free[patch.rows, patch.columns]
        free[patch.rows, patch.columns] *= 1 - patch.alpha
        seen = visible.sum() >= LEAST_VISIBLE * patch.area and visible.max() > 0.5
        if thing.label >= 0 and seen:
            boxes.append(_extent(visible, patch))
            labels.append(thing.label)
    return np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int64)


def cover(thing: Thing, size: int) -> Patch:
    """Return which pixels a thing covers; edges are anti-aliased by distance."""
    reach = thing.radius * 1.02 + 1
    left, top = math.floor(thing.x - reach), math.floor(thing.y - reach)
    count = math.ceil(2 * reach) + 1
    px = (np.arange(left, left + count, dtype=np.float32) + 0.5 - thing.x) / thing.radius
    py = ((np.arange(top, top + count, dtype=np.float32) + 0.5 - thing.y) / thing.radius)[:, None]
    cosine, sine = np.float32(math.cos(thing.angle)), np.float32(math.sin(thing.angle))
    x, y = px * cosine + py * sine, py * cosine - px * sine
    distance = thing.shape.outline(x, y, thing.genes) * np.float32(thing.radius)
    alpha = np.clip(0.5 - distance, 0, 1).astype(np.float32)
    rows = slice(max(top, 0), max(min(top + count, size), 0))
    columns = slice(max(left, 0), max(min(left + count, size), 0))
    inside = (
        slice(rows.start - top, rows.stop - top),
        slice(columns.start - left, columns.stop - left),
    )
    return Patch(rows, columns, alpha[inside], x[inside], y[inside], float(alpha.sum()))


def draw(scene: Layout, rng: np.random.Generator, size: int) -> UInt8:
    """Return the picture of a layout, uint8, size x size x 3, RGB.

    Args:
        scene: what to draw.
        rng: chance for texture, lens and noise.
        size: width and height in pixels.
    """
    canvas = background(rng, size)
    for thing in scene.things:
        patch = cover(thing, size)
        if patch.alpha.size:
            _shadow(canvas, thing, patch, scene.light)
            _place(canvas, thing, patch, scene.light)
    return _photograph(canvas, scene.light, rng)


def _object(rng: np.random.Generator, size: int, others: Sequence[Thing]) -> Thing:
    label = int(rng.integers(len(SHAPES)))
    shape = SHAPES[label]
    longest = 1.25 if shape.name == "bottle" else 1.0
    radius = size * longest * math.exp(rng.uniform(math.log(0.065), math.log(0.27)))
    angle = float(np.clip(rng.normal(0, 0.6), -1, 1)) * shape.tilt
    if shape.tilt > 3:
        angle = rng.uniform(-math.pi, math.pi)
    genes = rng.random(16, np.float32)
    margin = 0.55 * radius
    for _ in range(12):
        x, y = rng.uniform(margin, size - margin, 2)
        if all(math.hypot(x - o.x, y - o.y) > 0.75 * (radius + o.radius) for o in others):
            break
    return Thing(shape, label, float(x), float(y), radius, float(angle), genes)


def _clutter(rng: np.random.Generator, size: int) -> Thing:
    shape = CLUTTER[int(rng.integers(len(CLUTTER)))]
    radius = size * rng.uniform(0.04, 0.22)
    x, y = rng.uniform(0, size, 2)
    angle = rng.uniform(-math.pi, math.pi)
    return Thing(shape, -1, float(x), float(y), radius, angle, rng.random(16, np.float32))


def _extent(visible: Float32, patch: Patch) -> tuple[float, float, float, float]:
    rows = np.flatnonzero((visible > 0.5).any(1)) + patch.rows.start
    columns = np.flatnonzero((visible > 0.5).any(0)) + patch.columns.start
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def _shadow(canvas: Float32, thing: Thing, patch: Patch, light: Light) -> None:
    """Darken what lies away from the light, softer for larger things."""
    size = len(canvas)
    throw = thing.radius * (0.35 if thing.label >= 0 else 0.12) / max(light.z, 0.4)
    soft = 1 + 0.07 * thing.radius
    dx, dy = round(-light.x * throw), round(-light.y * throw)
    pad = math.ceil(2 * soft) + 1
    mask = np.pad((patch.alpha * 255).astype(np.uint8), pad)
    blurred = Image.fromarray(mask).filter(ImageFilter.BoxBlur(soft))
    dark = np.asarray(blurred, np.float32) * np.float32(0.5 / 255)
    top, left = patch.rows.start + dy - pad, patch.columns.start + dx - pad
    rows = slice(max(top, 0), min(top + len(dark), size))
    columns = slice(max(left, 0), min(left + dark.shape[1], size))
    if rows.start < rows.stop and columns.start < columns.stop:
        part = dark[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        canvas[rows, columns] *= 1 - part[..., None]


def _place(canvas: Float32, thing: Thing, patch: Patch, light: Light) -> None:
    turned = light.turned(thing.angle)
    colour = thing.shape.paint(patch.x, patch.y, thing.genes, turned, 1 / thing.radius)
    below = canvas[patch.rows, patch.columns]
    canvas[patch.rows, patch.columns] = below + (colour - below) * patch.alpha[..., None]


def _photograph(canvas: Float32, light: Light, rng: np.random.Generator) -> UInt8:
    """Light fall-off, colour of the light, exposure, lens blur, sensor noise, bytes."""
    size = len(canvas)
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    slope = rng.uniform(0.0, 0.22)
    fall = 1 + slope * (light.x * axis[None, :] + light.y * axis[:, None])
    fall -= rng.uniform(0, 0.12) * (axis[None, :] ** 2 + axis[:, None] ** 2)
    if rng.random() < 0.25:  # the shade of something outside the picture
        fall *= 1 - 0.35 * np.clip(grain(rng, size, size, (3, 3)) * 2, 0, 1)
    warmth = rng.normal(0, 0.05)
    tint = np.array([1 + warmth, 1 + rng.normal(0, 0.02), 1 - warmth], np.float32)
    exposure = math.exp(rng.normal(0.05, 0.2))
    picture = fall[..., None] * (tint * np.float32(255 * exposure))
    picture *= canvas
    np.clip(picture, 0, 255, out=picture)
    return _sensor(_lens(picture.astype(np.uint8), rng), rng)


def _lens(picture: UInt8, rng: np.random.Generator) -> UInt8:
    """Blur: mostly slight defocus, now and then a shaken hand."""
    if rng.random() < 0.12:
        length = int(rng.integers(2, 6))
        dy, dx = (int(v) for v in rng.integers(-1, 2, 2))
        steps = [np.roll(picture, (k * dy, k * dx), (0, 1)) for k in range(length)]
        shaken: UInt8 = (np.add.reduce(steps, 0, np.uint16) // length).astype(np.uint8)
        return shaken
    radius = abs(rng.normal(0, 0.8))
    if radius < 0.25:
        return picture
    # A lens out of focus spreads a point evenly, not as a bell.
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.BoxBlur(radius)))


def _sensor(picture: UInt8, rng: np.random.Generator) -> UInt8:
    """Photon noise (grows with the root of light) and read-out noise."""
    photon, read = rng.uniform(0, 0.35), rng.uniform(0.5, 4)
    steps = np.sqrt(read**2 + photon**2 * np.arange(256)).astype(np.float32)
    # Four even bytes added are close to normal noise and faster to draw.
    total = rng.integers(0, 256, (4, *picture.shape), np.uint8).sum(0, dtype=np.uint16)
    noisy = total.astype(np.float32)
    noisy -= np.float32(4 * 127.5)
    noisy *= steps[picture] / np.float32(math.sqrt(4 / 12) * 256)
    noisy += picture
    noisy += np.float32(0.5)
    np.clip(noisy, 0, 255, out=noisy)
    seen: UInt8 = noisy.astype(np.uint8)
    return seen
