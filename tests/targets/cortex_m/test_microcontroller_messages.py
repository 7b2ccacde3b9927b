"""What cannot work on a microcontroller is said in one sentence: what, where, why, what to try."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contract_programs import detector, rules
from small_networks import mobile, op, quantised

from edgebed.errors import BudgetMissedError, EdgebedError
from edgebed.program.arithmetic import PowerOfTwo
from edgebed.program.contract import ImageInput
from edgebed.program.types import Constant, Program, TensorType
from edgebed.targets._shared.arm_cores import CORES
from edgebed.targets._shared.rows.manifest import TensorFacts, read
from edgebed.targets.cortex_m.machine import VirtualMicrocontroller
from edgebed.targets.cortex_m.target import TARGET


def eye() -> Program:
    return detector(rules(ImageInput(32, 24)))


def board(monkeypatch: pytest.MonkeyPatch, **memories: int) -> None:
    """Give the M4 a board with other memories."""
    core = CORES["m4"]
    monkeypatch.setitem(CORES, "m4", replace(core, board=replace(core.board, **memories)))


def refused(program: Program, kind: type[EdgebedError] = EdgebedError, **options: Any) -> str:
    with pytest.raises(kind) as caught:
        TARGET.with_options(options).plan(program)
    assert type(caught.value) is kind
    said = str(caught.value)
    assert "\n" not in said and "; try: " in said
    return said


# ---- too large ----


def test_an_arena_larger_than_the_board(monkeypatch: pytest.MonkeyPatch) -> None:
    board(monkeypatch, ram_bytes=3000)
    said = refused(eye())
    assert re.search(r"eye, layer \w+: needs [\d,]+ bytes of RAM for activations", said)
    assert "more than the 3,000 of the virtual Cortex-M4 board" in said
    share = re.search(r"the least is ([\d,]+) bytes .* at most (\d+) % of their size", said)
    assert share and int(share[2]) == 100 * 3000 // int(share[1].replace(",", ""))


def grey() -> Program:
    """Wide maps behind a narrow input: rows on demand save memory."""
    constants = {
        "w1": Constant(np.ones((16, 1, 3, 3), np.int8), 8, 2**-7),
        "w2": Constant(np.ones((8, 16, 3, 3), np.int8), 8, 2**-7),
    }
    layer = {"padding": (1, 1, 1, 1), "requantize": PowerOfTwo(7)}
    ops = (
        op("conv2d", "wide", "x", weight="w1", **layer),
        op("conv2d", "half", "wide", weight="w2", stride=(2, 2), **layer),
        op("max_pool", "few", "half", kernel=(8, 8), stride=(8, 8)),
    )
    return Program("grey", {"x": TensorType((1, 48, 48))}, ops, ("few",), constants)


def test_another_goal_that_fits_is_advised() -> None:
    peaks = {
        goal: TARGET.with_options({"goal": goal}).project(grey()).placement.peak
        for goal in ("time", "balanced", "ram")
    }
    assert peaks["ram"] < peaks["balanced"] < peaks["time"]
    for limit in ("ram", "balanced"):
        said = refused(grey(), BudgetMissedError, goal="time", max_ram=peaks[limit])
        assert f"needs {peaks['time']:,} bytes of RAM for activations" in said
        assert f"more than --max-ram {peaks[limit]:,}" in said
        assert said.endswith(f"try: --ram needs {peaks['ram']:,} bytes")
    said = refused(grey(), BudgetMissedError, goal="ram", max_ram=peaks["ram"] // 2)
    assert f"the least is {peaks['ram']:,} bytes (--ram)" in said


def test_weights_larger_than_the_board(monkeypatch: pytest.MonkeyPatch) -> None:
    board(monkeypatch, flash_bytes=300)
    said = refused(eye())
    assert "bytes of flash for weights, more than the 300 of the virtual Cortex-M4 board" in said
    assert "this layer holds most" in said and "% of the weights, first of all in" in said


def test_weights_larger_than_the_users_limit() -> None:
    said = refused(eye(), BudgetMissedError, max_flash="300B", goal="time")
    assert "more than --max-flash 300" in said and "--balanced" in said


# ---- what has no kernel ----


def test_an_op_without_a_kernel_is_named() -> None:
    kind = TensorType((4, 4, 4))
    program = Program("odd", {"x": kind}, (op("bit_xor", "odd", "x", "x"),), ("odd",))
    (found,) = TARGET.check(program)
    assert found.layer == "odd" and "no kernel" in found.what and "Cortex-M4" in found.limit
    with pytest.raises(EdgebedError, match=r"layer odd \(bit_xor\): has no kernel here"):
        TARGET.plan(program)


def test_float_layers_need_a_floating_point_unit() -> None:
    partly = quantised(mobile(), floats=("point",))
    found = TARGET.with_options({"cpu": "m0plus"}).check(partly)
    assert [one.layer for one in found] == ["point"]
    assert str(found[0]) == (
        "point: computes in float32 (Cortex-M0+ has no floating-point unit); "
        "try: edgebed compress the network, or --cpu m4"
    )
    for cpu in ("m4", "m7", "m33", "m55"):
        assert TARGET.with_options({"cpu": cpu}).check(partly) == []


# ---- folders ----


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("net")
    TARGET.plan(eye()).write(folder)
    TARGET.build(folder)
    return folder


@pytest.fixture
def folder(built: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    for path in ("network.json", "firmware/firmware.elf"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes((built / path).read_bytes())
    return tmp_path


def fails(folder: Path, words: str) -> None:
    with pytest.raises(EdgebedError, match=words) as caught:
        VirtualMicrocontroller().load(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_cut_manifest(folder: Path, share: float) -> None:
    path = folder / "network.json"
    text = path.read_text()
    path.write_text(text[: int(share * len(text))])
    fails(folder, r"network\.json: cannot be read.*; try: compile the network again")


def test_a_missing_manifest(folder: Path) -> None:
    (folder / "network.json").unlink()
    fails(folder, r"network\.json: cannot be read \(No such file or directory\)")


@pytest.mark.parametrize(
    "change",
    [
        {"arena_bytes": 8}, {"stages": []}, {"runs": [99]}, {"inputs": []}, {"cpu": "m33"},
        {"outputs": 3}, {"extra": 1}, {"digest": "0" * 64},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_an_edited_manifest(folder: Path, change: dict[str, Any]) -> None:
    path = folder / "network.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    fails(folder, r"network\.json: was changed since it was written")


@pytest.mark.parametrize("content", ["[]", "3", '{"version": 1}', '{"version": "two"}'])
def test_a_manifest_of_another_version(folder: Path, content: str) -> None:
    (folder / "network.json").write_text(content)
    fails(folder, r"network\.json: was written by another version of edgebed")


def test_layout_of_the_manifest_is_free(folder: Path) -> None:
    path = folder / "network.json"
    path.write_text(json.dumps(json.loads(path.read_text())))  # another tool's indentation
    assert read(path).name == "eye"


@pytest.mark.parametrize("size", [0, 10, 60, 2000, -100])
def test_a_cut_binary(folder: Path, size: int) -> None:
    path = folder / "firmware" / "firmware.elf"
    path.write_bytes(path.read_bytes()[:size])
    fails(folder, r"firmware\.elf: cannot read the firmware.*; try: build it again")


def test_a_binary_of_another_plan(folder: Path, tmp_path: Path) -> None:
    path = folder / "network.json"
    path.write_text(replace(read(path), digest="ab" * 32).to_json())
    fails(folder, r"firmware\.elf: the firmware was built from plan .* plan is abababababab")


# ---- tensors ----


@pytest.mark.parametrize("shape", [(32,), (3, 24), (1, 3, 24), (2, 1, 3, 24, 32)])
def test_a_tensor_of_another_shape(built: Path, shape: tuple[int, ...]) -> None:
    machine = VirtualMicrocontroller()
    machine.load(built)
    with pytest.raises(EdgebedError, match=r"the network takes int8 \(1, 3, 24, 32\)"):
        machine.run(np.zeros(shape, np.int8))
    machine.close()


def test_only_a_batch_axis_of_one_may_be_absent() -> None:
    facts = TensorFacts("x", (5, 3), "int8", 1.0, 0, 0, 15)
    assert facts.is_one((5, 3)) and not facts.is_one((3,)) and not facts.is_one((1, 5, 3))
    batch = replace(facts, shape=(1, 5, 3))
    assert batch.is_one((1, 5, 3)) and batch.is_one((5, 3)) and not batch.is_one((2, 5, 3))
