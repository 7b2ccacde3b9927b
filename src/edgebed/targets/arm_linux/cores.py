"""The cores: what they are called by compilers and emulators, and which kernels they run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edgebed.errors import EdgebedError, did_you_mean
from edgebed.targets._shared.rows.kernels.neon import NEON, NEON_DOT, Neon


@dataclass(frozen=True)
class Core:
    """A processor core of a Linux board.

    Attributes:
        name: as users say it.
        bits: of its addresses; 64 is AArch64, 32 Armv7.
        cpu: the compilers' and qemu's name.
        kernels: what it runs.
    """

    name: str
    bits: int
    cpu: str
    kernels: Neon

    @property
    def triple(self) -> str:
        """Clang's target."""
        return "aarch64-linux-gnu" if self.bits == 64 else "armv7a-linux-gnueabihf"

    @property
    def machine(self) -> str:
        """Machine in an ELF file's header."""
        return "EM_AARCH64" if self.bits == 64 else "EM_ARM"

    @property
    def prefix(self) -> str:
        """What the names of a distribution's cross tools begin with."""
        return "aarch64-linux-gnu-" if self.bits == 64 else "arm-linux-gnueabihf-"

    @property
    def flags(self) -> tuple[str, ...]:
        """Flags that say for which processor the code is, for clang and gcc."""
        if self.bits == 64:
            return (f"-mcpu={self.cpu}",)
        return (f"-mcpu={self.cpu}", "-mfpu=neon-vfpv4", "-mfloat-abi=hard", "-marm")

    @property
    def emulator(self) -> str:
        """Name of qemu's user emulation."""
        return "qemu-aarch64" if self.bits == 64 else "qemu-arm"


CORES: Final = {
    core.name: core
    for core in (
        Core("a53", 64, "cortex-a53", NEON),
        Core("a72", 64, "cortex-a72", NEON),
        Core("a76", 64, "cortex-a76", NEON_DOT),
        Core("armv7", 32, "cortex-a7", NEON),
    )
}


def core(name: str) -> Core:
    """Return the core `name`.

    Raises:
        EdgebedError: there is no such core.
    """
    if name not in CORES:
        raise EdgebedError(f"unknown core {name!r}", try_=did_you_mean(name, CORES))
    return CORES[name]
