"""compile, run and targets for microcontrollers, as a user types them."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgebed.cli import execute
from edgebed.program import to_onnx
from edgebed.program.arithmetic import PowerOfTwo
from edgebed.program.ops import by_kind
from edgebed.program.run import run
from edgebed.program.types import Constant, Op, Program, TensorType
from edgebed.targets._shared.toolchain import find_zig

pytest.importorskip("unicorn", reason="unicorn is not installed")
pytestmark = pytest.mark.skipif(
    find_zig() is None and shutil.which("arm-none-eabi-gcc") is None, reason="no compiler for Arm"
)
SHAPE = (1, 24, 20)


def op(kind: str, output: str, *inputs: str, **attributes: Any) -> Op:
    return by_kind(kind)(name=output, inputs=inputs, output=output, **attributes)  # type: ignore[arg-type]


def network() -> Program:
    """Two convolutions, a pool, a dense layer; integers."""
    rng = np.random.default_rng(0)

    def held(*shape: int) -> Constant:
        return Constant(rng.integers(-128, 128, shape).astype(np.int8), 8, 2**-7)

    layer = {"padding": (1, 1, 1, 1), "requantize": PowerOfTwo(8), "activation": "relu"}
    ops = (
        op("conv2d", "wide", "x", weight="w1", **layer),
        op("conv2d", "half", "wide", weight="w2", stride=(2, 2), **layer),
        op("max_pool", "few", "half", kernel=(4, 5), stride=(4, 5)),
        op("dense", "scores", "few", weight="w3", requantize=PowerOfTwo(7)),
    )
    constants = {"w1": held(8, 1, 3, 3), "w2": held(8, 8, 3, 3), "w3": held(5, 48)}
    return Program("tiny", {"x": TensorType(SHAPE)}, ops, ("scores",), constants)


def real() -> Program:
    dense = op("dense", "y", "x", weight="w", last_axis=True)
    weights = Constant(np.ones((2, 3), np.float32), 32)
    return Program(
        "real", {"x": TensorType((3,), "float32", 1.0)}, (dense,), ("y",), {"w": weights}
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.onnx"
    to_onnx.save(network(), path)
    to_onnx.save(real(), path.with_name("real.onnx"))
    return path


@pytest.fixture(scope="module")
def compiled(model: Path) -> Path:
    out = model.parent / "out"
    words = ["compile", str(model), "--target", "cortex_m", "--cpu", "m4", "--balanced"]
    assert execute([*words, "--max-ram", "64KB", "--out", str(out), "--quiet"]) == 0
    return out


@pytest.fixture(scope="module")
def samples(model: Path) -> Path:
    path = model.parent / "samples.npy"
    np.save(path, np.random.default_rng(1).integers(-128, 128, (3, *SHAPE)).astype(np.int8))
    return path


def refused(words: list[str], capsys: pytest.CaptureFixture[str], code: int = 1) -> str:
    """Run a command that must fail; return the one sentence that it says."""
    capsys.readouterr()
    assert execute(words) == code
    said = capsys.readouterr()
    lines = [line for line in said.err.splitlines() if line.startswith("edgebed: ")]
    assert len(lines) == 1 and "Traceback" not in said.err
    return lines[0]


# ---- what works ----


def test_compile_prints_and_stores_four_sizes(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ["compile", str(model), "--target", "cortex_m", "--cpu", "m4", "--out", str(out)]
    assert execute([*words, "--quiet"]) == 0
    said = capsys.readouterr().out
    found = {
        name: int(re.search(rf"{name} +([\d,]+) bytes", said)[1].replace(",", ""))  # type: ignore[index]
        for name in ("weights flash", "code flash", "activation RAM", "runtime RAM")
    }
    assert json.loads((out / "plan.json").read_text())["sizes"] == found
    assert 8 * 9 + 8 * 72 + 240 <= found["weights flash"] < 2000
    assert 24 * 20 <= found["activation RAM"] < 24 * 20 * 12


def test_run_gives_outputs_instructions_by_layer_and_peak_stack(
    compiled: Path, samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "y.npy"
    capsys.readouterr()
    words = ["run", str(compiled), "--input", str(samples), "--out", str(out), "--json"]
    assert execute(words) == 0
    said = json.loads(capsys.readouterr().out)
    np.testing.assert_array_equal(np.load(out), run(network(), np.load(samples))["scores"])
    assert said["samples"] == 3 and said["isa"] == "m4"
    emulated = said["figures"]["emulated"]
    assert 100 < emulated["stack_bytes"]["value"] < 4096
    layers = {one["name"]: one["figures"]["instructions"] for one in said["layers"]}
    assert {"wide", "half", "few", "scores"} <= set(layers)
    assert all(one["kind"] == "emulated" for one in layers.values())
    total = sum(one["value"] for one in layers.values())
    assert total == emulated["instructions"]["value"] > 10_000
    assert not {"time", "cycles"} & set(said["figures"].get("measured", {}))


def test_one_sample_may_come_without_its_batch_axis(
    compiled: Path, samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = tmp_path / "one.npy"
    np.save(one, np.load(samples)[0])
    words = ["run", str(compiled), "--input", str(one), "--out", str(tmp_path / "y.npy")]
    capsys.readouterr()
    assert execute([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["samples"] == 1
    assert execute([*words, "--watch"]) == 0
    assert capsys.readouterr().out.startswith("sample 0: ")


def test_watch_says_each_sample_as_it_comes(
    compiled: Path, samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", str(compiled), "--input", str(samples), "--out", str(tmp_path / "y.npy")]
    capsys.readouterr()
    assert execute([*words, "--watch"]) == 0
    lines = [one for one in capsys.readouterr().out.splitlines() if one.startswith("sample ")]
    assert len(lines) == 3
    wanted = run(network(), np.load(samples))["scores"]
    for number, line in enumerate(lines):
        assert line.startswith(f"sample {number}: largest at {wanted[number].argmax()} of ")
        assert line.endswith(" instructions")
    assert execute([*words, "--watch", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["samples"] == 3 and said.err.count("sample ") == 3


def test_targets_tell_which_core_a_model_fits(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert execute(["targets", "--fit", str(model.with_name("real.onnx"))]) == 0
    said = capsys.readouterr().out
    rows = {tuple(line.split()[:2]): line for line in said.splitlines()}
    for core in ("m4", "m7", "m33", "m55"):
        row = rows["cortex_m", core]
        assert row.split()[2] == "yes" and "bytes estimated" in row and "ms estimated" in row
    assert rows["cortex_m", "m0plus"].split()[2] == "no"
    assert "cortex_m m0plus: y: computes in float32" in said


# ---- what does not ----


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (["--cpu", "m0+"], 1, "try: one of m0plus, m33, m4, m55, m7"),
        (["--cpu", "m555"], 1, "no core is called 'm555'; try: did you mean 'm55'?"),
        (["--cpu", "z80"], 1, "no core is called 'z80'; try: one of m0plus, m33, m4, m55, m7"),
        (["--ram", "--time"], 1, "--time and --ram exclude each other"),
        (["--max-ram", "12XB"], 1, "--max-ram 12XB is no size; try: --max-ram 64KB"),
        (["--max-flash", "-1"], 1, "--max-flash -1 is no size"),
        (["--max-ram", "0"], 1, "--max-ram 0 is no size"),
        (["--max-ram", "700"], 2, r"tiny, layer \w+: needs [\d,]+ bytes of RAM for activations"),
        (["--max-flash", "500"], 2, r"bytes of flash for weights, more than --max-flash 500"),
        (["--max-flash", "2KB"], 2, r"needs [\d,]+ bytes of flash, more than --max-flash 2,048"),
    ],
)
def test_what_cannot_be_met_is_refused_and_nothing_written(
    words: list[str], code: int, part: str, model: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    given = ["compile", str(model), "--target", "cortex_m", "--out", str(tmp_path / "out")]
    said = refused([*given, *words, "--quiet"], capsys, code)
    assert re.search(part.replace("?", "[?]"), said), said
    assert list(tmp_path.iterdir()) == []


def test_a_limit_between_arena_and_arena_with_stack(
    model: Path, compiled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only the measured stack shows that it is too much."""
    sizes = json.loads((compiled / "plan.json").read_text())["sizes"]
    limit = sizes["activation RAM"] + 8
    words = ["compile", str(model), "--target", "cortex_m", "--out", str(tmp_path / "out")]
    said = refused([*words, "--max-ram", str(limit), "--quiet"], capsys, 2)
    assert f"more than --max-ram {limit:,}" in said and f"stack {sizes['runtime RAM']:,}" in said
    assert list(tmp_path.iterdir()) == []


def test_a_missed_limit_leaves_an_earlier_compile_alone(
    model: Path, compiled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {p: p.read_bytes() for p in compiled.rglob("*") if p.is_file()}
    words = ["compile", str(model), "--target", "cortex_m", "--out", str(compiled)]
    refused([*words, "--max-flash", "2KB", "--quiet"], capsys, 2)
    assert {p: p.read_bytes() for p in compiled.rglob("*") if p.is_file()} == before


def test_float_layers_on_a_core_without_fpu(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["compile", str(model.with_name("real.onnx")), "--target", "cortex_m"]
    said = refused([*words, "--cpu", "m0plus", "--out", str(tmp_path / "out"), "--quiet"], capsys)
    assert "does not fit cortex_m" in said
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_folder_is_refused_in_a_sentence(
    compiled: Path, samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "net"
    words = ["run", str(folder), "--input", str(samples), "--out", str(tmp_path / "y.npy")]
    for path, part in (
        ("network.json", "cannot be read"),
        ("firmware/firmware.elf", "cannot read"),
    ):
        shutil.copytree(compiled, folder)
        data = (folder / path).read_bytes()
        (folder / path).write_bytes(data[: len(data) // 2])
        assert part in refused(words, capsys)
        shutil.rmtree(folder)
    assert not (tmp_path / "y.npy").exists()


# ---- processes ----


def command(model: Path, out: Path) -> list[str]:
    words = ["compile", str(model), "--target", "cortex_m", "--out", str(out), "--quiet"]
    return [sys.executable, "-m", "edgebed", *words]


def test_ctrl_c_leaves_nothing(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    # a shell's background jobs ignore the signal, and would pass that on
    process = subprocess.Popen(
        command(model, out), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    until = time.monotonic() + 60
    while not list(tmp_path.iterdir()) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


def test_two_compiles_into_one_folder(model: Path, samples: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    both = [
        subprocess.Popen(command(model, out), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        for _ in range(2)
    ]
    said = [one.communicate(timeout=120)[1].decode() for one in both]
    codes = [one.returncode for one in both]
    assert 0 in codes and set(codes) <= {0, 1}
    for code, text in zip(codes, said, strict=True):
        assert (code == 0) or "another run is working in this folder" in text
    words = ["run", str(out), "--input", str(samples), "--out", str(tmp_path / "y.npy")]
    assert execute(words) == 0
    np.testing.assert_array_equal(
        np.load(tmp_path / "y.npy"), run(network(), np.load(samples))["scores"]
    )
    assert {one.name for one in tmp_path.iterdir()} == {"out", "y.npy"}


@pytest.mark.parametrize("kilobytes", [2, 40, 100])
def test_a_full_disk_leaves_nothing(kilobytes: int, model: Path, tmp_path: Path) -> None:
    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024 * kilobytes, 1024 * kilobytes))

    out = tmp_path / "out"
    done = subprocess.run(
        command(model, out), preexec_fn=limited, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    (said,) = [line for line in done.stderr.splitlines() if line]
    assert said.startswith("edgebed: ")
    assert re.search(r"File (too large|size limit exceeded)", said)
    assert list(tmp_path.iterdir()) == []
