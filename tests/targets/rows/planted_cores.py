"""Row-wise networks with planted defects, on a virtual core or compiled for this computer."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from native_network import program_inputs
from planted import PortableM4, places, plant
from planted_trials import Defect, Inputs, Planted, Watch

from edgebed.observe.recorders.described import tensor_of
from edgebed.observe.recorders.library import seen
from edgebed.observe.trace import Frame, Tensor
from edgebed.program.types import Program
from edgebed.targets._shared.rows import manifest as manifests
from edgebed.targets._shared.rows.emit import Project, files
from edgebed.targets._shared.rows.seen import Memory
from edgebed.targets._shared.toolchain import host_compilers
from edgebed.targets.contract import Inner
from edgebed.targets.cortex_m.target import Microcontroller
from edgebed.targets.cortex_m.watch import ObservedMicrocontroller

Array = npt.NDArray[Any]
_SEEN = ctypes.CFUNCTYPE(None, ctypes.c_int32, ctypes.c_int32, ctypes.c_void_p, ctypes.c_uint32)
_HOOK = """#include <stdint.h>
static void (*hook)(int32_t, int32_t, const void *, uint32_t);
void planted_hook(void (*to)(int32_t, int32_t, const void *, uint32_t)) { hook = to; }
void planted_seen(int32_t stage, int32_t step, const void *out, uint32_t bytes) {
    hook(stage, step, out, bytes);
}
"""


class NativeObserved:
    """A project's files as a library of this process, with the switch EB_OBSERVE."""

    def __init__(self, project: Project, made: Mapping[str, bytes], folder: Path) -> None:
        self.project, self.facts = project, manifests.describe(project, "m4", "balanced")
        for path, data in {**made, "hook.c": _HOOK.encode()}.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        sources = [str(folder / f"{project.name}.c"), str(folder / "hook.c")]
        flags = ("-std=c99", "-O1", "-shared", "-fPIC", "-DEB_OBSERVE=planted_seen")
        command = [*host_compilers()[0].command, *flags, *sources, "-o", str(folder / "seen.so")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        self.library = ctypes.CDLL(str(folder / "seen.so"))
        arena = np.zeros(project.placement.peak + 16, np.uint8)  # kept, as on a device
        self.arena = arena[-arena.ctypes.data % 16 :][: project.placement.peak]

    def watch(self, inputs: Mapping[str, Array]) -> tuple[Inner, ...]:
        memory = Memory(self.facts)

        def take(stage: int, step: int, out: int, size: int) -> None:
            memory.take(stage, step, 0, ctypes.string_at(out, size))

        hook = _SEEN(take)
        self.library.planted_hook(hook)
        for name, storage in zip(inputs, self.project.network.inputs, strict=True):
            data = np.ascontiguousarray(inputs[name]).view(np.uint8).reshape(-1)
            at = self.project.offset(storage)
            self.arena[at : at + data.size] = data
        run = getattr(self.library, f"{self.project.name}_run")
        run(ctypes.c_void_p(self.arena.ctypes.data))
        return memory.inner()


class PlantedCore:
    """A program for a Cortex-M.

    Args:
        program: that the core has kernels for.
        target: the core; its own kernels are planted in.
    """

    def __init__(self, program: Program, target: Microcontroller) -> None:
        self.program, self._target = program, target
        self.source = target.cpu
        self.project = target.project(program)
        self._places = places(self.project)

    def draw(self, defect: Defect, rng: np.random.Generator) -> Planted | None:
        """Return a defect of this kind in some layer that can have it."""
        able = [place for place in self._places if defect in place.defects]
        if not able:
            return None
        place = able[rng.integers(len(able))]
        made = plant(self.project, place, defect, rng)
        return Planted(place.stage.output, defect, place.stage.function, made)

    def watch(self, planted: Planted | None, scratch: Path) -> Watch:
        """Return the core with the edited C; the firmware is built and booted."""
        made = files(self.project) if planted is None else planted.where
        watch = self._booted(made, scratch)

        def frame(given: Mapping[str, Array], number: int) -> Frame:
            return frame_of(self.program, given, watch(given), number)

        return frame

    def _booted(self, made: Mapping[str, bytes], scratch: Path) -> Any:
        self._target.plan(self.program).write(scratch / "core")
        for path, data in made.items():
            (scratch / "core" / "library" / path).write_bytes(data)
        board = ObservedMicrocontroller()
        board.load(scratch / "core")

        def watch(given: Mapping[str, Array]) -> tuple[Inner, ...]:
            shaped = {n: v.reshape(self.program.file_shape(n)) for n, v in given.items()}
            return board.watch(shaped)

        return watch

    def inputs(self, seed: int) -> Inputs:
        """Return random inputs."""
        return dict(program_inputs(self.program, seed))

    def close(self) -> None:
        """Nothing: every trial has a core of its own."""


class PlantedRows(PlantedCore):
    """The same with portable kernels, compiled for this computer."""

    def __init__(self, program: Program) -> None:
        super().__init__(program, PortableM4(cpu="m4"))
        self.source = "native"

    def _booted(self, made: Mapping[str, bytes], scratch: Path) -> Any:
        return NativeObserved(self.project, made, scratch).watch


def frame_of(
    program: Program, inputs: Mapping[str, Array], inner: tuple[Inner, ...], number: int
) -> Frame:
    """Return a device's frame of inputs and whatever could be seen."""
    tensors: list[Tensor] = [tensor_of(program, n, v, "input") for n, v in inputs.items()]
    tensors += [seen(program, one) for one in inner]
    return Frame(number, tuple(tensors))
