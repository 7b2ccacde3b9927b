"""Detections of both sides, drawn on what the network saw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np

from edgebed.observe.pictures import UInt8
from edgebed.observe.trace import Frame, Tensor
from edgebed.observe.trace_pictures import Panel, as_picture
from edgebed.program.types import Array

WIDTH: Final = 6
"""Numbers of a detection: class, score, x1, y1, x2, y2; see `trace.Tensor`."""
INKS: Final = ((255, 214, 10), (0, 229, 255), (255, 69, 180), (124, 255, 80))
"""One a class, round and round: colours that photographs seldom have."""
SHADE: Final = 0.6
"""Of the picture's brightness, so that boxes stand out."""
LARGE: Final = 128
"""Rows and columns from which on a line of one pixel would vanish."""
TOLERANCE: Final = 0.01
"""Two decoders differ by less, in pixels and in score."""


def answers_differ(a: Frame, b: Frame) -> bool:
    """Say whether both frames hold detections, and not the same ones."""
    pairs = _both(a, b)
    return any(
        one.shape != two.shape or not np.allclose(one, two, rtol=0, atol=TOLERANCE)
        for one, two in pairs
    )


def answer_panels(
    a: Frame, b: Frame, inputs: tuple[Tensor, Tensor], names: Sequence[str]
) -> list[Panel]:
    """Return each side's input with the boxes that it found; nothing without pictures or boxes.

    Args:
        a: frame of the reference.
        b: the same frame of the device.
        inputs: of the network, of both.
        names: of the classes, as many as are known.
    """
    found = []
    for one, two in _both(a, b):
        for side, rows, tensor in (("reference", one, inputs[0]), ("device", two, inputs[1])):
            picture = as_picture(tensor)
            if picture is None:
                return []
            counts = Counter(_name(int(row[0]), names) for row in rows)
            said = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
            drawn = boxed(picture, rows, _size(tensor))
            found.append(Panel(f"detections, {side}", drawn, said or "nothing found"))
    return found


def boxed(picture: UInt8, rows: Array, size: tuple[int, int]) -> UInt8:
    """Return a picture, darker, with a frame around each box.

    Args:
        picture: rows x columns x RGB.
        rows: detections.
        size: rows and columns in whose pixels the boxes are.
    """
    height, width = picture.shape[:2]
    drawn = (picture * SHADE).astype(np.uint8)
    thick = 2 if min(height, width) >= LARGE else 1
    scale = np.array([width / size[1], height / size[0]] * 2)
    for row in rows:
        if not np.isfinite(row).all():
            continue
        ends = np.round(row[2:] * scale)
        x1, y1, x2, y2 = (int(v) for v in np.clip(ends, 0, [width - 1, height - 1] * 2))
        ink = INKS[int(row[0]) % len(INKS)]
        inner = (slice(y1 + thick, y2 + 1 - thick), slice(x1 + thick, x2 + 1 - thick))
        kept = drawn[inner].copy()
        drawn[y1 : y2 + 1, x1 : x2 + 1] = ink
        drawn[inner] = kept
    return drawn


def _both(a: Frame, b: Frame) -> list[tuple[Array, Array]]:
    """Return the detections of both frames, by name."""
    found = []
    for one in a.of("answer"):
        two = next((other for other in b.of("answer") if other.name == one.name), None)
        if one.values is None or two is None or two.values is None:
            continue
        if all(v.ndim == 2 and v.shape[1] == WIDTH for v in (one.values, two.values)):
            found.append((one.values, two.values))
    return found


def _size(tensor: Tensor) -> tuple[int, int]:
    """Return rows and columns of a picture, whichever axis holds its channels."""
    shape = [length for length in tensor.shape if length != 1]
    if len(shape) == 3:
        shape = shape[1:] if shape[0] in (3, 4) and shape[2] not in (3, 4) else shape[:2]
    return shape[0], shape[1]


def _name(index: int, names: Sequence[str]) -> str:
    return names[index] if 0 <= index < len(names) else f"class {index}"
