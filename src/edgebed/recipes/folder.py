"""The run folder: one numbered folder a run, never overwritten, locked while a run works in it."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from edgebed import files
from edgebed.errors import EdgebedError

CONFIG: Final = "config.json"
LOCK: Final = ".lock"


@dataclass(frozen=True)
class RunFolder:
    """A folder that belongs to one run and its configuration."""

    path: Path

    @staticmethod
    def numbered(root: Path, recipe: str, config: Mapping[str, Any]) -> RunFolder:
        """Make `root/recipe/<n>` with the next free number and point `root/latest` at it.

        Two calls at the same moment get two folders: whoever makes the folder owns the number.

        Raises:
            EdgebedError: the folder cannot be written.
        """
        folder = RunFolder(_next_number(root / recipe))
        folder._claim(config)
        _point(root / "latest", folder.path)
        return folder

    @staticmethod
    def at(path: Path, config: Mapping[str, Any], *, resume: bool = False) -> RunFolder:
        """Take the folder that the user named: a new or empty one, or a run of this configuration.

        Args:
            path: the folder.
            config: the resolved configuration, plain JSON types.
            resume: the folder must be a run; it may have another configuration, then the stages
                that depend on what changed are done again.

        Raises:
            EdgebedError: the folder holds something else, or another run works in it.
        """
        folder = RunFolder(path)
        _check_folder(path)
        if not (path / CONFIG).is_file():
            _check_new(path, resume)
        # Under the lock: what a run at work was told must not change below it.
        with folder.locked():
            if (path / CONFIG).is_file() and not resume:
                _check_same(folder.config(), config, path)
            folder._claim(config)
        return folder

    @staticmethod
    def newest(root: Path, recipe: str) -> Path:
        """Return the run of a recipe with the highest number.

        Raises:
            EdgebedError: there is none.
        """
        numbers = _numbers(root / recipe)
        if not numbers:
            raise EdgebedError(
                "there is no run to resume", where=str(root / recipe), try_="without --resume"
            )
        return root / recipe / str(max(numbers))

    def config(self) -> dict[str, Any]:
        """Return the configuration that the run was started with."""
        return read_json(self.path / CONFIG)

    def write_json(self, name: str, data: object) -> Path:
        """Write a JSON file atomically and return its path."""
        path = self.path / name
        files.write_text(path, json.dumps(data, indent=2) + "\n")
        return path

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs out of the folder; the lock goes with the process, however it ends.

        Raises:
            EdgebedError: another run works here.
        """
        with _writing(self.path / LOCK):
            self.path.mkdir(parents=True, exist_ok=True)
            file = (self.path / LOCK).open("w")
        with file:
            _lock(file, self.path)
            yield

    def _claim(self, config: Mapping[str, Any]) -> None:
        self.write_json(CONFIG, config)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object that a run wrote.

    Raises:
        EdgebedError: the file is missing, or not a JSON object.
    """
    try:
        data = json.loads(path.read_text())
    except OSError as error:
        raise EdgebedError(f"cannot read: {error.strerror}", where=str(path)) from error
    except ValueError as error:
        raise EdgebedError("not JSON", where=str(path), why=str(error)) from error
    if not isinstance(data, dict):
        raise EdgebedError("not a JSON object", where=str(path))
    return data


def _numbers(folder: Path) -> list[int]:
    if not folder.is_dir():
        return []
    return [int(one.name) for one in folder.iterdir() if one.name.isdecimal()]


def _next_number(folder: Path) -> Path:
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        number = max(_numbers(folder), default=0) + 1
        while True:
            try:
                (folder / str(number)).mkdir()
            except FileExistsError:
                number += 1
                continue
            return folder / str(number)


def _point(link: Path, target: Path) -> None:
    """Let `link` name `target`; a file system without links simply has none."""
    temporary = link.with_name(f".latest-{os.getpid()}")
    with contextlib.suppress(OSError):
        temporary.symlink_to(os.path.relpath(target, link.parent))
        temporary.replace(link)
    with contextlib.suppress(OSError):
        temporary.unlink()  # still there where `link` is a folder of the user's


def _check_folder(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise EdgebedError("is a file, not a folder", where=str(path), try_="another --out")


def _check_new(path: Path, resume: bool) -> None:
    if resume:
        raise EdgebedError(
            "holds no run to resume", where=str(path), why=f"no {CONFIG}", try_="without --resume"
        )
    if path.is_dir() and any(map(_foreign, path.iterdir())):
        raise EdgebedError(
            "is not empty and not a run",
            where=str(path),
            why="nothing is ever overwritten",
            try_="an empty or new folder for --out",
        )


def _foreign(path: Path) -> bool:
    """Tell the user's files from what a run leaves that was killed before it began."""
    return path.name != LOCK and not path.name.startswith(files.TEMPORARY)


def _check_same(old: Mapping[str, Any], new: Mapping[str, Any], path: Path) -> None:
    changed = sorted(k for k in {*old, *new} if _plain(old.get(k)) != _plain(new.get(k)))
    if not changed:
        return
    listed = ", ".join(f"{k} was {old.get(k)!r} and is {new.get(k)!r}" for k in changed)
    raise EdgebedError(
        "holds a run with other settings",
        where=str(path),
        why=listed,
        try_="another --out, or --resume to redo the stages that depend on them",
    )


def _plain(value: object) -> object:
    return json.loads(json.dumps(value))


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EdgebedError(
            f"cannot write: {error.strerror}", where=str(path), try_="another --out"
        ) from error


def _lock(file: IO[str], path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # no such locks on this system; numbered folders still keep runs apart
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise EdgebedError(
            "another run is working in this folder", where=str(path), try_="another --out"
        ) from None
    except OSError:  # a file system without locks, as some network ones
        return
