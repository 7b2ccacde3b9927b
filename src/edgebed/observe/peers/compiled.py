"""A network that edgebed compiled for this computer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import edgebed

Array = Any


class Compiled:
    """A session whose inputs stay in place; `compute` is the library's function alone."""

    version = edgebed.__version__

    def __init__(self, path: Path, threads: int) -> None:
        self.session = edgebed.load(path, threads=threads)
        self.given: list[Array] = []
        self.compute = self.session.invoke

    def inputs(self) -> list[tuple[str, tuple[int, ...], str]]:
        """Return name, shape and dtype of each input."""
        return [(one.name, tuple(one.shape), str(one.dtype)) for one in self.session.inputs]

    def give(self, inputs: list[Array]) -> None:
        """Compute once, which leaves the inputs in the session's own memory."""
        self.given = inputs
        self.session.run(inputs)

    def outputs(self) -> list[Array]:
        """Return the outputs."""
        found = self.session.run(self.given)
        return list(found) if isinstance(found, tuple) else [found]


def open_model(path: Path, threads: int) -> Compiled:
    """Open a compiled folder."""
    return Compiled(path, threads)
