"""Drawn networks on the virtual MAX78000: the firmware is right, its accelerator may be wrong."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from planted_accelerator import Plant, PlantedAccelerator, drawn, planted
from planted_trials import Defect, Inputs, Planted, Watch
from programs import inputs_of

from edgebed.deploy import bundle
from edgebed.observe.recorders.machine import frame_of
from edgebed.targets import load
from edgebed.targets.max78000.machine import VirtualBoard
from edgebed.targets.max78000.watch import compiled_of

TARGET = load("max78000")


class PlantedBoard:
    """A booted board with the firmware of a drawn network.

    Args:
        seed: of the network.
    """

    source = "max78000"

    def __init__(self, seed: int) -> None:
        self.program = drawn(seed)
        self._folder = tempfile.TemporaryDirectory(prefix="planted-")
        folder = Path(self._folder.name) / "board"
        bundle.build(self.program, TARGET, folder)
        self._board = VirtualBoard(keep_layers=True)
        self._board.load(folder)
        compiled = compiled_of(folder, self.program)
        assert compiled is not None
        self._chain = compiled.chain
        assert self._chain
        cnn = self._board.board.chip.cnn
        self._accelerator = cnn.accelerator = PlantedAccelerator(cnn.accelerator)

    def close(self) -> None:
        """Release the board."""
        self._board.close()
        self._folder.cleanup()

    def draw(self, defect: Defect, rng: np.random.Generator) -> Planted | None:
        """Return a defect of this kind in some layer whose result is a tensor of the program."""
        plant = planted(self._chain, frozenset(self.program.types), defect, rng)
        if plant is None:
            return None
        return Planted(self._chain[plant.layer].layer.output, defect, plant.variant, plant)

    def watch(self, planted: Planted | None, scratch: Path) -> Watch:
        """Return the board; its memories keep what the trial before left."""
        assert planted is None or isinstance(planted.where, Plant)
        self._accelerator.put(planted.where if planted else None)
        name = next(iter(self.program.inputs))
        return lambda given, number: frame_of(
            self.program, self._board.run(given[name]), number, tensor=given[name]
        )

    def inputs(self, seed: int) -> Inputs:
        """Return random int8 inputs over the whole range."""
        return dict(inputs_of(self.program, seed))
