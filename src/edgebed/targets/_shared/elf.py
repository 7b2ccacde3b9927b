"""What a board needs of an ELF file: the bytes to flash and the names of functions."""

from __future__ import annotations

import bisect
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from edgebed.errors import EdgebedError

Result = TypeVar("Result")


@dataclass(frozen=True)
class Function:
    """A function's name, address (without the Thumb bit) and size in bytes."""

    name: str
    address: int
    size: int


@dataclass(frozen=True)
class Firmware:
    """A linked program.

    Attributes:
        path: the file.
        segments: load address and contents.
        functions: sorted by address.
        objects: addresses of variables by name.
        symbols: addresses of all names, those that the linker script defines included.
        object_bytes: sizes of variables by name.
    """

    path: Path
    segments: tuple[tuple[int, bytes], ...]
    functions: tuple[Function, ...]
    objects: dict[str, int]
    symbols: dict[str, int] = field(default_factory=dict)
    object_bytes: dict[str, int] = field(default_factory=dict)

    def function_at(self, address: int) -> Function | None:
        """Return the function that `address` lies in, or None."""
        index = bisect.bisect_right(self.functions, address, key=lambda f: f.address) - 1
        if index < 0:
            return None
        found = self.functions[index]
        return found if address < found.address + max(found.size, 2) else None

    def name_of(self, address: int) -> str:
        """Return `function+0x12`, or the address where no function is known."""
        found = self.function_at(address & ~1)
        if found is None:
            return f"{address:#010x}"
        offset = (address & ~1) - found.address
        return f"{found.name}+{offset:#x}" if offset else found.name


def section_bytes(path: Path, machine: str = "EM_ARM") -> dict[str, int]:
    """Return section sizes by name.

    Raises:
        EdgebedError: see `load_firmware`.
    """
    return _read(
        path, machine, lambda elf: {s.name: int(s["sh_size"]) for s in elf.iter_sections()}
    )


def load_firmware(path: Path, machine: str = "EM_ARM") -> Firmware:
    """Read an ELF file.

    Args:
        path: the file.
        machine: what it must be for: EM_ARM, or EM_AARCH64.

    Raises:
        EdgebedError: no such file, for another machine, or pyelftools is not installed.
    """
    return _read(path, machine, lambda elf: _firmware(path, elf))


def _read(path: Path, machine: str, use: Callable[[Any], Result]) -> Result:
    try:
        from elftools.common.exceptions import ELFError
        from elftools.elf.elffile import ELFFile
    except ImportError as error:
        raise EdgebedError(
            "reading firmware needs the package pyelftools", try_='pip install "edgebed[emu]"'
        ) from error
    try:
        with path.open("rb") as file:
            elf = ELFFile(file)
            if elf["e_machine"] != machine:
                raise EdgebedError("not built for Arm", where=str(path), why=elf["e_machine"])
            return use(elf)
    except (OSError, ELFError) as error:
        raise EdgebedError(
            "cannot read the firmware", where=str(path), why=str(error), try_="build it again"
        ) from error


def _firmware(path: Path, elf: Any) -> Firmware:
    segments = tuple(
        (int(s["p_paddr"]), bytes(s.data()))
        for s in elf.iter_segments()
        if s["p_type"] == "PT_LOAD" and s["p_filesz"]
    )
    table = elf.get_section_by_name(".symtab")
    return _named(path, segments, list(table.iter_symbols()) if table else [])


def _named(path: Path, segments: tuple[tuple[int, bytes], ...], symbols: list[Any]) -> Firmware:
    functions, objects, every, sizes = {}, {}, {}, {}
    for symbol in symbols:
        kind, value = symbol["st_info"]["type"], int(symbol["st_value"])
        every[symbol.name] = value
        if kind == "STT_FUNC":
            functions[value & ~1] = Function(symbol.name, value & ~1, int(symbol["st_size"]))
        elif kind == "STT_OBJECT":
            objects[symbol.name], sizes[symbol.name] = value, int(symbol["st_size"])
    ordered = tuple(functions[address] for address in sorted(functions))
    return Firmware(path, segments, ordered, objects, every, sizes)
