"""Atomic writes: a reader sees the old file or the new one, never half of one."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from pathlib import Path
from typing import Final

from edgebed.errors import EdgebedError

TEMPORARY: Final = ".tmp-"
"""What the names of unfinished files begin with; a process that was killed leaves one."""


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` through a temporary file in the same folder.

    A device or a pipe (`/dev/null`, `/dev/stdout`) is written to, not replaced.

    Raises:
        EdgebedError: the disk is full or the folder cannot be written; `path` is as it was.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_char_device() or path.is_fifo():
            with path.open("wb") as device:
                device.write(data)
            return
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=TEMPORARY, delete=False) as file:
            temporary = Path(file.name)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()
        raise _cannot_write(path, error) from error
    except BaseException:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()
        raise


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 to `path`; see `write_bytes`."""
    write_bytes(path, text.encode())


def _cannot_write(path: Path, error: OSError) -> EdgebedError:
    if error.errno == errno.ENOSPC:
        return EdgebedError("no space left on the disk", where=str(path), try_="free some space")
    return EdgebedError(
        f"cannot write: {error.strerror}", where=str(path), try_="another --out folder"
    )
