"""Where and how the values of one layer differ: what a defect of its kernel looks like.

Looked at in this order; the first that explains MOST of the differing values, and that chance would
not show, is named: the values of the frame before (a stale buffer); the reference's values one row
or column further (padding on the wrong side); large values that jump to the other side (overflow);
one channel; a factor or an offset of all, or of each channel; the rim of the maps (border
handling); one step up or down (rounding); neighbouring rows or channels (a part nobody wrote).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from edgebed.observe import signature_overflow as wrapped
from edgebed.observe import signature_places as places
from edgebed.observe import signature_values as values
from edgebed.observe.signature_places import FEW
from edgebed.program.types import Array

REAL_TOLERANCE: Final = 1e-4
"""Real numbers differ by more than this share of the reference's largest."""

Defect = Literal[
    "stale_buffer", "border", "overflow", "channel", "scale", "bias", "rounding", "part", "spread"
]
FIXES: Final[dict[Defect, str]] = {
    "stale_buffer": "Check that the buffer is written in every frame before it is read, and that "
    "no other layer's buffer overlaps it while it lives.",
    "channel": "Check this channel's scale, bias and weights: an index per channel is off, or its "
    "table entry is wrong.",
    "scale": "Check the scales: an index per channel is off by one, a shift is one too far, or "
    "the scale of another tensor was taken.",
    "bias": "Check the biases: an index per channel is off by one, they are in other units, or "
    "the zero point's share of them is missing.",
    "border": "Check the padding: the value that stands for zero outside of the map (the zero "
    "point), its amount on each side, and the loop's bounds at the rim.",
    "rounding": "Check how the kernel rounds: half up, half to even or towards zero, in one step "
    "or two, and whether the offset is added before the shift.",
    "overflow": "Check the accumulator's width and the order of clamping and conversion.",
    "part": "Check that this part is written at all (the loop's bounds, the length of a copy), "
    "and that no other buffer overlaps it while it lives.",
    "spread": "Run this layer alone with the reference's input, and compare its weights, scales "
    "and shapes.",
}  # fmt: skip


@dataclass(frozen=True)
class Signature:
    """What the differing values of one layer in one frame have in common.

    Attributes:
        defect: the most particular one that explains them.
        text: a sentence with the numbers.
        share: of the values that differ.
        count: of the values that differ.
        proven: nothing else leaves such values, so one frame is enough.
        frame: its number; -1 where nobody said.
    """

    defect: Defect
    text: str
    share: float
    count: int = 0
    proven: bool = False
    frame: int = -1


def signature(
    reference: Array,
    device: Array,
    before: Array | None = None,
    ends: tuple[float, float] | None = None,
    step: float = 0.0,
    *,
    reference_before: Array | None = None,
    channels: int | None = None,
) -> Signature | None:
    """Return how two tensors of one shape differ, or None where they are equal.

    Args:
        reference: real values or centred integers.
        device: the same in the same order.
        before: the device's values in the frame before, where they are known.
        ends: the smallest and largest value the device's type can hold.
        step: smallest meaningful difference; 0 for real numbers.
        reference_before: the reference's values in the frame before, where they are known.
        channels: axis of the channels; None guesses it, for maps alone.
    """
    a, b = reference.astype(np.float64), device.astype(np.float64)
    differs = _differing(a, b, step)
    count = int(differs.sum())
    if not count:
        return None
    head = f"{count:,} of {a.size:,} values differ"
    if channels is None and a.ndim == 3:
        channels = channel_axis(a.shape) % 3
    known = values.Values(a, b, differs, step, ends, channels)
    for defect, text, proven in _looked_at(known, before, reference_before):
        if text is not None:
            return Signature(defect, f"{head}, {text}", count / a.size, count, proven)
    return Signature("spread", f"{head}, {_spread(a, b, differs)}", count / a.size, count)


def together(found: list[Signature]) -> Signature | None:
    """Return what the signatures of several frames say, the worst frame's first.

    One frame is enough to show what leaves values that nothing else leaves; a place or a rounding
    has to be the same in every frame with differences enough to tell.
    """
    once = [one for one in found if one.proven]
    if once or not found:
        return min(once, key=lambda one: one.defect != "stale_buffer") if once else None
    telling = [one for one in found if one.count >= FEW] or found
    if len({one.defect for one in telling}) == 1:
        return telling[0]
    head, _, _ = found[0].text.partition(", ")
    return Signature("spread", f"{head}, in other places in other frames", found[0].share,
                     found[0].count, frame=found[0].frame)  # fmt: skip


def channel_axis(shape: tuple[int, ...]) -> int:
    """Return the axis of a map that is not rows or columns, which are nearly equal in number."""
    if len(shape) != 3:
        return -1
    gaps = {axis: abs(np.log(shape[(axis + 1) % 3] / shape[(axis + 2) % 3])) for axis in (0, 2)}
    return min(gaps, key=lambda axis: gaps[axis])


def _differing(a: Array, b: Array, step: float) -> Array:
    finite = np.abs(a[np.isfinite(a)])
    allowed = step / 2 if step else REAL_TOLERANCE * float(finite.max(initial=0.0))
    with np.errstate(invalid="ignore"):
        found: Array = ~((np.abs(a - b) <= allowed) | (a == b) | (np.isnan(a) & np.isnan(b)))
    return found


def _looked_at(
    known: values.Values, before: Array | None, reference_before: Array | None
) -> Iterator[tuple[Defect, str | None, bool]]:
    """Give each defect, what speaks for it, and if that proves it, the most particular first."""
    seen = places.differences(known.a, known.differs, known.channels)
    finite = bool(np.isfinite(known.a).all() and np.isfinite(known.b).all())
    yield "stale_buffer", values.stale(known, before, reference_before), True
    yield "border", values.moved(known), False
    if finite:
        yield "overflow", wrapped.overflow(known), True
    yield "channel", places.one_channel(seen), False
    if finite:
        yield "scale", values.scaled(known), True
        yield "bias", values.offset(known), True
        yield "channel", values.neighbours(known), False
    yield "border", places.rim(seen), False
    if finite:
        yield "rounding", values.rounded(known), False
    yield "part", places.part(seen), False
    if finite:
        yield "overflow", wrapped.clipped(known), False


def _spread(a: Array, b: Array, differs: Array) -> str:
    with np.errstate(invalid="ignore"):
        gap = np.abs(a - b)[differs]
    largest = float(gap[np.isfinite(gap)].max(initial=0.0))
    size = f"by up to {largest:.4g}" if largest else "by NaN or infinity"
    return f"{size}, all over the tensor"
