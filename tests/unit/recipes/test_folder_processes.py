"""Run folders between real processes: numbers, locks, and configurations that must not change."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edgebed.errors import EdgebedError
from edgebed.recipes.folder import RunFolder, read_json

NUMBERED = """
import sys
from pathlib import Path
from edgebed.recipes.folder import RunFolder
sys.stdin.readline()
for _ in range(10):
    folder = RunFolder.numbered(Path(sys.argv[1]), "bed", {"who": sys.argv[2]})
    print(folder.path.name)
"""
HOLDING = """
import sys
from pathlib import Path
from edgebed.recipes.folder import RunFolder
with RunFolder.at(Path(sys.argv[1]), {"seed": 0}).locked():
    print("locked", flush=True)
    sys.stdin.readline()
"""


def start(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_processes_started_together_never_share_a_number(tmp_path: Path) -> None:
    workers = [start(NUMBERED, str(tmp_path), str(who)) for who in range(3)]
    taken = {}
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
    for who, worker in enumerate(workers):
        for name in worker.communicate(timeout=60)[0].split():
            assert name not in taken
            taken[name] = who
    assert sorted(map(int, taken)) == list(range(1, 31))
    for name, who in taken.items():
        assert RunFolder(tmp_path / "bed" / name).config() == {"who": str(who)}
    assert (tmp_path / "latest").resolve().parent == (tmp_path / "bed").resolve()
    assert not [one for one in tmp_path.iterdir() if one.name.startswith(".")]


@pytest.fixture
def held(tmp_path: Path):  # type: ignore[no-untyped-def]
    """A folder in which another process is at work."""
    worker = start(HOLDING, str(tmp_path / "run"))
    assert worker.stdout is not None and worker.stdout.readline() == "locked\n"
    yield tmp_path / "run", worker
    worker.kill()
    worker.communicate()


def test_a_second_process_neither_enters_nor_changes_the_configuration(held) -> None:  # type: ignore[no-untyped-def]
    path, _ = held
    for resume in (True, False):
        with pytest.raises(EdgebedError, match=r"run: another run is working in this folder"):
            RunFolder.at(path, {"seed": 9}, resume=resume)
    assert read_json(path / "config.json") == {"seed": 0}


def test_the_lock_goes_with_a_killed_process(held) -> None:  # type: ignore[no-untyped-def]
    path, worker = held
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    with RunFolder.at(path, {"seed": 0}, resume=True).locked():
        pass


def test_names_that_only_look_like_numbers_are_passed_over(tmp_path: Path) -> None:
    for name in ("2", "\N{SUPERSCRIPT TWO}", "old", "3.bak"):
        (tmp_path / "bed" / name).mkdir(parents=True)
    assert RunFolder.numbered(tmp_path, "bed", {}).path.name == "3"


def test_a_folder_called_latest_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    (tmp_path / "latest" / "thesis.txt").write_text("years of work")
    RunFolder.numbered(tmp_path, "bed", {})
    assert (tmp_path / "latest" / "thesis.txt").is_file()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["bed", "latest"]


def test_a_root_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(EdgebedError, match=r"cannot write: Not a directory.*another --out"):
        RunFolder.numbered(tmp_path / "runs", "bed", {})


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"{", "not JSON"), (b"[1]", "not a JSON object"), (b"\xff\xfe", "not JSON")],
)
def test_a_damaged_configuration_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(EdgebedError, match=rf"config\.json: {said}"):
        RunFolder.at(tmp_path, {})
    assert (tmp_path / "config.json").read_bytes() == content


def test_a_configuration_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(EdgebedError, match=r"config\.json: cannot read: No such file"):
        RunFolder(tmp_path).config()


def test_equal_configurations_are_equal_whatever_their_order(tmp_path: Path) -> None:
    RunFolder.at(tmp_path, {"a": 1, "b": (8, 4)})
    RunFolder.at(tmp_path, {"b": [8, 4], "a": 1})
    assert json.loads((tmp_path / "config.json").read_text()) == {"a": 1, "b": [8, 4]}


def test_a_run_killed_while_it_wrote_its_configuration_can_be_started_again(tmp_path: Path) -> None:
    for name in (".lock", ".tmp-k3x9"):
        (tmp_path / name).write_text("{")
    assert RunFolder.at(tmp_path, {"seed": 1}).config() == {"seed": 1}
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / ".thesis").write_text("years of work")
    with pytest.raises(EdgebedError, match="is not empty and not a run"):
        RunFolder.at(tmp_path / "other", {})
