"""`edgebed observe`: what one trace says, alone, beside its program and against its profile.

Or what devices report as sketches says against the profile.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgebed.cli.text import json_text, say
from edgebed.errors import EdgebedError
from edgebed.observe.names import short_names, shortened

if TYPE_CHECKING:
    from edgebed.observe.drift_profile import Profile
    from edgebed.observe.verdict import Verdict
    from edgebed.program.types import Program

FOUND: Final = 2
FOLLOWING: Final = frozenset({"range_unused", "range_too_wide", "range_too_narrow", "saturation"})
"""Causes of layers that a moved input may have; a fault of the network stays for other frames."""
WIDTH: Final = 100
LONGEST: Final = 60
"""Letters of a tensor's name that a verdict has room for."""
FORMAT: Final = 1
"""Of the JSON: keys are added within it, none is renamed or dropped."""
PROFILE: Final = b'{"format":'


@dataclass(frozen=True)
class Answer:
    """What is printed.

    Attributes:
        trace: that was examined; the first file of reports.
        frames: that were read, or counted by devices.
        windows: that were tested against the profile; None without one. Of reports, their number.
        verdicts: the surest first.
        notes: what a reader must know, as sentences.
        unit: what was tested: windows or reports.
    """

    trace: Path
    frames: int
    windows: int | None
    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...]
    unit: str = "windows"


def observe(
    trace: Path,
    /,
    *more: Path,
    program: Path | None = None,
    profile: Path | None = None,
    write_profile: Path | None = None,
    window: int = 64,
    json: bool = False,
) -> int:
    """Say what is wrong in a trace: by itself, with its program, and against its profile.

    edgebed observe T.trace --program DIR

    edgebed observe GOOD.trace --write-profile DIR/profile.json

    edgebed observe CAPTURED.bin --program DIR

    Alone: NaN and infinities, a frame that stands still, flat or saturated inputs and layers,
    integers left unused, late frames, a layer slower than others of its kind. With the program its
    inputs go through the reference interpreter, and layers are compared. With a profile: what has
    drifted, in which way, since which frame. `edgebed compile --profile` puts one into a folder.

    Devices report sketches instead of traces: packets of counts, which NAME_sketch.h of a compiled
    library makes. A file of them, captured from a serial line with whatever text is between, is
    compared with the profile.

    Args:
        trace: to examine; or reports of a device.
        more: further files of reports, in the order of time.
        program: a compiled folder or a network file; a folder's profile.json is used if it has one.
        profile: reference statistics that --write-profile made.
        write_profile: make the profile of this trace, of good frames, and write it to this file.
        window: frames that are tested for drift together.
        json: print one JSON object.

    Returns:
        0 where nothing was found, 2 where something was.
    """
    if window < 1:
        raise EdgebedError(f"--window is {window}", try_="64 frames, or 128 for faint drift")
    if write_profile is not None:
        return _write((trace, *more), write_profile, program, profile, json)
    reference = _profile(program, profile)
    answer = _reported((trace, *more), reference, program)
    if answer is None:
        answer = _answer(trace, _program(program), reference, window)
    say(json_text(_plain(answer)) if json else "\n".join(_lines(answer)))
    return FOUND if answer.verdicts else 0


def _write(
    traces: Sequence[Path], out: Path, program: Path | None, profile: Path | None, json: bool
) -> int:
    from edgebed.observe.drift_profile import profile_of

    trace = _only(traces)
    if program is not None or profile is not None:
        other = "--program" if program is not None else "--profile"
        raise EdgebedError(f"{other} has no meaning with --write-profile", where=str(trace))
    _check_profile(out)
    made = profile_of(trace)
    made.save(out)
    size = out.stat().st_size
    plain = {"profile": str(out), "frames": made.frames, "tensors": len(made.tensors),
             "features": len(made.features), "bytes": size}  # fmt: skip
    text = f"{out}: {made.frames} frames, {len(made.tensors)} tensors, {size:,} bytes"
    say(json_text(plain) if json else text)
    return 0


def _check_profile(out: Path) -> None:
    """Refuse to write a profile over anything but an older profile."""
    if not out.is_file():
        return
    with out.open("rb") as file:
        start = file.read(len(PROFILE))
    if start not in (b"", PROFILE):
        raise EdgebedError(
            "exists and is no profile", where=f"--write-profile {out}",
            why="nothing of yours is ever overwritten", try_="another file",
        )  # fmt: skip


def _only(traces: Sequence[Path]) -> Path:
    if len(traces) > 1:
        raise EdgebedError(
            f"{len(traces)} traces", why="one is examined at a time", try_=str(traces[0])
        )
    return traces[0]


def _reported(
    paths: Sequence[Path], profile: Profile | None, program: Path | None
) -> Answer | None:
    """Return what reports of devices say; None for a trace."""
    from edgebed.observe.drift_sketches import drift_of_files, is_report

    if not all(is_report(path) for path in paths):
        _only(paths)
        return None
    if profile is None:
        raise EdgebedError(
            "reports of sketches are compared with a profile", where=str(paths[0]),
            why=f"{program} has none" if program is not None else None,
            try_="--program DIR of edgebed compile --profile DATA, or --profile FILE",
        )  # fmt: skip
    found = drift_of_files(paths, profile)
    return Answer(paths[0], found.frames, found.reports, found.verdicts, found.notes, "reports")


def _profile(program: Path | None, profile: Path | None) -> Profile | None:
    from edgebed.observe.drift_profile import NAME, Profile

    if profile is None and program is not None:
        beside = (program / NAME, program / "device" / NAME)
        profile = next((path for path in beside if path.is_file()), None)
    return None if profile is None else Profile.load(profile)


def _program(path: Path | None) -> Program | None:
    if path is None:
        return None
    from edgebed.cli.model import read_model
    from edgebed.deploy.bundle import find

    return read_model(find(path) or path, None).program


def _answer(trace: Path, program: Program | None, profile: Profile | None, window: int) -> Answer:
    from edgebed.observe.alone import alone
    from edgebed.observe.drift import drift
    from edgebed.observe.verdict import ranked

    by_itself = alone(trace, program)
    if not by_itself.frames:
        raise EdgebedError(
            "has no whole frame", where=str(trace), why=by_itself.cut or "nothing was recorded",
            try_="record it again",
        )  # fmt: skip
    verdicts, notes = list(by_itself.verdicts), list(by_itself.notes)
    windows = None
    if profile is not None:
        drifted = drift(trace, profile, window)
        windows = drifted.windows
        known = {(one.cause, one.layer) for one in drifted.verdicts}
        verdicts = [one for one in verdicts if (one.cause, one.layer) not in known]
        if any(one.layer.startswith("input ") for one in drifted.verdicts):
            verdicts = [
                one
                for one in verdicts
                if one.cause not in FOLLOWING or one.layer.startswith("input ")
            ]
        verdicts += drifted.verdicts
        notes += [note for note in drifted.notes if note not in notes]
    if by_itself.cut:
        notes.append(f"The trace is cut: {by_itself.cut}; it was read up to there.")
    return Answer(trace, by_itself.frames, windows, ranked(verdicts), tuple(notes))


def _lines(answer: Answer) -> Iterator[str]:
    tested = (
        "" if answer.windows is None else f", {answer.unit} against the profile: {answer.windows}"
    )
    yield f"{answer.trace}: {answer.frames} frame{'' if answer.frames == 1 else 's'}{tested}"
    for note in answer.notes:
        yield f"note: {note}"
    if not answer.verdicts:
        yield "nothing found"
    short = short_names([one.layer for one in answer.verdicts], LONGEST)
    for one in answer.verdicts:
        yield ""
        yield f"{shortened(one.title, short)} ({one.confidence:.0%} sure)"
        for text in (one.evidence, f"Fix: {one.fix}"):
            said = shortened(text, short)
            yield from textwrap.wrap(said, WIDTH, initial_indent="  ", subsequent_indent="  ")
        if one.command:
            yield f"  Shown by: {one.command}"


def _plain(answer: Answer) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "trace": str(answer.trace),
        "frames": answer.frames,
        "windows": answer.windows,
        "verdicts": [one.to_json() for one in answer.verdicts],
        "notes": list(answer.notes),
    }
