"""The profile of a program from whatever good frames look like: a trace, tensors or pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Final

from edgebed.compress.pixel_scale import guess_pixels
from edgebed.data.readers import pictures
from edgebed.data.samples import PictureForm, Samples, read_samples
from edgebed.errors import EdgebedError
from edgebed.events import Listener, Note, Progress, Started, ignore
from edgebed.observe import drift_profile
from edgebed.observe.drift_profile import Profile
from edgebed.observe.drift_stream import COUNTED, edges_of
from edgebed.observe.recorders import reference
from edgebed.observe.trace import SUFFIX, Frame
from edgebed.program.types import Array, Program

COUNT: Final = 800
"""Samples that the interpreter computes at most, drawn evenly from all."""
RANGED: Final = 128
"""Frames whose range gives the bins of tensors of real numbers; the outer bins take the rest."""
_STAGE: Final = "profile"
Frames = Callable[[], Iterator[Frame]]


def profile_from(
    program: Program, source: Path, listener: Listener = ignore, *, count: int = COUNT
) -> Profile:
    """Return the profile of a program.

    Args:
        program: whose frames they are.
        source: a trace (`.trace`) of it; or what the interpreter computes: `.npy`, `.npz`, a
            folder of `.npy` files or of pictures, and with a contract also a video.
        listener: hears how far it is.
        count: samples at most; of a trace all count.

    Raises:
        EdgebedError: it cannot be read, does not fit the program, or is too short.
    """
    listener(Started(_STAGE, f"reference statistics of {source}"))
    if source.suffix.lower() == SUFFIX:
        return _of_trace(program, source)
    return _of_samples(program, source, listener, count)


def profile_of_pictures(
    program: Program, seen: Iterable[Array], listener: Listener = ignore
) -> Profile:
    """Return the profile that pictures make through the program's contract.

    Args:
        program: with a contract.
        seen: uint8, height x width x 3, of any sizes.
        listener: hears how far it is.

    Raises:
        EdgebedError: there is no contract, something is no picture, or they are too few.
    """
    kept = list(seen)
    return _made(program, lambda: reference.record_pictures(program, kept), len(kept), listener)


def _of_trace(program: Program, source: Path) -> Profile:
    made = drift_profile.profile_of(source)
    named = {name.removeprefix("input ").removeprefix("output ") for name in made.tensors}
    if not named & set(program.types):
        raise EdgebedError(
            "is a trace of another program", where=str(source),
            why=f"{program.name} has none of its tensors, e.g. {made.tensors[0]!r}",
        )  # fmt: skip
    return made


def _of_samples(program: Program, source: Path, listener: Listener, count: int) -> Profile:
    contract = program.contract is not None
    if contract and source.suffix.lower() in pictures.VIDEOS:
        frames = [picture for _, picture in pictures.frames(source)]
        return profile_of_pictures(program, _thinned(frames, count), listener)
    if contract and source.is_dir() and not any(source.glob("*.npy")):
        frames = [picture for _, picture in pictures.frames(source, lambda _: None)]
        return profile_of_pictures(program, _thinned(frames, count), listener)
    found = _samples(program, source, count, listener).inputs

    def frames_of() -> Iterator[Frame]:
        for number, one in enumerate(found):
            (frame,) = reference.record(program, one)
            yield replace(frame, number=number)

    try:
        return _made(program, frames_of, len(found), listener)
    except EdgebedError as error:
        raise EdgebedError(
            error.what, where=error.where or str(source), why=error.why, try_=error.try_
        ) from error


def _samples(program: Program, source: Path, count: int, listener: Listener) -> Samples:
    inputs = program.inputs
    form = PictureForm()
    if source.is_dir() and not any(source.glob("*.npy")) and _has_real_input(program):
        few = read_samples(source, inputs, form, count=4)
        form = PictureForm(guess_pixels(program, few.inputs).pixels)
        listener(Note(_STAGE, f"pixels are taken as {form.pixels}"))
    return read_samples(source, inputs, form, count=count)


def _has_real_input(program: Program) -> bool:
    return any(kind.is_float for kind in program.inputs.values())


def _thinned(frames: list[Array], count: int) -> list[Array]:
    """Return at most so many, evenly spread; in their order."""
    if len(frames) <= count:
        return frames
    return [frames[at * len(frames) // count] for at in range(count)]


def _made(program: Program, frames: Frames, count: int, listener: Listener) -> Profile:
    """Return the profile of frames; the first are computed twice where numbers need bins."""
    edges: Mapping[str, Array] = {}
    if any(kind.dtype not in COUNTED for kind in program.types.values()):
        edges = edges_of(islice(frames(), RANGED))
    heard = _heard(frames(), count, listener)
    manifest = reference.manifest(program, "full")
    return drift_profile.profile_of_frames(heard, manifest, edges)


def _heard(frames: Iterable[Frame], count: int, listener: Listener) -> Iterator[Frame]:
    for done, frame in enumerate(frames, 1):
        yield frame
        listener(Progress(_STAGE, done, count, "frames"))
