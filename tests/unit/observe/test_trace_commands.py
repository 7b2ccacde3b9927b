"""`edgebed compare REF.trace DEV.trace`: what is printed, written and returned."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from traces import Recorder, float_network, integer_network, pictures, preprocessed, renamed

from edgebed.cli import execute
from edgebed.observe.trace import Frame, Manifest, Tensor
from edgebed.observe.trace_writer import TraceWriter

INTEGER = integer_network()


def overflow(right: np.ndarray, _before: object) -> np.ndarray:
    return ((right.astype(int) * 3 + 128) % 256 - 128).astype(np.int8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("traces with spaces")
    times = {one.output: 10.0 + n for n, one in enumerate(INTEGER.ops)}
    given = pictures(6)
    for name, recorder in {
        "float": Recorder(float_network(), digest="f"),
        "integer": Recorder(INTEGER, microseconds=times),
        "clean": Recorder(INTEGER, "board", microseconds=times),
        "kernel": Recorder(INTEGER, "board", defects={"deep.q": overflow}, microseconds=times),
        "elsewhere": Recorder(
            INTEGER, "board", defects={"deep.q": overflow}, changed=renamed, digest="q"
        ),
        "bgr": Recorder(INTEGER, "board", preprocess=lambda p: preprocessed(p[..., ::-1])),
    }.items():
        recorder.record(found / f"{name}.trace", given)
    return found


def words(folder: Path, reference: str, device: str, *more: str) -> list[str]:
    paths = [str(folder / f"{name}.trace") for name in (reference, device)]
    return ["compare", *paths, *more]


def test_equal_traces_leave_with_0(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(words(folder, "integer", "clean")) == 0
    said = capsys.readouterr().out
    assert "6 frames" in said and "\nequal\n" in said


def test_clean_quantisation_is_sound(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(words(folder, "float", "clean")) == 0
    assert "nothing departs" in capsys.readouterr().out


def test_the_layer_its_fix_and_a_command_are_printed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(words(folder, "integer", "kernel")) == 2
    said = capsys.readouterr().out
    assert " at deep.q (" in said and "Fix: " in said
    line = next(one for one in said.splitlines() if "Shown by: " in one)
    command = shlex.split(line.split("Shown by: ")[1])
    assert command[0] == "edgebed"
    assert execute(command[1:]) == 2
    shown = capsys.readouterr().out
    assert "deep.q (conv2d), 8x12x12" in shown and "reference, steps" in shown


def test_wrong_input_is_one_fault_and_not_one_a_layer(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(words(folder, "float", "bgr", "--json")) == 2
    found = json.loads(capsys.readouterr().out)
    assert [one["cause"] for one in found["verdicts"]] == ["channel_order"]
    assert found["departure"]["layer"] == "x"


def test_json_holds_what_the_page_shows(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(words(folder, "float", "elsewhere", "--json")) == 2
    found = json.loads(capsys.readouterr().out)
    assert found["frames"] == 6
    assert found["verdicts"][0]["layer"] == "deep"
    assert {"cause", "confidence", "evidence", "fix", "command"} <= set(found["verdicts"][0])
    assert found["tensors"][1]["matched_by"] == "order"
    assert found["tensors"][1]["rearranged"]
    assert found["device"]["source"] == "board"
    assert len(found["worst_frames"]) == 4


def test_page_needs_nothing_else(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "out.html"
    assert execute(words(folder, "integer", "kernel", "--html", str(page))) == 2
    assert str(page) in capsys.readouterr().out
    text = page.read_text()
    assert "<script" not in text and "http" not in text
    assert (
        text.index("What is wrong") < text.index("Error per layer") < text.index("Time per layer")
    )
    assert "deep.q in frame" in text and "Worst inputs" in text
    assert text.count("data:image/png;base64,") >= 6
    assert "edgebed compare" in text and "--layer deep.q" in text


def test_page_of_sound_traces_says_so(folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "out.html"
    assert execute(words(folder, "float", "clean", "--html", str(page))) == 0
    assert "Nothing is wrong" in page.read_text()


def test_names_from_traces_are_escaped(tmp_path: Path) -> None:
    def nasty(one):  # type: ignore[no-untyped-def]
        return replace(one, name=f"<b>{one.name}</b>&\"'") if one.role == "layer" else one

    for name, recorder in {
        "a": Recorder(INTEGER, changed=nasty),
        "b": Recorder(INTEGER, "board", defects={"deep.q": overflow}, changed=nasty),
    }.items():
        recorder.record(tmp_path / f"{name}.trace", pictures(3))
    page = tmp_path / "out.html"
    assert execute(words(tmp_path, "a", "b", "--html", str(page))) == 2
    assert "<b>deep.q" not in page.read_text()
    assert "&lt;b&gt;deep.q" in page.read_text()


CHECK = """
from edgebed.observe.verdict import Verdict

def dark(reference, device):
    return [Verdict("too_dark", "", 0.6, f"In {len(device)} frames.", "Switch the light on.")]

def broken(reference, device):
    return 1 / 0

def wrong(reference, device):
    return "no verdict"
"""


def test_assertions_of_the_user(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "checks.py"
    file.write_text(CHECK)
    assert execute(words(folder, "integer", "clean", "--assert", f"{file}:dark")) == 2
    said = capsys.readouterr().out
    assert "TOO DARK (60% sure)" in said and "Switch the light on." in said
    for name, part in (("broken", "ZeroDivisionError"), ("wrong", "list of Verdict"),
                       ("drak", "did you mean 'dark'")):  # fmt: skip
        assert execute(words(folder, "integer", "clean", "--assert", f"{file}:{name}")) == 1
        error = capsys.readouterr().err
        assert part in error and "Traceback" not in error


def test_one_frame_alone_reaches_the_assertions(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "checks.py"
    file.write_text(CHECK)
    more = ("--frame", "3", "--assert", f"{file}:dark")
    assert execute(words(folder, "integer", "clean", *more)) == 2
    said = capsys.readouterr().out
    assert "In 1 frames." in said and "1 frame:" in said


@pytest.mark.parametrize(
    ("more", "part"),
    [
        (["--layer", "depp.q"], "did you mean 'deep.q'"),
        (["--frame", "99"], "frame 99 is not in both traces"),
        (["--input", "x.npy"], "--input is for a library"),
        (["--assert", "nothing.py:f"], "nothing.py: is no file"),
    ],
)
def test_mistakes_are_one_sentence(
    folder: Path, more: list[str], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(words(folder, "integer", "kernel", *more)) == 1
    error = capsys.readouterr().err
    assert part in error and error.count("\n") == 1


def test_a_trace_beside_something_else(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.txt").write_text("hello")
    (tmp_path / "text.trace").write_text("hello")
    trace = str(folder / "clean.trace")
    for other, part in (
        ("text.txt", "is no trace"), ("text.trace", "is no trace"), ("gone.trace", "cannot be read")
    ):  # fmt: skip
        assert execute(["compare", trace, str(tmp_path / other)]) == 1
        assert part in capsys.readouterr().err
    assert execute(["compare", "net.tflite", "o", "--html", "x.html"]) == 1
    assert "--html is for two traces" in capsys.readouterr().err


def test_a_page_replaces_an_older_page_and_nothing_else(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    for name in ("integer", "clean"):
        shutil.copy(folder / f"{name}.trace", tmp_path)
    (tmp_path / "mine.py").write_text("print()")
    for name, part in (
        ("integer.trace", "is no report"), ("clean.trace", "is no report"),
        ("mine.py", "is no report"), (".", "is a folder"),
    ):  # fmt: skip
        before = (tmp_path / name).stat()
        assert execute(words(tmp_path, "integer", "clean", "--html", str(tmp_path / name))) == 1
        assert part in capsys.readouterr().err
        assert (tmp_path / name).stat().st_mtime_ns == before.st_mtime_ns or name == "."
    for _ in range(2):
        page = str(tmp_path / "new" / "page.html")
        assert execute(words(tmp_path, "integer", "clean", "--html", page)) == 0


def test_what_was_found_is_printed_before_a_page_fails(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    place = str(tmp_path / "file" / "page.html")
    assert execute(words(folder, "integer", "kernel", "--html", place)) == 1
    said = capsys.readouterr()
    assert "KERNEL at deep.q" in said.out and "cannot write" in said.err


def test_a_part_of_a_name_finds_its_layer(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(words(folder, "integer", "kernel", "--layer", "deep")) == 2
    assert capsys.readouterr().out.startswith("deep.q (")
    assert execute(words(folder, "integer", "kernel", "--layer", "relu")) == 1
    assert "layers have 'relu' in their names" in capsys.readouterr().err


def test_one_file_twice_is_noted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(words(folder, "integer", "integer")) == 0
    assert "Both paths are one file" in capsys.readouterr().out


def test_json_is_valid_whatever_a_trace_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(one: Tensor) -> Tensor:
        if one.name != "wide" or one.values is None:
            return one
        values = one.values.copy()
        values.flat[:3] = np.nan, np.inf, -np.inf
        return replace(one, values=values)

    program = float_network()
    times = {"wide": float("nan"), "deep": float("inf")}
    Recorder(program, microseconds=times).record(tmp_path / "a.trace", pictures(3))
    device = Recorder(program, changed=broken, microseconds=times)
    device.record(tmp_path / "b.trace", pictures(3))

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    for verb in (
        words(tmp_path, "a", "b", "--json"), words(tmp_path, "a", "b", "--layer", "wide", "--json"),
        ["observe", str(tmp_path / "b.trace"), "--json"],
    ):  # fmt: skip
        capsys.readouterr()
        assert execute(verb) == 2
        assert json.loads(capsys.readouterr().out, parse_constant=refuse)


def test_many_layers_do_not_push_the_verdict_off_the_screen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"block{n}/{'x' * 60};block{n}/part" for n in range(300)]
    for file, gain in (("a", 1.0), ("b", 3.0)):
        with TraceWriter(tmp_path / f"{file}.trace", Manifest("app", "full")) as writer:
            values = [
                np.random.default_rng(n).normal(size=64).astype(np.float32) for n in range(300)
            ]
            values[200] = (values[200] * gain).astype(np.float32)
            found = [Tensor(n, "layer", (64,), "float32", values=v)
                     for n, v in zip(names, values, strict=True)]  # fmt: skip
            writer.write(Frame(0, tuple(found)))
    assert execute(words(tmp_path, "a", "b")) == 2
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < 40 and any("<- departs" in line for line in lines)
    rows = [line for line in lines if "block" in line and "Shown by" not in line]
    assert max(map(len, rows)) <= 110


def test_a_reader_that_leaves_changes_no_exit_code(folder: Path) -> None:
    import subprocess
    import sys

    command = [sys.executable, "-m", "edgebed", *words(folder, "integer", "kernel")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as left:
        assert left.stdout is not None and left.stderr is not None
        left.stdout.close()
        assert left.stderr.read() == b""
        assert left.wait() == 2
    if Path("/dev/full").is_char_device():
        with Path("/dev/full").open("wb") as full:
            done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
        assert done.returncode == 1
        assert b"standard output: cannot be written: No space left" in done.stderr


def test_a_trace_without_a_frame_is_no_good_trace(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (folder / "clean.trace").read_bytes()
    for name, data, part in (
        ("empty", b"", "is empty"), ("cut", whole[:4000], "has no whole frame"),
        ("begun", whole[:6], "is cut behind 6 bytes"),
        ("later", b"EBTRACE\x09" + whole[8:], "has trace format 9"),
    ):  # fmt: skip
        path = tmp_path / f"{name}.trace"
        path.write_bytes(data)
        for verb in (["observe", str(path)], ["compare", str(folder / "integer.trace"), str(path)]):
            assert execute(verb) == 1
            said = capsys.readouterr()
            assert not said.out and said.err.count("\n") == 1
            assert part in said.err or "no frame in common" in said.err


def test_a_profile_replaces_an_older_one_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = str(Recorder(INTEGER).record(tmp_path / "clean.trace", pictures(20)))
    assert execute(["observe", trace, "--write-profile", trace]) == 1
    assert "exists and is no profile" in capsys.readouterr().err
    for _ in range(2):
        assert execute(["observe", trace, "--write-profile", str(tmp_path / "p.json")]) == 0
    assert execute(["observe", trace, "--window", "0"]) == 1
    assert "--window is 0" in capsys.readouterr().err
