"""The cross compiler: clang and lld of the ziglang wheel, without a C library."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from edgebed.errors import EdgebedError
from edgebed.targets._shared.toolchain import find_zig
from edgebed.targets.arm_linux.cores import Core

RUNTIME: Final = Path(__file__).parent / "runtime"
C_FLAGS: Final = (
    "-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-ffreestanding", "-fomit-frame-pointer",
    "-ffp-contract=off", "-ffunction-sections", "-fdata-sections", "-fno-unwind-tables",
    "-fno-asynchronous-unwind-tables",
)  # fmt: skip
_TIMEOUT_S: Final = 600


def compile_object(
    core: Core,
    source: Path,
    target: Path,
    *,
    includes: Sequence[Path] = (),
    shared: bool = False,
    flags: Sequence[str] = (),
) -> None:
    """Compile a C file.

    Args:
        core: it is for.
        source: the file.
        target: the object file to write.
        includes: folders of headers.
        shared: for a shared library, independent of its place.
        flags: more flags of the compiler.

    Raises:
        EdgebedError: the compiler is not installed or refuses the file.
    """
    zig = _zig()
    headers = ("-nostdinc", "-isystem", str(zig.parent / "lib" / "include"))
    folders = tuple(f"-I{folder}" for folder in (*includes, RUNTIME))
    position = ("-fPIC",) if shared else ()  # all that is not offered is static
    chosen = (f"--target={core.triple}", *core.flags, *C_FLAGS, *position, *headers, *folders)
    _run([str(zig), "clang", *chosen, *flags, "-c", str(source), "-o", str(target)])


def link_program(objects: Sequence[Path], target: Path) -> None:
    """Link objects to a static program; its entry point is in `start.h`.

    Raises:
        EdgebedError: the linker is not installed or refuses them.
    """
    _link(["-static", "--gc-sections"], objects, target)


def link_library(objects: Sequence[Path], target: Path) -> None:
    """Link objects to a shared library; memcpy and the like come from the process that loads it.

    Raises:
        EdgebedError: the linker is not installed or refuses them.
    """
    _link(["-shared", "--gc-sections", "-soname", target.name], objects, target)


def _link(flags: Sequence[str], objects: Sequence[Path], target: Path) -> None:
    _run([str(_zig()), "ld.lld", *flags, "-o", str(target), *map(str, objects)])


def _zig() -> Path:
    zig = find_zig()
    if zig is None:
        raise EdgebedError(
            "no compiler for Arm Linux",
            why="the package ziglang is not installed",
            try_="pip install 'edgebed[cc]'",
        )
    return zig


def _run(command: Sequence[str]) -> None:
    tool = f"zig {command[1]}"
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise EdgebedError(f"{tool} took longer than {_TIMEOUT_S} s") from error
    except OSError as error:
        raise EdgebedError(f"{tool} cannot be started: {error.strerror}") from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or ["no message"]
        raise EdgebedError(f"{tool} refused the code", why=lines[0])
