"""What is kept of a tensor instead of its values: enough to compare and to see drift."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, Final, Protocol

import numpy as np

from edgebed.program.types import Array

BINS: Final = 32
MOST_CHANNELS: Final = 256
_HEAD: Final = struct.Struct("<2Q7d2I")
_CHANNEL: Final = struct.Struct("<4d")


class Steps(Protocol):
    """What statistics want to know of a tensor of integers."""

    @property
    def dtype(self) -> str:
        """Numpy's name."""

    @property
    def scale(self) -> float | None:
        """Real value of one step."""

    @property
    def values(self) -> Array | None:
        """As stored."""


@dataclass(frozen=True)
class Statistics:
    """Of the real values of one tensor.

    Attributes:
        count: values.
        bad: of them NaN or infinite; the rest says nothing of these.
        mean, deviation, low, high: of the finite values; 0 where there is none.
        zeros: share of exact zeros.
        at_low, at_high: share of stored integers at either end of their type; 0 for real numbers.
        histogram: counts in BINS equal bins from `low` to `high`.
        channels: per channel mean, deviation, low, high of the channel axis given; empty without.
        every: 1 where the histogram counts all finite values; else it counts a sample, about one
            of so many, and other ones in other frames.
    """

    count: int
    bad: int
    mean: float
    deviation: float
    low: float
    high: float
    zeros: float
    at_low: float = 0.0
    at_high: float = 0.0
    histogram: tuple[int, ...] = ()
    channels: tuple[tuple[float, float, float, float], ...] = ()
    every: int = 1

    @classmethod
    def of(
        cls, real: Array, steps: Steps | None = None, channel_axis: int | None = None
    ) -> Statistics:
        """Return the statistics of real values.

        Args:
            real: of any shape.
            steps: the tensor they come from, for the share of saturated integers.
            channel_axis: whose entries get statistics of their own, at most MOST_CHANNELS.
        """
        flat = np.asarray(real, np.float32).ravel()
        good = flat[np.isfinite(flat)]
        low, high = (float(good.min()), float(good.max())) if good.size else (0.0, 0.0)
        bins: tuple[int, ...] = ()
        if good.size:
            # in float32 the edges of a narrow range of large numbers would coincide
            bins = tuple(np.histogram(good.astype(np.float64), BINS, _span(low, high))[0].tolist())
        at_low, at_high = _saturated(steps)
        return cls(
            flat.size, int(flat.size - good.size),
            float(good.mean(dtype=np.float64)) if good.size else 0.0,
            float(good.std(dtype=np.float64)) if good.size else 0.0,
            low, high, float((good == 0).mean()) if good.size else 0.0, at_low, at_high, bins,
            _channels(np.asarray(real), channel_axis),
        )  # fmt: skip

    @classmethod
    def of_bytes(cls, values: Array, scale: float, zero_point: int) -> Statistics:
        """Return what `of` gives for bytes, from the counts of their 256 values: much sooner.

        Args:
            values: int8 or uint8, of any shape.
            scale: real value of one step.
            zero_point: the integer that means 0.0.
        """
        counts = np.bincount(values.reshape(-1).view(np.uint8), minlength=256)
        steps = _steps(values.dtype, scale, zero_point)
        counts = counts[steps.order]
        seen = np.flatnonzero(counts)
        if not seen.size:
            return cls(0, 0, 0.0, 0.0, 0.0, 0.0, 0.0)
        first, last, size = int(seen[0]), int(seen[-1]), values.size
        # integers are summed, so that nothing is lost where a mean is far from zero
        total, squares = int(counts @ steps.whole), int(counts @ steps.squares)
        deviation = math.sqrt(size * squares - total * total) / size * scale
        bins = np.bincount(_places(steps, first, last), counts[first : last + 1], BINS)
        zeros = int(counts[steps.zero]) / size if steps.zero >= 0 else 0.0
        return cls(
            size, 0, total / size * scale, deviation, float(steps.real[first]),
            float(steps.real[last]), zeros, int(counts[0]) / size, int(counts[255]) / size,
            tuple(bins.astype(np.int64).tolist()),
        )  # fmt: skip

    def to_bytes(self) -> bytes:
        """Return the values of a record of kind S: see `edgebed.observe.trace`."""
        head = _HEAD.pack(
            self.count, self.bad, self.mean, self.deviation, self.low, self.high, self.zeros,
            self.at_low, self.at_high, self.every, len(self.histogram),
        )  # fmt: skip
        counts = struct.pack(f"<{len(self.histogram)}I", *self.histogram)
        return head + counts + b"".join(_CHANNEL.pack(*row) for row in self.channels)

    @classmethod
    def from_bytes(cls, data: bytes) -> Statistics:
        """Return what `to_bytes` gave.

        Raises:
            ValueError: it gave something else.
        """
        if len(data) < _HEAD.size:
            raise ValueError(f"{len(data)} bytes are no statistics")
        count, bad, *real, every, bins = _HEAD.unpack_from(data)
        rest = len(data) - _HEAD.size - 4 * bins
        if rest < 0 or rest % _CHANNEL.size:
            raise ValueError(f"{len(data)} bytes are no statistics with {bins} bins")
        histogram = struct.unpack_from(f"<{bins}I", data, _HEAD.size)
        channels = tuple(_CHANNEL.iter_unpack(data[_HEAD.size + 4 * bins :]))
        mean, deviation, low, high, zeros, at_low, at_high = real
        return cls(
            count, bad, mean, deviation, low, high, zeros, at_low, at_high, histogram,
            channels, every,
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {one.name: getattr(self, one.name) for one in fields(self)}  # asdict would copy

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Statistics:
        """Return what `to_json` gave."""
        plain = dict(plain)
        plain["histogram"] = tuple(plain.get("histogram", ()))
        plain["channels"] = tuple(tuple(row) for row in plain.get("channels", ()))
        return cls(**plain)


def _span(low: float, high: float) -> tuple[float, float]:
    """Return the range of a histogram; constants lie in its middle."""
    room = max(0.5, 1e-6 * abs(low))
    return (low, high) if high > low else (low - room, high + room)


@dataclass(frozen=True, eq=False)
class _Steps:
    """The 256 values of a byte in rising order.

    Attributes:
        order: the byte without sign that stands for each.
        whole, squares: steps from the zero point, and their squares.
        real: what they mean, rounded as a float32 is.
        zero: place of the zero point; -1 where no byte is it.
    """

    order: Array
    whole: Array
    squares: Array
    real: Array
    zero: int


@lru_cache(maxsize=1024)
def _steps(dtype: np.dtype[Any], scale: float, zero_point: int) -> _Steps:
    low = int(np.iinfo(dtype).min)
    stored = np.arange(low, low + 256)
    whole = stored - zero_point
    real = (stored.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)
    zero = zero_point - low if 0 <= zero_point - low < 256 else -1
    order = (stored % 256).astype(np.intp)
    return _Steps(order, whole, whole * whole, real.astype(np.float64), zero)


@lru_cache(maxsize=4096)
def _places(steps: _Steps, first: int, last: int) -> Array:
    """Return the bins of the values between two: what np.histogram gives, in a tenth of its time.

    A layer's ends return from frame to frame, so these are kept.
    """
    real = steps.real[first : last + 1]
    edges = np.linspace(*_span(float(real[0]), float(real[-1])), BINS + 1)
    return np.minimum(np.searchsorted(edges, real, "right") - 1, BINS - 1)


def _saturated(steps: Steps | None) -> tuple[float, float]:
    if steps is None or steps.values is None or steps.scale is None or not steps.values.size:
        return 0.0, 0.0
    info = np.iinfo(steps.dtype)
    return float((steps.values == info.min).mean()), float((steps.values == info.max).mean())


def _channels(real: Array, axis: int | None) -> tuple[tuple[float, float, float, float], ...]:
    if axis is None or real.ndim < 1 or real.shape[axis] > MOST_CHANNELS:
        return ()
    rows = np.moveaxis(real, axis, 0).reshape(real.shape[axis], -1).astype(np.float64)
    parts = (rows.mean(1), rows.std(1), rows.min(1), rows.max(1))
    return tuple(tuple(float(v) for v in row) for row in np.stack(parts, 1))  # type: ignore[misc]
