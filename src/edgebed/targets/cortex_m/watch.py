"""The same microcontroller with firmware that shows what each step of the network writes."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgebed.errors import EdgebedError
from edgebed.targets._shared.arm_cores import find_core
from edgebed.targets._shared.rows.manifest import InnerFacts, Manifest, read
from edgebed.targets.contract import Inner
from edgebed.targets.cortex_m.build import MANIFEST, build
from edgebed.targets.cortex_m.machine import VirtualMicrocontroller

Array = npt.NDArray[Any]
SWITCH: Final = "-DEB_OBSERVE=network_observed"


class ObservedMicrocontroller(VirtualMicrocontroller):
    """Runs a compiled folder's own sources, built with the switch EB_OBSERVE.

    The folder is not written to. Instructions and stack are those of the observed build, which
    takes more of both: ask `VirtualMicrocontroller` for figures.
    """

    def load(self, folder: Path) -> None:
        """Build the observed firmware and boot it; see `VirtualMicrocontroller.load`."""
        with tempfile.TemporaryDirectory(prefix="edgebed-observed-") as scratch:
            self._scratch = Path(scratch)
            super().load(folder)

    def _elf(self, folder: Path) -> Path:
        core = find_core(read(folder / MANIFEST).cpu)
        return build(folder, core, flags=(SWITCH,), objects=self._scratch)

    def watch(self, inputs: Mapping[str, Array]) -> tuple[Inner, ...]:
        """Compute one sample and return its inner tensors in the order of the stages.

        Args:
            inputs: by name, of the shape and dtype in the imported file.

        Raises:
            EdgebedError: an input does not fit, or the firmware refuses.
        """
        seen = Memory(self._manifest)
        self._seen = seen.take
        self.run_named(inputs)
        return seen.inner()


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
        self._facts = {one.stage: one for one in manifest.inner}
        self._bytes = {
            one.stage: np.zeros(one.rows * one.row_bytes, np.uint8) for one in manifest.inner
        }

    def take(self, stage: int, step: int, offset: int, data: bytes) -> None:
        """Take a part of what step `step` of a stage wrote, from byte `offset` on."""
        facts = self._facts.get(stage)
        if facts is None:
            return
        at = (step if facts.rows > 1 else 0) * facts.row_bytes + offset
        self._bytes[stage][at : at + len(data)] = np.frombuffer(data, np.uint8)

    def inner(self) -> tuple[Inner, ...]:
        """Return the tensors."""
        return tuple(
            Inner(
                one.name, one.kind, _values(one, self._bytes[stage]), one.axes, one.scale,
                one.zero_point,
            )
            for stage, one in self._facts.items()
        )  # fmt: skip


def _values(facts: InnerFacts, data: npt.NDArray[np.uint8]) -> Array:
    kind = np.dtype(facts.dtype)
    if facts.flipped:
        data = data ^ np.uint8(128)
    return data.view(kind.newbyteorder("<")).astype(kind).reshape(facts.shape)
