"""Reference statistics travel with the program: compile puts them there, observe finds them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import edgebed.targets
from edgebed.cli import execute
from edgebed.data.preprocess import to_tensor
from edgebed.observe.drift_profile import NAME, Profile
from edgebed.program import to_onnx
from edgebed.program.contract import Contract, GridDecode, ImageInput
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.types import Constant, Program, TensorType
from null_device import NullTarget

SIDE = 24
CONTRACT = Contract(
    ImageInput(SIDE, SIDE), ("cell",), GridDecode(SIDE, SIDE, boxes=1, priors=((1, 1),))
)  # fmt: skip


def program(contract: Contract | None = CONTRACT) -> Program:
    weights = np.random.default_rng(1).integers(-128, 128, (6, 3, 1, 1)).astype(np.int8)
    conv = Conv2d(name="conv", inputs=("x",), output="y", weight="w")
    held = {"w": Constant(weights, 8, 1 / 128)}
    return Program("small", {"x": TensorType((3, SIDE, SIDE))}, (conv,), ("y",), held, contract)


def pictures(seed: int, count: int, light: float = 1.0) -> np.ndarray:
    random = np.random.default_rng(seed)
    coarse = np.kron(random.normal(0, 30, (count, 6, 6, 3)), np.ones((1, 4, 4, 1)))
    grain = random.normal(0, 4, (count, SIDE, SIDE, 3))
    return np.clip(light * (120 + coarse + grain), 0, 255).astype(np.uint8)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(edgebed.targets, "load", lambda name: NullTarget())
    monkeypatch.setattr(edgebed.targets, "names", lambda: ("null",))
    monkeypatch.setattr(edgebed.targets, "projects", lambda name: None)
    to_onnx.save(program(), tmp_path / "small.onnx")
    return tmp_path / "small.onnx"


@pytest.fixture
def good(tmp_path: Path) -> Path:
    folder = tmp_path / "good"
    folder.mkdir()
    for at, one in enumerate(pictures(0, 64)):
        Image.fromarray(one).save(folder / f"{at:03}.png")
    return folder


def compiled(model: Path, source: Path | None, *more: str) -> int:
    words = ["compile", str(model), "--out", str(model.with_name("c")), "--quiet", *more]
    return execute([*words, "--profile", str(source)] if source is not None else words)


def tensors(seed: int, light: float = 1.0) -> np.ndarray:
    return np.stack([to_tensor(one, CONTRACT.input) for one in pictures(seed, 64, light)])


def test_pictures_become_a_profile_that_observe_finds(
    model: Path, good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compiled(model, good) == 0
    folder = model.with_name("c")
    made = Profile.load(folder / NAME)
    assert (made.frames, made.tensors[0]) == (64, "input x")
    for light in (1.0, 0.5):
        np.save(tmp_path / "x.npy", tensors(1, light))
        trace = tmp_path / "t.trace"
        run = ["run", str(folder / "program.onnx"), "--input", str(tmp_path / "x.npy")]
        assert execute([*run, "--trace", str(trace), "--level", "full"]) == 0
        capsys.readouterr()
        execute(["observe", str(trace), "--program", str(folder), "--json"])
        said = json.loads(capsys.readouterr().out)
        assert said["windows"] == 1
        # A busy computer may have late frames besides.
        causes = [one["cause"] for one in said["verdicts"] if one["layer"]]
        assert bool(causes) == (light < 1)
    assert causes[0] in ("brightness_shift", "contrast_shift")


def test_tensors_and_traces_make_the_same_profile(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, array, trace = model.with_name("c"), tmp_path / "x.npy", tmp_path / "good.trace"
    np.save(array, tensors(0))
    assert compiled(model, array) == 0
    first = (folder / NAME).read_text()
    run = ["run", str(folder / "program.onnx"), "--input", str(array), "--trace", str(trace)]
    assert execute([*run, "--level", "full"]) == 0
    assert compiled(model, trace) == 0
    assert (folder / NAME).read_text() == first


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no such file or folder"),
        (np.zeros((64, 3, 8, 8), np.int8), "shape"),
        (tensors(0)[:3], "3 whole frames are too few"),
    ],
)
def test_what_makes_no_profile_is_one_sentence(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    content: np.ndarray | None, words: str,
) -> None:  # fmt: skip
    if content is not None:
        np.save(tmp_path / "x.npy", content)
    assert compiled(model, tmp_path / "x.npy") == 1
    said = capsys.readouterr().err
    assert words in said
    assert len(said.splitlines()) == 1


def test_a_trace_of_another_program_makes_none(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = program(None)
    conv = replace(named.ops[0], inputs=("other",), output="z")
    other = replace(named, inputs={"other": named.inputs["x"]}, ops=(conv,), outputs=("z",))
    to_onnx.save(other, tmp_path / "other.onnx")
    np.save(tmp_path / "x.npy", tensors(0))
    words = ["--input", str(tmp_path / "x.npy"), "--trace", str(tmp_path / "o.trace")]
    assert execute(["run", str(tmp_path / "other.onnx"), *words, "--level", "full"]) == 0
    assert compiled(model, tmp_path / "o.trace") == 1
    assert "is a trace of another program" in capsys.readouterr().err


def test_a_profile_of_an_earlier_program_is_said_to_be_stale(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "x.npy", tensors(0))
    assert compiled(model, tmp_path / "x.npy") == 0
    words = ["compile", str(model), "--out", str(model.with_name("c"))]
    capsys.readouterr()
    assert execute(words) == 0
    assert "--profile makes it anew" not in capsys.readouterr().out
    changed = program()
    held = replace(changed.constants["w"], scale=1 / 64)
    to_onnx.save(replace(changed, constants={"w": held}), model)
    assert execute(words) == 0
    assert "--profile makes it anew" in capsys.readouterr().out


def test_nothing_is_profiled_where_nothing_is_built(
    model: Path, good: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compiled(model, good, "--only-generate") == 1
    assert "no meaning with --only-generate" in capsys.readouterr().err
