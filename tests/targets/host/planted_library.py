"""A host library with a defect, and what each of its steps wrote."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from planted_host import Place, only, places, plant
from planted_trials import Defect, Inputs, Planted, Watch

from edgebed.observe.recorders.described import tensor_of
from edgebed.observe.recorders.library import seen
from edgebed.observe.trace import Frame
from edgebed.program.types import Array, Program
from edgebed.targets.contract import Inner
from edgebed.targets.host.kernels.isa import ISAS
from edgebed.targets.host.target import TARGET
from edgebed.targets.host.watch import Observed


class PlantedLibrary:
    """A program for this computer, on one instruction set.

    Args:
        program: what to compile.
        isa: name of the instruction set.
    """

    def __init__(self, program: Program, isa: str) -> None:
        self.program, self.source = program, f"host ({isa})"
        self._isa = isa
        self._level = next(one.level for one in ISAS if one.name == isa)
        self._scratch = tempfile.TemporaryDirectory(prefix="planted-")
        self._folder = Path(self._scratch.name)
        TARGET.plan(program).write(self._folder)
        (layers,) = self._folder.glob("*_layers.c")
        self._name = layers.stem.removesuffix("_layers")
        outputs = {op.name: op.output for op in program.ops}
        shown = {op.output for op in program.ops}
        self._places = [
            (place, outputs[place.op]) for place in places(layers.read_text())
            if outputs.get(place.op) in shown
        ]  # fmt: skip

    def draw(self, defect: Defect, rng: np.random.Generator) -> Planted | None:
        """Return a defect of this kind in some step that can have it."""
        able = [one for one in self._places if defect in one[0].defects]
        if not able:
            return None
        place, layer = able[rng.integers(len(able))]
        text = plant(self._folder, self._name, place, defect, self._level, rng)
        return Planted(layer, defect, f"{self._isa}: {_kernel(self._folder, place)}", text)

    def watch(self, planted: Planted | None, scratch: Path) -> Watch:
        """Return the library, built with the edited step."""
        folder = scratch / "library"
        shutil.copytree(self._folder, folder)
        file = folder / f"{self._name}_layers.c"
        text = planted.where if planted else only(file.read_text(), self._level)
        file.write_text(text)
        library = _Watched(folder, isa=self._isa)

        def frame(given: Mapping[str, Array], number: int) -> Frame:
            inner, outputs = library.both(
                {n: v.reshape(self.program.file_shape(n)) for n, v in given.items()}
            )
            tensors = [tensor_of(self.program, n, v, "input") for n, v in given.items()]
            tensors += [seen(self.program, one) for one in inner]
            for name, values in zip(self.program.outputs, outputs, strict=True):
                shape = self.program.types[name].shape
                tensors.append(tensor_of(self.program, name, values.reshape(shape), "output"))
            return Frame(number, tuple(tensors))

        return frame

    def inputs(self, seed: int) -> Inputs:
        """Return random inputs over the whole range."""
        rng = np.random.default_rng(seed)
        return {
            name: rng.integers(-128, 128, kind.shape).astype(np.int8)
            for name, kind in self.program.inputs.items()
        }

    def close(self) -> None:
        """Remove the project."""
        self._scratch.cleanup()


class _Watched(Observed):
    """The observed build alone: there is no other library that it has to agree with."""

    def both(self, x: Mapping[str, Array]) -> tuple[tuple[Inner, ...], tuple[Array, ...]]:
        """Return inner tensors and outputs of one run."""
        inner = self.inner(x, tuple(self._outputs))
        return inner, tuple(one.copy() for one in self._outputs)


def _kernel(folder: Path, place: Place) -> str:
    """Return the first kernel that a step calls."""
    (layers,) = folder.glob("*_layers.c")
    found: Any = re.search(
        rf"static void step_{place.number}\(.*?\b(eb_(?!io|step)\w+|kernel_\d+)\(",
        layers.read_text(), re.DOTALL,
    )  # fmt: skip
    return str(found[1]) if found else "a loop"
