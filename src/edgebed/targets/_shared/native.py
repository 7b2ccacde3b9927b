"""Build a C file of this package into a shared library once, keep it, and load it."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import subprocess
import tempfile
from pathlib import Path

from edgebed.errors import EdgebedError
from edgebed.targets._shared.toolchain import Compiler, host_compilers

_WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")
_TIMEOUT_S = 300


def cache_folder() -> Path:
    """Return the folder for built libraries: $XDG_CACHE_HOME/edgebed or ~/.cache/edgebed."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "edgebed" / "native"


def load_library(source: Path) -> ctypes.CDLL:
    """Compile `source` for this CPU, unless that was done before, and load it.

    The file name in the cache is the digest of the source, the compiler, its flags and the CPU's
    features, so an edited source or another machine on the same home folder builds anew.

    Raises:
        EdgebedError: no compiler is installed, or none of them could compile the file.
    """
    reasons: list[str] = []
    for compiler in host_compilers():
        try:
            return ctypes.CDLL(str(build_library(source, compiler)))
        except (EdgebedError, OSError) as error:
            reasons.append(f"{compiler.name}: {error}")
    raise EdgebedError(
        "cannot build the fast kernels",
        where=source.name,
        why="; ".join(reasons) or "no C compiler found",
        try_="pip install 'edgebed[cc]', or install clang or gcc",
    )


def build_library(source: Path, compiler: Compiler, folder: Path | None = None) -> Path:
    """Return the library of `source`, compiled with `compiler` if it is not in the cache.

    Safe for several processes at once: each builds under its own name and renames at the end.
    """
    folder = folder or cache_folder()
    target = folder / f"{source.stem}-{_digest(source, compiler)}.so"
    if target.is_file():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".build-") as scratch:
        built = Path(scratch) / target.name
        _compile(compiler, source, built)
        built.replace(target)
    return target


def _compile(compiler: Compiler, source: Path, built: Path) -> None:
    command = [*compiler.command, *_WARNINGS, *compiler.fast, str(source), "-o", str(built)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise EdgebedError(
            f"{compiler.name} took longer than {_TIMEOUT_S} s", where=source.name
        ) from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or ["no message"]
        raise EdgebedError(f"{compiler.name} refused the file", where=source.name, why=lines[0])


def _digest(source: Path, compiler: Compiler) -> str:
    text = hashlib.sha256(source.read_bytes())
    text.update(repr((compiler, _WARNINGS, platform.machine(), _cpu_features())).encode())
    return text.hexdigest()[:24]


def _cpu_features() -> str:
    """Return the CPU's feature list: code for this CPU must not run on another one."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")
