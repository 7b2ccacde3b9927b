"""A compiled folder as a library: numpy in, numpy out, computed on an emulated core."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edgebed.errors import EdgebedError, did_you_mean
from edgebed.figures import Figure
from edgebed.targets._shared.rows.manifest import Manifest, TensorFacts
from edgebed.targets.contract import Cost, Inner, LayerCost, Trace

Array = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]
Sample = Mapping[str, Array]


@dataclass(frozen=True)
class Facts:
    """An input or output as the imported file has it."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class StageCount:
    """What one stage of the network took in one run, executor included."""

    name: str
    kind: str
    macs: int
    instructions: int


def count_stages(manifest: Manifest, spans: Sequence[int] | Ints) -> tuple[StageCount, ...]:
    """Add up, by stage, the instructions of each entry of the schedule."""
    counts = np.zeros(len(manifest.stages), np.int64)
    np.add.at(counts, list(manifest.runs), spans)
    return tuple(
        StageCount(stage.name, stage.kind, stage.macs, int(count))
        for stage, count in zip(manifest.stages, counts, strict=True)
    )


def bytes_of(tensor: Array | None, facts: TensorFacts) -> bytes:
    """Return one sample of an input as the device takes it.

    Raises:
        EdgebedError: it is missing, or has another shape or dtype.
    """
    if tensor is None:
        raise EdgebedError(f"input {facts.name!r} is missing")
    if tensor.dtype != np.dtype(facts.dtype) or not facts.is_one(tensor.shape):
        raise EdgebedError(
            f"input {facts.name!r} is {tensor.dtype} {tensor.shape}",
            why=f"the network takes {facts.dtype} {tuple(facts.shape)}",
        )
    return tensor.astype(np.dtype(facts.dtype).newbyteorder("<")).tobytes()


def array_of(data: bytes, facts: TensorFacts) -> Array:
    """Return an output in the file's shape from the bytes that the device gave."""
    kind = np.dtype(facts.dtype)
    return np.frombuffer(data, kind.newbyteorder("<")).astype(kind).reshape(facts.shape)


class CountedStage(Protocol):
    """What one stage of the network took in one run."""

    @property
    def name(self) -> str:
        """Of the layer, and the stage of it."""

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""

    @property
    def instructions(self) -> int:
        """Counted, the executor's included."""


class CountingMachine(Protocol):
    """A virtual device with a network loaded, that counts what it executes."""

    @property
    def stages(self) -> Sequence[CountedStage]:
        """What each stage took in the last sample, in the network's order."""

    def self_test(self) -> None:
        """Let the device compute its known answers.

        Raises:
            EdgebedError: one came out otherwise.
        """

    def close(self) -> None:
        """Release the emulator."""


class WatchingMachine(Protocol):
    """A virtual device that shows what each step of the network writes."""

    def watch(self, inputs: Sample) -> tuple[Inner, ...]:
        """Compute one sample and return its inner tensors in the order of the stages."""

    def close(self) -> None:
        """Release the emulator."""


class VirtualNetwork:
    """A network on a virtual device; see `contract.Library`, `Counted` and `Watchable`.

    Args:
        manifest: of the compiled folder.
        machine: with the folder loaded.
        compute: its function from samples, arrays by input name, to their traces.
        watching: builds the folder's own sources once more, with a switch that shows what each
            step writes, and loads that.
    """

    def __init__(
        self,
        manifest: Manifest,
        machine: CountingMachine,
        compute: Callable[[Sequence[Sample]], Sequence[Trace]],
        watching: Callable[[], WatchingMachine],
    ) -> None:
        self._manifest, self._device, self._compute = manifest, machine, compute
        self._watching = watching
        self._observed: WatchingMachine | None = None
        self._figures: Mapping[str, Figure] = {}

    @property
    def inputs(self) -> Sequence[Facts]:
        """The inputs, in order."""
        return [_facts(one) for one in self._manifest.inputs]

    @property
    def outputs(self) -> Sequence[Facts]:
        """The outputs, in order."""
        return [_facts(one) for one in self._manifest.outputs]

    @property
    def isa(self) -> str:
        """Name of the core."""
        return self._manifest.cpu

    @property
    def variants(self) -> tuple[str, ...]:
        """The core alone: a binary is for one."""
        return (self._manifest.cpu,)

    def run(self, x: Sample | Sequence[Array] | Array) -> Array | tuple[Array, ...]:
        """Compute the outputs of one sample, or of several along the first axis.

        Args:
            x: the only input, or all inputs in order or by name; each in the file's shape, or
                N x that shape without its batch axis.

        Raises:
            EdgebedError: an input is missing or has another shape or dtype.
        """
        x = self._named(x)
        traces = self._compute(self.samples(x))
        self._figures = traces[-1].figures
        names = [out.name for out in self._manifest.outputs]
        parts = [[one.outputs[name] for one in traces] for name in names]
        single = self._is_single(x)
        found = tuple(each[0] if single else np.concatenate(each) for each in parts)
        return found[0] if len(found) == 1 else found

    def _named(self, x: Sample | Sequence[Array] | Array) -> Sample:
        if isinstance(x, Mapping):
            return x
        names = [one.name for one in self._manifest.inputs]
        given = [x] if isinstance(x, np.ndarray) else list(x)
        if len(given) != len(names):
            raise EdgebedError(
                f"{len(given)} arrays for {len(names)} inputs", try_=f"in order: {', '.join(names)}"
            )
        return dict(zip(names, given, strict=True))

    def samples(self, x: Sample) -> list[dict[str, Array]]:
        """Take arrays apart into single samples.

        Raises:
            EdgebedError: an input is missing or unknown, or they hold different numbers of samples.
        """
        names = [one.name for one in self._manifest.inputs]
        for name in x:
            if name not in names:
                raise EdgebedError(f"no input {name!r}", try_=did_you_mean(name, names))
        for name in names:
            if name not in x:
                raise EdgebedError(f"input {name!r} is missing")
        if self._is_single(x):
            return [dict(x)]
        count = len(x[names[0]])
        if any(len(x[name]) != count for name in names) or not count:
            raise EdgebedError("inputs hold different numbers of samples")
        return [{name: x[name][i] for name in names} for i in range(count)]

    def _is_single(self, x: Sample) -> bool:
        first = self._manifest.inputs[0]
        return np.asarray(x[first.name]).shape in (first.shape, first.shape[1:])

    def watch(self, x: Sample) -> tuple[Inner, ...]:
        """Compute one sample on a second device, which shows what each step writes.

        Raises:
            EdgebedError: an input does not fit, no compiler is there, or the two devices differ.
        """
        if self._observed is None:
            self._observed = self._watching()
        (sample,) = self.samples(x)
        return self._observed.watch(sample)

    def self_test(self) -> None:
        """Let the device compute its known answers.

        Raises:
            EdgebedError: one came out otherwise.
        """
        self._device.self_test()

    @property
    def figures(self) -> Mapping[str, Figure]:
        """What the last sample cost."""
        return self._figures

    @property
    def cost(self) -> Cost:
        """The last sample's instructions, layer by layer."""
        source = f"counted on a virtual {self._manifest.cpu}"
        layers = tuple(
            LayerCost(
                one.name,
                one.macs,
                {"instructions": Figure(one.instructions, "instructions", "emulated", source)},
            )
            for one in self._device.stages
        )
        return Cost(layers, self._figures)

    def time_runs(self, count: int) -> npt.NDArray[np.int64]:
        """Refuse: time on an emulator says nothing about the device.

        Raises:
            EdgebedError: always.
        """
        raise EdgebedError("an emulated run has no time of its own", try_="its instruction count")

    def profile(self, x: Sample, repeats: int = 1) -> Cost:
        """Run the inputs and return the instructions layer by layer; every run takes the same."""
        self.run(x)
        return self.cost

    def close(self) -> None:
        """Release the machine."""
        self._device.close()
        if self._observed is not None:
            self._observed.close()

    def expect_core(self, isa: str | None, folder: Path) -> None:
        """Close and refuse where the folder is not for the core `isa`; None is any.

        Raises:
            EdgebedError: it was built for another one.
        """
        if isa not in (None, self.isa):
            self.close()
            raise EdgebedError(f"is built for {self.isa}, not for {isa}", where=str(folder))


def _facts(one: TensorFacts) -> Facts:
    return Facts(one.name, tuple(one.shape), one.dtype)
