"""From a compiled folder to a shared library and a static program."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from edgebed.errors import EdgebedError
from edgebed.targets._shared.elf import section_bytes
from edgebed.targets._shared.rows.manifest import Manifest, read
from edgebed.targets.arm_linux import compiler
from edgebed.targets.arm_linux.cores import Core, core
from edgebed.targets.arm_linux.program import MAIN

LIBRARY: Final = "library"
"""Folder of the C library inside a compiled folder."""
PROGRAM: Final = "program"
"""Folder of the program's own sources."""
MANIFEST: Final = "arm_linux.json"
_WEIGHTS: Final = ".rodata.eb_weights"
_STORED: Final = (".text", ".rodata", ".data")


def build(folder: Path) -> Mapping[str, int]:
    """Compile what `plan` wrote; return sizes in bytes: weights, code, arena.

    Raises:
        EdgebedError: no compiler is installed, a source is missing, or it is refused.
    """
    manifest = read(folder / MANIFEST)
    chip, name = core(manifest.cpu), manifest.name
    sources = folder / LIBRARY, folder / PROGRAM
    if not all(
        (place / file).is_file() for place, file in zip(sources, (f"{name}.c", MAIN), strict=True)
    ):
        raise EdgebedError("sources are missing", where=str(folder), try_="compile it again")
    with tempfile.TemporaryDirectory(dir=folder, prefix=".build-") as scratch:
        objects = Path(scratch)
        _library(chip, folder, name, objects)
        sizes = _program(chip, folder, manifest, objects, folder / name)
    return sizes


def build_traced(folder: Path, target: Path, level: int) -> Mapping[str, int]:
    """Compile a compiled folder's program so that it records itself on standard error.

    Args:
        folder: that was compiled; it is not written to.
        target: the program to write; its folder is used for objects too.
        level: of recording: 1 inputs and outputs, 2 statistics, 3 full; 0 for none.

    Returns:
        Sizes in bytes, as `build` does.

    Raises:
        EdgebedError: as `build`.
    """
    manifest = read(folder / MANIFEST)
    flags = (f"-DEB_TRACE={level}",) if level else ()
    return _program(core(manifest.cpu), folder, manifest, target.parent, target, flags)


def _library(chip: Core, folder: Path, name: str, objects: Path) -> None:
    given = [folder / LIBRARY / f"{name}{part}.c" for part in ("", "_contract")]
    built = []
    for source in (one for one in given if one.is_file()):
        built.append(objects / f"{source.stem}_shared.o")
        compiler.compile_object(chip, source, built[-1], includes=(folder / LIBRARY,), shared=True)
    compiler.link_library(built, folder / f"lib{name}.so")


def _program(
    chip: Core,
    folder: Path,
    manifest: Manifest,
    objects: Path,
    target: Path,
    flags: Sequence[str] = (),
) -> dict[str, int]:
    name, built = manifest.name, []
    for source in (
        folder / LIBRARY / f"{name}.c",
        folder / LIBRARY / f"{name}_selftest.c",
        folder / PROGRAM / MAIN,
    ):
        built.append(objects / f"{source.stem}.o")
        compiler.compile_object(chip, source, built[-1], includes=(folder / LIBRARY,), flags=flags)
    compiler.link_program(built, target)
    found = section_bytes(built[0], chip.machine)
    stored = sum(size for section, size in found.items() if section.startswith(_STORED))
    weights = found.get(_WEIGHTS, 0)
    return {"weights": weights, "code": stored - weights, "arena": manifest.arena_bytes}
