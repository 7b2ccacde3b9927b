"""Builds a row-wise network for this computer, so that whole programs can be run quickly."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgebed.program.types import Program
from edgebed.targets._shared.rows.emit import Project, files
from edgebed.targets._shared.toolchain import host_compilers

Array = npt.NDArray[Any]
_FLAGS = ("-std=c99", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")
_READER = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int32, ctypes.c_int32, ctypes.c_void_p)


def _built(project: Project, folder: Path) -> Path:
    for path, data in files(project).items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(data)
    library = folder / "network.so"
    source = folder / f"{project.name}.c"
    command = [*host_compilers()[0].command, *_FLAGS, str(source), "-o", str(library)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return library


class NativeNetwork:
    """A project as a shared library of this process."""

    def __init__(self, project: Project) -> None:
        self.project = project
        with tempfile.TemporaryDirectory() as scratch:
            library = _built(project, Path(scratch))
            self._run = getattr(ctypes.CDLL(str(library)), f"{project.name}_run")

    def run(self, inputs: dict[str, Array]) -> dict[str, Array]:
        """Compute one sample; tensors in the program's shapes."""
        project = self.project
        arena = np.full(project.placement.peak + 80, 0x5A, np.uint8)
        start = -arena.ctypes.data % 16
        memory = arena[start : start + project.placement.peak]
        if project.fetched:
            self._run_fetched(memory, inputs)
        else:
            for name, storage in zip(inputs, project.network.inputs, strict=True):
                self._put(memory, storage, inputs[name])
            self._run(ctypes.c_void_p(memory.ctypes.data))
        assert (arena[start + project.placement.peak :] == 0x5A).all(), "wrote behind the arena"
        return {
            name: self._get(memory, name, storage)
            for name, storage in zip(project.program.outputs, project.network.outputs, strict=True)
        }

    def _run_fetched(self, memory: Array, inputs: dict[str, Array]) -> None:
        (values,) = inputs.values()
        rows = self.project.network.tensors[self.project.network.inputs[0]].rows
        data = np.ascontiguousarray(values).view(np.uint8).reshape(rows, -1)
        asked: list[int] = []

        def read(_context: int, _input: int, row: int, to: int) -> None:
            asked.append(row)
            ctypes.memmove(to, data[row].ctypes.data, data.shape[1])

        self._run(ctypes.c_void_p(memory.ctypes.data), _READER(read), None)
        assert asked == list(range(rows))

    def _put(self, memory: Array, storage: str, values: Array) -> None:
        data = np.ascontiguousarray(values).view(np.uint8).reshape(-1)
        offset = self.project.offset(storage)
        memory[offset : offset + data.size] = data

    def _get(self, memory: Array, name: str, storage: str) -> Array:
        kind = self.project.program.types[name]
        offset = self.project.offset(storage)
        data = memory[offset : offset + kind.nbytes].copy()
        return data.view(kind.dtype).reshape(kind.shape)


def program_inputs(program: Program, seed: int) -> dict[str, Array]:
    """Return one random sample of every input."""
    rng = np.random.default_rng(seed)
    found: dict[str, Array] = {}
    for name, kind in program.inputs.items():
        if kind.is_float:
            found[name] = rng.uniform(-1, 1, kind.shape).astype(np.float32)
        else:
            info = np.iinfo(kind.dtype)
            found[name] = rng.integers(info.min, info.max + 1, kind.shape).astype(kind.dtype)
    return found
