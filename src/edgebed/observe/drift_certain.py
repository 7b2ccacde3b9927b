"""Faults that need no statistics: values that are none, frames that stand still, flat sensors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from edgebed.observe.drift_profile import Profile
from edgebed.observe.drift_stream import Observation
from edgebed.observe.drift_verdict import FIXES
from edgebed.observe.verdict import Verdict

STILL: Final = 8
"""Equal frames in a row that are a fault, where the reference has at most a quarter as many."""
FLAT_FRAMES: Final = 4
"""Flat frames in a row that are a fault."""
FLAT: Final = 0.01
"""Share of its usual deviation below which an input or a channel is flat."""
EXPLAINING: Final = frozenset({"bad_values", "stuck_frame", "dead_sensor", "missing_channel"})
"""Causes that explain whatever else has moved."""


@dataclass
class _Run:
    """Frames in a row with a property; keeps the first run that is long enough."""

    enough: int
    length: int = 0
    longest: int = 0
    start: int = 0
    since: int | None = None

    def add(self, holds: bool, frame: int) -> None:
        if not holds:
            self.length = 0
            return
        self.start = frame if not self.length else self.start
        self.length += 1
        self.longest = max(self.longest, self.length)
        if self.length >= self.enough and self.since is None:
            self.since = self.start


@dataclass
class CertainFaults:
    """Collects such faults over frames.

    Attributes:
        profile: what is usual; None knows nothing, so that any flat input is a fault.
    """

    profile: Profile | None = None
    _bad: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    _flat: dict[str, _Run] = field(default_factory=dict)
    _still: _Run = field(default_factory=lambda: _Run(STILL))

    def __post_init__(self) -> None:
        if self.profile is not None:
            self._still = _Run(max(STILL, 4 * self.profile.longest_still))

    def add(self, one: Observation) -> None:
        """Take one frame more."""
        for name, count in one.bad.items():
            since, frames, values = self._bad.get(name, (one.number, 0, 0))
            self._bad[name] = since, frames + 1, values + count
        empty = False
        for name, value in one.features.items():
            if name.startswith("input ") and name.endswith("deviation"):
                run = self._flat.setdefault(name, _Run(FLAT_FRAMES))
                run.add(value <= self._flat_below(name, one), one.number)
                empty = empty or (name.endswith("/deviation") and run.length > 0)
        self._still.add(one.still and not empty, one.number)

    def _flat_below(self, name: str, one: Observation) -> float:
        """Return the deviation at and below which an input, or a channel of one, is flat."""
        whole = name.rpartition("/")[0] + "/deviation"
        if self.profile is not None and name in self.profile.features:
            known = self.profile.features[name]
            return -1.0 if known.least <= FLAT * known.mean else FLAT * known.mean
        # Without a reference a channel is flat beside others that are not.
        return 0.0 if name == whole else -1.0 + (1 + 1e-3) * (one.features.get(whole, 0.0) > 0)

    def verdicts(self) -> list[Verdict]:
        """Return what was found, one verdict a fault."""
        found = self._bad_values()
        if self._still.since is not None:
            found.append(self._stuck(self._still.since))
        flat = {name: run for name, run in self._flat.items() if run.since is not None}
        whole = {name for name in flat if name.endswith("/deviation")}
        for name, run in flat.items():
            tensor = name.rpartition("/")[0]
            if name in whole:
                found.append(_dead(tensor, run))
            elif f"{tensor}/deviation" not in whole:
                found.append(_missing(tensor, name, run))
        return found

    def _bad_values(self) -> list[Verdict]:
        if not self._bad:
            return []
        first = min(self._bad, key=lambda name: self._bad[name][0])
        since, frames, values = self._bad[first]
        more = f" {len(self._bad) - 1} further tensors have some too." if len(self._bad) > 1 else ""
        return [
            Verdict(
                "bad_values", first, 0.99,
                f"Since frame {since}: {values:,} NaN or infinite values in {frames} frames.{more}",
                "Look at what is computed before this tensor: division by zero, logarithms, sums"
                " beyond the type, memory that nobody wrote.",
            )
        ]  # fmt: skip

    def _stuck(self, since: int) -> Verdict:
        return Verdict(
            "stuck_frame", "", 0.95,
            f"Since frame {since - 1}: up to {self._still.longest + 1} frames in a row have equal"
            " inputs, value by value.",
            "Check that the camera delivers and that its buffer is not read twice.",
        )  # fmt: skip


def _dead(tensor: str, run: _Run) -> Verdict:
    return Verdict(
        "dead_sensor", tensor, 0.97,
        f"Since frame {run.since}: up to {run.longest} frames in a row have no contents, all values"
        " are nearly the same.",
        FIXES["dead_sensor"],
    )  # fmt: skip


def _missing(tensor: str, name: str, run: _Run) -> Verdict:
    channel = name.rpartition("/")[2].removesuffix(" deviation")
    return Verdict(
        "missing_channel", tensor, 0.97,
        f"Since frame {run.since}: {channel} is flat in up to {run.longest} frames in a row while"
        " others live.",
        "Check the sensor's cable and pixel format, and the copying of channels.",
    )  # fmt: skip
