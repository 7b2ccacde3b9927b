"""Reference statistics that travel with a program: what its frames usually look like.

How far a window of frames may lie from them is in the profile too; see
`edgebed.observe.drift_chance`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np

from edgebed import files
from edgebed.errors import EdgebedError
from edgebed.observe.drift_chance import SIZES, Table, by_chance, related, table_of
from edgebed.observe.drift_features import tamed
from edgebed.observe.drift_profile_file import read_plain, rounded, tuples
from edgebed.observe.drift_stream import Observation, edges_of, is_integer, key_of, observations
from edgebed.observe.drift_what_if import WhatIf, learned
from edgebed.observe.trace import Frame, Manifest
from edgebed.observe.trace_reader import TraceReader
from edgebed.program.types import Array

FORMAT: Final = 2
NAME: Final = "profile.json"
"""Of the file beside a program."""
LEAST: Final = 16
"""Frames a reference needs."""
LEAST_TO_LEARN: Final = 64
"""Unrelated frames from which on turned pictures are learned: one scene teaches only itself."""
ALIKE: Final = 1.5
"""Frames that say as much as one, from which on a window is taken for a piece of a video."""
MOST: Final = 2000
"""Frames that are kept in memory; of longer traces every second, fourth, ... counts."""
Limits = tuple[float, float, float]
"""Real values of a tensor's least and largest integer, and of one step."""


@dataclass(frozen=True)
class Feature:
    """What the reference says of a feature.

    Attributes:
        mean, deviation, least, most: over frames.
        reach: for each of SIZES the distance that one window in a thousand exceeds.
        centre: mean of what is compared, see `drift_features.tamed`.
        low, high: so far a frame counts.
    """

    mean: float
    deviation: float
    least: float
    most: float
    reach: tuple[float, ...]
    centre: float
    low: float
    high: float


@dataclass(frozen=True)
class Counted:
    """What the reference says of a tensor's counts.

    Attributes:
        shares: of its values in each bin, mean over frames.
        reach: for each of SIZES the distance that one window in a thousand exceeds.
        edges: between the bins, for real numbers; empty for integers.
        low, high: real values of the least and the largest integer; 0 for real numbers.
    """

    shares: tuple[float, ...]
    reach: tuple[float, ...]
    edges: tuple[float, ...] = ()
    low: float = 0.0
    high: float = 0.0


@dataclass(frozen=True)
class Profile:
    """Reference statistics of a program.

    Attributes:
        source, network, digest: of the reference trace's manifest.
        frames: that it was made from.
        false_alarms: share of windows in which chance exceeds the threshold.
        sizes: of windows.
        thresholds: for each size, what the largest distance must exceed.
        unrelated: correlation of inputs of frames that are far from each other.
        longest_still: frames in a row with equal inputs.
        tensors: in order of execution.
        features: by `tensor/feature`.
        counted: by tensor.
        related: frames in a row of the reference that say as much as one, at least 1.
        what_if: what tells the pictures from such with a fault, by input.
    """

    source: str
    network: str
    digest: str
    frames: int
    false_alarms: float
    sizes: tuple[int, ...]
    thresholds: tuple[float, ...]
    unrelated: float
    longest_still: int
    tensors: tuple[str, ...]
    features: Mapping[str, Feature]
    counted: Mapping[str, Counted]
    related: float = 1.0
    what_if: Mapping[str, WhatIf] = field(default_factory=dict)

    def at(self, values: Sequence[float], frames: float) -> float:
        """Return what a value for each of `sizes` is for a number of unrelated frames."""
        return float(np.dot(values, self.weights(frames)))

    def weights(self, frames: float) -> Array:
        """Return the weight of each of `sizes` for a number of unrelated frames."""
        place = math.log(min(max(frames, self.sizes[0]), self.sizes[-1]))
        places = np.log(self.sizes)
        return np.array([np.interp(place, places, row) for row in np.eye(len(places))])

    def judged(self, one: Observation) -> Observation:
        """Return a frame with what `what_if` says of its pictures among its features."""
        said = {
            f"{key}/{name}": value
            for key, by in self.what_if.items() if key in one.views
            for name, value in by.features(one.views[key][""]).items()
        }  # fmt: skip
        return replace(one, features={**one.features, **said}) if said else one

    @cached_property
    def reaches(self) -> Array:
        """Reaches of all features, features x sizes."""
        return np.array([one.reach for one in self.features.values()])

    @cached_property
    def usual(self) -> Array:
        """Means of what is compared of all features."""
        return np.array([one.centre for one in self.features.values()])

    def compared(self, table: Array) -> Array:
        """Return what is compared of all features of frames; NaN stays, frames x features."""
        low, high = self._bounds
        return tamed(table, self.features.keys(), low, high)

    @cached_property
    def _bounds(self) -> tuple[Array, Array]:
        ends = np.array([(one.low, one.high) for one in self.features.values()]).T
        return ends[0], ends[1]

    def repeats(self, alike: Sequence[float | None]) -> float:
        """Return how many frames of a window say as much as one unrelated frame, at least 1."""
        known = [one for one in alike if one is not None]
        if not known:
            return 1.0
        more = (float(np.mean(known)) - self.unrelated) / max(1 - self.unrelated, 1e-6)
        more = min(max(more, 0.0), 0.999)
        found = (1 + more) / (1 - more)
        # Frames that follow each other as the reference's do repeat as much as those.
        return max(found, self.related) if found > ALIKE else found

    def save(self, path: Path) -> None:
        """Write it as JSON.

        Raises:
            EdgebedError: the file cannot be written.
        """
        files.write_text(path, json.dumps({"format": FORMAT, **rounded(asdict(self))}) + "\n")

    @classmethod
    def load(cls, path: Path) -> Profile:
        """Read what `save` wrote.

        Raises:
            EdgebedError: there is no such file, it is no profile, or of another format.
        """
        plain = read_plain(path, FORMAT)
        try:
            parts: dict[str, Any] = {
                "features": {k: Feature(**tuples(v)) for k, v in plain.pop("features").items()},
                "counted": {k: Counted(**tuples(v)) for k, v in plain.pop("counted").items()},
                "what_if": {k: _what_if(v) for k, v in plain.pop("what_if", {}).items()},
            }
            found = cls(**tuples(plain), **parts)
            _check(found)
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            raise EdgebedError(
                "is a damaged profile", where=str(path), why=str(error), try_="--write-profile"
            ) from error
        return found


def _what_if(plain: Mapping[str, Any]) -> WhatIf:
    rows = {key: tuple(map(tuple, plain[key])) for key in ("weights", "expected")}
    found = WhatIf(tuple(plain["faults"]), offsets=tuple(plain["offsets"]), **rows)
    if any(len(one) != len(found.faults) for one in (*rows.values(), found.offsets)):
        raise ValueError("the number of faults differs inside")
    return found


def _check(found: Profile) -> None:
    sized = [found.thresholds, *(one.reach for one in found.features.values())]
    sized += [one.reach for one in found.counted.values()]
    if not found.sizes or any(len(one) != len(found.sizes) for one in sized):
        raise ValueError("the number of window sizes differs inside")


def profile_of(path: Path, *, false_alarms: float = 1e-4, seed: int = 0) -> Profile:
    """Return the profile that a trace of calibration or validation frames makes.

    Args:
        path: of the trace; at least LEAST frames.
        false_alarms: share of windows in which chance may raise an alarm.
        seed: of the random windows.

    Raises:
        EdgebedError: the file is no trace or too short, or has nothing to be watched.
    """
    with TraceReader(path) as reader:
        edges = edges_of(reader.frames())
    with TraceReader(path) as reader:
        try:
            return profile_of_frames(
                reader.frames(), reader.manifest, edges, false_alarms=false_alarms, seed=seed
            )
        except EdgebedError as error:
            raise EdgebedError(
                error.what, where=str(path), why=error.why, try_=error.try_
            ) from error


def profile_of_frames(
    frames: Iterable[Frame], manifest: Manifest, edges: Mapping[str, Array] | None = None, *,
    false_alarms: float = 1e-4, seed: int = 0,
) -> Profile:  # fmt: skip
    """Return the profile that frames at hand make; see `profile_of`.

    Args:
        frames: in order.
        manifest: says where they are from.
        edges: between bins of tensors of real numbers; those without get no counts.
        false_alarms: share of windows in which chance may raise an alarm.
        seed: of the random windows.

    Raises:
        EdgebedError: they are too few, or have nothing to be watched.
    """
    limits: dict[str, Limits] = {}
    seen = _thinned(_noted(frames, limits), edges or {})
    if len(seen) < LEAST:
        raise EdgebedError(
            f"{len(seen)} whole frames are too few for a reference",
            why=f"{LEAST} are needed, some hundreds are good",
            try_="record more frames",
        )
    return _profile(manifest, seen, edges or {}, limits, (false_alarms, seed))


def profile_of_observations(
    seen: Sequence[Observation], manifest: Manifest, limits: Mapping[str, Limits], *,
    false_alarms: float = 1e-4, seed: int = 0,
) -> Profile:  # fmt: skip
    """Return the profile that observed frames make; see `profile_of`.

    Args:
        seen: in order; observed with `what_if=True`.
        manifest: says where they are from.
        limits: by tensor.
        false_alarms: share of windows in which chance may raise an alarm.
        seed: of the random windows.

    Raises:
        EdgebedError: they have nothing to be watched.
    """
    return _profile(manifest, seen, {}, limits, (false_alarms, seed))


def _noted(frames: Iterable[Frame], limits: dict[str, Limits]) -> Iterator[Frame]:
    """Pass frames on; note real low, real high and step of the integers in the first."""
    for frame in frames:
        for tensor in frame.tensors if not limits else ():
            low = high = 0.0
            if is_integer(tensor):
                info, step = np.iinfo(tensor.dtype), tensor.scale or 0.0
                low, high = ((int(q) - tensor.zero_point) * step for q in (info.min, info.max))
            limits[key_of(tensor)] = (low, high, tensor.scale or 0.0)
        yield frame


def _thinned(frames: Iterable[Frame], edges: Mapping[str, Array]) -> list[Observation]:
    kept: list[Observation] = []
    stride = 1
    for place, one in enumerate(observations(frames, edges, what_if=True)):
        if place % stride:
            continue
        kept.append(one)
        if len(kept) > MOST:
            kept, stride = kept[::2], 2 * stride
    return kept


def _profile(
    manifest: Manifest, seen: Sequence[Observation], edges: Mapping[str, Array],
    limits: Mapping[str, Limits], chance: tuple[float, int],
) -> Profile:  # fmt: skip
    steps = {name: row[2] for name, row in limits.items()}
    table = table_of(seen, steps)
    repeats = related(table)
    _check_unrelated(len(seen), repeats)
    what_if = dict[str, WhatIf]()
    if len(seen) >= LEAST_TO_LEARN * repeats:
        what_if, seen = _what_if_learned(seen)
        table = table_of(seen, steps) if what_if else table
    far = [one.far_alike for one in seen if one.far_alike is not None]
    unrelated = min(float(np.mean(far)), 0.95) if far else 0.0
    near = [one.alike for one in seen if one.alike is not None]
    more = min(max((float(np.mean(near)) - unrelated) / (1 - unrelated), 0.0), 0.95) if near else 0
    repeats = max(repeats, (1 + more) / (1 - more))
    block = min(math.ceil(repeats - 0.25), max(len(seen) // 8, 1))
    reach, apart, thresholds = by_chance(table, block, *chance)
    features = dict(_features(table, reach))
    shares = np.diff(table.cumulated.mean(0), axis=1, prepend=0.0)
    counted = {
        name: Counted(
            tuple(shares[at].tolist()), tuple(apart[at]),
            tuple(edges[name].tolist()) if name in edges else (), *limits[name][:2],
        )
        for at, name in enumerate(table.tensors)
    }  # fmt: skip
    return Profile(
        manifest.source, manifest.network, manifest.digest, len(seen), chance[0], SIZES,
        tuple(thresholds), unrelated, _longest(seen),
        tuple(dict.fromkeys(name.rpartition("/")[0] for name in table.names)), features, counted,
        repeats, what_if,
    )  # fmt: skip


def _features(table: Table, reach: Sequence[Sequence[float]]) -> Iterator[tuple[str, Feature]]:
    raw = table.raw
    columns = (raw.mean(0), raw.std(0), raw.min(0), raw.max(0), table.values.mean(0), *table.bounds)
    for name, row, far in zip(table.names, np.array(columns).T.tolist(), reach, strict=True):
        mean, deviation, least, most, centre, low, high = row
        yield name, Feature(mean, deviation, least, most, tuple(far), centre, low, high)


def _check_unrelated(frames: int, repeats: float) -> None:
    if frames / repeats < LEAST:
        raise EdgebedError(
            f"{frames} frames of a reference say as much as {frames / repeats:.0f}",
            why=f"neighbours resemble each other; {LEAST} unrelated ones are needed",
            try_="frames over a longer time, e.g. every tenth",
        )


def _what_if_learned(
    seen: Sequence[Observation],
) -> tuple[dict[str, WhatIf], Sequence[Observation]]:
    """Return what tells pictures from such with a fault, and the frames with what it says."""
    found = {}
    for key in seen[0].views:
        pictures = [one.views.get(key, {}) for one in seen]
        if any(one.keys() != pictures[0].keys() for one in pictures):
            continue
        if (made := learned(pictures)) is None:
            continue
        found[key], said = made
        seen = [
            replace(one, features={**one.features, **{f"{key}/{n}": v for n, v in row.items()}})
            for one, row in zip(seen, said, strict=True)
        ]
    return found, seen


def _longest(seen: Sequence[Observation]) -> int:
    longest = run = 1
    for one in seen[1:]:
        run = run + 1 if one.still else 1
        longest = max(longest, run)
    return longest
