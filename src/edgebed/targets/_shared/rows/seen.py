"""What the steps of a network wrote, put together to tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgebed.errors import EdgebedError
from edgebed.targets._shared.rows.manifest import InnerFacts, Manifest
from edgebed.targets.contract import Inner

Array = npt.NDArray[Any]


class Memory:
    """Puts together what the steps of one run wrote.

    Args:
        manifest: which stage writes which tensor.
    """

    def __init__(self, manifest: Manifest) -> None:
        if not manifest.inner:
            raise EdgebedError(
                "its manifest names no inner tensors",
                where=manifest.title,
                why="the folder was written by an earlier version of edgebed",
                try_="compile the network again",
            )
        self._touched: set[int] = set()
        self._facts = {one.stage: one for one in manifest.inner}
        self._bytes = {
            one.stage: np.zeros(one.rows * one.row_bytes, np.uint8) for one in manifest.inner
        }

    def take(self, stage: int, step: int, offset: int, data: bytes) -> None:
        """Take a part of what step `step` of a stage wrote, from byte `offset` on.

        Raises:
            EdgebedError: the stage's tensor has no such bytes.
        """
        facts = self._facts.get(stage)
        if facts is None:
            return
        at = (step if facts.rows > 1 else 0) * facts.row_bytes + offset
        if at + len(data) > len(self._bytes[stage]):
            raise EdgebedError(f"step {step} of stage {stage} wrote beyond {facts.name!r}")
        self._bytes[stage][at : at + len(data)] = np.frombuffer(data, np.uint8)
        self._touched.add(stage)

    def inner(self) -> tuple[Inner, ...]:
        """Return the tensors of which something came."""
        return tuple(
            Inner(
                one.name, one.kind, values_of(one, self._bytes[stage]), one.axes, one.scale,
                one.zero_point,
            )
            for stage, one in self._facts.items()
            if stage in self._touched
        )  # fmt: skip


def values_of(facts: InnerFacts, data: npt.NDArray[np.uint8]) -> Array:
    """Return a tensor's values from its bytes in memory."""
    kind = np.dtype(facts.dtype)
    if facts.flipped:
        data = data ^ np.uint8(128)
    return data.view(kind.newbyteorder("<")).astype(kind).reshape(facts.shape)
