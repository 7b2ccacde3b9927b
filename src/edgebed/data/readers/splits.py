"""Which sample belongs to which split: lists in files, or a seeded draw where there are none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgebed.data.readers.defects import Findings
from edgebed.errors import EdgebedError

SEED = 0
SHARES = (0.70, 0.15, 0.15)
"""Shares of train, val and test where nothing else is given."""


@dataclass(frozen=True)
class Listed:
    """A sample's name as a split file lists it."""

    name: str
    where: str


def read_lists(
    folders: Sequence[Path], splits: Sequence[str], findings: Findings
) -> dict[str, list[Listed]] | None:
    """Read `<split>.txt` (one name a line) from the first folder that has one.

    Returns:
        the names of each split, or None when no folder holds any list.

    Raises:
        EdgebedError: there are lists, but not for one of `splits`.
    """
    for folder in folders:
        if any((folder / f"{split}.txt").is_file() for split in ("train", "val", "test", *splits)):
            return {split: _read_list(folder, split, findings) for split in splits}
    return None


def draw(names: Iterable[str], splits: Sequence[str]) -> tuple[dict[str, list[Listed]], str]:
    """Split sorted names 70/15/15 with a fixed seed; return the lists and a note that says so."""
    ordered = sorted(names)
    order = np.random.default_rng(SEED).permutation(len(ordered))
    ends = np.round(np.cumsum(SHARES) * len(ordered)).astype(int)
    parts = np.split(order, ends[:-1])
    everything = dict(zip(("train", "val", "test"), parts, strict=True))
    lists = {s: [Listed(ordered[i], "") for i in sorted(everything.get(s, ()))] for s in splits}
    counts = "/".join(str(len(part)) for part in parts)
    return lists, f"no split files: train/val/test drawn as {counts} pictures with seed {SEED}"


def check_overlap(lists: Mapping[str, list[Listed]], findings: Findings) -> dict[str, list[Listed]]:
    """Leave out names that are listed twice, in one split or in two."""
    first: dict[str, str] = {}
    kept: dict[str, list[Listed]] = {split: [] for split in lists}
    for split, entries in lists.items():
        for entry in entries:
            if entry.name in first:
                findings.add(
                    entry.where, f"{entry.name!r} is already listed in {first[entry.name]}"
                )
                continue
            first[entry.name] = entry.where
            kept[split].append(entry)
    return kept


def check_filled(counts: Mapping[str, int], where: Path) -> None:
    """Refuse splits without a single usable sample.

    Raises:
        EdgebedError: a split is empty.
    """
    for split, count in counts.items():
        if not count:
            raise EdgebedError(
                f"split {split!r} is empty", where=str(where), why="every split needs a picture"
            )


def _read_list(folder: Path, split: str, findings: Findings) -> list[Listed]:
    path = folder / f"{split}.txt"
    if not path.is_file():
        raise EdgebedError(
            f"split {split!r} is missing",
            where=str(path),
            why="other splits are listed there",
            try_="write the file with one picture name a line",
        )
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise EdgebedError("not a UTF-8 text file", where=str(path)) from None
    except OSError as error:
        raise EdgebedError(f"cannot be read: {error.strerror}", where=str(path)) from error
    entries = [
        Listed(line.strip(), f"{path}:{number}")
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]
    if not entries:
        findings.add(str(path), f"split {split!r} is empty")
    return entries
