"""What progress looks like where there is no terminal."""

from __future__ import annotations

import pytest

from edgebed.cli.progress import amount, duration, listening
from edgebed.events import Finished, Note, Progress, Started


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (60, "1 min 00 s"), (200, "3 min 20 s"), (3900, "1 h 05 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_amounts() -> None:
    event = Progress("train", 12, 60, "epoch", 41.2, {"loss": 0.5312})
    assert amount(event) == "12/60 epoch, 41 s left, loss 0.5312"
    assert amount(Progress("run", 3, 0, "frames")) == "3/? frames"
    assert amount(Progress("run", 3, 3, "frames", 0.0)) == "3/3 frames"


def test_plain_lines_say_stages_and_only_the_last_step(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with listening() as listener:
        listener(Started("data", "reading x"))
        for done in range(1, 101):
            listener(Progress("data", done, 100, "pictures"))
        listener(Note("data", "1 left out"))
        listener(Finished("data", "100 pictures"))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-2:] for line in lines] == [
        ["reading", "x"],
        ["100/100", "pictures"],
        ["left", "out"],
        ["100", "pictures"],
    ]


def test_json_keeps_standard_output_free_and_quiet_says_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with listening(json=True) as listener:
        listener(Started("data", "reading x"))
    said = capsys.readouterr()
    assert not said.out
    assert "reading x" in said.err
    with listening(quiet=True) as listener:
        listener(Started("data", "reading x"))
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_bars_and_the_same_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    with listening() as listener:
        listener(Started("train", "[bold]text in brackets[/bold]"))
        listener(Progress("train", 1, 4, "epoch", 3.0, {"loss": 1.0}))
        listener(Finished("train", "done"))
    said = capsys.readouterr().out
    assert "[bold]text in brackets[/bold]" in said
    assert "done" in said
