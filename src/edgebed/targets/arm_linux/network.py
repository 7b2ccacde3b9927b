"""A compiled folder as a library: numpy in, numpy out, computed on the virtual board."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgebed.errors import EdgebedError
from edgebed.targets._shared.rows import network as rows
from edgebed.targets._shared.rows.manifest import read
from edgebed.targets._shared.rows.network import Array
from edgebed.targets.arm_linux.build import MANIFEST
from edgebed.targets.arm_linux.machine import VirtualBoard
from edgebed.targets.arm_linux.watch import ObservedBoard
from edgebed.targets.contract import Inner


class VirtualNetwork(rows.VirtualNetwork):
    """A program on a virtual board; see `contract.Library`, `Counted` and `Watchable`.

    Args:
        folder: that was compiled.
    """

    def __init__(self, folder: Path) -> None:
        board = VirtualBoard()
        board.load(folder)
        super().__init__(read(folder / MANIFEST), board, board.run_named)
        self._folder = folder
        self._observed: ObservedBoard | None = None

    def watch(self, x: Mapping[str, Array]) -> tuple[Inner, ...]:
        """Compute one sample in a second program, which records what each step writes.

        That program is compiled from the folder's own sources, with the switch EB_TRACE.

        Raises:
            EdgebedError: an input does not fit, no compiler is there, or the two programs differ.
        """
        if self._observed is None:
            self._observed = ObservedBoard()
            self._observed.load(self._folder)
        (sample,) = self.samples(x)
        return self._observed.watch(sample)

    def close(self) -> None:
        """Release the programs."""
        super().close()
        if self._observed is not None:
            self._observed.close()


def load(folder: str | Path, *, threads: int = 1, isa: str | None = None) -> VirtualNetwork:
    """Start a compiled folder on the virtual board.

    Args:
        folder: written by `edgebed compile MODEL --target arm_linux --cpu a72 --out DIR`.
        threads: 1; the program has one.
        isa: name of the core, if it must be a certain one.

    Raises:
        EdgebedError: the folder is damaged, was built for another core, or no emulator is
            installed.
    """
    if threads != 1:
        raise EdgebedError(f"--threads {threads}", why="the program has one thread")
    network = VirtualNetwork(Path(folder))
    network.expect_core(isa, Path(folder))
    return network
