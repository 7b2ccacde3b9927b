"""A compiled network, loaded: numpy in, numpy out."""

from __future__ import annotations

import ctypes
import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from edgebed import targets
from edgebed.errors import EdgebedError
from edgebed.targets.contract import Inner
from edgebed.targets.host import cpu
from edgebed.targets.host.given import Inputs, as_batch, by_order, check_finite
from edgebed.targets.host.library import CREW_BYTES, aligned, open_library, pointers
from edgebed.targets.host.manifest import FILE, LayerFacts, Manifest, TensorFacts, read

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class LayerTime:
    """One layer of a profile.

    Attributes:
        layer: its facts.
        nanoseconds: median over the runs; includes about 20 ns of clock.
        peak_share: share of the int8 peak of one core, 0 to 1; None for a float32 layer.
    """

    layer: LayerFacts
    nanoseconds: float
    peak_share: float | None


@dataclass(frozen=True)
class Profile:
    """Where the time goes.

    Attributes:
        layers: in the order of execution.
        nanoseconds: median of whole runs, without the clock between layers.
        peak: int8 multiply-accumulates a second of one core, measured in this process.
        peak_share: share of the peak over the whole network; None where layers with
            multiply-accumulates compute in float32.
    """

    layers: tuple[LayerTime, ...]
    nanoseconds: float
    peak: float
    peak_share: float | None


class _Bound(ctypes.Structure):
    """What the library's run_bound reads."""

    _fields_ = (
        ("inputs", ctypes.c_void_p),
        ("outputs", ctypes.c_void_p),
        ("arena", ctypes.c_void_p),
        ("crew", ctypes.c_void_p),
        ("variant", ctypes.c_int32),
    )


class Session:
    """A network from a compiled folder; see `edgebed.load`.

    Attributes:
        folder: where it came from.
        manifest: what the folder says about itself.
        isa: name of the instruction set in use.
    """

    def __init__(self, folder: Path, *, threads: int = 1, isa: str | None = None) -> None:
        """Load a folder.

        Args:
            folder: written by `edgebed compile --target host`.
            threads: that share the long layers.
            isa: instruction set instead of the best one that EDGEBED_ISA allows.

        Raises:
            EdgebedError: the folder is no compiled network, is damaged or for another machine;
                the instruction set is unknown or this processor has none.
        """
        cpu.check_variable()
        if not 1 <= threads <= 17:
            raise EdgebedError(f"{threads} threads", why="1 to 17 are possible")
        self.folder = folder
        self.manifest: Manifest = read(folder)
        self.threads = threads
        self._observed: Session | None = None
        self._library = self._opened()
        self._variant = self._choose(isa)
        self.isa = cpu.isa_of(self._variant).name
        self._inputs = [_room(tensor) for tensor in self.manifest.inputs]
        self._outputs = [_room(tensor) for tensor in self.manifest.outputs]
        self._arena = aligned(self.manifest.arena_bytes)
        self._crew = aligned(CREW_BYTES) if threads > 1 else None
        self._bind(threads)

    @property
    def inputs(self) -> tuple[TensorFacts, ...]:
        """Names, shapes and types of the inputs, as the imported file has them."""
        return self.manifest.inputs

    @property
    def variants(self) -> tuple[str, ...]:
        """Instruction sets that both the library and this processor have."""
        can_run = self._function("can_run", ctypes.c_int, ctypes.c_int)
        return tuple(name for number, name in enumerate(cpu.NAMES) if can_run(number))

    @property
    def outputs(self) -> tuple[TensorFacts, ...]:
        """Names, shapes and types of the outputs, as the imported file has them."""
        return self.manifest.outputs

    def run(self, x: Inputs, out: Sequence[Array] | None = None) -> Array | tuple[Array, ...]:
        """Compute the outputs.

        Args:
            x: the input, or all in order, or by name; of the file's shape and type, or with a
                first axis of several samples where the file's is 1.
            out: arrays to write the outputs to, one each; new ones without.

        Returns:
            The output, or all of them in order.

        Raises:
            EdgebedError: a shape or type is another one, or a number is not finite.
        """
        if type(x) is np.ndarray and len(self._inputs) == 1 and out is None:
            room = self._inputs[0]
            if x.shape == room.shape and x.dtype == room.dtype:
                if room.dtype.kind == "f":
                    check_finite(x, self.manifest.inputs[0])
                np.copyto(room, x)
                self._call()
                if len(self._outputs) == 1:
                    return self._outputs[0].copy()
                return tuple(one.copy() for one in self._outputs)
        return self._runas_batch(by_order(x, self.manifest.inputs), out)

    def watch(self, x: Inputs) -> tuple[Inner, ...]:
        """Compute one sample and return its inner tensors in the order of execution.

        They come from the same objects and steps as `run`'s outputs: the folder's sources with
        the executor compiled once more, with the switch EB_OBSERVE. That takes a C compiler, and
        about a second the first time; the library is kept in the cache. Views of a tensor (a
        reshape, a slice) are shown too; what no memory ever holds is left out.

        Args:
            x: as `run` takes it, one sample.

        Raises:
            EdgebedError: an input does not fit, no compiler is installed, or the sources give
                other outputs than the library beside them: they were edited since `build`.
        """
        from edgebed.targets.host.watch import Observed

        if not isinstance(self._observed, Observed):
            self._observed = Observed(self.folder, threads=self.threads, isa=self.isa)
        return self._observed.inner(x, self.run(x))

    def profile(self, x: Inputs, repeats: int = 200) -> Profile:
        """Return the time of each layer, and of whole runs, over so many runs."""
        from edgebed.targets.host.peak import int8_peak

        self._fill_one(x)
        times = self._layer_times(max(repeats, 1))
        whole = float(np.median(self.time_runs(max(repeats, 1))))
        peak = int8_peak(self._variant)
        layers = tuple(
            LayerTime(layer, float(ns), None if layer.real else _share(layer.macs, float(ns), peak))
            for layer, ns in zip(self.manifest.layers, times, strict=True)
        )
        macs = sum(layer.macs for layer in self.manifest.layers)
        real = any(layer.real and layer.macs for layer in self.manifest.layers)
        return Profile(layers, whole, peak, None if real else _share(macs, whole, peak))

    def invoke(self) -> None:
        """Compute on the inputs of the last `run`, without copying anything."""
        self._call()

    def time_runs(self, count: int) -> npt.NDArray[np.int64]:
        """Return the nanoseconds of so many runs on the inputs that were last given."""
        call, now = self._call, time.perf_counter_ns
        found = np.empty(count, np.int64)
        for i in range(count):
            before = now()
            call()
            found[i] = now() - before
        return found

    def close(self) -> None:
        """Stop the threads; the session is of no use afterwards. Closing twice does nothing."""
        if self._crew is not None:
            self._function("crew_stop", None, ctypes.c_void_p)(self._crew.ctypes.data)
            self._crew = None
        self._call = _closed

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_crew", None) is not None:
            self.close()

    # ---- inside ------------------------------------------------------------------------------

    def _opened(self) -> ctypes.CDLL:
        return open_library(self.folder, self.manifest)

    def _function(self, name: str, result: Any, *arguments: Any) -> Any:
        function = getattr(self._library, f"{self.manifest.name}_{name}")
        function.restype, function.argtypes = result, arguments
        return function

    def _choose(self, isa: str | None) -> int:
        if isa is None:
            return int(self._function("variant", ctypes.c_int)())
        number = cpu.variant(isa)
        if not self._function("can_run", ctypes.c_int, ctypes.c_int)(number):
            raise EdgebedError(f"this processor cannot run {isa}", try_="another instruction set")
        return number

    def _bind(self, threads: int) -> None:
        """Prepare one call whose arguments never change: it costs a tenth of a microsecond."""
        pointer = ctypes.c_void_p
        self._in, self._out = pointers(self._inputs), pointers(self._outputs)
        crew = None
        if self._crew is not None:
            crew = self._crew.ctypes.data
            self._function("crew_start", ctypes.c_int, pointer, ctypes.c_int)(crew, threads)
        fixed = (
            pointer(ctypes.addressof(self._in)),
            pointer(ctypes.addressof(self._out)),
            pointer(self._arena.ctypes.data),
            ctypes.c_int(self._variant),
            pointer(crew),
        )
        self._arguments = fixed
        inputs, outputs, arena, variant, workers = (one.value for one in fixed)
        self._bound = _Bound(inputs, outputs, arena, workers, variant)
        # without declared types ctypes converts nothing, and `partial` is quicker than a lambda
        function = getattr(self._library, f"{self.manifest.name}_run_bound")
        function.restype = None  # the variant was checked, so it cannot fail
        self._call = functools.partial(function, ctypes.byref(self._bound))

    def _layer_times(self, repeats: int) -> npt.NDArray[np.float64]:
        pointer = ctypes.c_void_p
        function = self._function(
            "run_timed", ctypes.c_int, pointer, pointer, pointer, ctypes.c_int, pointer, pointer
        )
        times = np.zeros((repeats, max(len(self.manifest.layers), 1)), np.int64)
        for row in times:
            function(*self._arguments, row.ctypes.data)
        result: npt.NDArray[np.float64] = np.median(times, axis=0)
        return result[: len(self.manifest.layers)]

    def _fill(self, samples: Sequence[Array]) -> None:
        for room, sample in zip(self._inputs, samples, strict=True):
            np.copyto(room, sample.reshape(room.shape))

    def _fill_one(self, x: Inputs) -> None:
        given = by_order(x, self.manifest.inputs)
        batches = [as_batch(a, t) for a, t in zip(given, self.manifest.inputs, strict=True)]
        if any(len(batch) != 1 for batch in batches):
            raise EdgebedError("several samples at once", try_="one by one")
        self._fill([batch[0] for batch in batches])

    def _runas_batch(
        self, given: Sequence[Array], out: Sequence[Array] | None
    ) -> Array | tuple[Array, ...]:
        batches = [as_batch(a, t) for a, t in zip(given, self.manifest.inputs, strict=True)]
        counts = {len(batch) for batch in batches}
        if len(counts) > 1:
            raise EdgebedError(f"the inputs hold {', '.join(map(str, sorted(counts)))} samples")
        count = counts.pop() if counts else 1
        results = self._results(count, out)
        for n in range(count):
            self._fill([batch[n] for batch in batches])
            self._call()
            for result, room in zip(results, self._outputs, strict=True):
                if count == 1:
                    np.copyto(result, room)
                else:
                    result[n] = room.reshape(result.shape[1:])
        return results[0] if len(results) == 1 else tuple(results)

    def _results(self, count: int, out: Sequence[Array] | None) -> list[Array]:
        shapes = [_batched(room.shape, count) for room in self._outputs]
        if out is None:
            pairs = zip(shapes, self._outputs, strict=True)
            return [np.empty(shape, room.dtype) for shape, room in pairs]
        if len(out) != len(self._outputs):
            raise EdgebedError(f"{len(out)} arrays for {len(self._outputs)} outputs")
        for array, shape, room in zip(out, shapes, self._outputs, strict=True):
            if array.shape != shape or array.dtype != room.dtype:
                raise EdgebedError(
                    f"an output array is {array.dtype} {array.shape}",
                    why=f"{room.dtype} {shape} is needed",
                )
        return list(out)


def _closed() -> int:
    raise EdgebedError("the session is closed")


def _room(tensor: TensorFacts) -> Array:
    dtype = np.dtype(tensor.dtype)
    count = int(np.prod(tensor.shape, dtype=np.int64))
    return aligned(count * dtype.itemsize).view(dtype).reshape(tensor.shape)


def _batched(shape: tuple[int, ...], count: int) -> tuple[int, ...]:
    if count == 1:
        return shape
    return (count, *shape[1:]) if shape[:1] == (1,) else (count, *shape)


def _share(macs: int, nanoseconds: float, peak: float) -> float:
    return macs / (nanoseconds * 1e-9) / peak if nanoseconds > 0 and peak > 0 else 0.0


def load(
    folder: str | Path,
    *,
    threads: int = 1,
    isa: str | None = None,
    trace: str | Path | None = None,
    level: str = "io",
) -> Session:
    """Load a compiled network.

    Args:
        folder: written by `edgebed compile MODEL --target host --out DIR`, or for another target
            whose virtual device then computes.
        threads: that share the long layers.
        isa: instruction set (`portable`, `avx2`, `avxvnni`, `avx512`) instead of the best one
            that the processor has and EDGEBED_ISA allows.
        trace: file into which every run is recorded until the session is closed; what was there
            is replaced. Needs a C compiler the first time.
        level: what of a run is recorded: `io` (inputs and outputs), `statistics` (of inputs and
            layers; outputs), `full` (every tensor), or `off`.

    Raises:
        EdgebedError: the folder is no compiled network, is damaged, or is for another machine;
            the trace cannot be written.
    """
    place = Path(folder)
    if trace is not None:
        return _recorded(place, Path(trace), level, threads, isa)
    if not (place / FILE).is_file() and targets.library_target(place) is not None:
        # Another target's folder: its virtual device answers under the same calls.
        return cast(Session, targets.open_library(place, threads=threads, isa=isa))
    return Session(place, threads=threads, isa=isa)


def _recorded(place: Path, trace: Path, level: str, threads: int, isa: str | None) -> Session:
    from edgebed.targets.host.record import Recorded, check_level

    check_level(level)
    if not (place / FILE).is_file() and targets.library_target(place) is not None:
        raise EdgebedError(
            "its library cannot record by itself", where=str(place),
            try_=f"edgebed run {place} --input X.npy --trace {trace} --level {level}",
        )  # fmt: skip
    if level == "off":
        return Session(place, threads=threads, isa=isa)
    return Recorded(place, trace, level, threads=threads, isa=isa)
