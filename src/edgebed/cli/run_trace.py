"""`edgebed run --trace`: one frame of a trace for each input."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgebed.cli.text import json_text, say
from edgebed.errors import EdgebedError, did_you_mean
from edgebed.program.types import Array

if TYPE_CHECKING:
    from edgebed.deploy.bundle import Bundle
    from edgebed.observe.trace import Frame, Level, Manifest
    from edgebed.observe.trace_writer import TraceWriter
    from edgebed.program.types import Program
    from edgebed.targets.contract import Library, Machine, Trace


def check_level(level: str, trace: Path | None) -> Level:
    """Return a level that exists and has a file.

    Raises:
        EdgebedError: it does not, or there is no --trace for it.
    """
    from edgebed.observe.trace import LEVELS

    for one in LEVELS:
        if one == level:
            if trace is None and level not in ("io", "off"):
                raise EdgebedError(f"--level {level} needs a file", try_="--trace FILE.trace")
            return one
    raise EdgebedError(f"--level {level} is none", try_=did_you_mean(level, LEVELS))


def check_trace(trace: Path, source: Path | None) -> None:
    """Refuse to write a trace over anything but an older trace.

    Raises:
        EdgebedError: that is what was asked for.
    """
    from edgebed.observe.trace_place import check_place

    if trace.is_dir():
        raise EdgebedError("is a folder", where=f"--trace {trace}", try_=f"{trace}/run.trace")
    if source is not None and trace.exists() and source.exists() and trace.samefile(source):
        raise EdgebedError(
            "--trace is the input", where=str(trace), why="nothing of yours is ever overwritten",
            try_="another --trace",
        )  # fmt: skip
    check_place(trace)


@contextmanager
def recording(trace: Path, manifest: Manifest) -> Iterator[TraceWriter]:
    """Write a trace; what Ctrl-C leaves of it is said.

    Args:
        trace: file to write.
        manifest: of the trace.

    Raises:
        KeyboardInterrupt: Ctrl-C; its text says how many frames are in the file.
    """
    from edgebed.observe.trace_writer import TraceWriter

    with TraceWriter(trace, manifest) as writer:
        try:
            yield writer
        except KeyboardInterrupt:
            count = writer.frames
            kept = f"{count:,} whole frame{'' if count == 1 else 's'}"
            raise KeyboardInterrupt(f"{trace} holds {kept}") from None


def traced(
    library: Library, folder: Path, inputs: Mapping[str, Array], trace: Path, level: Level
) -> tuple[Array, ...]:
    """Compute sample by sample, write each as a frame, and return the outputs in order.

    Args:
        library: opened from `folder`.
        folder: a compiled folder.
        inputs: by name, as `Library.run` takes them.
        trace: file to write.
        level: what is kept.

    Returns:
        Each output as `Library.run` gives it for these inputs.
    """
    from edgebed.observe.compare import sample_shape
    from edgebed.observe.recorders import library as recorder

    answers: list[list[Array]] = [[] for _ in library.outputs]
    frames = _begun(recorder.record(folder, inputs, level, library=library))
    with recording(trace, recorder.manifest(folder, library, level)) as writer:
        for frame in frames:
            writer.write(frame)
            for into, one in zip(answers, library.outputs, strict=True):
                values = next(t.values for t in frame.of("output") if t.name == one.name)
                assert values is not None  # recorders give values, the writer reduces them
                into.append(values.reshape(sample_shape(one.shape)))
    return tuple(
        np.stack(parts) if len(parts) > 1 else parts[0].reshape(one.shape)
        for parts, one in zip(answers, library.outputs, strict=True)
    )


def _begun(frames: Iterator[Frame]) -> Iterator[Frame]:
    """Compute the first frame: an input that does not fit leaves an older trace as it was."""
    return chain(list(islice(frames, 1)), frames)


class BoardTrace:
    """Writes what a board answers, frame by frame; without a file it does nothing."""

    def __init__(self, program: Program, writer: TraceWriter | None) -> None:
        self._program, self._writer = program, writer

    def take(
        self,
        trace: Trace,
        *,
        tensor: Array | None = None,
        picture: Array | None = None,
        answer: Array | None = None,
    ) -> None:
        """Write one frame; see `edgebed.observe.recorders.machine.frame_of`."""
        from dataclasses import replace

        from edgebed.observe.recorders.machine import frame_of

        if self._writer is not None:
            number = self._writer.frames
            frame = frame_of(
                self._program, trace, number, tensor=tensor, picture=picture, answer=answer
            )
            self._writer.write(replace(frame, time_ns=time.time_ns()))


@contextmanager
def board_trace(
    machine: Machine, bundle: Bundle, trace: Path | None, level: Level
) -> Iterator[BoardTrace]:
    """Give what writes a board's frames.

    Args:
        machine: the board, which is told to keep what the level asks for.
        bundle: the compiled folder that runs on it.
        trace: file to write; None for none.
        level: what is kept.
    """
    from edgebed.deploy.bundle import PROGRAM
    from edgebed.observe.recorders import machine as recorder

    program = bundle.program
    if trace is None:
        yield BoardTrace(program, None)
        return
    recorder.prepare(machine, level)
    home = str((bundle.folder / PROGRAM).resolve())
    begin = recorder.manifest(program, bundle.target, level, model=home)
    with recording(trace, begin) as writer:
        yield BoardTrace(program, writer)


def run_reference(
    model: Path,
    source: Path,
    out: Path | None,
    trace: Path,
    level: Level,
    *,
    count: int = 0,
    json: bool,
) -> int:
    """Compute a network's file in the interpreter, and write each sample as a frame.

    Args:
        model: a network in any format that edgebed reads.
        source: `.npy` or `.npz`, as for a library; for a network with a contract also a picture,
            a folder of pictures, or a video, which go through the contract.
        out: where the outputs go; None to keep them in the trace only.
        trace: file to write.
        level: what is kept.
        count: at most so many pictures; 0 = all.
        json: print one JSON object.
    """
    from edgebed.observe.recorders import reference
    from edgebed.program.read import read_model

    program = read_model(model)
    if out is not None:
        raise EdgebedError(
            "--out is for a compiled folder", where=str(model), why="the trace has the outputs"
        )
    frames = _begun(_reference_frames(program, source, level, count))
    begin = reference.manifest(program, level, model=str(model.resolve()))
    with recording(trace, begin) as writer:
        for frame in frames:
            writer.write(frame)
        done = writer.frames
    text = f"{trace}: {done} frame{'' if done == 1 else 's'} of the interpreter"
    say(json_text({"trace": str(trace), "samples": done}) if json else text)
    return 0


def _reference_frames(program: Program, source: Path, level: Level, count: int) -> Iterator[Frame]:
    """Give the interpreter's frames of tensors, or of pictures through the contract."""
    from edgebed.cli.run_library import read_inputs
    from edgebed.data.readers.pictures import frames as pictures
    from edgebed.observe.recorders import reference

    if program.contract is None or source.suffix in (".npy", ".npz"):
        inputs = read_inputs(source, [_Input(name) for name in program.inputs])
        return reference.record(program, inputs, level)
    seen = (picture for _, picture in pictures(source, lambda _: None))
    return reference.record_pictures(program, islice(seen, count or None), level)


@dataclass(frozen=True)
class _Input:
    """An input's name, for reading files; the interpreter checks the rest."""

    name: str
    shape: tuple[int, ...] = ()
    dtype: str = ""
