"""Things that are no objects: backgrounds, and clutter that lies about or hangs in front."""

from __future__ import annotations

import math

import numpy as np

from edgebed.data.synthetic.light import Light, Plane, grain, hue, mix, shade, step
from edgebed.data.synthetic.shapes import DARK, WHITE, Shape


def background(rng: np.random.Generator, size: int) -> Plane:
    """Return size x size x 3: a table, floor or wall of some texture, with uneven tone."""
    base = hue(rng.random(), rng.uniform(0.05, 0.5), rng.uniform(0.3, 0.85))
    texture = (_plaster, _boards, _tiles, _cloth, _gravel)[int(rng.integers(5))]
    picture: Plane = base * (1 + texture(rng, size))[..., None]
    if rng.random() < 0.35:
        picture = _with_wall(rng, picture, size)
    for channel in range(3):
        picture[..., channel] += 0.05 * grain(rng, size, size, (3, 3))
    return picture


def _with_wall(rng: np.random.Generator, floor: Plane, size: int) -> Plane:
    """Put a wall behind: another tone above a soft, slightly slanted edge with a shadow line."""
    row, column = np.mgrid[:size, :size].astype(np.float32) / size
    edge = rng.uniform(0.2, 0.5) + rng.uniform(-0.08, 0.08) * column
    wall = hue(rng.random(), rng.uniform(0, 0.4), rng.uniform(0.4, 0.9))
    wall_tone = wall * (1 + 0.5 * _plaster(rng, size))[..., None]
    contact = 1 - 0.3 * np.exp(-(((row - edge) / 0.02) ** 2))
    joined: Plane = mix(wall_tone, floor, step(0, row - edge, 2 / size)) * contact[..., None]
    return joined


def _plaster(rng: np.random.Generator, size: int) -> Plane:
    rough = grain(rng, size, size, (size // 3, size // 3))
    return 0.1 * grain(rng, size, size, (9, 9)) + rng.uniform(0.02, 0.1) * rough


def _boards(rng: np.random.Generator, size: int) -> Plane:
    count = int(rng.integers(3, 9))
    across = np.arange(size, dtype=np.float32)[:, None] * count / size + rng.random()
    board = np.floor(across)
    tone = 0.12 * np.sin(board * 78.2 + rng.random() * 9)
    part = across - board
    gap = (1 - step(0.03, np.minimum(part, 1 - part), 0.03)) * -0.45
    fibre = grain(rng, size, size, (size // 2, 5)) * 0.08 + grain(rng, size, size, (30, 3)) * 0.1
    picture = tone + gap + fibre
    return picture.T if rng.random() < 0.5 else picture


def _tiles(rng: np.random.Generator, size: int) -> Plane:
    pitch, turn = rng.uniform(20, 60), rng.uniform(-0.6, 0.6)
    row, column = np.mgrid[:size, :size].astype(np.float32)
    u = (column * math.cos(turn) + row * math.sin(turn)) / pitch
    v = (row * math.cos(turn) - column * math.sin(turn)) / pitch
    part = np.minimum(np.abs(u - np.round(u)), np.abs(v - np.round(v)))
    joint = 1 - step(0.035, part, 1.5 / pitch)
    check = ((np.round(u + 0.5) + np.round(v + 0.5)) % 2) * 0.25 * float(rng.random() < 0.5)
    fine = grain(rng, size, size, (40, 40)) * 0.04
    tone: Plane = check - joint * 0.25 + fine
    return tone


def _cloth(rng: np.random.Generator, size: int) -> Plane:
    row, column = np.mgrid[:size, :size].astype(np.float32)
    pitch = rng.uniform(2.5, 5)
    weave = np.sin(row * 2 * np.pi / pitch) * np.sin(column * 2 * np.pi / pitch) * 0.06
    band = np.sin(column * 2 * np.pi / rng.uniform(25, 70)) > rng.uniform(0, 0.9)
    folds = grain(rng, size, size, (5, 4)) * 0.14
    strength = np.float32(0.15 * float(rng.random() < 0.5))
    tone: Plane = weave + folds + strength * band
    return tone


def _gravel(rng: np.random.Generator, size: int) -> Plane:
    scales = ((size // 2, 0.12), (size // 6, 0.13), (size // 20, 0.1))
    tones = [grain(rng, size, size, (n, n)) * s for n, s in scales]
    total: Plane = tones[0] + tones[1] + tones[2]
    return total


def _pebble_outline(x: Plane, y: Plane, genes: Plane) -> Plane:
    angle = np.arctan2(y, x)
    bulge = 0.12 * np.sin(2 * angle + genes[1] * 6) + 0.08 * np.sin(3 * angle + genes[2] * 6)
    distance: Plane = (np.hypot(x, y / (0.55 + 0.25 * genes[3])) - 0.8 - bulge) * 0.7
    return distance


def _pebble_paint(x: Plane, y: Plane, genes: Plane, light: Light, _pixel: float) -> Plane:
    flat = y / (0.55 + 0.25 * genes[3])
    nz = np.sqrt(np.maximum(1.2 - x * x - flat * flat, 0.05))
    length = np.sqrt(x * x + flat * flat + nz * nz)
    speck = 1 + 0.12 * np.sin(x * 31 + np.sin(y * 27) * 3)
    colour = hue(float(genes[4]), 0.25, 0.35 + 0.4 * float(genes[5])) * speck[..., None]
    return shade(colour, (x / length, flat / length, nz / length), light, 0.1)


def _card_outline(x: Plane, y: Plane, genes: Plane) -> Plane:
    w, h = 0.55 + 0.35 * float(genes[1]), 0.35 + 0.3 * float(genes[2])
    dx, dy = np.abs(x) - w, np.abs(y) - h
    return np.maximum(dx, dy).astype(np.float32)


def _card_paint(x: Plane, y: Plane, genes: Plane, light: Light, pixel: float) -> Plane:
    paper = mix(WHITE, hue(float(genes[3]), 0.6, 0.85), np.full_like(x, genes[4] > 0.5))
    line = (np.sin(y * 22) > 0.3) & (np.abs(x) < 0.42 + 0.1 * np.sin(np.floor(y * 3.5) * 5))
    title = 1 - step(0.1, np.abs(y + 0.25), 3 * pixel)
    colour = mix(paper, DARK, 0.55 * line * (genes[5] > 0.4))
    colour = mix(colour, hue(float(genes[6]), 0.8, 0.6), title * (genes[7] > 0.5))
    flat = (np.zeros_like(x), np.zeros_like(x), np.ones_like(x))
    return shade(colour, flat, light, 0)


def _rod_outline(x: Plane, y: Plane, genes: Plane) -> Plane:
    thick = 0.05 + 0.06 * float(genes[1])
    return (np.hypot(np.maximum(np.abs(x) - 0.9, 0), y) - thick).astype(np.float32)


def _rod_paint(x: Plane, y: Plane, genes: Plane, light: Light, pixel: float) -> Plane:
    thick = 0.05 + 0.06 * float(genes[1])
    ny = np.clip(y / thick, -1, 1)
    body = hue(float(genes[2]), 0.8, 0.8)
    tip = step(0.7, x, 3 * pixel)
    colour = mix(np.broadcast_to(body, (*x.shape, 3)), hue(0.1, 0.4, 0.85), tip)
    return shade(colour, (np.zeros_like(ny), ny, np.sqrt(1 - ny * ny)), light, 0.3)


def _wedge_outline(x: Plane, y: Plane, genes: Plane) -> Plane:
    lean = 0.5 * (float(genes[1]) - 0.5)
    sides = [np.abs(x - lean * (y - 0.5)) * 0.87 + y * 0.5 - 0.35, -y - 0.85 + 0 * x, y - 0.55]
    distance: Plane = np.max(sides, axis=0)
    return distance


def _wedge_paint(x: Plane, y: Plane, genes: Plane, light: Light, pixel: float) -> Plane:
    colour = hue(float(genes[2]), 0.7, 0.8)
    split = step(0.1 * float(genes[3]), x + 0.2 * y, 2 * pixel)
    toned = mix(np.broadcast_to(colour, (*x.shape, 3)), colour * 0.6, split)
    normal = (0.5 * (1 - 2 * split), np.full_like(x, -0.3), np.full_like(x, 0.8))
    return shade(toned, normal, light, 0.1)


def _frame_outline(x: Plane, y: Plane, genes: Plane) -> Plane:
    box = np.maximum(np.abs(x) / 0.8, np.abs(y) / (0.5 + 0.3 * float(genes[1])))
    return ((np.abs(box - 0.85) - 0.13) * 0.7).astype(np.float32)


def _frame_paint(x: Plane, y: Plane, genes: Plane, light: Light, _pixel: float) -> Plane:
    colour = hue(float(genes[2]), 0.5, 0.6) * (1 + 0.1 * np.sin(x * 40))[..., None]
    side = np.sign(x) * (np.abs(x) > np.abs(y))
    lift = np.sign(y) * (np.abs(x) <= np.abs(y))
    return shade(colour, (0.4 * side, 0.4 * lift, np.full_like(x, 0.85)), light, 0.2)


CLUTTER = (
    Shape("pebble", _pebble_outline, _pebble_paint, np.pi),
    Shape("card", _card_outline, _card_paint, np.pi),
    Shape("rod", _rod_outline, _rod_paint, np.pi),
    Shape("wedge", _wedge_outline, _wedge_paint, np.pi),
    Shape("frame", _frame_outline, _frame_paint, np.pi),
)
