"""Whether what devices report as sketches has left the reference that travels with their program.

A report is one window: the counts of each of its tensors are compared with the profile's by
Kolmogorov and Smirnov's distance, in units of what chance does to windows of so many frames. Where
no report has moved alone, all of them together are one window more. A sketch does not say how much
its frames resemble each other; they are taken to do so as the reference's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from edgebed.errors import EdgebedError
from edgebed.figures import number
from edgebed.observe import sketch as sketches
from edgebed.observe.drift_chance import ONE_IN_THOUSAND, gap
from edgebed.observe.drift_profile import Counted, Profile
from edgebed.observe.drift_verdict import FIXES
from edgebed.observe.sketch import Report, Sketch
from edgebed.observe.trace import MAGIC
from edgebed.observe.verdict import Verdict
from edgebed.program.types import Array

FLAT: Final = 0.99
"""Share of its values in one bin that makes an input flat ..."""
USUAL: Final = 0.7
"""... where the reference has this at most."""
MOST_BYTES: Final = 1 << 28
"""Of a captured file."""


@dataclass(frozen=True)
class Reported:
    """What devices say against a profile.

    Attributes:
        verdicts: one at most, of the first tensor that moved.
        reports: that were read.
        frames: that they have counted.
        drifted: reports beyond the threshold.
        notes: what a reader must know, as sentences.
    """

    verdicts: tuple[Verdict, ...]
    reports: int
    frames: int
    drifted: int
    notes: tuple[str, ...] = ()


def is_report(path: Path) -> bool:
    """Whether a file holds packets of sketches, or pieces of such, and is no trace.

    Raises:
        EdgebedError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(MAGIC)) == MAGIC:
                return False  # however large
    except OSError:
        pass  # reading will say why
    return sketches.MAGIC in _read(path)


def drift_of_files(paths: Sequence[Path], profile: Profile) -> Reported:
    """Compare captured packets with the profile.

    Args:
        paths: files of packets, in the order of time; text and anything else between is skipped.
        profile: of the program on the devices.

    Raises:
        EdgebedError: a file cannot be read or holds no whole packet, or none of their tensors is
            the profile's.
    """
    reports, damaged = [], 0
    for path in paths:
        found, bad = sketches.captured(_read(path), profile.counted)
        if not found:
            raise EdgebedError(
                "holds no whole report of sketches", where=str(path),
                why=f"{bad} begin in it, cut or damaged" if bad else "no packet begins in it",
                try_="capture the line's bytes unchanged, e.g. no line ends replaced",
            )  # fmt: skip
        reports += found
        damaged += bad
    if not any(one.sketches for one in reports):
        raise EdgebedError(
            "reports no tensor of the profile", where=str(paths[0]),
            why=f"the profile of {profile.network or 'a network without a name'} counts"
            f" {', '.join(list(profile.counted)[:3])}",
            try_="the profile of the program on the device",
        )  # fmt: skip
    return drift_of_reports(reports, profile, damaged)


def drift_of_reports(reports: Sequence[Report], profile: Profile, damaged: int = 0) -> Reported:
    """Compare reports with the profile.

    Args:
        reports: in the order of time.
        profile: of the program on the devices.
        damaged: packets that could not be read, for the notes.

    Raises:
        EdgebedError: a tensor is none of the profile's.
    """
    moved = [at for at, one in enumerate(reports) if _beyond(one.sketches, profile)]
    merged = _merged([reports[at] for at in moved] or reports)
    verdicts = drift_of_sketches(merged, profile)
    if moved and len(reports) > 1:
        which = f"In {len(moved)} of {len(reports)} reports, first in number {moved[0] + 1}: "
        verdicts = tuple(
            Verdict(v.cause, v.layer, v.confidence, which + v.evidence, v.fix) for v in verdicts
        )
    frames = sum(max((s.frames for s in one.sketches.values()), default=0) for one in reports)
    notes = tuple(_notes(reports, damaged))
    return Reported(verdicts, len(reports), frames, len(moved), notes)


def drift_of_sketches(found: Mapping[str, Sketch], profile: Profile) -> tuple[Verdict, ...]:
    """Compare sketches with the profile; return one verdict or none.

    Args:
        found: by the profile's names, e.g. `input x`.
        profile: of the program on the device.

    Raises:
        EdgebedError: a tensor is none of the profile's.
    """
    beyond = _beyond(found, profile)
    if not beyond:
        return ()
    first = next((name for name in beyond if name.startswith("input ")), next(iter(beyond)))
    cause, evidence = _named(first, found[first], profile)
    times = f" {beyond[first]:.1f} times as far from the reference as chance explains,"
    if len(beyond) > 1:
        evidence += f" {len(beyond) - 1} further tensors have moved."
    evidence = f"Over {found[first].frames} frames its values lie{times} {evidence}"
    sure = min(0.99, 0.85 + 0.1 * (beyond[first] - 1))
    return (Verdict(cause, first, sure, evidence, FIXES[cause]),)


def _beyond(found: Mapping[str, Sketch], profile: Profile) -> dict[str, float]:
    """Return how many times beyond the threshold tensors are, in the order of execution."""
    places = {name: at for at, name in enumerate(profile.tensors)}
    far = {name: _far(name, one, profile) for name, one in found.items() if one.frames}
    ordered = sorted(far, key=lambda name: places.get(name, len(places)))
    return {name: far[name] for name in ordered if far[name] > 1}


def _far(name: str, one: Sketch, profile: Profile) -> float:
    if name not in profile.counted:
        known = ", ".join(profile.counted)
        raise EdgebedError(f"the profile has no counts of {name!r}", try_=f"one of {known}")
    known_one = profile.counted[name]
    frames = max(one.frames / profile.related, 1.0)
    reach, limit = (profile.at(row, frames) for row in (known_one.reach, profile.thresholds))
    return ONE_IN_THOUSAND * gap(one.shares, np.asarray(known_one.shares)) / reach / limit


def _named(name: str, one: Sketch, profile: Profile) -> tuple[str, str]:
    """Return cause and evidence."""
    counted = profile.counted[name]
    (middle, spread), (was, width) = (_moments(s, counted) for s in (one.shares, counted.shares))
    ends = (one.at_low + one.at_high) / max(one.count, 1)
    usual = sum(_mean(profile, f"{name}/{end}") for end in ("at_low", "at_high"))
    evidence = (
        f"middle {number(middle)} instead of {number(was)}, deviation {number(spread)} instead of"
        f" {number(width)}, {ends:.1%} at an end of the integers instead of {usual:.1%}."
    )
    if not name.startswith("input "):
        return "class_prior_shift" if name.startswith("output ") else "layer_shift", evidence
    if max(one.shares) > FLAT and max(counted.shares) < USUAL:
        return "dead_sensor", evidence
    if ends > 0.05 + 2 * usual:
        return "saturation", evidence
    if f"{name}/channel 0 mean" not in profile.features and name not in profile.what_if:
        return "level_shift", evidence
    step = max(width, 1e-30)
    brighter = abs(middle - was) / step > abs(np.log(max(spread, 1e-3 * step) / step))
    return "brightness_shift" if brighter else "contrast_shift", evidence


def _mean(profile: Profile, name: str) -> float:
    return profile.features[name].mean if name in profile.features else 0.0


def _moments(shares: Sequence[float] | Array, counted: Counted) -> tuple[float, float]:
    """Return mean and deviation that shares in bins have, real units."""
    places: Array
    if counted.edges:
        width = counted.edges[1] - counted.edges[0]
        places = np.append(counted.edges, counted.edges[-1] + width) - width / 2
    else:
        width = (counted.high - counted.low) / len(shares)
        places = counted.low + width * (np.arange(len(shares)) + 0.5)
    middle = float(np.dot(shares, places))
    return middle, float(np.sqrt(np.dot(shares, (places - middle) ** 2)))


def _merged(reports: Sequence[Report]) -> dict[str, Sketch]:
    found: dict[str, Sketch] = {}
    for report in reports:
        for name, one in report.sketches.items():
            found[name] = found[name] + one if name in found else one
    return found


def _notes(reports: Sequence[Report], damaged: int) -> Iterator[str]:
    if damaged:
        yield f"Damaged or cut and left out: {damaged} packets."
    unknown = {key for one in reports for key in one.unknown}
    if unknown:
        listed = ", ".join(f"{key:08x}" for key in sorted(unknown)[:3])
        yield f"The profile has no counts of {len(unknown)} reported tensors (CRC {listed})."
    full = {name for one in reports for name, s in one.sketches.items() if s.full}
    if full:
        yield f"Counting of {', '.join(sorted(full))} ended at full counters: report more often."
    if not any(s.frames for one in reports for s in one.sketches.values()):
        yield "The reports have counted no frame."


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise EdgebedError("is too large for reports of sketches", where=str(path),
                               why=f"{path.stat().st_size:,} bytes")  # fmt: skip
        return path.read_bytes()
    except OSError as error:
        raise EdgebedError(f"cannot be read: {error.strerror}", where=str(path)) from error
