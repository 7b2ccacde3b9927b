"""Where and how the values of one layer differ: what a defect of its kernel looks like.

Looked at in this order, the first that holds for MOST of the differing values: the values of the
frame before (a stale buffer); one channel (its scale, bias or weights); the rim of the maps
(border handling); one step up or down (rounding); the ends of the integers' range (overflow or
saturation).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from edgebed.program.types import Array

MOST: Final = 0.95
REAL_TOLERANCE: Final = 1e-4
"""Real numbers differ by more than this share of the reference's largest."""
FEW: Final = 8
"""Fewer differing values than this lie anywhere by chance: they have no place."""

Defect = Literal["stale_buffer", "channel", "border", "rounding", "overflow", "spread"]
FIXES: Final[dict[Defect, str]] = {
    "stale_buffer": "Check that the buffer is written in every frame before it is read, and that "
    "no other layer's buffer overlaps it while it lives.",
    "channel": "Check this channel's scale, bias and weights: an index per channel is off, or its "
    "table entry is wrong.",
    "border": "Check the padding: the value that stands for zero outside of the map (the zero "
    "point), its amount on each side, and the loop's bounds at the rim.",
    "rounding": "Check how the kernel rounds: half up, half to even or towards zero, in one step "
    "or two, and whether the offset is added before the shift.",
    "overflow": "Check the accumulator's width and the order of clamping and conversion.",
    "spread": "Run this layer alone with the reference's input, and compare its weights, scales "
    "and shapes.",
}  # fmt: skip


Found = tuple[Defect, str]


@dataclass(frozen=True)
class Signature:
    """What the differing values of one layer in one frame have in common.

    Attributes:
        defect: the most particular one that explains them.
        text: a sentence with the numbers.
        share: of the values that differ.
    """

    defect: Defect
    text: str
    share: float


def signature(
    reference: Array,
    device: Array,
    before: Array | None = None,
    ends: tuple[float, float] | None = None,
    step: float = 0.0,
) -> Signature | None:
    """Return how two tensors of one shape differ, or None where they are equal.

    Args:
        reference: real values or centred integers.
        device: the same in the same order.
        before: the device's values in the frame before, where they are known.
        ends: the smallest and largest value the device's type can hold.
        step: smallest meaningful difference; 0 for real numbers.
    """
    a, b = reference.astype(np.float64), device.astype(np.float64)
    finite = np.abs(a[np.isfinite(a)])
    allowed = step / 2 if step else REAL_TOLERANCE * float(finite.max(initial=0.0))
    with np.errstate(invalid="ignore"):
        differs = ~((np.abs(a - b) <= allowed) | (a == b) | (np.isnan(a) & np.isnan(b)))
    count = int(differs.sum())
    if not count:
        return None
    head = f"{count:,} of {a.size:,} values differ"
    defect, text = (
        _stale(a, b, before, differs)
        or _one_channel(differs)
        or _rim(differs)
        or _one_step(a, b, differs, step)
        or _at_ends(b, differs, ends)
        or _spread(a, b, differs)
    )
    return Signature(defect, f"{head}, {text}", count / a.size)


def _spread(a: Array, b: Array, differs: Array) -> Found:
    with np.errstate(invalid="ignore"):
        gap = np.abs(a - b)[differs]
    largest = float(gap[np.isfinite(gap)].max(initial=0.0))
    size = f"by up to {largest:.4g}" if largest else "by NaN or infinity"
    return "spread", f"{size}, all over the tensor"


def _stale(a: Array, b: Array, before: Array | None, differs: Array) -> Found | None:
    if before is None or before.shape != b.shape or differs.sum() < FEW:
        return None
    old = before.astype(np.float64)[differs]
    same = float((old == b[differs]).mean())
    known = float((old == a[differs]).mean())  # a picture that stands still proves nothing
    varied = len(np.unique(old)) > 1
    if same < MOST or known > 0.5 or not varied:
        return None
    return "stale_buffer", f"{same:.0%} of these hold what the frame before left there"


def _one_channel(differs: Array) -> Found | None:
    """Find the index along an axis that holds the differences of a tensor of several."""
    if differs.ndim < 2 or differs.sum() < FEW:
        return None
    for axis in range(differs.ndim):
        rest = tuple(i for i in range(differs.ndim) if i != axis)
        counts = differs.sum(rest)
        if len(counts) > 2 and counts.max() >= MOST * counts.sum():
            if _is_rim(differs, axis, int(counts.argmax())):
                continue
            place = f"index {int(counts.argmax())} of axis {axis} (0 to {len(counts) - 1})"
            return "channel", f"{counts.max() / counts.sum():.0%} of these at {place}"
    return None


def _is_rim(differs: Array, axis: int, index: int) -> bool:
    """Say whether one row or column at the edge of a map holds them: a border and no channel."""
    channels = channel_axis(differs.shape)
    return differs.ndim == 3 and axis != channels and index in (0, differs.shape[axis] - 1)


def channel_axis(shape: tuple[int, ...]) -> int:
    """Return the axis of a map that is not rows or columns, which are nearly equal in number."""
    if len(shape) != 3:
        return -1
    gaps = {axis: abs(np.log(shape[(axis + 1) % 3] / shape[(axis + 2) % 3])) for axis in (0, 2)}
    return min(gaps, key=lambda axis: gaps[axis])


def _rim(differs: Array) -> Found | None:
    if differs.ndim != 3 or differs.sum() < FEW:
        return None
    channels = channel_axis(differs.shape)
    maps = np.moveaxis(differs, channels, 0)
    if min(maps.shape[1:]) < 4:
        return None
    inner = int(maps[:, 1:-1, 1:-1].sum())
    share = 1 - inner / int(maps.sum())
    if share < MOST:
        return None
    return "border", f"{share:.0%} of these on the outermost rows and columns"


def _one_step(a: Array, b: Array, differs: Array, step: float) -> Found | None:
    if not step or float(np.abs(a - b)[differs].max()) > 1.5 * step:
        return None
    up = float(((b - a)[differs] > 0).mean())
    return "rounding", f"each by one step ({up:.0%} upwards)"


def _at_ends(b: Array, differs: Array, ends: tuple[float, float] | None) -> Found | None:
    if ends is None or differs.sum() < FEW:
        return None
    share = float(np.isin(b[differs], ends).mean())
    return (
        ("overflow", f"{share:.0%} of these at an end of the type's range") if share > 0.5 else None
    )
