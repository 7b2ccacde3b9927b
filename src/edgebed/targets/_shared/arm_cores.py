"""Cortex-M cores: what compilers and emulators must be told, and where memory lies.

Addresses are those of Arm's FPGA images for the MPS2 and MPS3 boards, so that one binary runs on
unicorn and on qemu's machines alike.
Sources: Arm application notes AN386 (M4), AN500 (M7), AN505 (M33) and AN547 (M55).
"""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgebed.errors import EdgebedError, did_you_mean
from edgebed.targets._shared.bare_arm import CortexM
from edgebed.targets._shared.native import cache_folder
from edgebed.targets._shared.toolchain import find_installed, find_zig

Isa = Literal["portable", "dsp", "mve"]

_FLAGS = (
    *("-std=c99", "-ffreestanding", "-ffunction-sections", "-fdata-sections"),
    *("-Wall", "-Wextra", "-Werror"),
)
_TIMEOUT_S = 120


@dataclass(frozen=True)
class Board:
    """Memories of an FPGA image.

    Attributes:
        flash_base, flash_bytes: where code lies.
        ram_base, ram_bytes: where data lie.
        uart: base address of the first CMSDK APB UART.
        uart_irq: number of the interrupt of a received byte.
        vectors: address of the vector table; None for the start of flash.
    """

    flash_base: int
    flash_bytes: int
    ram_base: int
    ram_bytes: int
    uart: int
    uart_irq: int
    vectors: int | None = None

    @property
    def vector_base(self) -> int:
        """Address of the vector table."""
        return self.flash_base if self.vectors is None else self.vectors

    @property
    def vector_region(self) -> str:
        """Name of the linker's memory region for the vector table."""
        return "FLASH" if self.vectors is None else "VECTORS"


@dataclass(frozen=True)
class Core:
    """A processor core.

    Attributes:
        name: short, as users write it.
        title: as its vendor writes it.
        triple: clang's target.
        flags: what selects the core, the same for clang and gcc.
        isa: which kernels it can run.
        fpu: it computes float32 in hardware.
        unicorn: name of the model in unicorn that executes its code; empty for none.
        qemu: machine of qemu-system-arm with this core; empty for none.
        board: memories of that machine.
    """

    name: str
    title: str
    triple: str
    flags: tuple[str, ...]
    isa: Isa
    fpu: bool
    unicorn: str
    qemu: str
    board: Board


_MB = 1 << 20
_MPS2 = Board(0, 4 * _MB, 0x20000000, 4 * _MB, 0x40004000, 0)
_CORES = (
    Core(
        name="m0plus",
        title="Cortex-M0+",
        triple="thumbv6m-none-eabi",
        flags=("-mcpu=cortex-m0plus", "-mthumb", "-mfloat-abi=soft"),
        isa="portable",
        fpu=False,
        unicorn="cortex-m0",  # which has the same instructions
        qemu="",
        board=_MPS2,
    ),
    Core(
        name="m4",
        title="Cortex-M4",
        triple="thumbv7em-none-eabi",
        flags=("-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=softfp"),
        isa="dsp",
        fpu=True,
        unicorn="cortex-m4",
        qemu="mps2-an386",
        board=_MPS2,
    ),
    Core(
        name="m7",
        title="Cortex-M7",
        triple="thumbv7em-none-eabi",
        flags=("-mcpu=cortex-m7", "-mthumb", "-mfpu=fpv5-d16", "-mfloat-abi=softfp"),
        isa="dsp",
        fpu=True,
        unicorn="cortex-m7",
        qemu="mps2-an500",
        board=_MPS2,
    ),
    Core(
        name="m33",
        title="Cortex-M33",
        triple="thumbv8m.main-none-eabi",
        flags=("-mcpu=cortex-m33", "-mthumb", "-mfpu=fpv5-sp-d16", "-mfloat-abi=softfp"),
        isa="dsp",
        fpu=True,
        unicorn="cortex-m33",
        qemu="mps2-an505",
        board=Board(0x10000000, 4 * _MB, 0x38000000, 4 * _MB, 0x50200000, 32),
    ),
    Core(
        name="m55",
        title="Cortex-M55",
        triple="thumbv8.1m.main-none-eabihf",
        flags=("-mcpu=cortex-m55", "-mthumb", "-mfloat-abi=hard"),
        isa="mve",
        fpu=True,
        unicorn="",
        qemu="mps3-an547",
        # The DDR memory; the tightly coupled ones have half a megabyte.
        board=Board(
            *(0x71000000, 16 * _MB, 0x70000000, 16 * _MB, 0x59303000, 33),
            vectors=0x10000000,
        ),
    ),
)

CORES = {core.name: core for core in _CORES}
"""By name."""


def find_core(name: str) -> Core:
    """Return a core by name.

    Raises:
        EdgebedError: there is none of that name.
    """
    if name not in CORES:
        raise EdgebedError(f"no core is called {name!r}", try_=did_you_mean(name, CORES))
    return CORES[name]


def find_compiler(core: Core, optimise: str = "-O2", *, kind: str = "") -> CortexM:
    """Return a compiler and linker for `core`: zig's clang, otherwise arm-none-eabi-gcc.

    Args:
        core: to compile for.
        optimise: optimisation flag.
        kind: `zig` or `gcc` to take that one and no other.

    Raises:
        EdgebedError: it is not installed.
    """
    makers = {"zig": _zig, "gcc": _gcc}
    for name, make in makers.items():
        if kind in ("", name) and (found := make(core, optimise)):
            return found
    raise EdgebedError(
        f"no compiler for {core.title} is installed",
        why="the ziglang package is missing and arm-none-eabi-gcc is not on PATH",
        try_='pip install "edgebed[cc]"',
    )


def _gcc(core: Core, optimise: str) -> CortexM | None:
    path = find_installed("arm-none-eabi-gcc")
    if path is None:
        return None
    return CortexM(
        "arm-none-eabi-gcc",
        (str(path), optimise, *core.flags, *_FLAGS),
        (str(path), *core.flags, "-nostdlib", "-Wl,--gc-sections"),
        "-Wl,-T,",
        ("-lgcc",),
    )


def _zig(core: Core, optimise: str) -> CortexM | None:
    zig = find_zig()
    if zig is None:
        return None
    headers = zig.parent / "lib" / "include"
    target = (f"--target={core.triple}", "-nostdinc", "-isystem", str(headers))
    return CortexM(
        "zig clang",
        (str(zig), "clang", *target, optimise, *core.flags, *_FLAGS),
        (str(zig), "ld.lld", "--gc-sections", "-m", "armelf"),
        "--script=",
        (str(_support_library(zig, core)),),
    )


def _support_library(zig: Path, core: Core) -> Path:
    """Return the library with division, memcpy and the like, built once per core."""
    cpu = core.flags[0].removeprefix("-mcpu=").replace("-", "_")
    source = zig.parent / "lib" / "compiler_rt.zig"
    version = f"{zig.stat().st_size:x}"
    target = cache_folder() / f"compiler_rt-{cpu}-{version}.a"
    if target.is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".build-") as scratch:
        built = Path(scratch) / target.name
        command = [str(zig), "build-lib", str(source), "-target", "thumb-freestanding-eabi"]
        command += [f"-mcpu={cpu}", "-OReleaseSmall", "-fstrip", "-ffunction-sections"]
        done = subprocess.run(
            [*command, f"-femit-bin={built}"],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
            cwd=scratch,
        )
        if done.returncode:
            raise EdgebedError(
                "cannot build the compiler's support library",
                where=core.title,
                why=done.stderr.strip()[:200],
            )
        built.replace(target)
    return target
