"""Stages: done once, redone exactly when what they depend on changed."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest

from edgebed.errors import EdgebedError
from edgebed.events import Event, Finished, Note, ignore
from edgebed.recipes.folder import RunFolder
from edgebed.recipes.stages import Stages, recording


class _Chain:
    """Two stages; counts how often each was done."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.done: list[str] = []

    def run(self, first: int = 1, second: int = 1) -> tuple[dict[str, Any], dict[str, Any]]:
        stages = Stages(self.folder, ignore)
        one = stages.run("one", {"n": first}, lambda: self._work("one", first), ("one.txt",))
        return one, stages.run("two", {"n": second}, lambda: self._work("two", second))

    def _work(self, name: str, value: int) -> dict[str, Any]:
        self.done.append(name)
        (self.folder.path / f"{name}.txt").write_text("x")
        return {"value": value}


@pytest.fixture
def chain(tmp_path: Path) -> _Chain:
    return _Chain(RunFolder.at(tmp_path, {}))


def test_a_finished_stage_is_not_done_again(chain: _Chain) -> None:
    assert chain.run() == chain.run()
    assert chain.done == ["one", "two"]


def test_a_changed_setting_redoes_its_stage_and_all_after_it(chain: _Chain) -> None:
    chain.run()
    assert chain.run(second=5)[1] == {"value": 5}
    assert chain.done == ["one", "two", "two"]
    chain.run(first=9, second=5)
    assert chain.done[3:] == ["one", "two"]


def test_a_missing_file_or_a_damaged_record_redoes_the_stage(chain: _Chain) -> None:
    chain.run()
    (chain.folder.path / "one.txt").unlink()
    chain.run()
    assert chain.done == ["one", "two", "one"]
    (chain.folder.path / "stages/two.json").write_text('{"key": "ab')
    chain.run()
    assert chain.done[3:] == ["two"]


def test_a_stage_that_failed_is_done_again(chain: _Chain) -> None:
    stages = Stages(chain.folder, ignore)

    def broken() -> dict[str, Any]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stages.run("one", {"n": 1}, broken)
    chain.run()
    assert chain.done == ["one", "two"]


def test_events_are_kept_one_a_line_and_passed_on(tmp_path: Path) -> None:
    heard: list[object] = []
    listener = recording(tmp_path / "events.jsonl", heard.append)
    listener(Finished("data", "3 pictures"))
    listener(Finished("train", "done"))
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [line["text"] for line in lines] == ["3 pictures", "done"]
    assert lines[0]["event"] == "finished"
    assert len(heard) == 2


def test_a_full_disk_is_said_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    listener = recording(tmp_path / "events.jsonl", ignore)
    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(EdgebedError, match=r"No space left.*free some space"):
        listener(Finished("data", "x"))


def test_a_stage_done_again_with_another_result_redoes_what_follows(chain: _Chain) -> None:
    answers = iter([1, 1, 2])

    def run() -> None:
        stages = Stages(chain.folder, ignore)
        stages.run("one", {}, lambda: {**chain._work("one", 0), "n": next(answers)}, ("one.txt",))
        stages.run("two", {}, lambda: chain._work("two", 0))

    run()
    (chain.folder.path / "one.txt").unlink()
    run()
    assert chain.done == ["one", "two", "one"], "the same result again: what follows is kept"
    (chain.folder.path / "one.txt").unlink()
    run()
    assert chain.done[3:] == ["one", "two"]


def test_kept_stages_return_what_they_returned_and_how_long_they_took(chain: _Chain) -> None:
    heard: list[Event] = []
    first = Stages(chain.folder, heard.append)
    result = first.run("one", {}, lambda: {"rows": [[1, 0.1]], "none": None})
    again = Stages(chain.folder, heard.append)
    assert again.run("one", {}, lambda: {"rows": []}) == result
    assert again.seconds == first.seconds
    assert [type(event) for event in heard] == [Note]


def test_a_line_that_was_cut_short_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    recording(path, ignore)(Finished("data", "whole"))
    with path.open("a") as file:
        file.write('{"time": 17, "eve')
    recording(path, ignore)(Finished("train", "after"))
    first, cut, last = path.read_text().splitlines()
    assert (json.loads(first)["text"], json.loads(last)["text"]) == ("whole", "after")
    assert cut == '{"time": 17, "eve'
