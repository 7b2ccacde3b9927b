"""A build plan: the files of a project and the commands that build it, as one value."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgebed import files as disk


@dataclass(frozen=True)
class BuildPlan:
    """Everything a device project consists of, before any of it touches the disk.

    Attributes:
        target: the target's name.
        files: contents by relative POSIX path.
        commands: how to build it in its folder, one argument vector each.
    """

    target: str
    files: Mapping[str, bytes]
    commands: tuple[tuple[str, ...], ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 over target, commands, paths and contents; equal input gives an equal digest."""
        state = hashlib.sha256(repr((self.target, self.commands)).encode())
        for path in sorted(self.files):
            state.update(f"\0{path}\0{len(self.files[path])}\0".encode())
            state.update(self.files[path])
        return state.hexdigest()

    def write(self, folder: Path) -> None:
        """Write all files below `folder`, each atomically.

        Raises:
            EdgebedError: a file cannot be written.
        """
        for path in sorted(self.files):
            disk.write_bytes(folder / path, self.files[path])
