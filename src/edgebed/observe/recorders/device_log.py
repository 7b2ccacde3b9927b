"""Frames from what a device sent over its serial line, or wrote to a file.

The firmware was generated from a compiled folder and built with EB_TRACE; names, scales, layouts
and the contract come from that folder.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, Final

from edgebed.errors import EdgebedError
from edgebed.figures import Figure
from edgebed.observe.recorders.described import manifest_of, own_layout, tensor_of
from edgebed.observe.recorders.library import program_of, seen
from edgebed.observe.statistics import Statistics
from edgebed.observe.trace import LEVELS, Frame, Level, Manifest, Role, Tensor
from edgebed.program.types import Program
from edgebed.targets import describe, library_target, load
from edgebed.targets._shared.rows import manifest as rows
from edgebed.targets._shared.rows.log_content import Content, Sums, content
from edgebed.targets._shared.rows.log_frames import LoggedFrame, Losses, frames
from edgebed.targets._shared.rows.log_records import MAGIC, Record, split
from edgebed.targets._shared.rows.manifest import InnerFacts
from edgebed.targets._shared.rows.tracing import network_byte
from edgebed.targets.contract import TellsEnergy

PLAN: Final = "plan.json"
_LOOKED_AT: Final = 1 << 20
"""Bytes of a log without any frame that are kept to say why."""
_CYCLES, _NANOSECONDS, _TICKS = 1, 2, 3
_FULL_TICKS: Final = (1 << 32) - 1
"""What a counter says that holds no more."""


class DeviceLog:
    """Reads a log as frames of a trace.

    Args:
        folder: compiled for a device; the firmware was built from it.
        chunks: what the device sent, cut anywhere; read as far as frames are asked for.
        text: gets every byte that is no record: what the firmware printed.

    Attributes:
        losses: what the log lacks; complete after the last frame.

    Raises:
        EdgebedError: the folder's target writes no such logs.
    """

    def __init__(
        self, folder: Path, chunks: Iterable[bytes], text: Callable[[bytes], object] | None = None
    ) -> None:
        self.losses = Losses()
        self._program = program_of(folder)
        self._target, self._rows = _compiled(folder)
        self._folder, self._text = folder, text
        self._start = bytearray()
        items = self._passing(split(self._watched(chunks)))
        self._frames = self._fitting(frames(items, network_byte(self._rows.name), self.losses))

    def manifest(self) -> Manifest:
        """Return what the trace begins with; the first frame says which level it is.

        Raises:
            EdgebedError: there is no whole frame of this network; the likely cause is named.
        """
        first = next(self._frames, None)
        if first is None:
            raise self._no_frame()
        self._frames = chain([first], self._frames)
        level: Level = LEVELS[first[0].level]
        notes = {"processor": self._rows.cpu, "plan": self._rows.digest, **_sizes(self._folder)}
        return manifest_of(self._program, self._target, level, **notes)

    def frames(self) -> Iterator[Frame]:
        """Give the frames of which every record arrived."""
        for logged, found in self._frames:
            figures, layers = self._figures(logged, found)
            tensors = tuple(self._tensors(found))
            yield Frame(logged.number, tensors, figures, layers, found.sensors)

    # ---- reading ----

    def _watched(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            if len(self._start) < _LOOKED_AT:
                self._start += chunk[:_LOOKED_AT]
            yield chunk

    def _passing(self, items: Iterator[Record | bytes]) -> Iterator[Record | bytes]:
        for item in items:
            if isinstance(item, bytes) and self._text is not None:
                self._text(item)
            yield item

    def _fitting(self, logged: Iterator[LoggedFrame]) -> Iterator[tuple[LoggedFrame, Content]]:
        """Give the frames of this very firmware, with their content."""
        for one in logged:
            plan = self._rows.digest[:16]
            if one.plan != plan or not 0 < one.level < len(LEVELS):
                why = f"it is of plan {one.plan}, the folder's is {plan}"
                self.losses.say(f"frame {one.number} is left out: {why}", 1)
                continue
            try:
                yield one, content(one, self._rows)
            except EdgebedError as error:
                self.losses.say(f"frame {one.number} is left out: {error}", 1)

    def _no_frame(self) -> EdgebedError:
        losses = self.losses
        if losses.notes:
            return EdgebedError(
                "no frame of the log arrived whole", where=str(self._folder),
                why="; ".join(losses.notes[:3]), try_="a slower line, or a level with fewer bytes",
            )  # fmt: skip
        if losses.strangers:
            return EdgebedError(
                "the log is of another network", where=str(self._folder),
                why=f"its {losses.strangers} records are not of {self._rows.name!r}",
                try_="--program with the folder from which the firmware was built",
            )  # fmt: skip
        return _nothing(bytes(self._start))

    # ---- tensors ----

    def _tensors(self, found: Content) -> Iterator[Tensor]:
        program = self._program
        for name, values in found.raw.items():
            layout = "HWC" if values.ndim == 3 and values.shape[2] in (1, 3, 4) else ""
            yield Tensor(name, "raw", values.shape, str(values.dtype), layout=layout, values=values)
        for name, values in found.inputs.items():
            shape = program.types[name].shape
            yield tensor_of(program, name, values.reshape(shape), "input")
        for name, sums in found.input_sums.items():
            yield self._summed(name, "input", program.types[name].shape, sums)
        for one in found.inner:
            yield seen(program, one)
        for facts in self._rows.inner:
            if facts.stage in found.stage_sums:
                sums = found.stage_sums[facts.stage]
                yield self._summed(facts.name, "layer", facts.shape, sums, facts)
        for name, values in found.outputs.items():
            shape = program.types[name].shape
            yield tensor_of(program, name, values.reshape(shape), "output")

    def _summed(
        self, name: str, role: Role, shape: tuple[int, ...], sums: Sums,
        facts: InnerFacts | None = None,
    ) -> Tensor:  # fmt: skip
        kind, writer = self._program.types[name], self._program.writer(name)
        own = own_layout(self._program, name)
        layout = "".join(own[axis] for axis in facts.axes) if own and facts else own
        flipped = 128 * (facts is not None and facts.flipped)
        scale = None if kind.is_float else kind.scale
        return Tensor(
            name, role, shape, kind.dtype, scale, 0 if kind.is_float else kind.zero_point, layout,
            writer.kind if writer is not None else "", None,
            statistics_of(sums, 1.0 if scale is None else scale,
                          0 if kind.is_float else kind.zero_point - flipped),
        )  # fmt: skip

    # ---- figures ----

    def _figures(
        self, logged: LoggedFrame, found: Content
    ) -> tuple[dict[str, Figure], dict[str, dict[str, Figure]]]:
        whole = dict(_spent(logged, logged.ticks))
        if "cycles" in whole:
            target: Any = load(self._target)
            chosen = target.with_options({"cpu": self._rows.cpu})
            if isinstance(chosen, TellsEnergy):
                whole = {**chosen.figures_of(whole["cycles"]), **whole}
        source = "the plan; inputs, outputs included"
        whole["arena_bytes"] = Figure(self._rows.arena_bytes, "bytes", "measured", source)
        layers: dict[str, int] = {}
        for stage, ticks in found.stage_ticks.items():
            if ticks < _FULL_TICKS:
                name = _written(self._program, self._rows.stages[stage].name)
                layers[name] = layers.get(name, 0) + ticks
        return whole, {name: dict(_spent(logged, ticks)) for name, ticks in layers.items()}


def statistics_of(sums: Sums, scale: float, zero_point: int) -> Statistics:
    """Return statistics of real values from sums of the stored ones.

    Args:
        sums: of stored values.
        scale: real value of one step.
        zero_point: the stored integer that means 0.0.
    """
    good = sums.count - sums.bad
    if not good:
        return Statistics(sums.count, sums.bad, 0.0, 0.0, 0.0, 0.0, 0.0)
    mean = sums.sum / good
    spread = math.sqrt(max(sums.squares * good - sums.sum**2, 0)) / good
    low, high = ((end - zero_point) * scale for end in (sums.low, sums.high))
    return Statistics(
        sums.count, sums.bad, (mean - zero_point) * scale, spread * scale, low, high,
        sums.zeros / good, sums.at_low / good, sums.at_high / good,
    )  # fmt: skip


def _spent(logged: LoggedFrame, ticks: int) -> Iterator[tuple[str, Figure]]:
    """Give what the clock says: cycles where it counts them, latency where its rate is known."""
    names = {
        _CYCLES: "cycle counter of the device", _NANOSECONDS: "clock_gettime on the device",
        _TICKS: "the firmware's own clock",
    }  # fmt: skip
    source = names.get(logged.clock)
    if source is None:
        return
    if logged.clock == _CYCLES:
        yield "cycles", Figure(ticks, "cycles", "measured", source)
    elif not logged.hz:
        yield "ticks", Figure(ticks, "ticks", "measured", source)
    if logged.hz:
        rate = f"{source}, {logged.hz / 1e6:g} MHz" if logged.clock != _NANOSECONDS else source
        yield "latency", Figure(ticks / logged.hz * 1e6, "us", "measured", rate)


def _written(program: Program, stage: str) -> str:
    """Return the tensor that a stage's layer writes; "mean sums" is part of mean."""
    written = {op.name: op.output for op in program.ops}
    layer = stage if stage in written else stage.rpartition(" ")[0]
    return written.get(layer, stage)


def _compiled(folder: Path) -> tuple[str, rows.Manifest]:
    name = library_target(folder)
    facts: Mapping[str, Any] = describe(name) if name else {}
    if name is None or not facts.get("logs"):
        why = f"is compiled for {name}, which writes no logs" if name else "holds no library"
        raise EdgebedError(
            why,
            where=str(folder),
            try_="edgebed run DIR --trace for what runs here; --program with a device's folder",
        )
    return name, rows.read(folder / facts["manifest"])


def _sizes(folder: Path) -> dict[str, Any]:
    """Return the build's memory by name, where the folder says it."""
    try:
        plan = json.loads((folder / PLAN).read_text(encoding="utf-8"))
        sizes = plan.get("sizes") if isinstance(plan, dict) else None
    except (OSError, ValueError):
        return {}
    return {"memory_bytes": sizes} if sizes else {}


def _nothing(start: bytes) -> EdgebedError:
    """Return why there is not one whole record in a log that begins so."""
    if not start:
        return EdgebedError("the log is empty", try_="NAME_trace_begin before the first run")
    starts = start.count(MAGIC)
    if starts and b"\n" in start and start.count(b"\r\n") == start.count(b"\n"):
        return EdgebedError(
            f"all {starts} records of the log are damaged",
            why="every line feed has a carriage return before it: it was written as text",
            try_="record the line as raw bytes",
        )
    if starts:
        return EdgebedError(f"all {starts} records of the log are damaged", try_="a slower line")
    readable = sum(32 <= byte < 127 or byte in b"\t\r\n" for byte in start) / len(start)
    if readable > 0.9:
        return EdgebedError(
            "there is only text in the log",
            why="the firmware was built without EB_TRACE, or NAME_trace_begin was not called",
            try_="-DEB_TRACE=3 for the network and for what calls it",
        )
    return EdgebedError(
        "there are no records in the log", why="nor is it text", try_="the line's own --baud"
    )
