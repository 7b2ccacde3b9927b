"""This computer as a machine: it runs compiled folders and takes their time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgebed.errors import EdgebedError
from edgebed.figures import Figure
from edgebed.targets.contract import Frame, Trace
from edgebed.targets.host.session import Session

Array = npt.NDArray[Any]


class ThisComputer:
    """Runs what `edgebed compile --target host` wrote, on the processor we are on."""

    def __init__(self) -> None:
        """Begin without a network."""
        self._session: Session | None = None

    def load(self, folder: Path) -> None:
        """Load a compiled folder."""
        self.close()
        self._session = Session(folder)

    def self_test(self) -> None:
        """Load every variant that this processor has and compare their answers to each other.

        Raises:
            EdgebedError: two variants differ.
        """
        session = self._loaded
        samples = [_sample(tensor.shape, tensor.dtype) for tensor in session.inputs]
        expected = _outputs(session.run(samples))
        for number, isa in enumerate(session.variants):
            with Session(session.folder, isa=isa) as other:
                for a, b in zip(expected, _outputs(other.run(samples)), strict=True):
                    if not _agree(a, b):
                        raise EdgebedError(f"variant {number} ({isa}) differs from {session.isa}")

    def run(self, tensor: Array) -> Trace:
        """Compute one input and take the time of the call."""
        session = self._loaded
        before = time.perf_counter_ns()
        outputs = _outputs(session.run(tensor))
        spent = (time.perf_counter_ns() - before) / 1000
        names = [one.name for one in session.outputs]
        figure = Figure(spent, "us", "measured", f"this process, {session.isa}")
        return Trace(dict(zip(names, outputs, strict=True)), {"time": figure})

    def show(self, picture: npt.NDArray[np.uint8]) -> Frame:
        """Refuse: this target has no camera and no display."""
        raise EdgebedError("the host target has no camera", try_="edgebed run DIR --input X.npy")

    def close(self) -> None:
        """Release the network."""
        if self._session is not None:
            self._session.close()
            self._session = None

    @property
    def _loaded(self) -> Session:
        if self._session is None:
            raise EdgebedError("no network is loaded")
        return self._session


def _outputs(result: Array | tuple[Array, ...]) -> tuple[Array, ...]:
    return result if isinstance(result, tuple) else (result,)


def _sample(shape: tuple[int, ...], dtype: str) -> Array:
    """Return numbers from all over the type's range, always the same ones."""
    count = int(np.prod(shape, dtype=np.int64))
    steps = np.arange(count, dtype=np.int64) * 7919 % 251
    if np.dtype(dtype).kind == "f":
        return (steps / 125.0 - 1.0).astype(dtype).reshape(shape)
    low = -125 if np.dtype(dtype).kind == "i" else 0
    return (steps + low).astype(dtype).reshape(shape)


def _agree(a: Array, b: Array) -> bool:
    if a.dtype.kind == "f":
        return bool(np.allclose(a, b, rtol=1e-4, atol=1e-5))
    return bool(np.array_equal(a, b))
