"""Programs for Arm Linux record themselves: their layers are those of the interpreter."""

from __future__ import annotations

import json
import shutil
import subprocess
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from edgebed.cli import execute
from edgebed.observe.recorders import reference
from edgebed.observe.recorders.device_log import DeviceLog
from edgebed.observe.statistics import Statistics
from edgebed.observe.trace import Frame
from edgebed.observe.trace_reader import TraceReader
from edgebed.observe.trace_writer import TraceWriter
from edgebed.program import to_onnx
from edgebed.program.arithmetic import PowerOfTwo
from edgebed.program.ops import by_kind
from edgebed.program.read import read_model
from edgebed.program.run import trace
from edgebed.program.types import Array, Constant, Op, Program, TensorType
from edgebed.targets._shared.elf import section_bytes
from edgebed.targets._shared.rows.manifest import read
from edgebed.targets.arm_linux import compiler, emulation
from edgebed.targets.arm_linux.build import MANIFEST, build_traced
from edgebed.targets.arm_linux.cores import CORES, core
from edgebed.targets.arm_linux.network import load
from edgebed.targets.arm_linux.program import MAIN
from edgebed.targets.arm_linux.target import TARGET
from edgebed.targets.contract import Watchable

EMULATORS: tuple[emulation.Emulator, ...] = ("qemu", "unicorn")
APPLICATION = """\
#include "start.h"
#include "little.h"
#include "little_trace.h"

static __attribute__((aligned(64))) uint8_t arena[LITTLE_ARENA_BYTES];

static void to_output(void *context, const void *bytes, uint32_t count) {
    (void)context;
    eb_write(1, bytes, count);
}

int main(int argc, char **argv) {
    (void)argv;
    little_trace_begin(to_output, 0);
    while (eb_read(0, little_input(arena, 0), LITTLE_INPUT_0_BYTES) == LITTLE_INPUT_0_BYTES) {
        little_trace_sensor("arguments", argc);
        little_run(arena);
        eb_write(1, "seen\\n", 5);
    }
    return 0;
}
"""


def op(kind: str, output: str, *inputs: str, **attributes: object) -> Op:
    return by_kind(kind)(name=output, inputs=inputs, output=output, **attributes)  # type: ignore[arg-type]


def little() -> Program:
    """Convolutions and a pool; integers."""
    rng = np.random.default_rng(0)
    held = {
        "w": Constant(rng.integers(-9, 9, (16, 4, 3, 3)).astype(np.int8), 8, 2**-7),
        "v": Constant(rng.integers(-9, 9, (8, 16, 1, 1)).astype(np.int8), 8, 2**-7),
    }
    ops = (
        op("conv2d", "first", "x", weight="w", padding=(1, 1, 1, 1), requantize=PowerOfTwo(7)),
        op("max_pool", "small", "first", kernel=(2, 2), stride=(2, 2)),
        op("conv2d", "y", "small", weight="v", requantize=PowerOfTwo(7)),
    )
    return Program("little", {"x": TensorType((4, 12, 10))}, ops, ("y",), held)


@pytest.fixture(scope="module", params=["a72", "a76", "armv7"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("net") / "little"
    place.mkdir()
    target = TARGET.with_options({"cpu": request.param})
    target.plan(little()).write(place)
    to_onnx.save(little(), place / "program.onnx")
    target.build(place)
    return place


def samples(count: int) -> Array:
    return np.random.default_rng(1).integers(-128, 128, (count, 4, 12, 10)).astype(np.int8)


def needs(emulator: str) -> None:
    if emulator == "unicorn":
        pytest.importorskip("unicorn", reason="unicorn is not installed")
    elif any(emulation.find_qemu(one) is None for one in CORES.values()):
        pytest.skip("qemu-user is not installed")


def chip(folder: Path):
    return core(read(folder / MANIFEST).cpu)


def check(frames: list[Frame], x: Array, layers: bool) -> None:
    right = list(reference.record(little(), {"x": x}))
    assert len(frames) == len(right)
    for got, want in zip(frames, right, strict=True):
        assert bool(got.of("layer")) == layers
        for one in got.tensors:
            true = want.named(one.name)
            assert true is not None and true.values is not None and one.values is not None
            values = one.values.transpose(2, 0, 1) if one.layout == "HWC" else one.values
            np.testing.assert_array_equal(values, true.values, one.name)


def test_the_library_shows_its_layers(folder: Path) -> None:
    (x,) = samples(1)
    right = dict(trace(little(), {"x": x}))
    with closing(load(folder)) as network:
        assert isinstance(network, Watchable)
        shown = network.watch({"x": x[None]})
    assert {"first", "small"} <= {one.name for one in shown}
    for one in shown:
        values = one.values.transpose(np.argsort(one.axes))
        np.testing.assert_array_equal(values, right[one.name], one.name)


def test_a_trace_of_the_command_has_layers_memory_and_instructions(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x = samples(2)
    np.save(tmp_path / "x.npy", x)
    place = tmp_path / "t.trace"
    words = ["run", str(folder), "--input", str(tmp_path / "x.npy"), "--trace", str(place)]
    assert execute([*words, "--level", "full", "--out", str(tmp_path / "y.npy")]) == 0
    capsys.readouterr()
    with TraceReader(place) as reader:
        frames = list(reader.frames())
    check(frames, x, layers=True)
    for frame in frames:
        assert frame.figures["instructions"].kind == "emulated"
        assert frame.figures["arena_bytes"].value == read(folder / MANIFEST).arena_bytes
        parts = [one["instructions"].value for one in frame.layer_figures.values()]
        assert sum(parts) == pytest.approx(frame.figures["instructions"].value, rel=0.05)


@pytest.mark.parametrize("emulator", EMULATORS)
@pytest.mark.parametrize("level", [1, 3])
def test_the_program_writes_its_log_to_standard_error(
    level: int, emulator: emulation.Emulator, folder: Path, tmp_path: Path
) -> None:
    needs(emulator)
    build_traced(folder, tmp_path / "little", level)
    x = samples(3)
    ran = emulation.run(
        chip(folder), tmp_path / "little", data=x.tobytes(), emulator=emulator, logs=True
    )
    outputs = [one["y"] for one in (dict(trace(little(), {"x": part})) for part in x)]
    assert ran.output == b"".join(one.tobytes() for one in outputs)
    log = DeviceLog(folder, [ran.log])
    assert log.manifest().level == ("io" if level == 1 else "full")
    frames = list(log.frames())
    assert not log.losses.notes and not log.losses.passed
    check(frames, x, layers=level == 3)
    clocked = [one.figures["latency"] for one in frames if "latency" in one.figures]
    if emulator == "qemu":  # which hands clock_gettime on; unicorn has no clock
        assert len(clocked) == 3 and all(one.kind == "measured" for one in clocked)
        assert all(one.value > 0 for one in clocked)
        assert bool(frames[0].layer_figures) == (level == 3)
    else:
        assert not clocked and not frames[0].layer_figures


def test_statistics_are_those_of_the_values(folder: Path, tmp_path: Path) -> None:
    build_traced(folder, tmp_path / "little", 2)
    x = samples(2)
    ran = emulation.run(chip(folder), tmp_path / "little", data=x.tobytes(), logs=True)
    log = DeviceLog(folder, [ran.log])
    assert log.manifest().level == "statistics"
    for frame, want in zip(log.frames(), reference.record(little(), {"x": x}), strict=True):
        assert {"x", "first", "small", "y"} <= {one.name for one in frame.tensors}
        for one in (*frame.of("input"), *frame.of("layer")):
            true = want.named(one.name)
            assert true is not None and true.values is not None and one.statistics is not None
            right = Statistics.of_bytes(np.ascontiguousarray(true.values), 1.0, 0)
            for name in ("count", "mean", "deviation", "low", "high", "zeros", "at_low", "at_high"):
                scale = one.scale if name in ("mean", "deviation", "low", "high") else 1.0
                found = getattr(one.statistics, name) / (scale or 1.0)
                assert found == pytest.approx(getattr(right, name), rel=1e-9), name


@pytest.mark.parametrize("emulator", EMULATORS)
def test_text_and_records_may_share_the_output_of_a_users_program(
    emulator: emulation.Emulator, folder: Path, tmp_path: Path
) -> None:
    needs(emulator)
    (tmp_path / MAIN).write_text(APPLICATION)
    objects = []
    for source in (folder / "library" / "little.c", tmp_path / MAIN):
        objects.append(tmp_path / f"{source.stem}.o")
        flags, folders = ("-DEB_TRACE=3",), (folder / "library",)
        compiler.compile_object(chip(folder), source, objects[-1], includes=folders, flags=flags)
    compiler.link_program(objects, tmp_path / "app")
    x = samples(2)
    ran = emulation.run(chip(folder), tmp_path / "app", data=x.tobytes(), emulator=emulator)
    text: list[bytes] = []
    log = DeviceLog(folder, [ran.output], text.append)
    log.manifest()
    frames = list(log.frames())
    check(frames, x, layers=True)
    assert frames[0].sensors == {"arguments": 1}
    assert b"".join(text) == b"seen\nseen\n"


def test_without_the_switch_the_program_has_not_a_byte_of_it(folder: Path, tmp_path: Path) -> None:
    def stored(path: Path, flags: tuple[str, ...] = ()) -> dict[str, int]:
        place = tmp_path / "one.o"
        folders = (folder / "library",)
        compiler.compile_object(chip(folder), path, place, includes=folders, flags=flags)
        return section_bytes(place, chip(folder).machine)

    main = folder / "program" / MAIN
    text = main.read_text()
    start = text.index("static void to_log")
    without = text[:start] + text[text.index("static int samples") :]
    without = without.replace("    little_trace_begin(to_log, 0);\n", "")
    bare = folder / "program" / "bare.c"
    bare.write_text(without)
    try:
        assert stored(main) == stored(bare)
        assert stored(main, ("-DEB_TRACE=1",)) != stored(bare)
    finally:
        bare.unlink()


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_hands_the_switch_on(folder: Path) -> None:
    for words, there in ((["TRACE=3"], True), ([], False)):
        done = subprocess.run(
            ["make", "-n", "-B", *words], cwd=folder, capture_output=True, text=True, check=True
        )
        assert ("-DEB_TRACE=3" in done.stdout) == there


@pytest.mark.slow
@pytest.mark.parametrize("cpu", ["a72", "armv7"])
@pytest.mark.parametrize("name", ["kws_ref_model.tflite", "vww_96_int8.tflite"])
def test_logs_of_public_networks_equal_the_interpreter(
    name: str, cpu: str, cases_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    needs("qemu")
    program, place = read_model(cases_dir / "models" / name), tmp_path / "net"
    words = ["compile", str(cases_dir / "models" / name), "--target", "arm_linux", "--cpu", cpu]
    assert execute([*words, "--quiet", "--out", str(place)]) == 0
    build_traced(place, tmp_path / "recording", 3)
    (kind,) = program.inputs.values()
    x = np.random.default_rng(3).integers(-128, 128, (2, *kind.shape)).astype(kind.dtype)
    lies = x.transpose(0, 2, 3, 1) if program.file_shape(next(iter(program.inputs))) != (
        1, *kind.shape) else x  # fmt: skip
    ran = emulation.run(
        core(cpu), tmp_path / "recording", data=lies.tobytes(), emulator="qemu", logs=True
    )
    (tmp_path / "uart.log").write_bytes(ran.log)
    words = ["trace", str(tmp_path / "uart.log"), "--program", str(place)]
    assert execute([*words, "--out", str(tmp_path / "device.trace")]) == 0
    with TraceWriter(tmp_path / "ref.trace", reference.manifest(program, "full")) as writer:
        for frame in reference.record(program, {next(iter(program.inputs)): x}):
            writer.write(frame)
    capsys.readouterr()
    words = ["compare", str(tmp_path / "ref.trace"), str(tmp_path / "device.trace"), "--json"]
    assert execute(words) in (0, 2)
    said = json.loads(capsys.readouterr().out)
    assert said["equal"] is True
    # The clock is that of the emulator's computer, which has other work too.
    assert {one["cause"] for one in said["verdicts"]} <= {"slow_layer"}
