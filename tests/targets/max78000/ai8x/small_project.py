"""Projects written by the tests: a description, random integer weights, a random input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgebed.targets.max78000.ai8x import parse_flags, read_project
from edgebed.targets.max78000.hints import Project

Array = npt.NDArray[Any]
Shape = tuple[int, ...]


def mask(count: int, first: int = 0) -> str:
    """Return a processor map of `count` processors from `first` on."""
    return hex(((1 << count) - 1) << first)


@dataclass(frozen=True)
class Small:
    """A project on disk.

    Attributes:
        layers: text of the description from the first layer on.
        shape: of the input.
        weights: shape out x in x kernel by layer (transposed convolution too).
        flags: words of the command line.
        bits: weight bits by layer, where not 8.
        biased: layers with a bias.
        top: further lines before `layers:`.
    """

    layers: str
    shape: Shape
    weights: Mapping[int, Shape]
    flags: str = ""
    bits: Mapping[int, int] | None = None
    biased: Sequence[int] = ()
    top: str = ""

    def write(self, folder: Path, seed: int = 0) -> tuple[Path, Path, dict[str, Array]]:
        """Write both files; return their paths and the weights out x in x kernel."""
        rng = np.random.default_rng(seed)
        description = folder / "network.yaml"
        description.write_text(f"---\narch: test\ndataset: mine\n{self.top}layers:\n{self.layers}")
        arrays: dict[str, Array] = {}
        for number, shape in self.weights.items():
            half = 1 << ((self.bits or {}).get(number, 8) - 1)
            arrays[f"weight{number:02d}"] = rng.integers(-half, half, shape).astype(np.int8)
            if number in self.biased:
                arrays[f"bias{number:02d}"] = rng.integers(-128, 128, shape[0]).astype(np.int16)
        weights = folder / "weights.npz"
        np.savez(weights, **{name: _flat(array) for name, array in arrays.items()})
        return description, weights, arrays

    def read(self, folder: Path, seed: int = 0) -> tuple[Project, Array]:
        """Write and read the project; return it with an input."""
        description, weights, _ = self.write(folder, seed)
        shape = ",".join(map(str, self.shape))
        flags = {"input-shape": shape, **parse_flags(self.flags.split())}
        x = np.random.default_rng(seed + 1).integers(-128, 128, self.shape).astype(np.int8)
        return read_project(description, weights, flags), x


def _flat(array: Array) -> Array:
    if array.ndim == 1:
        return array
    return array[None] if array.ndim == 2 else array.reshape(-1, *array.shape[2:])
