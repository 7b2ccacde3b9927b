"""Compile a C text against the kernel headers once for each instruction set and load it."""

from __future__ import annotations

import ctypes
import functools
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgebed.targets._shared.toolchain import host_compilers
from edgebed.targets.host.kernels import isa as isas

KERNELS = Path(isas.__file__).parent
FLAGS = ("-std=c99", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-I{KERNELS}")


@functools.cache
def variants() -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Name and flags of each variant this machine runs; AVX-VNNI emulated where it is absent."""
    found = {i.name: (f"-DEB_ISA={i.level}", *i.flags) for i in isas.runnable()}
    if "avx2" in found and "avxvnni" not in found:
        found["avxvnni, emulated"] = ("-DEB_ISA=3", "-DEB_EMULATE_VNNI", *isas.AVX2.flags)
    found["plain C"] = ("-DEB_ISA=0", "-DEB_PLAIN")
    return tuple(found.items())


def build(text: str, folder: Path) -> Iterator[tuple[str, ctypes.CDLL]]:
    """Yield (variant, library) for each variant; warnings are errors."""
    if not host_compilers():
        pytest.skip("no C compiler")
    compiler = host_compilers()[0]
    command = [part for part in compiler.command if not part.startswith(("-mcpu", "-march"))]
    if compiler.name == "zig":
        command += ["-target", "x86_64-linux-gnu.2.28"]
    source = folder / "kernels_under_test.c"
    source.write_text(text)
    for number, (name, flags) in enumerate(variants()):
        library = folder / f"variant{number}.so"
        done = subprocess.run(
            [*command, *FLAGS, *flags, str(source), "-o", str(library)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{name}: {done.stderr[:2000]}"
        yield name, ctypes.CDLL(str(library))


def pointer(array: np.ndarray[Any, Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
