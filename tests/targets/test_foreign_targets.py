"""Targets from other packages: found by their entry point, and named when they are broken."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgebed.errors import EdgebedError
from edgebed.targets import GROUP, describe, load, names, projects

Install = Callable[..., str]
SHEET = 'summary = "a device of somebody else"\nprojects = "reader"\n'


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Return a function that puts a package with the given files on the path."""
    package = f"foreign_{tmp_path.name.replace('-', '_')}"
    real = importlib.metadata.entry_points

    def entry_points(*, group: str) -> list[importlib.metadata.EntryPoint]:
        entry = importlib.metadata.EntryPoint("mine", package, group)
        return [*real(group=group), entry] if group == GROUP else list(real(group=group))

    def put(**files: str) -> str:
        folder = tmp_path / package
        folder.mkdir()
        (folder / "__init__.py").write_text("")
        for name, text in files.items():
            (folder / name.replace("_toml", ".toml").replace("_py", ".py")).write_text(text)
        return package

    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    yield put
    for name in [one for one in sys.modules if one.partition(".")[0] == package]:
        del sys.modules[name]


def test_an_installed_package_adds_a_target_beside_ours(install: Install) -> None:
    install(device_toml=SHEET, target_py='TARGET = "theirs"', reader_py='SUFFIXES = (".mine",)')
    assert "mine" in names() and "max78000" in names()
    assert describe("mine")["summary"] == "a device of somebody else"
    assert load("mine") == "theirs"
    reader = projects("mine")
    assert reader is not None and reader.SUFFIXES == (".mine",)
    with pytest.raises(EdgebedError, match="did you mean 'mine'"):
        load("mne")


def test_a_package_cannot_take_the_name_of_one_of_our_targets(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = install(device_toml=SHEET, target_py='TARGET = "theirs"')
    entry = importlib.metadata.EntryPoint("max78000", package, GROUP)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda *, group: [entry])
    assert load("max78000") != "theirs"


def test_a_package_without_a_fact_sheet_is_named(install: Install) -> None:
    package = install(target_py='TARGET = "theirs"')
    with pytest.raises(EdgebedError, match=rf"{package}: target 'mine' has no device\.toml"):
        describe("mine")


def test_a_damaged_fact_sheet_is_named_with_its_line(install: Install) -> None:
    install(device_toml='summary = "a"\nprojects = \n')
    with pytest.raises(EdgebedError, match=r"device\.toml: cannot be read .*line 2"):
        describe("mine")


def test_a_target_module_without_a_target_is_named(install: Install) -> None:
    package = install(device_toml=SHEET, target_py="OTHER = 1")
    with pytest.raises(EdgebedError, match=rf"{package}\.target: defines no TARGET"):
        load("mine")
