"""House rules that code can check; each message says why and what to do."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src" / "edgebed").rglob("*.py"))
FOLDER = ROOT / "src" / "edgebed" / "targets"
TARGETS = sorted(facts.parent.name for facts in FOLDER.glob("*/device.toml"))
WORDS = {"host"}
VAGUE = re.compile(r"(^|_)(utils?|helpers?|managers?|misc|common)(_|$)", re.IGNORECASE)


def _relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("target", TARGETS)
def test_a_targets_name_stays_in_its_folder(target: str) -> None:
    """A new target must not need changes elsewhere; the recipes may name their default board."""
    allowed = (f"targets/{target}/", "recipes/")
    # A name that is an English word may stand in prose; as a value it is in quotes.
    quoted = re.compile(rf"(['\"]){re.escape(target)}\1")
    pattern = re.compile(re.escape(target)) if target not in WORDS else quoted
    strangers = [
        _relative(path)
        for path in SOURCES
        if not any(part in path.as_posix() for part in allowed)
        and pattern.search(path.read_text(encoding="utf-8"))
    ]
    assert not strangers, f"{target} is named in {strangers}: ask the target through its contract"


def test_files_stay_readable_in_one_sitting() -> None:
    long = {_relative(p): n for p in SOURCES if (n := len(p.read_text().splitlines())) > 400}
    assert not long, f"above 400 lines, split by subject: {long}"


def test_names_come_from_the_readers_world() -> None:
    vague = [_relative(p) for p in SOURCES if VAGUE.search(p.stem)]
    assert not vague, f"name the subject instead: {vague}"


def test_no_machine_path_is_written_down() -> None:
    pattern = re.compile(r"(?<![\w.])/(work|home|root)/")
    found = [_relative(p) for p in SOURCES if pattern.search(p.read_text(encoding="utf-8"))]
    assert not found, f"paths of one machine: {found}"


def test_test_files_have_names_of_their_own() -> None:
    """Pytest imports them by name alone: two of one name shadow each other."""
    names = [path.name for path in (ROOT / "tests").rglob("*.py") if path.name != "conftest.py"]
    assert not [name for name, times in Counter(names).items() if times > 1]
