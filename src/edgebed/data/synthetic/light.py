"""Light, colour and grain shared by everything that is drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Plane = npt.NDArray[np.floating[Any]]
"""Numbers over the pixels of a patch, float32: rows x columns, or rows x columns x 3 colours."""

AMBIENT = 0.38


@dataclass(frozen=True)
class Light:
    """A distant light: unit vector towards it; x right, y down, z towards the viewer."""

    x: float
    y: float
    z: float

    def turned(self, angle: float) -> Light:
        """Return the light as seen from a frame turned by `angle` radians in the picture."""
        cosine, sine = math.cos(angle), math.sin(angle)
        return Light(self.x * cosine + self.y * sine, self.y * cosine - self.x * sine, self.z)


def shade(colour: Plane, normal: tuple[Plane, Plane, Plane], light: Light, gloss: float) -> Plane:
    """Light a surface: diffuse with a floor of ambient light, and a highlight.

    Args:
        colour: rows x columns x 3, 0..1.
        normal: unit vectors, each rows x columns (or something that broadcasts to it).
        light: the scene's light in the same frame.
        gloss: 0 = matt, 1 = wet.

    Returns:
        rows x columns x 3, may exceed 1.
    """
    nx, ny, nz = normal
    diffuse = np.maximum(nx * light.x + ny * light.y + nz * light.z, 0)
    length = math.sqrt(light.x**2 + light.y**2 + (light.z + 1) ** 2)
    half = np.maximum((nx * light.x + ny * light.y + nz * (light.z + 1)) / length, 0)
    power = half**2  # half ** 32 by squaring
    for _ in range(4):
        power = power**2
    lit = colour * (AMBIENT + (1.15 - AMBIENT) * diffuse)[..., None]
    shaded: Plane = lit + (0.75 * gloss * power)[..., None]
    return shaded


def hue(turn: float, saturation: float, value: float) -> Plane:
    """Return red, green, blue (0..1) of a hue given in turns."""
    steps = np.array([5.0, 3.0, 1.0]) + turn * 6
    ramp = np.clip(np.minimum(steps % 6, 4 - steps % 6), 0, 1)
    return (value * (1 - saturation * ramp)).astype(np.float32)


def mix(first: Plane, second: Plane, share: Plane) -> Plane:
    """Blend two colours (3, or rows x columns x 3) by `share` (rows x columns) of the second."""
    blended: Plane = first + (second - first) * np.asarray(share, np.float32)[..., None]
    return blended


def grain(
    rng: np.random.Generator, rows: int, columns: int, cells: Sequence[int], soft: bool = True
) -> Plane:
    """Return smooth noise of about -1..1, rows x columns, with cells[0] x cells[1] bumps."""
    coarse = rng.uniform(-1, 1, (max(cells[0], 2), max(cells[1], 2))).astype(np.float32)
    kind = Image.Resampling.BICUBIC if soft else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(coarse).resize((columns, rows), kind), np.float32)


def step(edge: float, value: Plane, width: float) -> Plane:
    """Return 0 below `edge`, 1 above, with a ramp of `width` between."""
    ramp: Plane = np.clip((value - edge) / width + 0.5, 0, 1)
    return ramp
