"""One layer in one frame: both traces' values beside each other, read again from the files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from edgebed.errors import EdgebedError, did_you_mean
from edgebed.observe.alignment import Key, by_key
from edgebed.observe.axes import Rearrangement
from edgebed.observe.layer_error import LayerError, same_steps
from edgebed.observe.matching import Pair, real_values, reference_values
from edgebed.observe.parts import worst_rows
from edgebed.observe.signature import Signature, signature, together
from edgebed.observe.trace import Frame, Tensor
from edgebed.observe.trace_comparison import TraceComparison
from edgebed.observe.trace_reader import TraceReader
from edgebed.program.types import Array

MOST_VALUES: Final = 4_000_000
"""Of a layer that is looked at value by value: several copies are made."""


@dataclass(frozen=True, eq=False)
class LayerValues:
    """A layer in one frame.

    Attributes:
        error: of the layer over all frames.
        frame: its number.
        reference: real values, without axes of one.
        device: real values in the reference's order.
        stored: integers of both sides less their zero points, where they mean the same.
        signature: how they differ; None where they are equal.
        rows: of the leading axis that are shown, first and behind the last; None for all. Of a
            layer too large to be copied, those where it differs most.
    """

    error: LayerError
    frame: int
    reference: Array
    device: Array
    stored: tuple[Array, Array] | None
    signature: Signature | None
    rows: tuple[int, int] | None = None

    def most_different(self, most: int = 10) -> list[tuple[int, ...]]:
        """Return the places of the largest differences, the largest first; equal ones in order."""
        with np.errstate(invalid="ignore"):
            gap = np.abs(self.reference.astype(np.float64) - self.device)
        gap[np.isnan(self.reference) & np.isnan(self.device)] = 0.0
        flat = np.nan_to_num(gap, nan=np.inf, posinf=np.inf).ravel()
        places = np.argsort(-flat, kind="stable")[:most]
        found = [np.unravel_index(place, gap.shape) for place in places if flat[place] > 0]
        return [tuple(int(i) for i in place) for place in found]


def layer_values(comparison: TraceComparison, layer: str, frame: int = -1) -> LayerValues:
    """Read a layer's values of one frame again.

    Args:
        comparison: of the traces.
        layer: its name in either trace.
        frame: number; -1 takes the frame in which it is worst, else the first compared.

    Raises:
        EdgebedError: no such layer was compared, or its values were not kept in this frame.
    """
    error = comparison.error_of(layer)
    if error is None:
        known = [name for one in comparison.errors for name in (one.name, one.pair.device[1])]
        raise EdgebedError(f"no layer {layer!r} was compared", try_=did_you_mean(layer, known))
    number = frame if frame >= 0 else max(error.worst_frame, 0)
    found = layer_frame(comparison, error.pair, number)
    if found is None:
        raise EdgebedError(
            f"frame {number} has no values of layer {layer!r} in both traces",
            why="they were recorded at another level, or the frame is missing",
            try_="record both with level full",
        )
    pair, (reference, device), _ = found
    stored = None
    if same_steps(reference, device):
        stored = (
            _centred(reference).reshape(pair.order.shape), pair.order.of(_centred(device))
        )  # fmt: skip
    return LayerValues(
        error, number, reference_values(pair, reference), real_values(pair, device), stored,
        _seen(*found), _rows(error.pair, pair),
    )  # fmt: skip


def layer_signature(comparison: TraceComparison, error: LayerError) -> Signature | None:
    """Say how a layer's values differ in its worst frame, its first bad one and the one behind.

    None where only statistics were kept. A buffer that is stale shows from the second frame on.
    """
    seen = []
    for number in dict.fromkeys((error.worst_frame, error.first_frame, error.first_frame + 1)):
        found = layer_frame(comparison, error.pair, number)
        one = _seen(*found) if found is not None else None
        if one is not None:
            seen.append(replace(one, frame=number))
    return together(seen)


Sides = tuple[Tensor, Tensor]
"""The reference's and the device's."""
Shown = tuple[Pair, Sides, "tuple[Tensor | None, Tensor | None]"]


def layer_frame(comparison: TraceComparison, pair: Pair, number: int) -> Shown | None:
    """Return a pair's tensors of one frame, and those of the frame before it."""
    reference = _with_before(comparison.reference.path, pair.reference, number)
    device = _with_before(comparison.device.path, pair.device, number)
    if reference[0] is None or device[0] is None:
        return None
    return part_shown(pair, (reference[0], device[0]), (reference[1], device[1]))


def part_shown(pair: Pair, sides: Sides, before: tuple[Tensor | None, Tensor | None]) -> Shown:
    """Return what can be copied of a layer: all, or the rows in which it differs most.

    Args:
        pair: says how both lie.
        sides: the reference's and the device's tensor, with values.
        before: those of the frame before; None where unknown.
    """
    seen = _alike(pair, sides)
    if seen[1].size <= MOST_VALUES or not seen[1].ndim:
        return pair, sides, before
    place = worst_rows(*seen)
    shape = seen[1][place].shape
    order = Rearrangement(shape, tuple(range(len(shape))), shape, first=place.start or 0)
    old = [
        now if one is None or one.values is None or not _alike_kind(one, now) else one
        for one, now in zip(before, sides, strict=True)
    ]
    last = _alike(pair, (old[0], old[1]))
    cut = [_cut(one, values, place) for one, values in zip(sides, seen, strict=True)]
    lasts = [
        None if one is now else _cut(one, values, place)
        for one, now, values in zip(old, sides, last, strict=True)
    ]
    return replace(pair, order=order), (cut[0], cut[1]), (lasts[0], lasts[1])


def _alike(pair: Pair, sides: Sides) -> tuple[Array, Array]:
    """Return stored values of both in the reference's order of values, without copying any."""
    reference, device = sides
    assert reference.values is not None and device.values is not None
    right = device.values.reshape(pair.order.given).transpose(pair.order.axes)
    return reference.values.reshape(right.shape), right


def _cut(tensor: Tensor, values: Array, place: slice) -> Tensor:
    part = np.ascontiguousarray(values[place])
    return replace(tensor, values=part, shape=part.shape, layout="")


def _rows(whole: Pair, shown: Pair) -> tuple[int, int] | None:
    if shown is whole:
        return None
    first = shown.order.first
    return first, first + shown.order.shape[0]


def _with_before(path: Path, key: Key, number: int) -> tuple[Tensor | None, Tensor | None]:
    before: Tensor | None = None
    with TraceReader(path) as reader:
        for frame in reader.frames():
            if frame.number >= number:
                return _of(frame, number, key), before
            before = by_key(frame).get(key)
    return None, None


def _of(frame: Frame, number: int, key: Key) -> Tensor | None:
    found = by_key(frame).get(key) if frame.number == number else None
    return found if found is not None and found.values is not None else None


def _seen(
    pair: Pair, sides: Sides, before: tuple[Tensor | None, Tensor | None]
) -> Signature | None:
    reference, device = sides
    exact = same_steps(reference, device)

    def left(one: Tensor) -> Array:
        values = _centred(one) if exact else reference_values(pair, one)
        return values.reshape(pair.order.shape)

    def right(one: Tensor) -> Array:
        return pair.order.of(_centred(one)) if exact else real_values(pair, one)

    old = [one if one is not None and one.values is not None and _alike_kind(one, now) else None
           for one, now in zip(before, sides, strict=True)]  # fmt: skip
    return signature(
        left(reference), right(device), right(old[1]) if old[1] else None,
        _ends(device) if exact else None, 1.0 if exact else float(device.scale or 0.0) * 3,
        reference_before=left(old[0]) if old[0] else None,
        channels=_channels(reference, pair.order.shape),
    )  # fmt: skip


def _alike_kind(one: Tensor, other: Tensor) -> bool:
    return (one.shape, one.dtype) == (other.shape, other.dtype)


def _channels(tensor: Tensor, shown: tuple[int, ...]) -> int | None:
    """Return the axis of the channels in a tensor shown without its axes of one."""
    shape, at = tensor.shape, tensor.layout.find("C")
    if at < 0 or len(tensor.layout) != len(shape) or shape[at] == 1:
        return None
    kept = tuple(size for size in shape if size > 1)
    return sum(size > 1 for size in shape[:at]) if kept == shown else None


def _centred(tensor: Tensor) -> Array:
    assert tensor.values is not None
    return tensor.values.astype(np.int64) - tensor.zero_point


def _ends(tensor: Tensor) -> tuple[float, float] | None:
    if np.dtype(tensor.dtype).kind not in "iu":
        return None
    info = np.iinfo(tensor.dtype)
    return float(int(info.min) - tensor.zero_point), float(int(info.max) - tensor.zero_point)
