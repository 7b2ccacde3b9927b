"""Traces that a compiled library writes of its own runs."""

from __future__ import annotations

import gc
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from drawn import programs
from hypothesis import HealthCheck, Phase, given, settings
from test_drawn_programs import samples
from test_session import network, sample

import edgebed
from edgebed.errors import EdgebedError
from edgebed.observe.recorders import library as recorder
from edgebed.observe.recorders.described import manifest_of
from edgebed.observe.statistics import Statistics
from edgebed.observe.trace import Frame
from edgebed.observe.trace_reader import TraceReader
from edgebed.observe.trace_writer import TraceWriter
from edgebed.program import to_onnx
from edgebed.program.ops.divide import Divide
from edgebed.program.ops.unary import Unary
from edgebed.program.types import Program, TensorType
from edgebed.targets._shared.toolchain import host_compilers
from edgebed.targets.host.build import compile_program
from edgebed.targets.host.record import Recorded

pytestmark = pytest.mark.skipif(not host_compilers(), reason="no C compiler for this computer")
SLOW = {"suppress_health_check": list(HealthCheck), "phases": (Phase.generate,)}


def frames_of(path: Path) -> list[Frame]:
    with TraceReader(path) as reader:
        found = list(reader.frames())
        assert not reader.cut
        return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recorded")
    compile_program(network(), path, passes=False)
    to_onnx.save(network(), path / "program.onnx")
    return path


def check(program: Program, folder: Path, trace: Path) -> None:
    """The library's own frames are those that Python makes of what `watch` shows."""
    compile_program(program, folder, passes=False)
    to_onnx.save(program, folder / "program.onnx")
    inputs = samples(program, 3)
    for level in ("io", "statistics", "full"):
        with edgebed.load(folder, trace=trace, level=level) as session:
            session.run(inputs)
        expected = list(recorder.record(folder, inputs, "io" if level == "io" else "full"))
        found = frames_of(trace)
        assert [one.number for one in found] == [0, 1, 2]
        for frame, right in zip(found, expected, strict=True):
            same(frame, right, level)


def same(frame: Frame, right: Frame, level: str) -> None:
    names = [(one.name, one.role) for one in right.tensors]
    assert [(one.name, one.role) for one in frame.tensors] == names
    for one, true in zip(frame.tensors, right.tensors, strict=True):
        for name in ("shape", "dtype", "scale", "zero_point", "layout", "kind"):
            assert getattr(one, name) == getattr(true, name), (one.name, name)
        assert true.values is not None
        if level != "statistics" or one.role == "output":
            np.testing.assert_array_equal(one.values, true.values, one.name)
        else:
            assert one.values is None and one.statistics is not None
            wanted = Statistics.of(true.real, true if true.dtype != "bool" else None)
            for name in ("count", "bad", "low", "high"):
                assert getattr(one.statistics, name) == getattr(wanted, name), (one.name, name)
            assert one.statistics.zeros == pytest.approx(wanted.zeros)


@settings(max_examples=2, **SLOW)
@given(program=programs())
def test_frames_are_those_of_the_interpreter(
    program: Program, tmp_path_factory: pytest.TempPathFactory
) -> None:
    check(program, tmp_path_factory.mktemp("f"), tmp_path_factory.mktemp("t") / "a.trace")


@pytest.mark.slow
@settings(max_examples=20, **SLOW)
@given(program=programs(chains=12, length=9))
def test_frames_of_many_programs(
    program: Program, tmp_path_factory: pytest.TempPathFactory
) -> None:
    check(program, tmp_path_factory.mktemp("f"), tmp_path_factory.mktemp("t") / "a.trace")


def test_the_manifest_is_that_of_other_recorders(folder: Path, tmp_path: Path) -> None:
    with edgebed.load(folder, trace=tmp_path / "a.trace", level="full") as session:
        session.run(sample())
        isa = session.isa
    with TraceReader(tmp_path / "a.trace") as reader:
        found = reader.manifest
    wanted = manifest_of(network(), "host", "full", processor=isa)
    for name in ("source", "level", "network", "digest", "contract", "layers"):
        assert getattr(found, name) == getattr(wanted, name)
    assert dict(wanted.notes).items() <= dict(found.notes).items()
    assert found.notes["model"] == str((folder / "program.onnx").resolve())


def test_outputs_are_those_without_a_trace_and_layers_have_times(
    folder: Path, tmp_path: Path
) -> None:
    x = sample()
    with edgebed.load(folder) as plain:
        right = plain.run(x)
    for threads in (1, 2):
        trace = tmp_path / f"{threads}.trace"
        with edgebed.load(folder, trace=trace, level="statistics", threads=threads) as session:
            for a, b in zip(session.run(x), right, strict=True):
                np.testing.assert_array_equal(a, b)
        (frame,) = frames_of(trace)
        times = [one["latency"].value for one in frame.layer_figures.values()]
        assert set(frame.layer_figures) == set(network().types) - {"x"}
        assert 0 < sum(times) <= frame.figures["latency"].value * 1.01
        assert frame.time_ns > 1.6e18


@pytest.mark.parametrize("level", ["io", "statistics", "full"])
def test_a_ring_of_one_frame_loses_nothing(folder: Path, tmp_path: Path, level: str) -> None:
    x = sample(20)
    with Recorded(folder, tmp_path / "a.trace", level, frames=1) as session:
        session.run(x)
        state = session.recording
    assert (state.frames, state.room) == (20, 1)
    found = frames_of(tmp_path / "a.trace")
    assert [one.number for one in found] == list(range(20))
    if level != "statistics":
        for frame, one in zip(found, x, strict=True):
            np.testing.assert_array_equal(frame.of("input")[0].values, one)


def test_frames_are_in_the_file_soon_while_the_session_is_open(
    folder: Path, tmp_path: Path
) -> None:
    import time

    path = tmp_path / "a.trace"
    with edgebed.load(folder, trace=path) as session:
        session.run(sample(3))
        for _ in range(200):
            with TraceReader(path) as reader:
                if len(list(reader.frames())) == 3:
                    break
            time.sleep(0.05)
        else:
            pytest.fail("nothing was written")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_said_and_runs_go_on_without_hanging(folder: Path) -> None:
    with pytest.raises(EdgebedError, match="No space left"):
        edgebed.load(folder, trace="/dev/full")


@pytest.mark.skipif(sys.platform != "linux", reason="limits of a process")
def test_a_file_that_may_not_grow_is_said_by_run_and_by_close(folder: Path, tmp_path: Path) -> None:
    """The limit on a file's size stands for the end of a disk."""
    text = f"""
import resource, signal, sys, edgebed, numpy as np
from edgebed.errors import EdgebedError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
x = np.zeros((1, 32, 24, 24), np.float32)
session = edgebed.load({str(folder)!r}, trace={str(tmp_path / "a.trace")!r}, level="full")
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
said = []
for n in range(60):
    try:
        session.run(x)
    except EdgebedError as error:
        said.append(str(error))
try:
    session.close()
except EdgebedError as error:
    said.append("closed: " + str(error))
print(said[0], said[-1], sep="\\n")
"""
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, check=True, timeout=120
    )
    first, last = done.stdout.splitlines()
    assert "cannot write the trace: File too large" in first and "a.trace" in first
    assert last.startswith("closed: ")
    with TraceReader(tmp_path / "a.trace") as reader:
        kept = list(reader.frames())
        assert reader.cut
    assert [one.number for one in kept] == list(range(len(kept))) and len(kept) > 2


def test_two_recordings_of_one_file_are_refused(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.trace"
    with edgebed.load(folder, trace=path) as first:
        first.run(sample())
        with pytest.raises(EdgebedError, match="another recording"):
            edgebed.load(folder, trace=path)
        with pytest.raises(EdgebedError, match="another recording"):
            TraceWriter(path, manifest_of(network(), "host", "io"))
        first.run(sample())
    assert len(frames_of(path)) == 2
    with edgebed.load(folder, trace=path) as again:
        again.run(sample())
    assert len(frames_of(path)) == 1


def test_closing_twice_and_running_after_it(folder: Path, tmp_path: Path) -> None:
    session = edgebed.load(folder, trace=tmp_path / "a.trace")
    session.run(sample())
    session.close()
    session.close()
    assert len(frames_of(tmp_path / "a.trace")) == 1
    with pytest.raises(EdgebedError, match="closed"):
        session.run(sample())
    with pytest.raises(EdgebedError, match="closed"):
        session.recording  # noqa: B018 - it raises


def test_a_session_that_nobody_closes_is_complete(folder: Path, tmp_path: Path) -> None:
    session = edgebed.load(folder, trace=tmp_path / "a.trace")
    session.run(sample(5))
    del session
    gc.collect()
    assert len(frames_of(tmp_path / "a.trace")) == 5


@pytest.mark.parametrize("way", ["error", "interrupt", "exit", "fork"])
def test_however_a_program_ends_its_frames_are_there(
    folder: Path, tmp_path: Path, way: str
) -> None:
    text = f"""
import os, signal, sys, time, numpy as np, edgebed
session = edgebed.load({str(folder)!r}, trace={str(tmp_path / "a.trace")!r}, level="full")
x = np.zeros((1, 32, 24, 24), np.float32)
for _ in range(7): session.run(x)
"""
    text += {
        "error": "raise RuntimeError('mine')",
        # a shell's background jobs ignore the signal, and Python then leaves it so
        "interrupt": "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "os.kill(os.getpid(), signal.SIGINT)\nfor _ in range(1000): session.invoke()",
        "exit": "sys.exit(3)",
        "fork": "child = os.fork()\nfor _ in range(100 if child == 0 else 1): session.run(x)\n"
        "if child == 0: session.close(); os._exit(0)\nassert os.waitpid(child, 0)[1] == 0",
    }[way]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", text], capture_output=True, check=False, timeout=120
    )
    codes = {"error": 1, "interrupt": -signal.SIGINT, "exit": 3, "fork": 0}
    assert done.returncode == codes[way], done.stderr
    frames = frames_of(tmp_path / "a.trace")
    assert len(frames) == 8 if way == "fork" else len(frames) >= 7


def test_a_network_of_reals_with_several_inputs_and_no_number_among_its_results(
    tmp_path: Path,
) -> None:
    kind = TensorType((3, 5), "float32", 1.0)
    ops = (
        Divide(name="ratio", inputs=("a", "b"), output="r"),
        Divide(name="again", inputs=("r", "b"), output="s"),
        Divide(name="other", inputs=("r", "a"), output="t"),
    )
    program = Program("ratios", {"a": kind, "b": kind}, ops, ("s", "t"))
    compile_program(program, tmp_path, passes=False)
    a, b = np.ones((1, 3, 5), np.float32), np.zeros((1, 3, 5), np.float32)
    a[0, 0, 0], b[0, 0, 1], b[0, 2, 2] = 0, 0.5, 2
    for level in ("full", "statistics"):
        with edgebed.load(tmp_path, trace=tmp_path / "a.trace", level=level) as session:
            s, t = session.run({"a": a, "b": b})
        (frame,) = frames_of(tmp_path / "a.trace")
        assert [one.name for one in frame.tensors] == ["a", "b", "r", "s", "t"]
        for name, values in (("s", s), ("t", t)):
            np.testing.assert_array_equal(frame.named(name).values, values[0])
    known = frame.named("r").statistics
    assert (known.count, known.bad, known.low, known.high) == (15, 13, 0.5, 2.0)
    assert sum(known.histogram) == 2


def test_reals_are_those_of_the_library_without_a_trace_to_the_last_bit(tmp_path: Path) -> None:
    """A recorder that brought mathematics of its own into the link would show here."""
    kind = TensorType((8, 40, 40), "float32", 1.0)
    ops = [
        Unary(name=name, inputs=("x",), output=name, function=name)  # type: ignore[arg-type]
        for name in ("sigmoid", "tanh", "exp", "erf")
    ]
    program = Program("reals", {"x": kind}, tuple(ops), tuple(op.output for op in ops))
    compile_program(program, tmp_path, passes=False)
    x = np.random.default_rng(0).uniform(-8, 8, (1, 8, 40, 40)).astype(np.float32)
    with edgebed.load(tmp_path) as plain:
        right = plain.run(x)
        plain.watch(x)  # refuses where they differ
    with edgebed.load(tmp_path, trace=tmp_path / "a.trace", level="statistics") as session:
        for a, b in zip(session.run(x), right, strict=True):
            np.testing.assert_array_equal(a.view(np.int32), b.view(np.int32))


def test_wrong_levels_and_places_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(EdgebedError, match=r"no level.*full"):
        edgebed.load(folder, trace=tmp_path / "a.trace", level="ful")
    with pytest.raises(EdgebedError, match="Is a directory"):
        edgebed.load(folder, trace=tmp_path)
    (tmp_path / "mine.onnx").write_bytes(b"weights")
    with pytest.raises(EdgebedError, match="is no trace"):
        edgebed.load(folder, trace=tmp_path / "mine.onnx")
    assert (tmp_path / "mine.onnx").read_bytes() == b"weights"
    with edgebed.load(folder, trace=tmp_path / "off.trace", level="off") as session:
        session.run(sample())
    assert not (tmp_path / "off.trace").exists()


APPLICATION = """
#include <stdio.h>
#include <stdlib.h>
#include "threads.h"

static _Alignas(64) uint8_t arena[THREADS_ARENA_BYTES];
static float input[THREADS_INPUT_0_BYTES / 4], real[THREADS_OUTPUT_1_BYTES / 4];
static int8_t integers[THREADS_OUTPUT_0_BYTES];

int main(int count, char **words) {
  const void *const inputs[] = {input};
  void *const outputs[] = {integers, real};
  const threads_bound bound = {inputs, outputs, arena, 0, threads_variant()};
  eb_trace *trace;
  if (count < 2 || threads_trace_open(&trace, words[1], EB_TRACE_FULL, "\\"board\\":\\"left\\"", 0))
    return 1;
  for (int frame = 0; frame < 4; frame++) {
    for (size_t i = 0; i < sizeof input / 4; i++) input[i] = (float)frame;
    if (threads_run_traced(&bound, trace)) return 2;
  }
  return threads_trace_close(trace);
}
"""


@pytest.mark.parametrize("compiler", [one for one in ("gcc", "clang") if shutil.which(one)])
def test_an_application_in_c_records_itself(folder: Path, tmp_path: Path, compiler: str) -> None:
    (tmp_path / "application.c").write_text(APPLICATION)
    flags = ["-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-O2", f"-I{folder}"]
    sources = ["application.c", str(folder / "threads.c"), str(folder / "libthreads.a")]
    command = [compiler, *flags, "-DEB_OBSERVE", *sources, "-lm", "-lpthread", "-o", "application"]
    subprocess.run(command, cwd=tmp_path, check=True)
    subprocess.run([str(tmp_path / "application"), "c.trace"], cwd=tmp_path, check=True)
    with TraceReader(tmp_path / "c.trace") as reader:
        assert reader.manifest.notes["board"] == "left"
    found = frames_of(tmp_path / "c.trace")
    with edgebed.load(folder) as session:
        for number, frame in enumerate(found):
            x = np.full((1, 32, 24, 24), number, np.float32)
            same(frame, next(iter(recorder.record(folder, {"x": x[0]}, library=session))), "full")
    assert len(found) == 4


def test_it_costs_no_byte_where_it_is_off(folder: Path) -> None:
    """The library without the switch has no name of the recorder."""
    text = (folder / "libthreads.so").read_bytes()
    assert b"trace_open" not in text and b"EBTRACE" not in text
