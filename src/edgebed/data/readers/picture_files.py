"""Picture files: a cheap check on reading, a full decode on loading."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from edgebed.data.dataset import UInt8
from edgebed.data.readers.defects import DefectError
from edgebed.errors import EdgebedError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".gif", ".webp", ".tif", ".tiff")
"""Names with these endings (in any case) are taken for pictures."""

ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}
UNREADABLE = (
    UnidentifiedImageError,
    Image.DecompressionBombError,
    OSError,
    SyntaxError,
    ValueError,
)
"""What Pillow raises on files it cannot decode, broken PNG chunks included."""

TAIL_BYTES = 1024
"""A complete file has its end mark near its end; some writers append a little after it."""


@dataclass(frozen=True)
class PictureHeader:
    """What the first bytes of a picture file say."""

    width: int
    height: int


def is_file(path: Path) -> bool:
    """Return whether a file is there; a name that no disk can hold is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def header(path: Path, where: object) -> PictureHeader:
    """Read a picture's size, and decode it only if its end mark is missing.

    Args:
        path: the picture.
        where: the annotation (file, line) that names it, for the message.

    Raises:
        DefectError: missing, not an image, or cut short.
    """
    if not is_file(path):
        raise DefectError(where, f"picture {path} is missing")
    try:
        with Image.open(path) as image:
            size, kind = image.size, image.format or ""
        if not _ended(path, kind):
            _decode(path)
    except UNREADABLE as error:
        raise DefectError(str(path), _reason(error)) from None
    return PictureHeader(*size)


def load(path: Path) -> UInt8:
    """Decode a picture file to uint8, height x width x 3, RGB, in the orientation of its pixels.

    Raises:
        EdgebedError: missing, not an image, or cut short; names the file.
    """
    try:
        return _decode(path)
    except FileNotFoundError:
        raise EdgebedError("the picture is missing", where=str(path)) from None
    except UNREADABLE as error:
        raise EdgebedError(_reason(error), where=str(path)) from error


def find(folder: Path) -> dict[str, list[Path]]:
    """Return the picture files of a folder by stem, in sorted order."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix.lower() in SUFFIXES:
            found.setdefault(path.stem, []).append(path)
    return found


def _decode(path: Path) -> UInt8:
    with Image.open(path) as image:
        if image.mode.startswith("I"):  # 16 bits a pixel, which Pillow would cut off at 255
            high = np.asarray(image).astype(np.int64) >> 8
            return np.repeat(np.clip(high, 0, 255).astype(np.uint8)[..., None], 3, -1)
        return np.array(image.convert("RGB"))


def _ended(path: Path, kind: str) -> bool:
    mark = ENDS.get(kind)
    if mark is None:
        return True
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - TAIL_BYTES, 0), os.SEEK_SET)
        return mark in file.read()


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not an image, or of a kind that cannot be read"
    if "truncated" in str(error):
        return "the picture is cut short (truncated file)"
    return f"the picture cannot be decoded: {error}"
