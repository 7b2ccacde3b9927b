"""The same microcontroller with firmware that shows what each step of the network writes."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy.typing as npt

from edgebed.targets._shared.arm_cores import find_core
from edgebed.targets._shared.rows.manifest import read
from edgebed.targets._shared.rows.seen import Memory
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
