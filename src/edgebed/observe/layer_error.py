"""How far a layer is from its reference, summed frame by frame.

    nRMSE = sqrt(mean((reference - device)^2)) / max(range of reference, range of device)

over the finite real values of all frames; the ranges are of all frames too, so that one constant
frame divides nothing by zero. Where both are constant everywhere, their largest magnitude takes
the place of the range.

Where a trace kept statistics only, the error is a lower bound of the nRMSE: the root mean square
difference of two sets of values is never less than sqrt((mean difference)^2 + (deviation
difference)^2), and never less than the area between their distribution functions (the earth
mover's distance). The larger bound counts, per channel where channels were kept.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np

from edgebed.observe.matching import Pair, meant_by_device, meant_by_reference
from edgebed.observe.parts import let_go, rows
from edgebed.observe.rescaling import ChannelSums
from edgebed.observe.statistics import Statistics
from edgebed.observe.trace import Tensor
from edgebed.program.types import Array

SAME_STEP: Final = 1e-5
"""Relative difference below which two scales are one: they were float32 once."""
STEP_SHARE: Final = 1e-3
"""Statistics of equal integers agree to this share of a step: devices sum in float32."""

GRID: Final = 256
GRID_SIZE: Final = 2048
GRID_LOOKED_AT: Final = 1 << 16
"""Reals lie on a grid where GRID_SIZE or more of the first GRID_LOOKED_AT take GRID values."""


@dataclass(frozen=True)
class LayerError:
    """A layer beside its reference, over all frames.

    Attributes:
        pair: the tensors.
        frames: compared.
        values: compared, finite on both sides.
        nrmse: see above; infinite where the device has no finite value at all.
        worst: the largest nRMSE of one frame, over the ranges of all frames.
        worst_frame: its number.
        first_frame: number of the first frame with any difference; -1 without.
        largest: largest difference, real units.
        reference_range: lowest and highest real value of the reference.
        device_range: the same of the device.
        reference_bad: NaN and infinite values of the reference.
        device_bad: the same of the device, at places where the reference is finite.
        same_steps: both are integers that mean the same, so each must be equal.
        differing: integers that are not.
        quanta: largest difference in steps; 0 unless `same_steps`.
        step: real value of one step, of the side that has the larger; 0 for real numbers.
        quantised: either side holds integers, or real numbers that lie on a grid of 8 bits.
        by_statistics: values of one side were not kept.
        skipped: frames in which it could not be compared.
        factors: by which the device's channels are scaled, where a converter did that on purpose;
            `nrmse` and `worst` are then of channels scaled back. See `edgebed.observe.rescaling`.
        factor_axis: of the compared shape along which they lie; None for one of all values.
        scaled_back: nrmse with each channel scaled back.
    """

    pair: Pair
    frames: int
    values: int
    nrmse: float
    worst: float
    worst_frame: int
    first_frame: int
    largest: float
    reference_range: tuple[float, float]
    device_range: tuple[float, float]
    reference_bad: int
    device_bad: int
    same_steps: bool
    differing: int
    quanta: int
    step: float
    quantised: bool
    by_statistics: bool
    skipped: int
    factors: tuple[float, ...] = ()
    factor_axis: int | None = None
    scaled_back: float = 0.0

    @property
    def name(self) -> str:
        """The reference's name of the layer."""
        return self.pair.name

    @property
    def equal(self) -> bool:
        """Nothing differs."""
        return self.first_frame < 0

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        plain = {key: value for key, value in asdict(self).items() if key != "pair"}
        plain["factors"] = [min(self.factors), max(self.factors)] if self.factors else None
        plain = {k: None if v == math.inf else v for k, v in plain.items()}
        pair = self.pair
        head = {"name": pair.name, "device_name": pair.device[1], "role": pair.role}
        more = {"kind": pair.kind, "matched_by": pair.how, "rearranged": str(pair.order)}
        return {**head, **more, **plain}


@dataclass
class RunningError:
    """The sums of one pair of tensors; memory does not grow with the frames."""

    pair: Pair
    frames: int = 0
    values: int = 0
    squares: float = 0.0
    worst: float = 0.0
    worst_frame: int = -1
    first_frame: int = -1
    largest: float = 0.0
    reference_range: tuple[float, float] = (math.inf, -math.inf)
    device_range: tuple[float, float] = (math.inf, -math.inf)
    reference_bad: int = 0
    device_bad: int = 0
    same_steps: bool = True
    differing: int = 0
    quanta: int = 0
    step: float = 0.0
    quantised: bool = False
    by_statistics: bool = False
    skipped: int = 0
    channels: ChannelSums | None = None

    def add(self, number: int, reference: Tensor | None, device: Tensor | None) -> float:
        """Take one frame in and return its root mean square error; 0 where it has none."""
        if reference is None or device is None or not self._fits(reference, device):
            self.skipped += 1
            return 0.0
        if reference.values is not None and device.values is not None:
            squares, differs = self._values(reference, device)
        elif reference.statistics is None and device.statistics is None:
            self.skipped += 1
            return 0.0
        else:
            squares, differs = self._statistics(reference, device)
        self.step = max(self.step, *(float(t.scale or 0.0) for t in (reference, device)))
        if not self.frames:
            self.quantised = on_grid(reference) or on_grid(device)
        self.frames += 1
        error = math.sqrt(squares)
        if differs and self.first_frame < 0:
            self.first_frame = number
        if error > self.worst or (differs and self.worst_frame < 0):
            self.worst, self.worst_frame = error, number
        return error

    @property
    def unit(self) -> float:
        """What errors are divided by: the wider range so far, or the magnitude of constants."""
        ranges = (_known(self.reference_range), _known(self.device_range))
        width = max(high - low for low, high in ranges)
        return width or max(abs(end) for one in ranges for end in one) or 1.0

    def result(self) -> LayerError:
        """Return the error so far."""
        mean = self.squares / self.values if self.values else 0.0
        nrmse = math.sqrt(mean) / self.unit
        if not self.values and self.device_bad:
            nrmse = math.inf
        factors, scaled_back = self._factors()
        axis = self.channels.axis if self.channels is not None else None
        return LayerError(
            self.pair, self.frames, self.values, nrmse, self.worst / self.unit, self.worst_frame,
            self.first_frame, self.largest, _known(self.reference_range),
            _known(self.device_range), self.reference_bad, self.device_bad,
            self.same_steps and self.frames > 0, self.differing, self.quanta, self.step,
            self.quantised, self.by_statistics, self.skipped, factors, axis,
            scaled_back,
        )  # fmt: skip

    def _factors(self) -> tuple[tuple[float, ...], float]:
        """Return each channel's factor, and the nRMSE with all of them scaled back."""
        if self.channels is None or self.by_statistics or not self.values:
            return (), 0.0
        found, squares = self.channels.factors()
        return found, math.sqrt(squares / self.values) / self.unit if found else 0.0

    def _fits(self, reference: Tensor, device: Tensor) -> bool:
        return (
            math.prod(reference.shape)
            == math.prod(device.shape)
            == math.prod(self.pair.order.shape)
        )

    def _values(self, reference: Tensor, device: Tensor) -> tuple[float, bool]:
        """Return the mean square difference of a frame and whether anything differs."""
        assert reference.values is not None and device.values is not None
        order = self.pair.order
        right = device.values.reshape(order.given).transpose(order.axes)
        left = reference.values.reshape(right.shape)  # the same order of values, seen alike
        exact = same_steps(reference, device)
        self.same_steps &= exact
        summed = not exact and self.pair.role == "layer" and right.shape == order.shape
        channels = self._channels(reference) if summed else None
        before = self.squares, self.values, self.differing, self.device_bad
        for place in rows(right):
            a = replace(reference, values=left[place], shape=left[place].shape)
            b = replace(device, values=right[place], shape=right[place].shape)
            if exact:
                self._integers(a, b)
            self._part(
                meant_by_reference(self.pair, a.real), meant_by_device(self.pair, b.real),
                channels, place.start or 0,
            )  # fmt: skip
            let_go(reference.values)
            let_go(device.values)
        total, count = self.squares - before[0], self.values - before[1]
        wrong = self.differing > before[2] or self.device_bad > before[3]
        return total / max(count, 1), wrong or (not exact and total > 0)

    def _part(self, a: Array, b: Array, channels: ChannelSums | None, start: int) -> None:
        """Take real values of both in, at the same places."""
        good, bad = _finite(a, b)
        self.reference_bad += int(a.size - np.isfinite(a).sum())
        self.device_bad += bad
        if channels is not None and good is None:
            channels.add(a, b, start)
        if good is not None:
            a, b = a[good], b[good]
        if not a.size:
            return
        self.reference_range = _wider(self.reference_range, a)
        self.device_range = _wider(self.device_range, b)
        gap = np.abs(a.astype(np.float64) - b)
        self.largest = max(self.largest, float(gap.max()))
        self.values += a.size
        self.squares += float(np.square(gap).sum())

    def _channels(self, reference: Tensor) -> ChannelSums:
        if self.channels is None:
            layout = reference.layout
            self.channels = ChannelSums(self.pair.order.shape, layout, reference.shape)
        return self.channels

    def _integers(self, reference: Tensor, device: Tensor) -> None:
        """Count the integers of a part that differ."""
        assert reference.values is not None and device.values is not None
        a, b = reference.values.astype(np.int64), device.values.astype(np.int64)
        gap = np.abs((a - reference.zero_point) - (b - device.zero_point))
        self.differing += int(np.count_nonzero(gap))
        self.quanta = max(self.quanta, int(gap.max(initial=0)))

    def _statistics(self, reference: Tensor, device: Tensor) -> tuple[float, bool]:
        """Return the square of the lower bound of a frame and whether anything differs."""
        a, b = _summary(reference), _summary(device)
        self.by_statistics = True
        exact = same_steps(reference, device)
        self.same_steps &= exact
        self.reference_bad += a.bad
        self.device_bad += max(b.bad - a.bad, 0)
        for side, one in (("reference_range", a), ("device_range", b)):
            low, high = getattr(self, side)
            setattr(self, side, (min(low, one.low), max(high, one.high)))
        bound = statistics_gap(a, b)
        allowed = STEP_SHARE * float(device.scale or 0.0) if exact else 0.0
        differs = bound > allowed or b.bad != a.bad
        bound = bound if differs else 0.0
        self.largest = max(self.largest, bound)
        self.differing += int(differs and exact)
        self.values += a.count
        self.squares += bound * bound * a.count
        return bound * bound, differs


def same_steps(a: Tensor, b: Tensor) -> bool:
    """Say whether two tensors hold integers of one meaning (zero points may differ)."""
    kinds = {np.dtype(a.dtype).kind, np.dtype(b.dtype).kind}
    if not kinds <= set("iub"):
        return False
    if a.scale is None or b.scale is None:
        return a.scale is None and b.scale is None and a.dtype == b.dtype
    return math.isclose(a.scale, b.scale, rel_tol=SAME_STEP)


def on_grid(tensor: Tensor) -> bool:
    """Say whether a tensor was quantised to 8 bits, whatever type it is recorded in."""
    if tensor.scale is not None or tensor.dtype in ("int8", "uint8", "int16"):
        return True
    if tensor.values is None or tensor.values.dtype.kind != "f":
        return False
    values = tensor.values.reshape(-1)[:GRID_LOOKED_AT]
    values = values[values != 0]  # activations make zeros of reals too
    return values.size >= GRID_SIZE and len(np.unique(values)) <= GRID


def statistics_gap(a: Statistics, b: Statistics) -> float:
    """Return a lower bound of the root mean square difference, real units."""
    moments = math.hypot(a.mean - b.mean, a.deviation - b.deviation)
    channels = 0.0
    if a.channels and len(a.channels) == len(b.channels):
        x, y = np.asarray(a.channels), np.asarray(b.channels)
        channels = float(np.sqrt(np.square(x[:, :2] - y[:, :2]).sum(1).mean()))
    return max(moments, channels, _earth_movers(a, b))


def _earth_movers(a: Statistics, b: Statistics) -> float:
    """Return the area between two distribution functions, less what bins leave open."""
    if a.every != 1 or b.every != 1 or not sum(a.histogram) or not sum(b.histogram):
        return 0.0  # samples of one distribution differ too
    edges = [np.linspace(s.low, s.high, len(s.histogram) + 1) for s in (a, b)]
    shares = [np.concatenate(([0.0], np.cumsum(s.histogram) / sum(s.histogram))) for s in (a, b)]
    x = np.unique(np.concatenate(edges))
    gaps = np.abs(np.interp(x, edges[0], shares[0], 0, 1) - np.interp(x, edges[1], shares[1], 0, 1))
    area = float(((gaps[1:] + gaps[:-1]) / 2 * np.diff(x)).sum())
    width = max(float(edge[1] - edge[0]) for edge in edges)
    return max(area - width, 0.0)  # values on an edge fall to either side, by their last bit


def _summary(tensor: Tensor) -> Statistics:
    if tensor.statistics is not None:
        return tensor.statistics
    return Statistics.of(tensor.real, tensor)


def _finite(a: Array, b: Array) -> tuple[Array | None, int]:
    """Return where both are finite (None: everywhere) and how often only the device is not."""
    left, right = np.isfinite(a), np.isfinite(b)
    if left.all() and right.all():
        return None, 0
    return left & right, int((left & ~right).sum())


def _wider(known: tuple[float, float], values: Array) -> tuple[float, float]:
    return min(known[0], float(values.min())), max(known[1], float(values.max()))


def _known(ends: tuple[float, float]) -> tuple[float, float]:
    return ends if ends[0] <= ends[1] else (0.0, 0.0)
