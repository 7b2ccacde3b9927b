"""Tensors as pictures: what came in, what the network saw, and a layer's maps side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Final

import numpy as np

from edgebed.observe.pictures import UInt8, data_uri, png
from edgebed.observe.signature import channel_axis
from edgebed.observe.trace import Tensor
from edgebed.program.types import Array

SMALLEST: Final = 6
"""Rows and columns of what looks like a picture, at least."""
TALL: Final = 3
"""Tables so many times higher than wide lie on their side: sound runs to the right."""
LARGEST: Final = 320
"""Rows and columns that are stored; larger pictures lose rows and columns."""


@dataclass(frozen=True, eq=False)
class Panel:
    """One small picture with its caption; `note` stands on the right.

    Attributes:
        title: what it shows.
        picture: rows x columns x RGB.
        note: e.g. its range of values.
    """

    title: str
    picture: UInt8
    note: str = ""


def panels(found: Iterator[Panel] | list[Panel]) -> str:
    """Return pictures in a row that wraps, pixels kept sharp."""
    cells = "".join(
        f'<figure><img alt="{escape(one.title)}" src="{data_uri(png(_lying(one.picture)))}">'
        f"<figcaption><span>{escape(one.title)}</span><span>{escape(one.note)}</span>"
        "</figcaption></figure>"
        for one in found
    )
    return f'<div class="panels">{cells}</div>'


def _lying(picture: UInt8) -> UInt8:
    """Return a tall table on its side, its rows running to the right; others as they are."""
    rows, columns = picture.shape[:2]
    return picture.transpose(1, 0, 2) if rows >= TALL * columns else picture


def as_picture(
    tensor: Tensor, ends: tuple[float, float] | None = None, channels: str = ""
) -> UInt8 | None:
    """Return a tensor as RGB pixels, or None where it does not look like a picture.

    Args:
        tensor: rows x columns, or with 1, 3 or 4 channels first or last; further axes of one.
        ends: real values that become black and white; None takes the tensor's own, or 0 and 255
            for bytes of raw data.
        channels: order of colours, e.g. BGR; empty means RGB.
    """
    if tensor.values is None or tensor.values.dtype.kind not in "iufb":
        return None
    values = _planes(tensor.real)
    if values is None:
        return None
    if channels.upper() == "BGR" and values.shape[2] == 3:
        values = values[:, :, ::-1]
    if ends is None:
        bytes_ = tensor.role == "raw" and tensor.dtype == "uint8"
        ends = (0.0, 255.0) if bytes_ else ends_of(values)
    return grey(values, ends)


def ends_of(values: Array) -> tuple[float, float]:
    """Return the smallest and the largest finite value."""
    good = values[np.isfinite(values)]
    return (float(good.min()), float(good.max())) if good.size else (0.0, 1.0)


def grey(values: Array, ends: tuple[float, float]) -> UInt8:
    """Return rows x columns (x 1 or 3) as pixels, `ends` black and white; what is NaN is red."""
    low, high = ends
    shown = values if values.ndim == 3 else values[:, :, None]
    step = -(-max(shown.shape[:2]) // LARGEST)
    shown = shown[::step, ::step]
    good = np.isfinite(shown)
    scaled = (np.where(good, shown, low) - low) / ((high - low) or 1)
    pixels = (np.clip(scaled, 0, 1) * 255).astype(np.uint8)
    pixels = np.repeat(pixels, 3 // pixels.shape[2], 2)
    pixels[~good.all(2)] = (255, 0, 0)
    return pixels


def heat(gap: Array, largest: float) -> UInt8:
    """Return differences, rows x columns, as pixels: dark where equal, orange to white, NaN too."""
    gap = gap if gap.ndim == 2 else np.abs(gap).max(2)
    step = -(-max(gap.shape) // LARGEST)
    shown = gap[::step, ::step]
    share = np.clip(np.where(np.isfinite(shown), shown, np.inf) / (largest or 1), 0, 1)
    stops = np.array([(22, 24, 28), (146, 52, 28), (240, 138, 60), (255, 250, 235)], float)
    at = np.linspace(0, 1, len(stops))
    return np.stack([np.interp(share, at, stops[:, c]) for c in range(3)], 2).astype(np.uint8)


def layer_panels(reference: Array, device: Array) -> list[Panel]:
    """Return a map's worst channel of both sides and their difference; nothing for other shapes.

    Args:
        reference: real values, two or three axes.
        device: the same in the same order.
    """
    if reference.ndim not in (2, 3) or min(sorted(reference.shape)[-2:]) < 2:
        return []
    name = ""
    gap = np.abs(reference.astype(np.float64) - device)
    if reference.ndim == 3:
        axis = channel_axis(reference.shape)
        rest = tuple(i for i in range(3) if i != axis)
        worst = int(np.nan_to_num(gap, nan=np.inf).mean(rest).argmax())
        reference, device, gap = (one.take(worst, axis) for one in (reference, device, gap))
        name = f", channel {worst}"
    ends = ends_of(np.stack([reference, device]))
    largest = ends_of(gap)[1]
    return [
        Panel(f"reference{name}", grey(reference, ends), f"{ends[0]:.3g} to {ends[1]:.3g}"),
        Panel(f"device{name}", grey(device, ends), "same scale"),
        Panel("difference", heat(gap, largest), f"up to {largest:.3g}"),
    ]


def _planes(values: Array) -> Array | None:
    """Return rows x columns x 1 or 3, or None."""
    shape = tuple(length for length in values.shape if length != 1)
    values = values.reshape(shape)
    if values.ndim == 2:
        values = values[:, :, None]
    elif values.ndim == 3 and values.shape[0] in (3, 4) and values.shape[2] not in (3, 4):
        values = values.transpose(1, 2, 0)
    if values.ndim != 3 or values.shape[2] not in (1, 3, 4) or min(values.shape[:2]) < SMALLEST:
        return None
    return values[:, :, :3]
