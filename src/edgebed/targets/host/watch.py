"""A compiled network whose inner tensors can be seen: the same steps, built with EB_OBSERVE."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgebed.errors import EdgebedError
from edgebed.targets.contract import Inner
from edgebed.targets.host.build import observed
from edgebed.targets.host.given import Inputs
from edgebed.targets.host.library import ALIGNMENT, aligned, own_library
from edgebed.targets.host.session import Session

Array = npt.NDArray[Any]
ROUNDING: Final = 1e-5
"""Of an output's largest real number: the same steps compiled anew may add up in another order."""


class Observed(Session):
    """A session on the observed build of a folder's sources; `Session.watch` makes it."""

    def inner(self, x: Inputs, outputs: Array | tuple[Array, ...]) -> tuple[Inner, ...]:
        """Compute one sample and return its inner tensors.

        Args:
            x: as `run` takes it, one sample.
            outputs: what the library without the switch gives for it.

        Raises:
            EdgebedError: an input does not fit, or this build gives other outputs.
        """
        self._fill_one(x)
        shown = aligned(sum(map(_room, self._sizes())))
        watch = self._function("watch", ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
        watch(ctypes.addressof(self._bound), shown.ctypes.data)
        wanted = outputs if isinstance(outputs, tuple) else (outputs,)
        for facts, own, other in zip(self.outputs, self._outputs, wanted, strict=True):
            if not _same(own, other):
                raise EdgebedError(
                    f"the observed build gives another output {facts.name!r}",
                    where=str(self.folder), why="its sources were edited since they were built",
                    try_="edgebed.targets.host.build.build(folder)",
                )  # fmt: skip
        return tuple(self._read(shown))

    def _read(self, shown: npt.NDArray[np.uint8]) -> Iterator[Inner]:
        at = 0
        for facts in self.manifest.inner:
            kind = np.dtype(facts.dtype)
            size = int(np.prod(facts.shape, dtype=np.int64)) * kind.itemsize
            values = shown[at : at + size].view(kind).reshape(facts.shape)
            yield Inner(facts.name, facts.kind, values, facts.axes, facts.scale, facts.zero_point)
            at += _room(size)

    def _sizes(self) -> Iterator[int]:
        for facts in self.manifest.inner:
            size = int(np.prod(facts.shape, dtype=np.int64))
            yield size * np.dtype(facts.dtype).itemsize

    def _opened(self) -> ctypes.CDLL:
        return own_library(observed(self.folder), self.manifest)


def _same(own: Array, other: Array) -> bool:
    """Say whether two builds of the same steps answer alike, but for the last bits of reals."""
    if own.dtype.kind != "f" or own.tobytes() == other.tobytes():
        return own.tobytes() == other.tobytes()
    finite = np.abs(other[np.isfinite(other)])
    allowed = ROUNDING * float(finite.max(initial=0.0))
    return np.allclose(own.ravel(), other.ravel(), rtol=0.0, atol=allowed, equal_nan=True)


def _room(nbytes: int) -> int:
    """Return the bytes that a tensor takes among the others."""
    return nbytes + -nbytes % ALIGNMENT
