"""What the tensors of a float network hold on real inputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from edgebed.errors import EdgebedError, did_you_mean
from edgebed.events import Listener, Progress, ignore
from edgebed.program.run import trace
from edgebed.program.types import Array, Program

Method = Literal["minmax", "percentile", "mse"]
METHODS: tuple[str, ...] = get_args(Method)
KEPT = 4096  # values of a tensor that a sample leaves for percentiles; a few thousand suffice
_SHRINKS = np.linspace(0.3, 1.0, 36)


@dataclass(frozen=True)
class Range:
    """Smallest and largest real value that integers shall hold; 0.0 lies within."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.low) and np.isfinite(self.high)):
            raise EdgebedError(f"a range {self.low}..{self.high} is not finite")

    def union(self, other: Range) -> Range:
        """Return the range that holds both."""
        return Range(min(self.low, other.low), max(self.high, other.high))

    def clip(self, low: float | None, high: float | None) -> Range:
        """Return the part within bounds."""
        least = self.low if low is None else min(max(self.low, low), 0.0)
        most = self.high if high is None else max(min(self.high, high), 0.0)
        return Range(least, most)

    @property
    def span(self) -> float:
        """Width."""
        return self.high - self.low


@dataclass(frozen=True)
class Statistics:
    """What one tensor held.

    Attributes:
        low: smallest value, at most 0.
        high: largest value, at least 0.
        values: a subset of the values, float32.
        means: mean of each index of the first axis.
        last_means: mean of each index of the last axis.
    """

    low: float
    high: float
    values: npt.NDArray[np.float32]
    means: npt.NDArray[np.float64]
    last_means: npt.NDArray[np.float64]

    def range(self, method: Method, percentile: float = 99.99, steps: int = 255) -> Range:
        """Return the range that a method picks.

        Args:
            method: `minmax` holds every value; `percentile` that share of them, cut at both ends;
                `mse` the range with the least squared error after rounding.
            percentile: in percent.
            steps: of the integers, for `mse`.
        """
        if method == "minmax":
            return Range(self.low, self.high)
        if method == "percentile":
            rest = (100.0 - percentile) / 2
            low, high = np.percentile(self.values, [rest, 100.0 - rest])
            return Range(min(float(low), 0.0), max(float(high), 0.0))
        errors = [self._error(self.low * part, self.high * part, steps) for part in _SHRINKS]
        best = float(_SHRINKS[int(np.argmin(errors))])
        return Range(self.low * best, self.high * best)

    def _error(self, low: float, high: float, steps: int) -> float:
        step = (high - low) / steps
        if step <= 0:
            return 0.0
        rounded = np.clip(np.rint((self.values - low) / step), 0, steps) * step + low
        return float(np.square(rounded - self.values, dtype=np.float64).mean())


class _Watcher:
    """Collects statistics of one tensor."""

    def __init__(self) -> None:
        self.low, self.high = 0.0, 0.0
        self.kept: list[npt.NDArray[np.float32]] = []
        self.means: list[npt.NDArray[np.float64]] = []
        self.last_means: list[npt.NDArray[np.float64]] = []

    def see(self, name: str, values: Array) -> None:
        if not np.isfinite(values).all():
            raise EdgebedError(
                f"tensor {name!r} holds NaN or infinity on the calibration data",
                try_="check the network's weights and the pictures' scale (--pixels)",
            )
        if not values.size:
            return
        self.low = min(self.low, float(values.min()))
        self.high = max(self.high, float(values.max()))
        flat = values.reshape(-1)
        self.kept.append(flat[:: max(1, flat.size // KEPT)].astype(np.float32))
        table = values.reshape(values.shape[0], -1) if values.ndim else values.reshape(1, 1)
        self.means.append(table.mean(axis=1, dtype=np.float64))
        last = values.reshape(-1, values.shape[-1]) if values.ndim else table
        self.last_means.append(last.mean(axis=0, dtype=np.float64))

    def statistics(self) -> Statistics:
        mean = np.mean(self.means, axis=0)
        last = np.mean(self.last_means, axis=0)
        return Statistics(self.low, self.high, np.concatenate(self.kept), mean, last)


def calibrate(
    program: Program,
    samples: Iterable[Mapping[str, Array]],
    listener: Listener = ignore,
    total: int = 0,
) -> dict[str, Statistics]:
    """Run a float network on samples and return the statistics of each float tensor by name.

    Args:
        program: a float network.
        samples: inputs by name, without a batch axis.
        listener: hears the progress.
        total: number of samples, for the progress; 0 = not known.

    Raises:
        EdgebedError: there is no sample, one has another shape, or a tensor is not finite.
    """
    watchers: dict[str, _Watcher] = {}
    count = 0
    for count, sample in enumerate(samples, start=1):
        for name, values in trace(program, sample):
            if program.types[name].is_float:
                watchers.setdefault(name, _Watcher()).see(name, values)
        listener(Progress("calibrate", count, total or count, "samples"))
    if not count:
        raise EdgebedError("there is no calibration sample", try_="--data DIR with pictures")
    return {name: watcher.statistics() for name, watcher in watchers.items()}


def check_method(name: str) -> Method:
    """Return a calibration method by its name.

    Raises:
        EdgebedError: there is no such method.
    """
    for method in get_args(Method):
        if name == method:
            found: Method = method
            return found
    raise EdgebedError(f"unknown calibration {name!r}", try_=did_you_mean(name, METHODS))
