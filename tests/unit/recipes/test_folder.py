"""Run folders: numbered, never shared, never overwritten."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edgebed.errors import EdgebedError
from edgebed.recipes.folder import RunFolder

CONFIG = {"recipe": "bed", "seed": 0, "weight_bits": (8, 4)}


def test_numbers_count_up_and_latest_points_at_the_newest(tmp_path: Path) -> None:
    first = RunFolder.numbered(tmp_path, "bed", CONFIG)
    second = RunFolder.numbered(tmp_path, "bed", CONFIG)
    assert (first.path.name, second.path.name) == ("1", "2")
    assert (tmp_path / "latest").resolve() == second.path.resolve()
    assert RunFolder.newest(tmp_path, "bed") == second.path


def test_runs_started_at_once_get_separate_folders(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda _: RunFolder.numbered(tmp_path, "bed", CONFIG), range(24)))
    assert len({run.path for run in runs}) == 24


def test_a_number_once_used_is_not_used_again_while_it_exists(tmp_path: Path) -> None:
    (tmp_path / "bed" / "7").mkdir(parents=True)
    assert RunFolder.numbered(tmp_path, "bed", CONFIG).path.name == "8"


def test_a_folder_with_other_things_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    for resume in (False, True):
        with pytest.raises(EdgebedError, match=r"not a run|holds no run"):
            RunFolder.at(tmp_path, CONFIG, resume=resume)
    assert [one.name for one in tmp_path.iterdir()] == ["thesis.txt"]


def test_the_same_configuration_continues(tmp_path: Path) -> None:
    RunFolder.at(tmp_path / "out", CONFIG)
    assert RunFolder.at(tmp_path / "out", CONFIG).config() == json.loads(json.dumps(CONFIG))


def test_another_configuration_is_refused_by_name_unless_resumed(tmp_path: Path) -> None:
    RunFolder.at(tmp_path / "out", CONFIG)
    with pytest.raises(EdgebedError, match="seed was 0 and is 3"):
        RunFolder.at(tmp_path / "out", {**CONFIG, "seed": 3})
    assert RunFolder.at(tmp_path / "out", CONFIG).config()["seed"] == 0
    RunFolder.at(tmp_path / "out", {**CONFIG, "seed": 3}, resume=True)
    assert RunFolder(tmp_path / "out").config()["seed"] == 3


def test_nothing_to_resume_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EdgebedError, match="holds no run"):
        RunFolder.at(tmp_path / "new", CONFIG, resume=True)
    with pytest.raises(EdgebedError, match="no run to resume"):
        RunFolder.newest(tmp_path, "bed")


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(EdgebedError, match="is a file, not a folder"):
        RunFolder.at(tmp_path / "out", CONFIG)


def test_only_one_run_works_in_a_folder(tmp_path: Path) -> None:
    folder = RunFolder.at(tmp_path, CONFIG)
    with (
        folder.locked(),
        pytest.raises(EdgebedError, match="another run is working"),
        folder.locked(),
    ):
        pass
    with folder.locked():
        pass


def test_errors_inside_the_lock_are_not_renamed(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), RunFolder.at(tmp_path, CONFIG).locked():
        (tmp_path / "absent").read_text()
