"""Layers of two traces side by side, in the order of execution."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from edgebed.observe.matching import Pair, match
from edgebed.observe.observed import Observed, Signal
from edgebed.observe.parts import PART, rows
from edgebed.program.types import Array

LEAST: Final = 32
"""Values of a channel below which its factor and offset are anybody's guess."""


@dataclass(frozen=True, eq=False)
class Stage:
    """An input, layer or output in both traces.

    Attributes:
        role: `input`, `layer` or `output`.
        reference: its signal.
        device: the other signal.
        expected: N x shape, real values.
        given: the same of the device, its values in the reference's order.
    """

    role: str
    reference: Signal
    device: Signal
    expected: Array
    given: Array

    @property
    def name(self) -> str:
        """The device's name of it."""
        return self.device.name

    @cached_property
    def span(self) -> float:
        """The wider range of both, real units; 1 where both are constant."""
        sides = [one[np.isfinite(one)] for one in (self.expected, self.given)]
        return max((float(np.ptp(one)) for one in sides if one.size), default=0.0) or 1.0

    @cached_property
    def error(self) -> float:
        """Root mean square difference as a share of the range; infinite where nothing is finite."""
        total, count = 0.0, 0
        for place in rows(self._flat[0]):
            gap = (self._flat[0][place] - self._flat[1][place]).astype(np.float64)
            gap = gap[np.isfinite(gap)]
            total, count = total + float(np.square(gap).sum()), count + gap.size
        return float(np.sqrt(total / count)) / self.span if count else float("inf")

    @property
    def _flat(self) -> tuple[Array, Array]:
        return self.expected.reshape(-1), self.given.reshape(-1)

    def channels(self, values: Array) -> Array:
        """Return values as channels x everything else."""
        return np.moveaxis(values, self._channel_axis, 0).reshape(
            values.shape[self._channel_axis], -1
        )

    @cached_property
    def systematic(self) -> tuple[float, float]:
        """What of the error each channel's own factor and offset explain; see `systematic`.

        Of a stage of more than a million values, evenly drawn ones are looked at.
        """
        every = -(-self.expected.size // PART)
        sides = (self.channels(one)[:, ::every] for one in (self.expected, self.given))
        return systematic(*sides)

    @property
    def _channel_axis(self) -> int:
        shape, layout = self.expected.shape[1:], self.reference.layout.upper().lstrip("N")
        first = 2 if len(shape) == 4 and shape[0] == 1 else 1  # behind a batch axis of one
        shape = shape[first - 1 :]
        if len(layout) == len(shape) and "C" in layout:
            return first + layout.index("C")
        if len(shape) == 3:  # rows and columns are more often equal than not
            return first + 2 if shape[0] == shape[1] != shape[2] else first
        return first + len(shape) - 1


def systematic(expected: Array, given: Array) -> tuple[float, float]:
    """Return how much of the error each channel's own factor and offset explain.

    Rounding is right on average, so it explains none of it; a wrong scale or bias all of it.

    Args:
        expected: channels x values.
        given: of the same shape.

    Returns:
        A share of the squared error, and that part's root mean square in deviations of the
        expected values. Zeros where a channel has fewer than LEAST values.
    """
    if not np.isfinite(expected).all() or not np.isfinite(given).all():
        return 0.0, 0.0
    deviation = float(expected.std()) if expected.size else 0.0
    if expected.shape[1] < LEAST or deviation == 0:
        return 0.0, 0.0
    gap = given.astype(np.float64) - expected
    total = float(np.square(gap).sum())
    own = expected - expected.mean(1, keepdims=True, dtype=np.float64)
    rest = gap - gap.mean(1, keepdims=True)
    power = np.square(own).sum(1)
    slope = (own * rest).sum(1) / np.where(power > 0, power, 1)
    explained = total - float(np.square(rest - slope[:, None] * own).sum())
    if total == 0:
        return 0.0, 0.0
    return explained / total, float(np.sqrt(max(explained, 0) / gap.size)) / deviation


def stages_of(reference: Observed, device: Observed) -> tuple[Stage, ...]:
    """Return input, layers and outputs that both traces kept whole, in order."""
    return device.once("stages", reference, lambda: tuple(_stages(reference, device)))


def _stages(reference: Observed, device: Observed) -> list[Stage]:
    sides = (reference.layers, device.layers)
    alike = set(sides[1]) <= set(sides[0]) and all(
        _alike(sides[0][name], sides[1][name]) for name in sides[1]
    )
    if alike or not device.frames:  # without frames the names have been matched before
        found = []
        for role in ("inputs", "layers", "outputs"):
            left, right = getattr(reference, role), getattr(device, role)
            names = list(zip(left, right, strict=False)) if role != "layers" else [
                (name, name) for name in left if name in right
            ]  # fmt: skip
            for one, two in names:
                if _alike(left[one], right[two]):
                    found.append(_stage(role[:-1], left[one], right[two], None))
        return found
    return _matched(reference, device)


def _alike(one: Signal, two: Signal) -> bool:
    return one.is_even and two.is_even and one.stored[0].shape == two.stored[0].shape


def _matched(reference: Observed, device: Observed) -> list[Stage]:
    frames = list(zip(reference.frames, device.frames, strict=False))
    if not frames:
        return []
    orders = (reference.manifest.layers, device.manifest.layers)
    found = []
    for pair in match(frames[:3], orders).pairs:
        left, right = (
            _signal(s, k) for s, k in ((reference, pair.reference), (device, pair.device))
        )
        if pair.role != "raw" and left is not None and right is not None:
            found.append(_stage(pair.role, left, right, pair))
    return found


def _signal(side: Observed, key: tuple[str, str]) -> Signal | None:
    role, name = key
    groups = {"input": side.inputs, "layer": side.layers, "output": side.outputs}
    found = groups.get(role, {}).get(name)
    return found if found is not None and found.is_even else None


def _stage(role: str, left: Signal, right: Signal, pair: Pair | None) -> Stage:
    expected, given = np.stack(left.real), np.stack(right.real)
    if pair is not None:
        rows = [pair.order.of(one) for one in right.real]
        given = np.stack(rows).reshape(len(rows), *left.stored[0].shape)
        if pair.step is not None:
            given = given * np.float32(pair.step) + np.float32(pair.zero)
    return Stage(role, left, right, expected, given)
