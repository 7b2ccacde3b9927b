"""What a user reads when something is wrong, and the exit code a script sees."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from edgebed.cli import execute
from edgebed.cli.extras import EXTRAS
from edgebed.errors import BudgetMissedError, EdgebedError

TARGET = ("--out", "o", "--target", "max78000")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["docto"], ["unknown verb 'docto'", "did you mean 'doctor'"]),
        (["xyz"], ["unknown verb 'xyz'", "one of bench, compare, compile"]),
        (["doctor", "--jsn"], ["--jsn", "--json"]),
        (["run"], ["what"]),
        (["run", "bed", "--epoch", "3"], ["--epoch", "--epochs"]),
        (["run", "bed", "--input", "a.png"], ["--input is for a compiled folder", "--data"]),
        (["run", ""], ["neither a recipe nor a folder"]),
        (["run", "bed", "--seed", "-1"], ["--seed is -1"]),
        (["run", "bed", "--qat-epochs", "-5"], ["--qat-epochs is -5"]),
        (["run", "bed", "--target", "host"], ["has no camera", "--target max78000"]),
        (["compile", "--fiffo", "net.yaml", *TARGET], ["--fiffo", "did you mean '--fifo'"]),
        (["compile", "--fifo", *TARGET], ["the model is missing"]),
        (["compile", "--targt", "x", "a.yaml", "--out", "o"], ["did you mean '--target'"]),
        (["compile", "--jsn", "net.yaml", "--out", "o"], ["--jsn", "did you mean '--json'"]),
        (["compile", "--jsn", "net.yaml", *TARGET], ["--jsn", "did you mean '--json'"]),
        (["run", "bed", "--uart-port", "99"], ["--uart-port is for a compiled folder"]),
        (["compile", "--fifo", "net.yaml", *TARGET], ["net.yaml: no such file"]),
        (["compile", "--fifo", "net.yaml", "--out", "o"], ["net.yaml: no such file"]),
        (["compile", "net.tflite", "--out", "o"], ["--target is missing", "host", "max78000"]),
        (["compare", "net.tflite", "o"], ["--input", "edgebed compare --help"]),
        (["run", "bed", "--profile"], ["--profile is for a compiled folder"]),
        (["run", "bed", "--threads", "2"], ["--threads is for a compiled folder"]),
    ],
)
def test_a_typo_is_exit_1_with_the_nearest_word(
    arguments: list[str], parts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(arguments) == 1
    said = capsys.readouterr()
    assert not said.out
    for part in parts:
        assert part.lower() in said.err.lower()


def test_help_fills_its_lines_and_keeps_names_as_they_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert execute(["compress", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "the score falls by more than this: 1% (default) or 0.01." in said
    assert "MODEL_int8.onnx" in said
    assert "0..1, 0..255, -1..1 or imagenet" in said
    assert execute(["run", "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(
        line.rstrip(" │").endswith("or a video; for a library .npy in the") for line in lines
    )


@pytest.mark.parametrize(
    ("verb", "sentence"),
    [
        ("compress", "The score is the share of right classes where the data has classes"),
        ("compile", "Firmware has booted on the virtual board"),
    ],
)
def test_help_of_a_verb_is_its_whole_description(
    verb: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute([verb, "--help"]) == 0
    assert sentence in " ".join(capsys.readouterr().out.split())


def test_an_option_of_another_verb_is_not_its_own_correction(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "net.tflite").touch()
    assert execute(["show", str(tmp_path / "net.tflite"), "--json"]) == 1
    assert "this verb has no option --json; try: --help" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "part"),
    [
        (EdgebedError("the file is empty", where="a.png"), 1, "a.png: the file is empty"),
        (BudgetMissedError("too slow"), 2, "too slow"),
        (KeyError("surprise"), 3, "--debug"),
        (KeyboardInterrupt(), 130, "stopped"),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), 1, "edgebed[train]"),
        (ModuleNotFoundError("No module named 'zzz'", name="zzz"), 3, "a bug in edgebed"),
    ],
)
def test_exit_codes(
    error: BaseException,
    code: int,
    part: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken() -> None:
        raise error

    monkeypatch.setattr("edgebed.cli.doctor.inspect", broken)
    assert execute(["doctor"]) == code
    said = capsys.readouterr().err
    assert part in said
    assert "Traceback" not in said


def test_debug_shows_the_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise ValueError("inner")

    monkeypatch.setattr("edgebed.cli.doctor.inspect", broken)
    assert execute(["doctor", "--debug"]) == 3
    assert "Traceback" in capsys.readouterr().err


def test_doctor_names_what_a_missing_extra_would_enable(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "edgebed.cli.doctor.version", lambda name: None if name in ("unicorn", "av") else "1.0"
    )
    assert execute(["doctor"]) == 0
    said = capsys.readouterr().out
    assert "pip install 'edgebed[emu]'" in said
    assert "pip install 'edgebed[emu,video]'" in said
    assert "virtual board" in said


def test_doctor_fails_without_a_base_package(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgebed.cli.doctor.version", lambda name: None)
    assert execute(["doctor"]) == 1
    assert "numpy MISSING" in capsys.readouterr().out


def test_doctor_json_lists_every_extra(capsys: pytest.CaptureFixture[str]) -> None:
    execute(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert [extra["extra"] for extra in found["extras"]] == [extra.name for extra in EXTRAS]


def test_every_runtime_of_bench_is_in_its_extra() -> None:
    from edgebed.cli.bench import AGAINST
    from edgebed.observe.peers import MODULES

    text = (Path(__file__).parents[3] / "pyproject.toml").read_text()
    wanted = tomllib.loads(text)["project"]["optional-dependencies"]["bench"]
    declared = {re.split("[<>=]", one)[0] for one in wanted}
    listed = next(set(one.packages.values()) for one in EXTRAS if one.name == "bench")
    assert declared == listed
    peers = {install.split()[-1] for name, (_, install) in MODULES.items() if name != "edgebed"}
    assert peers <= declared
    assert set(AGAINST.split(",")) == set(MODULES) - {"edgebed"}


@pytest.mark.parametrize(("module", "extra"), [("unicorn", "emu"), ("ziglang", "cc")])
def test_a_run_says_what_is_missing_before_it_trains(
    module: str,
    extra: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(
        "edgebed.cli.extras.find_spec", lambda name: None if name == module else object()
    )
    monkeypatch.setattr("edgebed.cli.extras.shutil.which", lambda name: None)
    assert execute(["run", "bed-fast", "--out", str(tmp_path / "run")]) == 1
    assert f"edgebed[{extra}]" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_doctor_says_what_the_lack_of_a_compiler_for_this_computer_costs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgebed.targets._shared.toolchain.host_compilers", list)
    execute(["doctor"])
    said = capsys.readouterr().out
    assert "compiler for this computer: none" in said
    assert "20 times slower" in said
    execute(["doctor", "--json"])
    assert json.loads(capsys.readouterr().out)["host_compiler"] is None


def test_doctor_names_the_compiler_for_this_computer(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgebed.targets._shared.toolchain import Compiler

    found = [Compiler("gcc", ("/usr/bin/mine",), ()), Compiler("cc", ("/usr/bin/other",), ())]
    monkeypatch.setattr("edgebed.targets._shared.toolchain.host_compilers", lambda: found)
    execute(["doctor"])
    assert "compiler for this computer: /usr/bin/mine\n" in capsys.readouterr().out


def test_a_file_instead_of_a_data_folder_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    annotations, out = tmp_path / "train.json", tmp_path / "run"
    annotations.write_text("{}")
    assert execute(["run", "bed-fast", "--data", str(annotations), "--out", str(out)]) == 1
    assert f"--data {annotations}: is a file, not a folder" in capsys.readouterr().err
    assert not out.exists()


def test_where_there_are_several_targets_a_mistyped_option_comes_before_the_missing_target(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgebed.targets.names", lambda: ("max78000", "other"))
    for words, part in (
        (["--targt", "max78000", "net.yaml"], "did you mean '--target'"),
        (["net.yaml", "--onlygenerate"], "did you mean '--only-generate'"),
        (["net.tflite", "--fifo"], "--target is missing; try: one of max78000, other"),
        (["net.yaml", "--fifo"], "net.yaml: no such file"),
    ):
        assert execute(["compile", *words, "--out", "o"]) == 1
        assert part in capsys.readouterr().err
