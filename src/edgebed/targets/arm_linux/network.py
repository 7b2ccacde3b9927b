"""A compiled folder as a library: numpy in, numpy out, computed on an emulated core."""

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
from edgebed.targets.arm_linux.build import MANIFEST
from edgebed.targets.arm_linux.machine import VirtualBoard
from edgebed.targets.contract import Cost, LayerCost

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Facts:
    """An input or output as the imported file has it."""

    name: str
    shape: tuple[int, ...]
    dtype: str


class VirtualNetwork:
    """A network's program on a virtual board; see `contract.Library` and `contract.Counted`."""

    def __init__(self, folder: Path) -> None:
        self._manifest: Manifest = read(folder / MANIFEST)
        self._board = VirtualBoard()
        self._board.load(folder)
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

    def run(self, x: Mapping[str, Array]) -> Array | tuple[Array, ...]:
        """Compute the outputs of one sample, or of several along the first axis.

        Args:
            x: arrays by input name, in the file's shape, or N x that shape without its batch
                axis.

        Raises:
            EdgebedError: an input is missing or has another shape or dtype.
        """
        samples = self._samples(x)
        traces = self._board.run_named(samples)
        self._figures = traces[-1].figures
        names = [out.name for out in self._manifest.outputs]
        found = tuple(np.concatenate([one.outputs[name] for one in traces]) for name in names)
        if self._is_single(x):
            found = tuple(traces[0].outputs[name] for name in names)
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
        """Let the program compute its known answers.

        Raises:
            EdgebedError: one came out otherwise.
        """
        self._board.self_test()

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
            for one in self._board.stages
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

    def close(self) -> None:
        """Release the board."""
        self._board.close()


def _facts(one: TensorFacts) -> Facts:
    return Facts(one.name, tuple(one.shape), one.dtype)


def load(folder: str | Path, *, threads: int = 1, isa: str | None = None) -> VirtualNetwork:
    """Start a compiled folder on the virtual board.

    Args:
        folder: written by `edgebed compile MODEL --target arm_linux --cpu a72 --out DIR`.
        threads: 1; the program has one.
        isa: name of the core, if it must be a certain one.

    Raises:
        EdgebedError: the folder is damaged, was built for another core, or no emulator is
            installed.
    """
    if threads != 1:
        raise EdgebedError(f"--threads {threads}", why="the program has one thread")
    network = VirtualNetwork(Path(folder))
    if isa not in (None, network.isa):
        network.close()
        raise EdgebedError(f"is built for {network.isa}, not for {isa}", where=str(folder))
    return network
