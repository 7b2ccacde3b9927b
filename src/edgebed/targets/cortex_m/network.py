"""A compiled folder as a library: numpy in, numpy out, computed by the emulated firmware."""

from __future__ import annotations

from pathlib import Path

from edgebed.errors import EdgebedError
from edgebed.targets._shared.rows import network as rows
from edgebed.targets._shared.rows.manifest import read
from edgebed.targets.cortex_m.build import MANIFEST
from edgebed.targets.cortex_m.machine import VirtualMicrocontroller
from edgebed.targets.cortex_m.watch import ObservedMicrocontroller


class VirtualNetwork(rows.VirtualNetwork):
    """Firmware on a virtual microcontroller; see `rows.network.VirtualNetwork`.

    Args:
        folder: that was compiled.
    """

    def __init__(self, folder: Path) -> None:
        machine = VirtualMicrocontroller()
        machine.load(folder)
        super().__init__(
            read(folder / MANIFEST),
            machine,
            lambda samples: list(map(machine.run_named, samples)),
            lambda: _observed(folder),
        )


def _observed(folder: Path) -> ObservedMicrocontroller:
    observed = ObservedMicrocontroller()
    observed.load(folder)
    return observed


def load(folder: str | Path, *, threads: int = 1, isa: str | None = None) -> VirtualNetwork:
    """Boot a compiled folder.

    Args:
        folder: written by `edgebed compile MODEL --target cortex_m --cpu m4 --out DIR`.
        threads: 1; the cores have one.
        isa: name of the core, if it must be a certain one.

    Raises:
        EdgebedError: the folder is damaged, was built for another core, or an emulator is missing.
    """
    if threads != 1:
        raise EdgebedError(f"--threads {threads}", why="a microcontroller's core has one")
    network = VirtualNetwork(Path(folder))
    network.expect_core(isa, Path(folder))
    return network
