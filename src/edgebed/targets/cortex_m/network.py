"""A compiled folder as a library: numpy in, numpy out, computed by the emulated firmware."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgebed.errors import EdgebedError, did_you_mean
from edgebed.figures import Figure
from edgebed.targets._shared.rows.manifest import Manifest, TensorFacts, read
from edgebed.targets.contract import Cost, Inner, LayerCost
from edgebed.targets.cortex_m.machine import MANIFEST, VirtualMicrocontroller
from edgebed.targets.cortex_m.watch import ObservedMicrocontroller

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Input:
    """An input or output as the imported file has it."""

    name: str
    shape: tuple[int, ...]
    dtype: str


class VirtualNetwork:
    """Firmware on a virtual microcontroller; see `contract.Library` and `contract.Counted`."""

    def __init__(self, folder: Path) -> None:
        self._manifest: Manifest = read(folder / MANIFEST)
        self._machine = VirtualMicrocontroller()
        self._machine.load(folder)
        self._figures: Mapping[str, Figure] = {}
        self._folder = folder
        self._observed: ObservedMicrocontroller | None = None

    @property
    def inputs(self) -> Sequence[Input]:
        """The inputs, in order."""
        return [_facts(one) for one in self._manifest.inputs]

    @property
    def outputs(self) -> Sequence[Input]:
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

    def run(self, x: Mapping[str, Array]) -> Array | tuple[Array, ...]:
        """Compute the outputs of one sample, or of several along the first axis.

        Args:
            x: arrays by input name, in the file's shape, or N x that shape without its batch
                axis.

        Raises:
            EdgebedError: an input is missing or has another shape or dtype.
        """
        samples = self._samples(x)
        answers = []
        for one in samples:
            trace = self._machine.run_named(one)
            answers.append([trace.outputs[out.name] for out in self._manifest.outputs])
            self._figures = trace.figures
        found = tuple(
            parts[0] if len(samples) == 1 and self._is_single(x) else np.concatenate(parts)
            for parts in zip(*answers, strict=True)
        )
        return found[0] if len(found) == 1 else found

    def _is_single(self, x: Mapping[str, Array]) -> bool:
        first = self._manifest.inputs[0]
        return first.is_one(np.asarray(x[first.name]).shape)

    def _samples(self, x: Mapping[str, Array]) -> list[dict[str, Array]]:
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

    def self_test(self) -> None:
        """Let the firmware replay its own vectors.

        Raises:
            EdgebedError: one gave another result.
        """
        self._machine.self_test()

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
            for one in self._machine.stages
        )
        return Cost(layers, self._figures)

    def time_runs(self, count: int) -> npt.NDArray[np.int64]:
        """Refuse: time on an emulator says nothing about the device.

        Raises:
            EdgebedError: always.
        """
        raise EdgebedError("an emulated run has no time of its own", try_="its instruction count")

    def profile(self, x: Mapping[str, Array], repeats: int = 1) -> Cost:
        """Run the inputs and return the instructions layer by layer."""
        self.run(x)
        return self.cost

    def watch(self, x: Mapping[str, Array]) -> tuple[Inner, ...]:
        """Compute one sample on a second board, whose firmware shows what each step writes.

        That firmware is compiled from the folder's own sources, with the switch EB_OBSERVE.

        Raises:
            EdgebedError: an input does not fit, no compiler is there, or the two boards differ.
        """
        if self._observed is None:
            self._observed = ObservedMicrocontroller()
            self._observed.load(self._folder)
        (sample,) = self._samples(x)
        return self._observed.watch(sample)

    def close(self) -> None:
        """Switch the boards off."""
        self._machine.close()
        if self._observed is not None:
            self._observed.close()


def _facts(one: TensorFacts) -> Input:
    return Input(one.name, tuple(one.shape), one.dtype)


def load(folder: str | Path, *, threads: int = 1, isa: str | None = None) -> VirtualNetwork:
    """Boot a compiled folder.

    Args:
        folder: written by `edgebed compile MODEL --target cortex_m --cpu m4 --out DIR`.
        threads: 1; the cores have one.
        isa: name of the core, if it must be a certain one.

    Raises:
        EdgebedError: the folder is damaged, was built for another core, or an emulator is missing.
    """
    if threads != 1:
        raise EdgebedError(f"--threads {threads}", why="a microcontroller's core has one")
    network = VirtualNetwork(Path(folder))
    if isa not in (None, network.isa):
        network.close()
        raise EdgebedError(f"is built for {network.isa}, not for {isa}", where=str(folder))
    return network
