"""Layers whose channels a converter has scaled, and whose successors undo it: no fault.

Quantisers balance the weights of neighbouring layers before they round them (cross-layer
equalisation: Nagel et al., "Data-free quantization through weight equalization and bias
correction", 2019): a channel is multiplied by s > 0, and the next layer's weights for it are
divided by s. Such a layer differs from the float network's by one factor a channel, up to 75 in a
small face detector, and its output is right. A wrong scale of a channel looks the same in its own
layer; but what mixes the channels behind it does not heal.

So factors are believed where they explain EXPLAINED of a layer's squared error, and a network is
called balanced where one such layer has an error of LEAST or more, and the layers behind it that
have no factors, the next one and the median down to the outputs, at most a HEALS-th of that.
Layers of a balanced network are then compared with each channel scaled back, where the next one
without factors is SOUND, or has at most half of their error.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from edgebed.observe.signature import channel_axis
from edgebed.program.types import Array

if TYPE_CHECKING:
    from edgebed.observe.layer_error import LayerError

EXPLAINED: Final = 0.6
LEAST: Final = 0.01
HEALS: Final = 4.0
SOUND: Final = 0.03
FEWEST: Final = 32
"""Values of a channel without which its factor is anybody's guess."""


class ChannelSums:
    """Sums of one layer over frames: its channels' factors and what they leave of the error.

    Args:
        shape: of the tensor, without axes of one.
        layout: names of the axes of the tensor with its axes of one; empty where unknown.
        full: that shape.
    """

    def __init__(self, shape: tuple[int, ...], layout: str, full: tuple[int, ...]) -> None:
        self.axis = _axis(shape, layout, full)
        count = 1 if self.axis is None else shape[self.axis]
        self._sums, self._counts = np.zeros((3, count)), np.zeros(count, np.int64)

    def add(self, reference: Array, device: Array, start: int = 0) -> None:
        """Take real values in: of a frame, or of rows of its leading axis from `start` on."""
        a, b = (self._rows(one) for one in (reference, device))
        first = start if self.axis == 0 else 0
        place = slice(first, first + len(a))
        for row, (x, y) in enumerate(((a, a), (a, b), (b, b))):
            self._sums[row, place] += np.einsum("cn,cn->c", x, y)
        self._counts[place] += a.shape[1]

    def _rows(self, values: Array) -> Array:
        if self.axis is None:
            return values.reshape(1, -1).astype(np.float64)
        moved = np.moveaxis(values, self.axis, 0)
        return moved.reshape(len(moved), -1).astype(np.float64)

    def factors(self) -> tuple[tuple[float, ...], float]:
        """Return each channel's factor, and the sum of squares they leave; none where too few.

        Channels that are zero on either side have the factor 1. A channel that is negative has
        none that balances anything, and so has the layer.
        """
        aa, ab, bb = self._sums
        live = (aa > 0) & (bb > 0)
        if (
            self._counts.min() < FEWEST
            or not np.isfinite(self._sums).all()
            or (ab[live] <= 0).any()
        ):
            return (), math.inf
        found = np.where(live, ab / np.where(live, aa, 1), 1.0)
        left = np.where(live, bb - ab * found, aa + bb)
        return tuple(found.tolist()), float(np.maximum(left, 0).sum())


def _axis(shape: tuple[int, ...], layout: str, full: tuple[int, ...]) -> int | None:
    """Return the axis of channels; None where there is one channel."""
    if len(layout) == len(full) and "C" in layout.upper():
        if full[layout.upper().index("C")] == 1:
            return None
        kept = [name for name, size in zip(layout.upper(), full, strict=True) if size != 1]
        return kept.index("C")
    return channel_axis(shape) % len(shape) if shape else None


def scaled_back(errors: Sequence[LayerError]) -> tuple[LayerError, ...]:
    """Return the errors, of layers in a balanced network with each channel scaled back.

    Args:
        errors: in the order of execution, with the factors that fit each layer best.
    """
    rest = [one for one in errors if one.frames and one.pair.role in ("layer", "output")]
    plain = [one for one in rest if not _explained(one)]
    if not any(_proves(one, plain[_behind(one, rest, plain) :]) for one in rest if _explained(one)):
        return tuple(replace(one, factors=()) for one in errors)
    return tuple(
        _scaled(one) if _explained(one) and _healed(one, plain[_behind(one, rest, plain) :])
        else replace(one, factors=())
        for one in errors
    )  # fmt: skip


def _explained(one: LayerError) -> bool:
    """Say whether factors explain a layer; what a network gives out is never scaled."""
    if one.pair.role != "layer" or not one.factors or one.device_bad:
        return False
    return one.nrmse > 0 and one.scaled_back <= math.sqrt(1 - EXPLAINED) * one.nrmse


def _behind(one: LayerError, rest: Sequence[LayerError], plain: Sequence[LayerError]) -> int:
    """Return the place in `plain` of the first that is behind a layer."""
    at = next(place for place, other in enumerate(rest) if other is one)
    later = {id(other) for other in rest[at + 1 :]}
    return next((place for place, other in enumerate(plain) if id(other) in later), len(plain))


def _proves(one: LayerError, later: Sequence[LayerError]) -> bool:
    if one.nrmse < LEAST or not later:
        return False
    usual = statistics.median(other.nrmse for other in later)
    return max(later[0].nrmse, usual) <= one.nrmse / HEALS


def _healed(one: LayerError, later: Sequence[LayerError]) -> bool:
    return bool(later) and later[0].nrmse <= max(SOUND, one.nrmse / 2)


def _scaled(one: LayerError) -> LayerError:
    return replace(one, nrmse=one.scaled_back, worst=one.scaled_back)
