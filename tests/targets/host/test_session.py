"""Sessions: batches, names, given outputs, threads, profiles, and what they refuse."""

from __future__ import annotations

import gc
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from chain import Chain

import edgebed
from edgebed.errors import EdgebedError
from edgebed.program.arithmetic import Affine, multiplier_table
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.ops.dequantize import Dequantize
from edgebed.program.ops.quantize import Quantize
from edgebed.program.run import run
from edgebed.program.types import Program, TensorType
from edgebed.targets.host import lowering, tuning
from edgebed.targets.host.build import build, compile_program
from edgebed.targets.host.kernels.conv_tiles import tiles
from edgebed.targets.host.kernels.isa import runnable
from edgebed.targets.host.target import TARGET, Host


def network() -> Program:
    """A float input, a convolution long enough for threads, two outputs."""
    c = Chain(lambda strategy: pytest.fail("nothing is drawn here"))
    rng = np.random.default_rng(0)
    c.inputs["x"] = c.types["x"] = TensorType((32, 24, 24), "float32", 1.0)
    q = c.add(Quantize, ("x",), scale=0.05, zero_point=3)
    c.constant("w", rng.integers(-127, 128, (64, 32, 3, 3)).astype(np.int8), 8, 0.01)
    c.constant("m", multiplier_table([0.0005]), 32)
    y = c.add(Conv2d, (q,), weight="w", multiplier="m", padding=(1, 1, 1, 1),
              requantize=Affine(0.3, -7, "fixed_point"))  # fmt: skip
    r = c.add(Dequantize, (y,))
    return Program("threads", c.inputs, tuple(c.ops), (y, r), c.constants)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("session")
    compile_program(network(), path)
    return path


def sample(count: int = 1) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    rng = np.random.default_rng(4)
    return rng.uniform(-6, 6, (count, 32, 24, 24)).astype(np.float32)


def test_one_sample_several_and_by_name_agree(folder: Path) -> None:
    x = sample(3)
    expected = run(network(), x)
    with edgebed.load(folder) as session:
        names = [one.name for one in session.outputs]
        whole, by_name = session.run(x), session.run({"x": x})
        single = session.run([x[1:2]])
        for k, name in enumerate(names):
            np.testing.assert_array_equal(whole[k], expected[name])
            np.testing.assert_array_equal(by_name[k], expected[name])
            np.testing.assert_array_equal(single[k], expected[name][1:2])


def test_outputs_are_new_arrays_or_the_given_ones(folder: Path) -> None:
    x = sample()
    with edgebed.load(folder) as session:
        first = session.run(x)
        kept = first[0].copy()
        session.run(-x)
        np.testing.assert_array_equal(first[0], kept)
        out = [np.empty_like(one) for one in first]
        session.run(x, out=out)
        np.testing.assert_array_equal(out[0], kept)
        with pytest.raises(EdgebedError, match=r"int8 \(1, 64, 24, 24\) is needed"):
            session.run(x, out=[out[0][0], out[1]])


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_change_nothing(folder: Path, threads: int) -> None:
    x = sample()
    expected = run(network(), x)
    for isa in runnable():
        with edgebed.load(folder, threads=threads, isa=isa.name) as session:
            for _ in range(20):
                np.testing.assert_array_equal(session.run(x)[0], next(iter(expected.values())))


def test_a_profile_names_every_layer(folder: Path) -> None:
    with edgebed.load(folder) as session:
        profile = session.profile(sample(), repeats=5)
    assert [one.layer.kind for one in profile.layers] == ["quantize", "conv2d", "dequantize"]
    conv = profile.layers[1]
    assert conv.layer.macs == 24 * 24 * 64 * 32 * 9
    assert conv.nanoseconds > 0
    assert 0 < conv.peak_share < 2.5  # more than 1 where it needs fewer products
    assert profile.peak > 1e8


def test_wrong_numbers_are_refused(folder: Path) -> None:
    x = sample()
    bad = x.copy()
    bad[0, 3, 4, 5] = np.nan
    with edgebed.load(folder) as session:
        for array, words in (
            (bad, "not finite"),
            (x.astype(np.float64), "float32 is needed"),
            (x[:, :3], r"\(1, 32, 24, 24\) is needed"),
            (x[:0], r"\(1, 32, 24, 24\) is needed"),
        ):
            with pytest.raises(EdgebedError, match=words):
                session.run(array)
        with pytest.raises(EdgebedError, match="'y' is unknown"):
            session.run({"x": x, "y": x})
        for many in (0, 2):
            words = rf"list holds {many} arrays \(.* has 1 input: 'x' of float32 \(1, 32, 24, 24\)"
            with pytest.raises(EdgebedError, match=words):
                session.run([x] * many)


def test_instruction_sets_are_chosen_by_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EdgebedError, match=r"unknown instruction set 'sse9'.*avx"):
        edgebed.load(folder, isa="sse9")
    monkeypatch.setenv("EDGEBED_ISA", "fast")
    with pytest.raises(EdgebedError, match="EDGEBED_ISA: unknown instruction set 'fast'"):
        edgebed.load(folder)
    monkeypatch.delenv("EDGEBED_ISA")
    with pytest.raises(EdgebedError, match="99 threads"):
        edgebed.load(folder, threads=99)


def test_the_variable_masks_what_the_processor_has(folder: Path) -> None:
    code = f"import edgebed; print(edgebed.load({str(folder)!r}).isa)"
    for name in ("portable", "avx2"):
        if name in {isa.name for isa in runnable()}:
            done = subprocess.run(
                [sys.executable, "-c", code], env={"EDGEBED_ISA": name, "PATH": "/usr/bin:/bin"},
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            assert done.stdout.strip() == name


def test_a_closed_session_says_so(folder: Path) -> None:
    session = edgebed.load(folder, threads=2)
    session.close()
    session.close()
    with pytest.raises(EdgebedError, match="closed"):
        session.run(sample())
    edgebed.load(folder, threads=2)
    gc.collect()  # its threads end with it


def test_a_folder_compiled_anew_is_loaded_anew(tmp_path: Path) -> None:
    def offset(zero: int) -> Program:
        c = Chain(lambda strategy: pytest.fail("nothing is drawn here"))
        c.inputs["x"] = c.types["x"] = TensorType((4,), "float32", 1.0)
        y = c.add(Quantize, ("x",), scale=0.5, zero_point=zero)
        return Program("twice", c.inputs, tuple(c.ops), (y,))

    x = np.zeros((1, 4), np.float32)
    compile_program(offset(1), tmp_path)
    old = edgebed.load(tmp_path)
    compile_program(offset(2), tmp_path)
    assert old.run(x)[0, 0] == 1
    assert edgebed.load(tmp_path).run(x)[0, 0] == 2


def test_plans_are_pure_and_build_again(tmp_path: Path) -> None:
    program = network()
    plan = TARGET.plan(program)
    assert plan.digest == TARGET.plan(network()).digest
    plan.write(tmp_path)
    assert build(tmp_path)["library"] > 1000
    machine = TARGET.machine()
    machine.load(tmp_path)
    machine.self_test()
    trace = machine.run(sample())
    assert trace.figures["time"].kind == "measured"
    with pytest.raises(EdgebedError, match="no camera"):
        machine.show(np.zeros((2, 2, 3), np.uint8))
    machine.close()


def test_costs_and_the_map_of_the_arena_name_every_layer() -> None:
    program = network()
    cost = TARGET.cost(program)
    assert [one.name for one in cost.layers] == [op.name for op in program.ops]
    assert all(one.figures["cycles"].kind == "estimated" for one in cost.layers)
    layout = TARGET.layout(program)
    assert len(layout.layers) == len(program.ops)
    assert 0 < layout.maps[0].used <= 1


def test_programs_in_turn_keep_their_own_plans() -> None:
    first = network()
    halved = {name: replace(one, values=one.values // 2) for name, one in first.constants.items()}
    programs = (first, replace(first, constants=halved))
    apart = [Host().plan(program).files for program in programs]
    assert apart[0] != apart[1]
    assert [TARGET.plan(program).files for program in programs * 2] == apart * 2


def test_tuned_tiles_change_the_code_and_not_the_result(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "_ROUND_NS", 1000)
    program = network()
    choices = tuning.tune(program)
    (layer,) = lowering.lower(program).blocked
    slowest = {(layer.shape, isa.name): tiles(layer.shape, isa)[-1] for isa in runnable()}
    assert {shape for shape, _ in choices} == {layer.shape}
    TARGET.plan(program, slowest).write(tmp_path)
    build(tmp_path)
    x = sample()
    with edgebed.load(folder) as one, edgebed.load(tmp_path) as other:
        assert one.manifest.digest != other.manifest.digest
        np.testing.assert_array_equal(one.run(x)[0], other.run(x)[0])
