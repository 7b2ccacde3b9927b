"""What a run of the accelerator tells."""

from __future__ import annotations

from dataclasses import dataclass

from edgebed.targets.max78000.accelerator.layers import Layer
from edgebed.targets.max78000.cycles import STARTUP_CYCLES


@dataclass(frozen=True)
class LayerRun:
    """One layer of a run.

    Attributes:
        index: layer number.
        out_shape: channels, rows, columns of its result (channels with gaps and dummies).
        macs: multiply-accumulates.
        cycles: estimated cycles at the CNN clock, the law as it stands.
        scaled_cycles: the vendor tool's figure, 1.5 times as much for streaming layers.
    """

    index: int
    out_shape: tuple[int, int, int]
    macs: int
    cycles: int
    scaled_cycles: int


@dataclass(frozen=True)
class RunResult:
    """What `Accelerator.run` did.

    Attributes:
        finished: the network ran to its end; False while it waits for FIFO words or a start.
        cycles: estimated CNN cycles, 0 when not finished.
        layers: one entry for each layer that ran.
    """

    finished: bool
    cycles: int = 0
    layers: tuple[LayerRun, ...] = ()

    @property
    def scaled_cycles(self) -> int:
        """The vendor tool's figure, with streaming layers counted one and a half times."""
        return sum(layer.scaled_cycles for layer in self.layers) + STARTUP_CYCLES * self.finished


def layer_run(layer: Layer) -> LayerRun:
    """Return the public facts of a prepared layer."""
    shape = (len(layer.channels), *layer.registers.out_size)
    cycles = layer.cycles
    return LayerRun(layer.registers.index, shape, layer.macs, cycles.unscaled, cycles.scaled)
