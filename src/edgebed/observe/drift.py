"""Whether the inputs or layers of a trace have left the reference that travels with its program.

A trace is cut into windows. The mean of every feature over a window, and the counts of its values,
are compared with the profile (`edgebed.observe.drift_profile`), in units of what chance does to
windows of this size. A window whose largest distance is beyond the profile's threshold has
drifted; drifted windows in a row are one episode, which gets one verdict for the input, or where
the input has not moved, for the first layer, and for the classes. Frames that resemble each other,
as a video's do, count for less than their number. Some faults need no statistics: a frame that
stands still, an input without any change inside, a channel that is flat while others live.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from edgebed.errors import EdgebedError
from edgebed.observe.drift_certain import EXPLAINING, CertainFaults
from edgebed.observe.drift_chance import ONE_IN_THOUSAND, gap
from edgebed.observe.drift_profile import Profile
from edgebed.observe.drift_stream import Observation, observations
from edgebed.observe.drift_verdict import Moved, named
from edgebed.observe.trace import Manifest
from edgebed.observe.trace_reader import TraceReader
from edgebed.observe.verdict import Verdict

FEW: Final = 32
"""Unrelated frames below which a reference is called short."""
WINDOW: Final = 64
"""Frames; shorter windows see a drift sooner, longer ones see smaller drifts."""


@dataclass(frozen=True)
class Drift:
    """What a trace says against a profile.

    Attributes:
        verdicts: one an episode and cause; empty where nothing has moved.
        frames: that were examined.
        windows: that were tested.
        drifted: of them beyond the threshold.
        cut: why the trace ends before its end; empty while it does not.
        notes: what a reader must know, as sentences.
    """

    verdicts: tuple[Verdict, ...]
    frames: int
    windows: int
    drifted: int
    cut: str = ""
    notes: tuple[str, ...] = ()


@dataclass
class _Episode:
    """Drifted windows in a row, with the window before the first."""

    before: list[Observation]
    windows: list[list[Observation]] = field(default_factory=list)
    moved: list[Moved] = field(default_factory=list)


def drift(path: Path, profile: Profile, window: int = WINDOW) -> Drift:
    """Compare a trace with the profile of its program.

    Args:
        path: of the trace.
        profile: of the program that the trace is of.
        window: frames that are tested together, at least 1.

    Raises:
        EdgebedError: the file is no trace, has no tensor of the profile, or `window` is below 1.
    """
    if window < 1:
        raise EdgebedError(f"a window of {window} frames", try_="1 or more, e.g. 64")
    edges = {name: np.array(one.edges) for name, one in profile.counted.items() if one.edges}
    with TraceReader(path) as reader:
        seen = _Seen(profile, window)
        for one in observations(reader.frames(), edges):
            if not seen.frames:
                check_same(reader.manifest, one, profile, path)
            seen.add(one)
        verdicts = seen.finish()
        notes = tuple(_notes(reader.manifest, profile, seen.frames))
        return Drift(verdicts, seen.frames, seen.windows, seen.drifted, reader.cut, notes)


def drift_of(seen: Iterable[Observation], profile: Profile, window: int = WINDOW) -> Drift:
    """Compare frames that are at hand as numbers; see `drift`."""
    found = _Seen(profile, window)
    for one in seen:
        found.add(one)
    verdicts = found.finish()
    return Drift(verdicts, found.frames, found.windows, found.drifted)


def check_same(manifest: Manifest, first: Observation, profile: Profile, path: Path) -> None:
    """Refuse a trace that has nothing of the profile.

    Raises:
        EdgebedError: no feature of the profile is in its first frame.
    """
    if any(name in first.features for name in profile.features) or first.bad:
        return
    raise EdgebedError(
        "has no tensor of the profile", where=str(path),
        why=f"it is of {manifest.network or 'a network without a name'}, the profile of"
        f" {profile.network or 'one without a name'} with {', '.join(profile.tensors[:3])}",
        try_="the profile of this program: --write-profile on a trace of good frames",
    )  # fmt: skip


def _notes(manifest: Manifest, profile: Profile, frames: int) -> Iterator[str]:
    if manifest.digest and profile.digest and manifest.digest != profile.digest:
        yield (
            "The trace and the profile have different digests: another version of the program, or"
            " another form of it."
        )
    if profile.frames < FEW * profile.related:
        yield (
            f"The profile's {profile.frames} frames resemble each other and say as much as"
            f" {profile.frames / profile.related:.0f}: a reference over a longer time sees more."
        )
    if not frames:
        yield "The trace has no whole frame."


class _Seen:
    """Cuts a stream into windows; holds two windows and the drifted ones at a time."""

    def __init__(self, profile: Profile, window: int) -> None:
        self.profile, self.window = profile, window
        self.frames = self.windows = self.drifted = 0
        self._faults = CertainFaults(profile)
        self._now: list[Observation] = []
        self._before: list[Observation] = []
        self._episode: _Episode | None = None
        self._verdicts: list[Verdict] = []

    def add(self, one: Observation) -> None:
        self.frames += 1
        self._faults.add(one)
        self._now.append(self.profile.judged(one))
        if len(self._now) == self.window:
            self._test(self._now)
            self._before, self._now = self._now, []

    def finish(self) -> tuple[Verdict, ...]:
        """Test what is left, with frames before it up to a whole window; return all verdicts."""
        if self._now:
            rest = (self._before + self._now)[-self.window :]
            self._test(rest)
        self._end()
        certain = self._faults.verdicts()
        if any(one.cause in EXPLAINING for one in certain):
            return tuple(certain)  # whatever else moved follows from it
        return (*certain, *self._verdicts)

    def _test(self, window: list[Observation]) -> None:
        self.windows += 1
        moved = moved_by(window, self.profile)
        if moved.largest <= moved.threshold:
            self._end()
            return
        self.drifted += 1
        if self._episode is None:
            self._episode = _Episode(self._before)
        if len(self._episode.moved) < 64:  # a long episode is known well enough by then
            self._episode.moved.append(moved)
        if not self._episode.windows:
            self._episode.windows.append(window)

    def _end(self) -> None:
        episode, self._episode = self._episode, None
        if episode is not None:
            strongest = max(episode.moved, key=lambda one: one.largest / one.threshold)
            since = since_frame(episode.before, episode.windows[0], episode.moved[0], self.profile)
            self._verdicts += named(strongest, self.profile, since)


def moved_by(window: list[Observation], profile: Profile) -> Moved:
    """Return how far a window lies from the profile, in each feature and tensor."""
    repeats = min(profile.repeats([one.alike for one in window[1:]]), len(window))
    frames = len(window) / repeats
    weights = profile.weights(frames)
    table = np.array([[one.features.get(n, np.nan) for n in profile.features] for one in window])
    present = ~np.isnan(table).all(0)
    middle = np.nanmean(table[:, present], axis=0)
    compared = np.nanmean(profile.compared(table)[:, present], axis=0)
    moved = compared - profile.usual[present]
    far = ONE_IN_THOUSAND * moved / (profile.reaches[present] @ weights)
    names = [name for name, there in zip(profile.features, present, strict=True) if there]
    apart = {}
    for name, counted in profile.counted.items():
        rows = [one.counts[name] for one in window if name in one.counts]
        if rows:
            stacked = np.array(rows, np.float64)
            shares = (stacked / np.maximum(stacked.sum(1, keepdims=True), 1)).mean(0)
            far_apart = gap(shares, np.asarray(counted.shares))
            apart[name] = ONE_IN_THOUSAND * far_apart / float(np.dot(counted.reach, weights))
    return Moved(
        dict(zip(names, middle.tolist(), strict=True)), dict(zip(names, far.tolist(), strict=True)),
        apart, float(np.dot(profile.thresholds, weights)), frames, len(window),
    )  # fmt: skip


def since_frame(
    before: list[Observation], window: list[Observation], moved: Moved, profile: Profile
) -> int:
    """Return the frame at which the features that moved most began to: where their sum turns."""
    frames = [*before, *window]
    strongest = sorted(moved.far, key=lambda name: -abs(moved.far[name]))[:5]
    score = np.zeros(len(frames))
    for name in strongest:
        known, sign = profile.features[name], np.sign(moved.far[name])
        unit = max(known.deviation, abs(moved.means[name] - known.mean) / 10, 1e-12)
        score += [sign * (one.features.get(name, known.mean) - known.mean) / unit for one in frames]
    height = float(np.mean(score[len(before) + len(window) // 2 :]))
    behind = np.cumsum((score - height / 2)[::-1])[::-1]
    return frames[int(behind.argmax())].number
