"""From a compiled folder to the firmware's ELF file, and how much memory it takes.

A compiled folder has the network's C in `library/` and what serves it in `firmware/`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from edgebed.errors import EdgebedError
from edgebed.targets._shared.arm_cores import Core, find_compiler
from edgebed.targets._shared.bare_arm import CortexM, ToolError
from edgebed.targets._shared.elf import load_firmware, section_bytes

LIBRARY: Final = "library"
FIRMWARE: Final = "firmware"
MANIFEST: Final = "network.json"
ELF: Final = "firmware.elf"
_OBJECTS: Final = "build"
_SELF_TEST: Final = "_selftest"
_FIRMWARE_FLAGS: Final = ("-fno-builtin",)  # or loops become calls of memcpy
_OVERFLOW: Final = re.compile(r"region [`']?(\w+)['`]?\W*overflowed by (\d+) bytes")


@dataclass(frozen=True)
class Sizes:
    """Memory of a built firmware, in bytes.

    Attributes:
        weights_flash: what was trained, as it is stored.
        code_flash: the network's code and tables, with the compiler's routines that it calls.
        firmware_flash: what serves it on the virtual board; no part of the library.
        static_ram: the library's variables outside of the arena; 0 for generated networks.
        arena: activations, inputs and outputs.
        firmware_ram: the firmware's variables.
        stack_reserved: for the stack.
    """

    weights_flash: int
    code_flash: int
    firmware_flash: int
    static_ram: int
    arena: int
    firmware_ram: int
    stack_reserved: int

    @property
    def flash(self) -> int:
        """Flash of the library."""
        return self.weights_flash + self.code_flash


def build(
    folder: Path,
    core: Core,
    *,
    optimise: str = "-O2",
    compiler: str = "",
    flags: Sequence[str] = (),
    objects: Path | None = None,
) -> Path:
    """Compile and link the firmware in a compiled folder.

    Args:
        folder: with `library/` and `firmware/`.
        core: to compile for.
        optimise: optimisation flag.
        compiler: `zig` or `gcc`; empty for the first that is installed, zig before gcc.
        flags: more flags of the compiler.
        objects: folder for objects and the ELF file instead of `folder`/firmware.

    Returns:
        firmware.elf there.

    Raises:
        EdgebedError: no compiler is installed, a source is missing or damaged, or the program
            does not fit the board's memory.
    """
    library, firmware = folder / LIBRARY, folder / FIRMWARE
    script = firmware / "link.ld"
    if not (script.is_file() and any(library.glob("*.c"))):
        raise EdgebedError(
            "no firmware project here",
            where=str(folder),
            why=f"{LIBRARY}/*.c and {FIRMWARE}/link.ld are needed",
            try_="compile the network again",
        )
    tool = find_compiler(core, optimise, kind=compiler)
    tool = replace(tool, compiler=(*tool.compiler, f"-I{library}", f"-I{firmware}", *flags))
    elf = (objects or firmware) / ELF
    objects = objects or firmware / _OBJECTS
    objects.mkdir(exist_ok=True)
    with ThreadPoolExecutor(2) as pool:
        jobs = [*sorted(library.glob("*.c")), *sorted(firmware.glob("*.c"))]
        built = list(pool.map(lambda source: _object(tool, source, objects), jobs))
    _link(tool, built, script, elf, core)
    return elf


def _object(tool: CortexM, source: Path, objects: Path) -> Path:
    """Compile one file; the linker script knows the network's own by their name."""
    if source.parent.name == LIBRARY and not source.stem.endswith(_SELF_TEST):
        target = objects / f"network_{source.stem}.o"
    else:
        target = objects / f"{source.stem}.o"
        tool = replace(tool, compiler=(*tool.compiler, *_FIRMWARE_FLAGS))
    tool.compile(source, target)
    return target


def _link(tool: CortexM, objects: Sequence[Path], script: Path, elf: Path, core: Core) -> None:
    try:
        tool.link(objects, script, elf)
    except ToolError as error:
        regions: dict[str, int] = {}
        for region, count in _OVERFLOW.findall(error.output):
            regions[region] = max(int(count), regions.get(region, 0))
        if not regions:
            raise
        over = " and ".join(f"{region} by {count:,} bytes" for region, count in regions.items())
        raise EdgebedError(
            f"the firmware exceeds the board's {over}",
            where=str(script),
            why=f"memories of the virtual {core.title} board, firmware and stack included",
            try_="--ram for a smaller arena, a smaller network, or a larger board in link.ld",
        ) from error


def sizes(elf: Path) -> Sizes:
    """Measure a firmware built by `build`.

    Raises:
        EdgebedError: the file is not a 32-bit Arm ELF file.
    """
    found, at = section_bytes(elf), load_firmware(elf).symbols
    static = sum(at[f"network_{name}_end"] - at[f"{name}_start"] for name in ("data", "bss"))
    variables = found.get(".data", 0) + found.get(".bss", 0)
    return Sizes(
        weights_flash=found.get(".weights", 0),
        code_flash=found.get(".network", 0) + found.get(".support", 0),
        firmware_flash=sum(found.get(name, 0) for name in (".vectors", ".firmware", ".data")),
        static_ram=static,
        arena=found.get(".arena", 0),
        firmware_ram=variables - static,
        stack_reserved=found.get(".stack", 0),
    )
