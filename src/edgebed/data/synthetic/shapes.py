"""The five object classes: each a signed distance for its outline and a painter for its surface.

Coordinates: x right, y down, in units of the object's radius, the object upright around 0. `genes`
are 16 numbers 0..1 that choose the variant; a shape reads the ones it needs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgebed.data.synthetic.light import Light, Plane, hue, mix, shade, step

Outline = Callable[[Plane, Plane, Plane], Plane]
Painter = Callable[[Plane, Plane, Plane, Light, float], Plane]
WHITE = np.array([0.95, 0.94, 0.92], np.float32)
DARK = np.array([0.10, 0.10, 0.12], np.float32)


@dataclass(frozen=True)
class Shape:
    """A class of objects.

    Attributes:
        name: class name.
        outline: (x, y, genes) to signed distance, negative inside, in radii.
        paint: (x, y, genes, light, pixel) to rows x columns x 3 colours; `pixel` is the size of a
            picture pixel in radii, for soft edges.
        tilt: largest turn from upright, radians.
    """

    name: str
    outline: Outline
    paint: Painter
    tilt: float


def _dome(x: Plane, y: Plane) -> tuple[Plane, Plane, Plane]:
    return x, y, np.sqrt(np.maximum(1 - x * x - y * y, 0.0))


def _ball_outline(x: Plane, y: Plane, _genes: Plane) -> Plane:
    distance: Plane = np.hypot(x, y) - 1
    return distance


def _ball_paint(x: Plane, y: Plane, genes: Plane, light: Light, pixel: float) -> Plane:
    """A beach ball, a football, a basketball or a tennis ball, turned any way."""
    shrink = 1 / np.maximum(np.hypot(x, y), 1.0)
    normal = _dome(x * shrink, y * shrink)
    turn = _rotation(genes[1:4] * 2 * np.pi)
    px, py, pz = (sum(turn[i, k] * normal[k] for k in range(3)) for i in range(3))
    kind = int(genes[0] * 4)
    colour = (_beach, _football, _basketball, _tennis)[kind](px, py, pz, genes, pixel)
    return shade(colour, normal, light, (0.9, 0.5, 0.25, 0.15)[kind])


def _beach(px: Plane, py: Plane, pz: Plane, genes: Plane, pixel: float) -> Plane:
    around = np.arctan2(py, px) / (2 * np.pi) * 6
    sector = np.floor(around).astype(int) % 6
    base = float(genes[4])
    colours = np.stack(
        [
            hue(base + turn, 0.85, 0.9) if i % 2 else WHITE
            for i, turn in enumerate([0, 0, 0, 0.35, 0, 0.62])
        ]
    )
    cap = step(0.93, np.abs(pz), 3 * pixel)
    return mix(colours[sector], WHITE, cap)


def _football(px: Plane, py: Plane, pz: Plane, genes: Plane, pixel: float) -> Plane:
    points = _icosahedron()
    near = np.max([px * a + py * b + pz * c for a, b, c in points], axis=0)
    patch = hue(float(genes[4]), 0.8, 0.45) if genes[5] > 0.6 else DARK
    return mix(np.broadcast_to(WHITE, (*px.shape, 3)), patch, step(0.925, near, 2 * pixel))


def _basketball(px: Plane, py: Plane, pz: Plane, genes: Plane, pixel: float) -> Plane:
    orange = hue(0.045 + 0.03 * float(genes[4]), 0.8, 0.85)
    seam = np.minimum(np.minimum(np.abs(px), np.abs(py)), np.abs(np.abs(px) - 0.62 - 0.2 * pz * pz))
    line = 1 - step(0.035, seam, 2 * pixel)
    return mix(np.broadcast_to(orange, (*px.shape, 3)), DARK, line)


def _tennis(px: Plane, py: Plane, pz: Plane, genes: Plane, pixel: float) -> Plane:
    felt = hue(0.18 + 0.03 * float(genes[4]), 0.7, 0.9)
    seam = np.abs(pz - 1.1 * px * py - 0.35 * np.sign(px))
    return mix(np.broadcast_to(felt, (*px.shape, 3)), WHITE, 1 - step(0.07, seam, 2 * pixel))


def _crate_axes(genes: Plane) -> Plane:
    """Return the cube's three half-axes, 3 x 3 (axis, xyz), as seen from above at an angle."""
    yaw, pitch = (0.15 + 0.7 * float(genes[1])) * np.pi / 2, 0.3 + 0.5 * float(genes[2])
    height = 0.7 + 0.45 * float(genes[3])
    c, s, cp, sp = math.cos(yaw), math.sin(yaw), math.cos(pitch), math.sin(pitch)
    side = np.array([[c, s * sp, s * cp], [-s, c * sp, c * cp], [0, -height * cp, height * sp]])
    axes: Plane = (side / math.sqrt(2 + height**2)).astype(np.float32)
    return axes


def _crate_outline(x: Plane, y: Plane, genes: Plane) -> Plane:
    """Return the distance to the hexagon that a cube projects to."""
    axes = _crate_axes(genes)
    products = np.outer(axes[:, 0], axes[:, 1])
    crosses = np.abs(products - products.T)
    distances = [
        (np.abs(x * a[1] - y * a[0]) - crosses[i].sum()) / np.hypot(a[0], a[1])
        for i, a in enumerate(axes)
    ]
    outermost: Plane = np.max(distances, axis=0)
    return outermost


def _crate_paint(x: Plane, y: Plane, genes: Plane, light: Light, pixel: float) -> Plane:
    """A wooden crate, a cardboard box or a plastic box: three faces, each lit by itself."""
    axes = _crate_axes(genes)
    result = np.zeros((*x.shape, 3), np.float32)
    best = np.full(x.shape, np.inf, np.float32)
    for k in range(3):
        a, b, c = axes[(k + 1) % 3], axes[(k + 2) % 3], axes[k]
        c = c if c[2] > 0 else -c
        determinant = a[0] * b[1] - a[1] * b[0]
        if abs(determinant) < 1e-3:
            continue
        dx, dy = x - c[0], y - c[1]
        u, v = (dx * b[1] - dy * b[0]) / determinant, (dy * a[0] - dx * a[1]) / determinant
        outside = np.maximum(np.abs(u), np.abs(v))
        nx, ny, nz = (np.full_like(x, part / np.linalg.norm(c)) for part in c)
        lit = shade(_crate_face(u, v, genes, k, pixel), (nx, ny, nz), light, 0.15)
        nearer = outside < best
        result[nearer], best[nearer] = lit[nearer], outside[nearer]
    return result


def _crate_face(u: Plane, v: Plane, genes: Plane, face: int, pixel: float) -> Plane:
    kind, soft = int(genes[0] * 3), 4 * pixel
    if kind == 1:
        return _cardboard(u, v, genes, face, soft)
    wood = hue(0.075 + 0.035 * float(genes[4]), 0.5 + 0.2 * float(genes[5]), 0.75)
    paint = wood if kind == 0 else hue(float(genes[6]), 0.75, 0.75)
    planks = (v if face == 2 else u) * 2 + 2.0001
    board = np.floor(planks)
    tone = 1 + 0.16 * np.sin(board * 12.9898 + genes[7] * 50)
    fibre = 0.07 * np.sin((u + 0.3 * v) * 9 + np.sin(v * 23 + board * 5) * 2)
    colour = paint * (tone + (fibre if kind == 0 else 0))[..., None]
    gap = 1 - step(0.06, np.minimum(planks - board, board + 1 - planks), soft)
    colour = mix(colour, DARK, 0.75 * gap)
    rim = step(0.72, np.maximum(np.abs(u), np.abs(v)), soft)
    if genes[8] > 0.4 and kind == 0:
        rim = np.maximum(rim, 1 - step(0.17, np.abs(u - v), soft))
    colour = mix(colour, paint * 1.12, rim)
    line = 1 - step(0.03, np.abs(np.maximum(np.abs(u), np.abs(v)) - 0.72), soft)
    return mix(colour, DARK, 0.5 * line)


def _cardboard(u: Plane, v: Plane, genes: Plane, face: int, soft: float) -> Plane:
    board = hue(0.085 + 0.02 * float(genes[4]), 0.42, 0.72)
    colour: Plane = board * (1 + 0.03 * np.sin(u * 60))[..., None]
    tape = 1 - step(0.16, np.abs(u if face != 2 else v), soft)
    reach = 1 if face == 2 else step(-0.55, -v, soft) if genes[9] > 0.5 else step(0.5, -v, soft)
    colour = mix(colour, hue(0.12, 0.25, 0.85), 0.8 * tape * reach)
    label = np.maximum(np.abs(u - 0.45) / 0.3, np.abs(v - 0.4) / 0.28)
    if face != 2 and genes[10] > 0.3:
        colour = mix(colour, WHITE * 0.95, 1 - step(1, label, soft * 3))
        bars = np.sin(u * 45) > 0
        inner = (label < 0.75) & bars
        colour = mix(colour, DARK, 0.8 * inner)
    return colour


def _bottle_width(y: Plane, genes: Plane) -> Plane:
    """Return half the bottle's width at height y (-1 top, 1 bottom)."""
    body, neck = 0.26 + 0.1 * float(genes[1]), 0.09 + 0.05 * float(genes[2])
    shoulder = -0.45 + 0.4 * float(genes[3])
    part = np.clip((y - shoulder + 0.28) / 0.33, 0, 1)
    width = neck + (body - neck) * part * part * (3 - 2 * part)
    cap = np.where(y < -0.84, 0.025, 0.0)
    foot = 0.06 * np.clip((y - 0.92) / 0.08, 0, 1) ** 2
    half: Plane = (width + cap - foot).astype(np.float32)
    return half


def _bottle_outline(x: Plane, y: Plane, genes: Plane) -> Plane:
    side = (np.abs(x) - _bottle_width(y, genes)) * 0.85
    distance: Plane = np.maximum(side, np.abs(y) - 1)
    return distance


def _bottle_paint(x: Plane, y: Plane, genes: Plane, light: Light, pixel: float) -> Plane:
    """A glass or plastic bottle with cap and label."""
    width = _bottle_width(y, genes)
    nx = np.clip(x / width, -1, 1)
    nz = np.sqrt(1 - nx * nx)
    soft = 3 * pixel
    glass = (hue(0.36, 0.7, 0.45), hue(0.07, 0.75, 0.42), hue(0.56, 0.55, 0.8), WHITE * 0.8)
    tone = glass[int(genes[0] * 4)]
    colour = mix(tone * 0.75, tone * 1.5 + 0.12, np.abs(nx) ** 3)  # light gathers at the rim
    level = step(-0.2 + 0.5 * float(genes[4]), y, soft)
    colour = mix(colour, tone * 0.6, 0.5 * level * (1 - nx * nx))
    paper = hue(float(genes[5]), 0.75 * float(genes[6]), 0.9)
    centre = 0.42 + 0.12 * float(genes[7])
    label = 1 - step(0.24 + 0.08 * float(genes[8]), np.abs(y - centre), soft)
    band = 1 - step(0.07, np.abs(y - centre), soft)
    print_ = mix(np.broadcast_to(paper, colour.shape), hue(float(genes[9]), 0.9, 0.5), band)
    colour = mix(colour, print_, label * (genes[10] > 0.15))
    lid = 1 - step(-0.84, y, soft)
    ridges = 1 + 0.15 * np.sin(nx * 20)
    colour = mix(colour, hue(float(genes[11]), 0.8, 0.75) * ridges[..., None], lid)
    lit = shade(colour, (nx, np.zeros_like(nx), nz), light, 0.3)
    place = 0.45 if light.x > 0 else -0.45
    streak = np.exp(-(((nx - place) / 0.12) ** 2)) * (1 - 0.75 * label) * (np.abs(y) < 0.93)
    return mix(lit, WHITE, 0.6 * streak)


def _star_fold(x: Plane, y: Plane) -> tuple[Plane, Plane, Plane]:
    """Return folded coordinates of one half tip and the angle of the tip's axis."""
    sector = 2 * np.pi / 5
    angle = np.arctan2(x, -y)
    axis = np.round(angle / sector) * sector
    folded, radius = angle - axis, np.hypot(x, y)
    return radius * np.cos(folded), radius * np.sin(folded), axis


def _star_edge(genes: Plane) -> tuple[float, float]:
    """Return the unit normal (along, across) of the edge from the tip to the notch."""
    notch = 0.42 + 0.14 * float(genes[1])
    along, across = 1 - notch * np.cos(np.pi / 5), notch * np.sin(np.pi / 5)
    length = np.hypot(along, across)
    return float(across / length), float(along / length)


def _star_outline(x: Plane, y: Plane, genes: Plane) -> Plane:
    p, q, _ = _star_fold(x, y)
    a, b = _star_edge(genes)
    edge = (p - 0.97) * a + np.abs(q) * b
    distance: Plane = np.maximum(edge, np.hypot(x, y) - 0.98)
    return distance


def _star_paint(x: Plane, y: Plane, genes: Plane, light: Light, pixel: float) -> Plane:
    """A bevelled star of metal, plastic or enamel with a rim: ten facets, each lit by itself."""
    p, q, axis = _star_fold(x, y)
    a, b = _star_edge(genes)
    slope = 0.5 + 0.35 * float(genes[2])
    across = np.sign(q) * b * slope
    # Facet normals: along the tip and across it, turned back into the picture.
    nx = a * slope * np.sin(axis) + across * np.cos(axis)
    ny = -a * slope * np.cos(axis) + across * np.sin(axis)
    length = np.sqrt(nx * nx + ny * ny + 1)
    palette = (hue(0.13, 0.75, 0.95), hue(0.0, 0.8, 0.85), hue(0.58, 0.75, 0.85), WHITE * 0.85)
    tone = palette[int(genes[0] * 4)]
    depth = -((p - 0.97) * a + np.abs(q) * b)
    colour = mix(
        np.broadcast_to(tone, (*x.shape, 3)), tone * 0.55, 1 - step(0.05, depth, 3 * pixel)
    )
    if genes[3] > 0.7:
        colour = mix(colour, WHITE, 1 - step(0.03, np.abs(depth - 0.13), 3 * pixel))
    return shade(colour, (nx / length, ny / length, 1 / length), light, 0.8)


def _donut_plane(x: Plane, y: Plane, genes: Plane) -> tuple[Plane, Plane, float]:
    """Return distance from the centre and across the tube (-1 inner, 1 outer), and its radius."""
    squeeze = 1 - 0.3 * float(genes[1])
    tube = 0.3 + 0.06 * float(genes[2])
    radius = np.hypot(x, y / squeeze)
    return radius, (radius - (1 - tube)) / tube, tube


def _donut_outline(x: Plane, y: Plane, genes: Plane) -> Plane:
    _, across, tube = _donut_plane(x, y, genes)
    squeeze = 1 - 0.3 * float(genes[1])
    return ((np.abs(across) - 1) * tube * (1 + squeeze) / 2).astype(np.float32)


def _donut_paint(x: Plane, y: Plane, genes: Plane, light: Light, pixel: float) -> Plane:
    """A donut: dough, icing with a wavy edge, sprinkles."""
    radius, across, _ = _donut_plane(x, y, genes)
    safe = np.maximum(radius, 1e-3)
    q = np.clip(across, -1, 1)
    normal = (q * x / safe, q * y / safe, np.sqrt(1 - q * q))
    dough = hue(0.08, 0.55, 0.82) * (1 - 0.25 * np.abs(q) ** 3)[..., None]
    palette = (hue(0.93, 0.5, 0.95), hue(0.05, 0.7, 0.3), WHITE, hue(0.45, 0.4, 0.9))
    icing = palette[int(genes[0] * 4)]
    angle = np.arctan2(y, x)
    wave = 0.1 * np.sin(angle * 7 + genes[3] * 6) + 0.06 * np.sin(angle * 12 + genes[4] * 6)
    iced = 1 - step(0.68, np.abs(q) + wave, 6 * pixel)
    colour = mix(dough, np.broadcast_to(icing, dough.shape), iced)
    if genes[5] > 0.3:
        colour = _sprinkled(colour, x, y, iced, genes, pixel)
    return shade(colour, normal, light, 0.55)


def _sprinkled(colour: Plane, x: Plane, y: Plane, iced: Plane, genes: Plane, pixel: float) -> Plane:
    cell = 5.5
    column, row = np.floor(x * cell), np.floor(y * cell)
    seed = np.sin(column * 127.1 + row * 311.7 + genes[6] * 100) * 43758.5453
    chance = seed - np.floor(seed)
    u, v = x * cell - column - 0.5, y * cell - row - 0.5
    turn = chance * 6.283
    along, side = u * np.cos(turn) + v * np.sin(turn), v * np.cos(turn) - u * np.sin(turn)
    distance = np.hypot(np.maximum(np.abs(along) - 0.22, 0), side)
    dot = (1 - step(0.13, distance, 2 * pixel * cell)) * iced * (chance > 0.2)
    tints = np.stack([hue(t, 0.85, 0.95) for t in (0.0, 0.14, 0.35, 0.58, 0.8)])
    return mix(colour, tints[(chance * 97).astype(int) % 5], dot)


def _rotation(angles: Plane) -> Plane:
    (ca, cb, cc), (sa, sb, sc) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, ca, -sa], [0, sa, ca]])
    about_y = np.array([[cb, 0, sb], [0, 1, 0], [-sb, 0, cb]])
    about_z = np.array([[cc, -sc, 0], [sc, cc, 0], [0, 0, 1]])
    turn: Plane = (about_z @ about_y @ about_x).astype(np.float32)
    return turn


def _icosahedron() -> Plane:
    golden = (1 + 5**0.5) / 2
    signs = [(s, t * golden) for s in (-1, 1) for t in (-1, 1)]
    points = [p for s, t in signs for p in ((0, s, t), (s, t, 0), (t, 0, s))]
    return np.array(points, np.float32) / np.float32(np.hypot(1, golden))


SHAPES = (
    Shape("ball", _ball_outline, _ball_paint, np.pi),
    Shape("bottle", _bottle_outline, _bottle_paint, 0.6),
    Shape("crate", _crate_outline, _crate_paint, 0.12),
    Shape("donut", _donut_outline, _donut_paint, 0.5),
    Shape("star", _star_outline, _star_paint, np.pi),
)
