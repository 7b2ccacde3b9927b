"""Traces of an application that is not ours: a few calls between its own lines.

    with edgebed.observe("run.trace", level="full", model="net.onnx") as watch:
        for path in pictures:
            with watch.frame():
                picture = watch.raw(np.asarray(Image.open(path)))
                x = watch.input(prepare(picture))
                y = session.run(None, {"x": x})[0]
                watch.layers(session)
                watch.output(y)

Every call returns the array that it was given, so that it fits around an expression. At level off
nothing is kept and no file is written; at level io, `layers` computes nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar

import numpy as np

from edgebed.errors import EdgebedError, did_you_mean
from edgebed.figures import Figure
from edgebed.observe.runtimes import Runtime, runtime_of
from edgebed.observe.trace import LEVELS, Frame, Level, Manifest, Role, Tensor
from edgebed.observe.trace_writer import TraceWriter
from edgebed.program.types import Array

Value = TypeVar("Value")
SOURCE: Final = "pipeline"
CHANNELS: Final = (1, 3, 4)
"""Axes of so many entries are taken for channels where nobody says which axis they are."""
MEASURED: Final = "wall clock of the application"
PATIENCE_S: Final = 0.05
"""Frames that come faster than that are written together."""


def observe(
    path: str | os.PathLike[str],
    *,
    level: Level = "io",
    model: str | os.PathLike[str] | None = None,
    contract: Mapping[str, Any] | None = None,
    every: int = 1,
    **notes: Any,
) -> Watch:
    """Return a context that records an application's frames into a trace.

    Args:
        path: of the trace; what was there is replaced.
        level: off, io, statistics or full.
        model: the network's file (.onnx or .tflite), for its name and digest. An ONNX Runtime
            session that `watch.layers` gets knows its file itself.
        contract: what the application does before and after the network, where that is known as
            plain data.
        every: record each so-many-th frame, the others cost next to nothing.
        notes: further facts, plain data: classes=[...], board="...".

    Raises:
        EdgebedError: no such level, or the file cannot be written.
    """
    if level not in LEVELS:
        raise EdgebedError(f"no level is called {level!r}", try_=did_you_mean(level, LEVELS))
    if every < 1:
        raise EdgebedError(f"every is {every}", try_="1 records all frames, 10 each tenth")
    manifest = Manifest(SOURCE, level, contract=contract, notes=notes)
    return Watch(Path(path), manifest, every, Path(model) if model is not None else None)


@dataclass
class _Open:
    """A frame in the making; times are in nanoseconds."""

    number: int
    sensors: Mapping[str, Any]
    began: int
    clock: int
    mark: int
    explicit: bool = False
    fed: int = 0
    tensors: list[Tensor] = field(default_factory=list)
    inputs: dict[str, Array] = field(default_factory=dict)
    figures: dict[str, Figure] = field(default_factory=dict)
    spent: int = 0

    def has(self, role: Role) -> bool:
        """Say whether a tensor of a role was recorded."""
        return any(one.role == role for one in self.tensors)


class Watch:
    """Records frames; made by `observe`.

    A frame begins with `frame()` or `begin()`, or else with the first call behind an output, and
    ends with its block, with `end()`, with the next frame, or with the trace.
    """

    def __init__(self, path: Path, manifest: Manifest, every: int, model: Path | None) -> None:
        self.path, self.frames = path, 0
        self._manifest, self._every, self._model = manifest, every, model
        self._seen = 0
        self._frame: _Open | None = None
        self._writer: TraceWriter | None = None
        self._runtimes: dict[int, tuple[object, Runtime]] = {}

    @property
    def level(self) -> Level:
        """What is kept."""
        return self._manifest.level

    def __enter__(self) -> Watch:
        TraceWriter(self.path, self._manifest).close()  # what cannot be written is said at once
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.end()
        self._frame = None
        self._open_writer().close()

    # ---- frames ----

    def frame(self, **sensors: Any) -> _Block:
        """Return a context that records one frame; an error in the block drops it.

        Args:
            sensors: readings of the device, e.g. light=310, orientation=90.
        """
        return _Block(self, sensors)

    def drop(self) -> None:
        """Forget the frame that is open."""
        self._frame = None

    def begin(self, **sensors: Any) -> None:
        """Begin a frame; one that is open ends."""
        self.end()
        self._start(sensors, explicit=True)

    def end(self) -> None:
        """End the frame, if one is open, and write it."""
        frame, self._frame = self._frame, None
        if frame is None or not self._is_kept(frame.number):
            return
        whole = time.perf_counter_ns() - frame.clock - frame.spent
        frame.figures["frame"] = _duration(whole)
        made = Frame(
            frame.number,
            tuple(frame.tensors),
            frame.figures,
            sensors=frame.sensors,
            time_ns=frame.began,
        )
        self._open_writer().write(made)
        self.frames += 1

    # ---- what is in a frame ----

    def raw(self, array: Value, name: str = "picture", layout: str = "") -> Value:
        """Record what came in before preprocessing.

        Args:
            array: e.g. H x W x 3 bytes of a picture, or samples of sound.
            name: of the tensor.
            layout: names of its axes; HWC or CHW is found by itself for 1, 3 or 4 channels.
        """
        return self._record(array, lambda frame: [_tensor(name, "raw", array, layout)], "raw")

    def step(self, name: str, value: Value) -> Value:
        """Record how long it took since the last call, and an intermediate array.

        Args:
            name: of the step of preprocessing: resize, crop, normalise.
            value: what it gave.
        """

        def made(frame: _Open) -> list[Tensor]:
            frame.figures[name] = _duration(time.perf_counter_ns() - frame.mark)
            arrays = isinstance(value, np.ndarray) and value.dtype.kind in "fiub"
            return [_tensor(name, "raw", value, "")] if arrays else []

        return self._record(value, made, "step")

    def input(self, x: Value, name: str = "", layout: str = "") -> Value:
        """Record what the network gets.

        Args:
            x: an array, or several by name; a leading axis of 1 is left out of the trace.
            name: of the input; found by itself where `layers` gets a session or an interpreter.
            layout: names of the axes behind the leading one.
        """

        def made(frame: _Open) -> list[Tensor]:
            named = x if isinstance(x, Mapping) else {name or "input": x}
            frame.inputs = {key: np.array(one) for key, one in named.items()}
            return [_tensor(key, "input", one, layout) for key, one in frame.inputs.items()]

        return self._record(x, made, "input")

    def layers(self, source: Value) -> Value:
        """Record the inner tensors and the outputs of what was just computed.

        Args:
            source: a LiteRT or TensorFlow Lite interpreter (made with
                `experimental_preserve_all_tensors=True`), an ONNX Runtime session or an .onnx
                file (computed again, with all tensors as outputs), or arrays by name.

        Raises:
            EdgebedError: it is something else, or an ONNX file whose inputs were not recorded.
        """
        if self.level in ("off", "io"):
            return source

        def made(frame: _Open) -> list[Tensor]:
            self._stop_clock(frame)
            if isinstance(source, Mapping):
                return [_tensor(str(key), "layer", one, "") for key, one in source.items()]
            runtime = self._runtime(source)
            frame.tensors = runtime.renamed(frame.tensors)
            return list(runtime.tensors(frame.inputs))

        return self._record(source, made, "layers")

    def output(self, y: Value, name: str = "", layout: str = "") -> Value:
        """Record what the network gave; what `layers` recorded already is not doubled.

        Args:
            y: an array, or several by name or in order; a leading axis of 1 is left out.
            name: of the output.
            layout: names of the axes behind the leading one.
        """

        def made(frame: _Open) -> list[Tensor]:
            self._stop_clock(frame)
            if frame.has("output") and not name and not isinstance(y, Mapping):
                return []
            return [_tensor(key, "output", one, layout) for key, one in _named(y, name).items()]

        return self._record(y, made, "output")

    # ---- inside ----

    def _record(self, value: Value, made: Callable[[_Open], list[Tensor]], call: str) -> Value:
        """Add tensors to the frame; the time that takes is not the application's."""
        if self.level == "off":
            return value
        frame = self._current(call)
        if self._is_kept(frame.number):
            entered = time.perf_counter_ns()
            found = made(frame)  # which may give the frame's tensors other names
            frame.tensors += found
            now = time.perf_counter_ns()
            frame.spent += now - entered
            frame.mark = now
            frame.fed = now if call == "input" else frame.fed
        return value

    def _current(self, call: str) -> _Open:
        frame = self._frame
        if frame is None or (
            not frame.explicit and call in ("raw", "input") and frame.has("output")
        ):
            self.end()
            return self._start({}, explicit=False)
        return frame

    def _start(self, sensors: Mapping[str, Any], *, explicit: bool) -> _Open:
        now = time.perf_counter_ns()
        self._frame = _Open(self._seen, sensors, time.time_ns(), now, now, explicit)
        self._seen += 1
        return self._frame

    def _stop_clock(self, frame: _Open) -> None:
        """The network's latency runs from `input` to the first look at what it computed."""
        if frame.fed and "latency" not in frame.figures:
            frame.figures["latency"] = _duration(time.perf_counter_ns() - frame.fed)

    def _is_kept(self, number: int) -> bool:
        return self.level != "off" and number % self._every == 0

    def _runtime(self, source: object) -> Runtime:
        """Return what reads a session; the session is held, so that its id stays its own."""
        if id(source) not in self._runtimes:
            self._runtimes[id(source)] = (source, runtime_of(source))
        return self._runtimes[id(source)][1]

    def _open_writer(self) -> TraceWriter:
        if self._writer is None:
            self._writer = TraceWriter(self.path, self._known(), patience_s=PATIENCE_S)
        return self._writer

    def _known(self) -> Manifest:
        """Return the manifest with what a session says of its network, or else its file."""
        manifest = self._manifest
        found = [runtime.manifest(self.level) for _, runtime in self._runtimes.values()]
        if self._model is not None and self.level != "off":
            found.append(runtime_of(self._model).manifest(self.level))
        for facts in found:
            manifest = replace(
                manifest,
                source=facts.source,
                network=manifest.network or facts.network,
                digest=manifest.digest or facts.digest,
                layers=manifest.layers or facts.layers,
                notes={**facts.notes, **manifest.notes},
            )
        return manifest


class _Block:
    """One frame; a generator would cost more than the frame's bookkeeping."""

    __slots__ = ("_sensors", "_watch")

    def __init__(self, watch: Watch, sensors: Mapping[str, Any]) -> None:
        self._watch, self._sensors = watch, sensors

    def __enter__(self) -> Watch:
        self._watch.begin(**self._sensors)
        return self._watch

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._watch.end()
        else:
            self._watch.drop()


def _named(y: object, name: str) -> dict[str, Any]:
    if isinstance(y, Mapping):
        return {str(key): one for key, one in y.items()}
    if isinstance(y, list | tuple) and y and isinstance(y[0], np.ndarray):
        return {(name or "output") + (f".{i}" if i else ""): one for i, one in enumerate(y)}
    return {name or "output": y}


def _tensor(name: str, role: Role, value: object, layout: str) -> Tensor:
    values = np.array(value)  # a copy: cameras and networks write to the same memory again
    if values.dtype.kind not in "fiub":
        raise EdgebedError(
            f"{name!r} holds {values.dtype}", where=f"watch.{role}", why="numbers are needed"
        )
    if role != "raw" and values.ndim > 1 and values.shape[0] == 1:
        values = values[0]
    layout = layout or _layout(values)
    return Tensor(name, role, values.shape, _type_name(values.dtype), layout=layout, values=values)


@lru_cache(maxsize=64)
def _type_name(dtype: np.dtype[Any]) -> str:
    return str(dtype)  # numpy takes a microsecond for it


def _layout(values: Array) -> str:
    if values.ndim != 3:
        return "HW" if values.ndim == 2 and values.dtype == np.uint8 else ""
    last, first = values.shape[2] in CHANNELS, values.shape[0] in CHANNELS
    return "HWC" if last else "CHW" if first else ""


def _duration(nanoseconds: int) -> Figure:
    return Figure(nanoseconds / 1000, "us", "measured", MEASURED)
