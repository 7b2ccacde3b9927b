"""Pictures of what a detector saw: ground truth beside detections, frames, contact sheets."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from edgebed import files
from edgebed.observe.svg import COLOURS

UInt8 = npt.NDArray[np.uint8]
SHARPNESS: Final = 1.7
"""Stored pixels per drawn pixel."""


@dataclass(frozen=True)
class Box:
    """A box in pixels of its picture: x1, y1, x2, y2; `score` is None for ground truth."""

    x1: float
    y1: float
    x2: float
    y2: float
    label: int
    score: float | None = None


@dataclass(frozen=True)
class Shot:
    """One picture with what is in it and what was found.

    Attributes:
        name: of the picture.
        picture: uint8, height x width x 3, RGB.
        truth: annotated boxes.
        found: detected boxes.
    """

    name: str
    picture: UInt8
    truth: Sequence[Box]
    found: Sequence[Box]


def write_png(path: Path, picture: UInt8) -> None:
    """Write a picture (uint8, height x width x 3, RGB) as PNG, atomically.

    Raises:
        EdgebedError: the file cannot be written.
    """
    files.write_bytes(path, png(picture))


def png(picture: UInt8) -> bytes:
    """Return a picture as PNG bytes."""
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "PNG", optimize=True)
    return data.getvalue()


def data_uri(content: bytes, kind: str = "png") -> str:
    """Return bytes as a `data:` address of an image."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def side_by_side(shot: Shot, classes: Sequence[str], *, width: int = 280) -> str:
    """Return ground truth (left) and detections (right) as a figure; the picture is stored once."""
    height = round(shot.picture.shape[0] * width / shot.picture.shape[1])
    scale = width / shot.picture.shape[1]
    gap = 5
    name = "p" + hashlib.sha256(shot.name.encode()).hexdigest()[:16]  # two names never share it
    picture = data_uri(_jpeg(shot.picture, width, height), "jpeg")
    return (
        f'<figure><svg viewBox="0 0 {2 * width + gap} {height}">'
        f'<defs><image id="{name}" href="{picture}" width="{width}" height="{height}"/></defs>'
        f'<g><use href="#{name}"/>{_boxes(shot.truth, classes, scale, width)}</g>'
        f'<g transform="translate({width + gap} 0)"><use href="#{name}"/>'
        f"{_boxes(shot.found, classes, scale, width)}</g></svg>"
        f"<figcaption><span>{escape(shot.name)}</span>"
        f"<span>annotated {len(shot.truth)} | found {len(shot.found)}</span></figcaption></figure>"
    )


def framed(name: str, note: str, frame: bytes) -> str:
    """Return a display's PNG as a figure in a dark bezel."""
    return (
        f'<figure class="lcd"><img alt="{escape(name)}" src="{data_uri(frame)}">'
        f"<figcaption><span>{escape(name)}</span><span>{escape(note)}</span></figcaption></figure>"
    )


def contact_sheet(frames: Sequence[UInt8], columns: int = 3, gap: int = 8) -> UInt8:
    """Return equally large pictures on one sheet with dark gaps; row by row."""
    height, width = frames[0].shape[:2]
    columns = min(columns, len(frames))
    rows = -(-len(frames) // columns)
    sheet = np.full(
        (rows * (height + gap) + gap, columns * (width + gap) + gap, 3), 18, dtype=np.uint8
    )
    for index, frame in enumerate(frames):
        y = gap + index // columns * (height + gap)
        x = gap + index % columns * (width + gap)
        sheet[y : y + height, x : x + width] = frame
    return sheet


def _jpeg(picture: UInt8, width: int, height: int) -> bytes:
    data = io.BytesIO()
    size = (round(width * SHARPNESS), round(height * SHARPNESS))
    Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS).save(data, "JPEG", quality=86)
    return data.getvalue()


def _boxes(boxes: Sequence[Box], classes: Sequence[str], scale: float, room: int) -> str:
    return "".join(_box(box, classes[box.label], scale, room) for box in boxes)


def _box(box: Box, name: str, scale: float, room: int) -> str:
    x, y = box.x1 * scale, box.y1 * scale
    width, height = (box.x2 - box.x1) * scale, (box.y2 - box.y1) * scale
    text = escape(name if box.score is None else f"{name} {box.score:.2f}")
    ink = f"var(--p{box.label % COLOURS})"  # on photographs colours do not follow the theme
    wide = 6 + 5.2 * len(text)
    left = min(max(x - 0.9, 0), room - wide)
    top = y - 13 if y >= 13 else y
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="none" '
        f'stroke="{ink}" stroke-width="1.8"/>'
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{wide:.0f}" height="13" fill="{ink}"/>'
        f'<text class="tag" x="{left + 3:.1f}" y="{top + 9.8:.1f}">{text}</text>'
    )
