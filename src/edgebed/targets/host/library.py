"""A compiled network's shared library as Python sees it."""

from __future__ import annotations

import ctypes
import hashlib
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgebed.errors import EdgebedError
from edgebed.targets.host.manifest import Manifest

ALIGNMENT: Final = 64
CREW_BYTES: Final = 4096


def aligned(nbytes: int) -> npt.NDArray[np.uint8]:
    """Return zeros that begin at a multiple of ALIGNMENT bytes."""
    raw = np.zeros(nbytes + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + nbytes]


def open_library(folder: Path, manifest: Manifest) -> ctypes.CDLL:
    """Load the library of a compiled folder after checking that it is the one that was built.

    Raises:
        EdgebedError: it is for another machine, missing, damaged, or cannot be loaded.
    """
    here = (platform.machine(), sys.platform)
    if (manifest.machine, manifest.system) != here:
        raise EdgebedError(
            f"was built for {manifest.machine} {manifest.system}", where=str(folder),
            why=f"this machine is {here[0]} {here[1]}", try_="compile the network here",
        )  # fmt: skip
    path = folder / manifest.library
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise EdgebedError(
            "is missing or cannot be read", where=str(path), try_="compile the network again"
        ) from error
    if digest != manifest.library_sha256:
        raise EdgebedError(
            "is not the library that was built", where=str(path),
            why="its SHA-256 differs from the manifest's", try_="compile the network again",
        )  # fmt: skip
    return own_library(path, manifest)


def own_library(path: Path, manifest: Manifest) -> ctypes.CDLL:
    """Load a library of the network that a manifest describes.

    Raises:
        EdgebedError: it cannot be loaded, or belongs to another network.
    """
    library = _opened_copy(path) if _is_replaced(path) else _opened(path)
    if _digest(library, manifest, path) != manifest.digest:
        # The system knows loaded libraries by their path: an older one of this path is in use.
        library = _opened_copy(path)
    if _digest(library, manifest, path) != manifest.digest:
        raise EdgebedError(
            "belongs to another network than its manifest", where=str(path),
            try_="compile the network again",
        )  # fmt: skip
    return library


def _opened(path: Path) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise EdgebedError("cannot be loaded", where=str(path), why=str(error)) from error


def _is_replaced(path: Path) -> bool:
    """Return whether this process uses an earlier file of this path: it would be opened again."""
    try:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:  # another system: the digest tells, unless sources were edited by hand
        return False
    return f"{path.resolve()} (deleted)\n" in maps


def _opened_copy(path: Path) -> ctypes.CDLL:
    import shutil
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        shutil.copyfile(path, copy)
        return _opened(copy)


def _digest(library: ctypes.CDLL, manifest: Manifest, path: Path) -> str:
    """Return the digest of the network that a library holds."""
    try:
        own = (ctypes.c_char * 65).in_dll(library, f"{manifest.name}_digest")
    except ValueError:
        raise EdgebedError(
            f"is no library of network {manifest.name!r}", where=str(path),
            try_="compile the network again",
        ) from None  # fmt: skip
    return own.value.decode(errors="replace")


def pointers(arrays: Sequence[npt.NDArray[Any]]) -> ctypes.Array[ctypes.c_void_p]:
    """Return a C array of the addresses of arrays, which must outlive it."""
    return (ctypes.c_void_p * max(len(arrays), 1))(*(a.ctypes.data for a in arrays))
