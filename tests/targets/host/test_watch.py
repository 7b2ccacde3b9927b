"""What an observed build shows: the interpreter's own tensors, from the steps that run."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from chain import Chain
from drawn import programs
from hypothesis import HealthCheck, Phase, given, settings
from test_drawn_programs import reached_by_floats, samples
from test_session import network, sample

import edgebed
from edgebed.errors import EdgebedError
from edgebed.program.arithmetic import Affine
from edgebed.program.ops.add import Add
from edgebed.program.ops.requantize import Requantize
from edgebed.program.run import trace
from edgebed.program.types import Program, TensorType
from edgebed.targets._shared.toolchain import host_compilers
from edgebed.targets.contract import Inner, Watchable
from edgebed.targets.host.build import build, compile_program
from edgebed.targets.host.kernels.isa import runnable

pytestmark = pytest.mark.skipif(not host_compilers(), reason="no C compiler for this computer")
SLOW = {"suppress_health_check": list(HealthCheck), "phases": (Phase.generate,)}
SWITCHED = re.compile(r"^#ifdef EB_OBSERVE.*?\n.*?^#endif\n", re.MULTILINE | re.DOTALL)


def in_program_order(one: Inner) -> np.ndarray:
    return one.values.transpose(np.argsort(one.axes))


def check(program: Program, folder: Path) -> None:
    compile_program(program, folder, passes=False)
    batch = samples(program, 2)
    loose = reached_by_floats(program)
    for n in range(2):
        given = {name: values[n] for name, values in batch.items()}
        right = dict(trace(program, given))
        for isa in (runnable()[0], runnable()[-1]):
            with edgebed.load(folder, isa=isa.name) as session:
                assert isinstance(session, Watchable)
                inner = session.watch({name: values[n : n + 1] for name, values in batch.items()})
            assert not {one.name for one in inner} & set(program.outputs)
            for one in inner:
                kind = program.types[one.name]
                assert (one.scale, one.zero_point) == (kind.scale, kind.zero_point)
                assert one.kind == program.writer(one.name).kind
                if one.name not in loose:
                    message = f"{one.name} on {isa.name}"
                    np.testing.assert_array_equal(in_program_order(one), right[one.name], message)


@settings(max_examples=2, **SLOW)
@given(program=programs())
def test_inner_tensors_are_the_interpreters(
    program: Program, tmp_path_factory: pytest.TempPathFactory
) -> None:
    check(program, tmp_path_factory.mktemp("watched"))


@pytest.mark.slow
@settings(max_examples=40, **SLOW)
@given(program=programs(chains=12, length=9))
def test_many_programs_show_the_interpreters_tensors(
    program: Program, tmp_path_factory: pytest.TempPathFactory
) -> None:
    check(program, tmp_path_factory.mktemp("watched"))


def test_bytes_of_the_caller_that_a_layer_reads_with_signs_are_shown_with_signs(
    tmp_path: Path,
) -> None:
    """No step computes int8 values from the uint8 ones: they are the same bytes."""
    c = Chain(lambda strategy: pytest.fail("nothing is drawn here"))
    c.inputs["x"] = c.types["x"] = TensorType((2, 4, 4), "uint8", 0.5, 128)
    signed = c.add(Requantize, ("x",), requantize=Affine(0.5, 0, "fixed_point"))
    summed = c.add(Add, (signed, signed), requantize=Affine(1.0, 3, "fixed_point"))
    program = Program("signs", c.inputs, tuple(c.ops), (summed,), c.constants)
    compile_program(program, tmp_path, passes=False)
    x = np.random.default_rng(0).integers(0, 256, (1, 2, 4, 4)).astype(np.uint8)
    with edgebed.load(tmp_path) as session:
        (shown,) = session.watch(x)
    assert shown.name == signed
    np.testing.assert_array_equal(in_program_order(shown), x[0].astype(np.int64) - 128)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    compile_program(network(), tmp_path)
    return tmp_path


def test_threads_show_the_same(folder: Path) -> None:
    x = sample()
    with edgebed.load(folder) as one, edgebed.load(folder, threads=2) as two:
        for a, b in zip(one.watch(x), two.watch(x), strict=True):
            assert a.name == b.name
            np.testing.assert_array_equal(a.values, b.values)


def test_watching_changes_no_run(folder: Path) -> None:
    x = sample(2)
    with edgebed.load(folder) as session:
        before = [part.copy() for part in session.run(x[:1])]
        session.watch(x[1:])
        for a, b in zip(before, session.run(x[:1]), strict=True):
            np.testing.assert_array_equal(a, b)
        with pytest.raises(EdgebedError, match="several samples"):
            session.watch(x)


def test_a_kernel_that_is_edited_in_the_folder_is_watched(folder: Path) -> None:
    """The step that brings the input into its order changes all signs: the next tensor tells."""
    x = sample()
    with edgebed.load(folder) as session:
        (right, *_) = session.watch(-x)
    layers = folder / "threads_layers.c"
    text = layers.read_text()
    at = text.index("static void step_0(")
    changed, count = re.subn(r"(out\[[^;]*\] = )([^;]+);", r"\1-(\2);", text[at:], count=1)
    assert count == 1
    layers.write_text(text[:at] + changed)
    with edgebed.load(folder) as session, pytest.raises(EdgebedError, match="were edited"):
        session.watch(x)
    build(folder)
    with edgebed.load(folder) as session:
        (wrong, *_) = session.watch(x)
    np.testing.assert_array_equal(wrong.values, right.values)


def test_without_the_switch_objects_are_those_of_sources_that_lack_it(folder: Path) -> None:
    compiler = host_compilers()[0]
    command = [*compiler.command, "-std=gnu99", "-O2", "-g0", "-fPIC", "-c", "threads.c", "-o"]
    subprocess.run([*command, "with.o"], cwd=folder, check=True)
    for path in (folder / "threads.c", folder / "threads.h", folder / "edgebed" / "run.h"):
        bare, count = SWITCHED.subn("", path.read_text())
        assert count
        path.write_text(bare)
    subprocess.run([*command, "without.o"], cwd=folder, check=True)
    assert (folder / "with.o").read_bytes() == (folder / "without.o").read_bytes()


def test_a_folder_of_an_earlier_version_says_so(folder: Path) -> None:
    (folder / "threads_observed.h").unlink()
    with edgebed.load(folder) as session, pytest.raises(EdgebedError, match="earlier version"):
        session.watch(sample())
