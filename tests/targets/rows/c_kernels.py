"""C text around the kernels' headers, compiled for this machine and called through ctypes."""

from __future__ import annotations

import ctypes
import functools
import subprocess
import tempfile
from pathlib import Path

from edgebed.targets._shared import rows
from edgebed.targets._shared.toolchain import host_compilers

ROWS = Path(rows.__file__).parent
INCLUDE = (ROWS / "kernels", ROWS / "runtime")
_FLAGS = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC")


@functools.cache
def library(text: str) -> ctypes.CDLL:
    """Return `text` as a library; the kernels' folders are searched for headers."""
    compiler = host_compilers()[0]
    folder = Path(tempfile.mkdtemp(prefix="edgebed-kernels-"))
    source, built = folder / "kernels.c", folder / "kernels.so"
    source.write_text(text)
    include = [f"-I{path}" for path in INCLUDE]
    command = [*compiler.command, *_FLAGS, *include, str(source), "-o", str(built)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(built))
