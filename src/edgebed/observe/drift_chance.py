"""The distances from a reference that chance alone makes.

How far may a window of frames lie from the reference? The reference itself answers: windows of n
of its frames are drawn at random and compared with a reference drawn anew in blocks (frames of a
video resemble their neighbours, so blocks are as long as the resemblance). That gives, for each n
and each feature, the distance that one window in a thousand exceeds. The largest of all features'
distances in these units has a distribution too: of windows of one half of the frames against the
other half, for many halves, so that errors of the reference itself count. Its tail, an exponential
fitted to the largest twentieth, gives the threshold that chance exceeds in one window of
`1 / false_alarms`. Looking at hundreds of features at once thus costs no false alarms, however the
features depend on each other (the maximum over dependent tests: Westfall and Young,
Resampling-based multiple testing, 1993). Inputs, layers and outputs each get a third of the false
alarms: a hundred layers must not hide what two scores say.
Distances: of features, the difference of means; of counts, Kolmogorov and Smirnov's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from edgebed.errors import EdgebedError
from edgebed.observe.drift_features import bounds, floor_of, tamed
from edgebed.observe.drift_stream import Observation
from edgebed.program.types import Array

SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Of windows, in frames that do not resemble each other."""
REPEATS: Final = 1000
HALVES: Final = 50
"""Ways to part the reference in two halves."""
WINDOWS: Final = 40
"""Drawn from each half."""
LEAST_SPREAD: Final = 0.85
"""Share of its deviation that a feature keeps in a half: one rare frame is no rule."""
ONE_IN_THOUSAND: Final = 3.29
"""Where distances that one window in a thousand exceeds are put, as normal deviations."""


@dataclass(frozen=True, eq=False)
class Table:
    """All frames: features N x F, as they are and as compared, cumulated shares N x T x bins."""

    names: tuple[str, ...]
    raw: Array
    bounds: tuple[Array, Array]
    values: Array
    floors: Array
    tensors: tuple[str, ...]
    cumulated: Array

    @property
    def groups(self) -> tuple[Array, Array]:
        """Numbers from 0, for each feature and for each tensor: inputs, layers, outputs."""
        kinds = [[_group(name) for name in row] for row in (self.names, self.tensors)]
        places = {kind: at for at, kind in enumerate(sorted({*kinds[0], *kinds[1]}))}
        first, second = (np.array([places[kind] for kind in row], np.int64) for row in kinds)
        return first, second


def _group(name: str) -> int:
    return 0 if name.startswith("input ") else 2 if name.startswith("output ") else 1


def table_of(seen: Sequence[Observation], steps: Mapping[str, float]) -> Table:
    """Return the features and counts that every frame has.

    Args:
        seen: the reference's frames.
        steps: real value of one integer step, by tensor.

    Raises:
        EdgebedError: there is no such feature.
    """
    names = tuple(n for n in seen[0].features if all(n in one.features for one in seen))
    tensors = tuple(n for n in seen[0].counts if all(n in one.counts for one in seen))
    if not names:
        raise EdgebedError(
            "the trace has nothing to watch", why="no input, layer or output is in every frame"
        )
    raw = np.array([[one.features[name] for name in names] for one in seen])
    mean = dict(zip(names, raw.mean(0), strict=True))
    floors = list[float]()
    for name in names:
        tensor, _, feature = name.rpartition("/")
        spread = float(mean.get(f"{tensor}/deviation", 0.0))
        floors.append(floor_of(feature, spread, steps.get(tensor, 0.0)))
    shares = np.array([[one.counts[n] / max(one.counts[n].sum(), 1) for n in tensors]
                       for one in seen]).reshape(len(seen), len(tensors), -1)  # fmt: skip
    ends = bounds(raw, np.array(floors))
    values = tamed(raw, names, *ends)
    return Table(names, raw, ends, values, np.array(floors), tensors, shares.cumsum(2))


def by_chance(
    table: Table, block: int, false_alarms: float, seed: int
) -> tuple[list[list[float]], list[list[float]], list[float]]:
    """Return reaches of features and of counts, each per size, and thresholds per size."""
    random = np.random.default_rng(seed)
    count = len(table.values)
    flat = table.cumulated.reshape(count, -1)
    reach, apart, thresholds = [], [], []
    for size in SIZES:
        drawn = _windows(random, count, size) - _references(random, count, block)
        moved = np.abs(drawn @ table.values)
        gaps = np.abs(drawn @ flat).reshape(REPEATS, *table.cumulated.shape[1:]).max(2)
        reach.append(np.maximum(_tail(moved, 0.99, 1e-3), table.floors))
        apart.append(np.maximum(_tail(gaps, 0.99, 1e-3), 0.005) if gaps.size else np.zeros(0))
        largest = _held_out(table, block, size, (reach[-1], apart[-1]), random)
        thresholds.append(_tail(largest, 0.95, false_alarms / max(largest.shape[1], 1)))
    limits = np.array([_steady(row) for row in np.array(thresholds).T.tolist()])
    limits = np.maximum(limits, ONE_IN_THOUSAND)  # a constant reference has no distances at all
    common = limits.max(0)
    # In units of its own group's threshold a distance compares with the one that all share.
    own = limits / common
    of_features, of_counts = table.groups
    return (
        (np.array(reach).T * own[of_features]).tolist(),
        (np.array(apart).T * own[of_counts]).tolist(), common.tolist(),
    )  # fmt: skip


def related(table: Table) -> float:
    """Return how many neighbouring frames say as much as one unrelated frame, at least 1.

    The time over which features resemble themselves: 1 + 2 * (sum of correlations at each lag, up
    to where they are lost in noise); of four fifths of the features it is less.
    """
    count = len(table.values)
    moving = table.values[:, table.values.std(0) > table.floors / 4]
    if count < 8 or not moving.shape[1]:
        return 1.0
    moving = (moving - moving.mean(0)) / moving.std(0)
    total, noise = np.ones(moving.shape[1]), 2 / math.sqrt(count)
    lasting = np.ones(moving.shape[1], bool)
    for lag in range(1, count // 2):
        alike = (moving[lag:] * moving[:-lag]).sum(0) / count
        lasting &= alike > noise
        if not lasting.any():
            break
        total += 2 * np.where(lasting, alike, 0.0)
    return float(np.quantile(total, 0.8))


def _steady(thresholds: list[float]) -> list[float]:
    """Return thresholds without what a few extreme windows do to a single size."""
    ends = [thresholds[0], *thresholds, thresholds[-1]]
    usual = float(np.median(thresholds))
    return [max(float(np.median(ends[at : at + 3])), usual) for at in range(len(thresholds))]


def _held_out(
    table: Table, block: int, size: int, reaches: tuple[Array, Array],
    random: np.random.Generator,
) -> Array:  # fmt: skip
    """Return the largest distances of windows of one half of the frames from the other half.

    Windows x groups. What a half says of mean and deviation is off by chance as what all say is,
    only more so.
    """
    count = len(table.values)
    deviation, groups = table.values.std(0), np.concatenate(table.groups)
    whole = math.sqrt(1 / size + block / count)
    found = []
    for _ in range(HALVES):
        ours = random.permutation(math.ceil(count / block))[np.arange(count) // block] % 2 == 0
        one, other = np.flatnonzero(ours), np.flatnonzero(~ours)
        wider = math.sqrt(1 / size + block / len(one) + block / len(other)) / whole
        narrower = np.clip(
            table.values[one].std(0) / np.maximum(deviation, 1e-30), LEAST_SPREAD, None
        )
        drawn = _windows(random, len(other), size, WINDOWS)
        gap = np.abs(drawn @ table.values[other] - table.values[one].mean(0))
        far = gap / np.maximum(reaches[0] * wider * narrower, table.floors)
        mean = np.tensordot(drawn, table.cumulated[other], 1)
        shift = np.abs(mean - table.cumulated[one].mean(0))
        wide = shift.max(2) / (reaches[1] * wider) if shift.size else np.zeros((len(far), 0))
        both = np.concatenate([far, wide], 1)
        found.append(np.stack([both[:, groups == at].max(1) for at in range(groups.max() + 1)], 1))
    return np.concatenate(found) * ONE_IN_THOUSAND


def _windows(random: np.random.Generator, count: int, size: int, repeats: int = REPEATS) -> Array:
    """Return repeats x count weights of windows of frames drawn one by one."""
    result: Array = random.multinomial(size, np.full(count, 1 / count), repeats) / size
    return result


def _references(random: np.random.Generator, count: int, block: int) -> Array:
    """Return REPEATS x count weights of references drawn in blocks of neighbours."""
    blocks = math.ceil(count / block)
    starts = random.multinomial(blocks, np.full(count, 1 / count), REPEATS)
    covered = sum(np.roll(starts, shift, axis=1) for shift in range(block))
    result: Array = np.asarray(covered) / (blocks * block)
    return result


def _tail(values: Array, start: float, chance: float) -> Array:
    """Return what each column exceeds by `chance`: an exponential tail from its `start` on."""
    edge = np.quantile(values, start, axis=0)
    over = np.maximum(values - edge, 0).sum(0) / np.maximum((values > edge).sum(0), 1)
    result: Array = edge + over * math.log((1 - start) / chance)
    return result


def gap(one: Array, other: Array) -> float:
    """Return Kolmogorov and Smirnov's distance of shares in bins."""
    return float(np.abs(np.cumsum(one) - np.cumsum(other)).max())
