"""Where compilers are: the ziglang wheel and compilers installed on this machine."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Compiler:
    """A C compiler for the machine this program runs on.

    Attributes:
        name: `clang`, `gcc`, `zig`, ...; for messages.
        command: the program and its first arguments; C flags and files follow.
        fast: flags for full optimisation on this very CPU.
    """

    name: str
    command: tuple[str, ...]
    fast: tuple[str, ...]


def find_zig() -> Path | None:
    """Return the `zig` program: the pinned wheel first, then PATH; None when there is none."""
    spec = importlib.util.find_spec("ziglang")
    if spec is not None and spec.submodule_search_locations:
        for folder in spec.submodule_search_locations:
            for name in ("zig", "zig.exe"):
                if (path := Path(folder) / name).is_file():
                    return path
    installed = shutil.which("zig")
    return Path(installed) if installed else None


def find_installed(*names: str) -> Path | None:
    """Return the first of `names` that is on PATH, or None."""
    for name in names:
        if found := shutil.which(name):
            return Path(found)
    return None


def host_compilers() -> list[Compiler]:
    """Return the usable compilers for this machine, best first.

    The environment variable CC comes before all; then zig, whose version is pinned, so that every
    machine builds the same code; then installed compilers.
    """
    found = [_chosen(), _zig(), *(_installed(name) for name in ("clang", "gcc", "cc"))]
    return [compiler for compiler in found if compiler is not None]


def _chosen() -> Compiler | None:
    words = os.environ.get("CC", "").split()
    if not words or shutil.which(words[0]) is None:
        return None
    return Compiler(Path(words[0]).name, tuple(words), ("-O3", "-march=native"))


def _installed(name: str) -> Compiler | None:
    path = find_installed(name)
    return Compiler(name, (str(path),), ("-O3", "-march=native")) if path else None


def _zig() -> Compiler | None:
    zig = find_zig()
    if zig is None:
        return None
    # Without -target zig links against this machine's newest glibc symbols; -O3 alone is its -O2.
    target: tuple[str, ...] = ("-mcpu=native",)
    if sys.platform == "linux":
        target = ("-target", f"{platform.machine()}-linux-gnu.2.28", "-mcpu=native")
    return Compiler("zig", (str(zig), "cc"), ("-O3", "-Xclang", "-O3", *target))
