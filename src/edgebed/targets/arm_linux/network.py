"""A compiled folder as a library: numpy in, numpy out, computed on the virtual board."""

from __future__ import annotations

from pathlib import Path

from edgebed.errors import EdgebedError
from edgebed.targets._shared.rows import network as rows
from edgebed.targets._shared.rows.manifest import read
from edgebed.targets.arm_linux.build import MANIFEST
from edgebed.targets.arm_linux.machine import VirtualBoard
from edgebed.targets.arm_linux.watch import ObservedBoard


class VirtualNetwork(rows.VirtualNetwork):
    """A program on a virtual board; see `contract.Library`, `Counted` and `Watchable`.

    Args:
        folder: that was compiled.
    """

    def __init__(self, folder: Path) -> None:
        board = VirtualBoard()
        board.load(folder)
        super().__init__(read(folder / MANIFEST), board, board.run_named, lambda: _observed(folder))


def _observed(folder: Path) -> ObservedBoard:
    observed = ObservedBoard()
    observed.load(folder)
    return observed


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
