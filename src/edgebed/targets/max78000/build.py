"""From the firmware project's folder to an ELF file, and how much memory it takes."""

from __future__ import annotations

import re
import struct
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from edgebed.errors import EdgebedError
from edgebed.targets._shared.bare_arm import CortexM, find_bare_arm

ELF_NAME = "firmware.elf"
FLASH_BYTES = 512 * 1024
RAM_BYTES = 128 * 1024
_OBJECTS = "build"


@dataclass(frozen=True)
class Sizes:
    """Memory of a built firmware, in bytes.

    Attributes:
        flash_code: instructions, constants and tables.
        flash_weights: kernels as they are loaded.
        ram_static: variables and the camera frame.
        ram_stack: reserved for the stack.
        stack_bound: the frames of all functions added up; without recursion no call chain can be
            deeper. None when the compiler did not say.
    """

    flash_code: int
    flash_weights: int
    ram_static: int
    ram_stack: int
    stack_bound: int | None

    @property
    def flash(self) -> int:
        """All flash."""
        return self.flash_code + self.flash_weights

    @property
    def ram(self) -> int:
        """All SRAM."""
        return self.ram_static + self.ram_stack


def build(folder: Path) -> Path:
    """Compile and link the firmware project in `folder`.

    Returns:
        `folder`/firmware.elf.

    Raises:
        EdgebedError: no compiler is installed, a source is missing or damaged, or the program
            does not fit the chip's memory.
    """
    sources = sorted(folder.glob("*.c"))
    if not sources or not (folder / "link.ld").is_file():
        raise EdgebedError(
            "no firmware project here",
            where=str(folder),
            why="*.c files and link.ld are needed",
            try_="edgebed compile MODEL --target max78000 --out DIR",
        )
    compiler = find_bare_arm()
    objects = folder / _OBJECTS
    objects.mkdir(exist_ok=True)
    with ThreadPoolExecutor(2) as pool:
        built = list(pool.map(lambda source: _object(compiler, source, objects), sources))
    elf = folder / ELF_NAME
    compiler.link(built, folder / "link.ld", elf)
    return elf


def _object(compiler: CortexM, source: Path, objects: Path) -> Path:
    target = objects / f"{source.stem}.o"
    compiler.compile(source, target)
    return target


def sizes(elf: Path) -> Sizes:
    """Measure a firmware built by `build`.

    Raises:
        EdgebedError: the file is not a 32-bit ELF file.
    """
    found = _sections(elf)
    code = sum(found.get(name, 0) for name in (".vectors", ".text", ".rodata", ".data"))
    static = sum(found.get(name, 0) for name in (".data", ".bss", ".noinit"))
    bound = _stack_bound(elf.parent / _OBJECTS)
    return Sizes(code, found.get(".kernels", 0), static, found.get(".stack", 0), bound)


def _sections(elf: Path) -> dict[str, int]:
    """Return section sizes by name."""
    data = elf.read_bytes()
    if data[:5] != b"\x7fELF\x01" or len(data) < 52:
        raise EdgebedError("not a 32-bit ELF file", where=str(elf))
    table, entry, count, names = (
        struct.unpack_from("<I", data, 32)[0],
        *struct.unpack_from("<3H", data, 46),
    )
    rows = [struct.unpack_from("<10I", data, table + i * entry) for i in range(count)]
    strings = rows[names][4]
    return {
        data[strings + row[0] : data.index(b"\0", strings + row[0])].decode(): row[5]
        for row in rows
    }


def _stack_bound(objects: Path) -> int | None:
    """Add up the compiler's stack usage files: `file:line:function<tab>bytes<tab>kind`."""
    files = sorted(objects.glob("*.su"))
    if not files:
        return None
    text = "\n".join(path.read_text(errors="replace") for path in files)
    return sum(int(number) for number in re.findall(r"\t(\d+)\t", text))
