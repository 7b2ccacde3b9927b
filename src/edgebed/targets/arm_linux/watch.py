"""The same board with a program that records what each step of the network writes."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy.typing as npt

from edgebed.errors import EdgebedError
from edgebed.targets._shared.rows.log_content import content
from edgebed.targets._shared.rows.log_frames import Losses, frames
from edgebed.targets._shared.rows.log_records import split
from edgebed.targets._shared.rows.network import bytes_of
from edgebed.targets._shared.rows.tracing import network_byte
from edgebed.targets.arm_linux.build import build_traced
from edgebed.targets.arm_linux.machine import VirtualBoard
from edgebed.targets.contract import Inner

Array = npt.NDArray[Any]
FULL: Final = 3


class ObservedBoard(VirtualBoard):
    """Runs a compiled folder's own sources, built with EB_TRACE; the folder is not written to."""

    def load(self, folder: Path) -> None:
        """Build the recording program; see `VirtualBoard.load`."""
        self.close()
        self._scratch = tempfile.TemporaryDirectory(prefix="edgebed-observed-")
        super().load(folder)

    def _binary(self, folder: Path) -> Path:
        program = Path(self._scratch.name) / self._manifest.name
        build_traced(folder, program, FULL)
        return program

    def watch(self, inputs: Mapping[str, Array]) -> tuple[Inner, ...]:
        """Compute one sample and return its inner tensors in the order of the stages.

        Args:
            inputs: by name, of the shape and dtype in the imported file.

        Raises:
            EdgebedError: an input does not fit, or the program fails.
        """
        facts = self._manifest.inputs
        data = b"".join(bytes_of(inputs.get(one.name), one) for one in facts)
        ran, losses = self._run((), data, logs=True), Losses()
        for frame in frames(split([ran.log]), network_byte(self._manifest.name), losses):
            return content(frame, self._manifest).inner
        raise EdgebedError(
            "the program recorded nothing", where=str(self._program), why="; ".join(losses.notes)
        )

    def close(self) -> None:
        """Release the program and remove it."""
        super().close()
        if hasattr(self, "_scratch"):
            self._scratch.cleanup()
