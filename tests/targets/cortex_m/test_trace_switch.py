"""A user's firmware records itself over its serial line: the log is a trace equal to the truth."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile
from small_networks import mobile, op, quantised
from user_firmware import added_lines, built, inputs, log_of, said

from edgebed.cli import execute
from edgebed.observe.recorders import reference
from edgebed.observe.statistics import Statistics
from edgebed.observe.trace import Frame
from edgebed.observe.trace_reader import TraceReader
from edgebed.observe.trace_writer import TraceWriter
from edgebed.program import to_onnx
from edgebed.program.read import read_model
from edgebed.program.types import DType, Program, TensorType
from edgebed.targets._shared.arm_cores import CORES, find_compiler, find_core
from edgebed.targets._shared.bare_metal import find_qemu
from edgebed.targets._shared.elf import load_firmware
from edgebed.targets._shared.rows.manifest import read
from edgebed.targets.cortex_m.board.board import UnicornBoard
from edgebed.targets.cortex_m.build import MANIFEST, build, sizes
from edgebed.targets.cortex_m.target import TARGET

pytest.importorskip("unicorn", reason="unicorn is not installed")


def without(source: str) -> tuple[str, int]:
    """Return a source without what EB_TRACE compiles in, and how many parts that were."""
    kept, depth, parts = list[str](), 0, 0
    for line in source.splitlines(keepends=True):
        if depth or line.startswith("#if EB_TRACE"):
            parts += not depth
            depth += line.startswith("#if") - line.startswith("#endif")
        else:
            kept.append(line)
    return "".join(kept), parts


def has_qemu(cpu: str) -> bool:
    try:
        return bool(find_qemu(find_core(cpu)))
    except Exception:
        return False


def compiled(program: Program, folder: Path, cpu: str, goal: str = "balanced") -> Path:
    TARGET.with_options({"cpu": cpu, "goal": goal}).plan(program).write(folder)
    to_onnx.save(program, folder / "program.onnx")
    return folder


def trace_of(folder: Path, log: bytes, place: Path) -> tuple[Path, list[Frame]]:
    """Put a log through the command; return the trace and its frames."""
    (place / "uart.log").write_bytes(log)
    words = ["trace", str(place / "uart.log"), "--program", str(folder)]
    assert execute([*words, "--out", str(place / "device.trace")]) == 0
    with TraceReader(place / "device.trace") as reader:
        found = list(reader.frames())
        assert not reader.cut
    return place / "device.trace", found


def equal(program: Program, frames: list[Frame], device: Path, place: Path) -> bool:
    """Let `edgebed compare` say whether the device's trace equals the interpreter's."""
    x = {
        name: np.stack([next(t.values for t in one.of("input") if t.name == name)
                        for one in frames])
        for name in program.inputs
    }  # fmt: skip
    with TraceWriter(place / "ref.trace", reference.manifest(program, "full")) as writer:
        for frame in reference.record(program, x):
            writer.write(frame)
    said_ = io.StringIO()
    with contextlib.redirect_stdout(said_):
        assert execute(["compare", str(place / "ref.trace"), str(device), "--json"]) == 0
    return json.loads(said_.getvalue())["equal"] is True


def test_a_user_adds_at_most_fifteen_lines() -> None:
    assert added_lines() <= 15


@pytest.mark.parametrize(
    ("cpu", "goal", "qemu"),
    [
        ("m4", "balanced", False),
        ("m4", "ram", False),
        pytest.param(
            *("m4", "time", True),
            marks=pytest.mark.skipif(not has_qemu("m4"), reason="qemu-system-arm is missing"),
        ),
        ("m0plus", "balanced", False),
        pytest.param(
            *("m55", "balanced", True),
            marks=pytest.mark.skipif(not has_qemu("m55"), reason="qemu-system-arm is missing"),
        ),
    ],
)
def test_the_log_of_a_users_firmware_equals_the_interpreter(
    cpu: str, goal: str, qemu: bool, tmp_path: Path
) -> None:
    program = quantised(mobile())
    folder = compiled(program, tmp_path / "net", cpu, goal)
    log = log_of(folder, tmp_path / "user", 3, qemu=qemu)
    assert b"hello, \xeb world" in log and log.count(b"a frame is done") == 2
    device, frames = trace_of(folder, log, tmp_path)
    assert [one.sensors["battery_mv"] for one in frames] == [3700, 3699]
    assert {one.sensors["place"] for one in frames} == {"hall"}
    layers = {one.name for one in frames[0].of("layer")}
    shown = {one.name for one in read(folder / MANIFEST).inner} - set(program.outputs)
    assert layers == shown and layers
    assert equal(program, frames, device, tmp_path)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_rows_that_come_from_a_camera_are_recorded_as_its_picture(
    dtype: DType, tmp_path: Path
) -> None:
    window = {"kernel": (2, 2), "stride": (2, 2)}
    ops = (
        op("transpose", "t", "x", perm=(2, 0, 1)), op("max_pool", "m", "t", **window),
        op("avg_pool", "y", "m", **window),
    )  # fmt: skip
    program = Program("lines", {"x": TensorType((32, 32, 3), dtype, 0.05, 3)}, ops, ("y",), {})
    folder = compiled(program, tmp_path / "net", "m4", "ram")
    assert read(folder / MANIFEST).fetched  # or this tests nothing
    x = inputs((32, 32, 3), 2, dtype)
    for level in (1, 2, 3):
        log = log_of(folder, tmp_path / f"user{level}", level)
        device, frames = trace_of(folder, log, tmp_path)
        assert len(frames) == 2 and bool(frames[0].of("layer")) == (level > 1)
        if level == 2:
            check_statistics(program, frames, x)
            continue
        for number, frame in enumerate(frames):
            np.testing.assert_array_equal(frame.of("input")[0].values, x[number])
        assert equal(program, frames, device, tmp_path)


@pytest.mark.parametrize("cpu", ["m4", "m0plus"])
def test_statistics_are_those_of_the_values(cpu: str, tmp_path: Path) -> None:
    program = quantised(mobile())
    folder = compiled(program, tmp_path / "net", cpu)
    _, frames = trace_of(folder, log_of(folder, tmp_path / "user", 2), tmp_path)
    check_statistics(
        program, frames, inputs(program.inputs["x"].shape, 2, program.inputs["x"].dtype)
    )


def check_statistics(program: Program, frames: list[Frame], x: np.ndarray) -> None:
    right = list(reference.record(program, {"x": x}))
    for got, want in zip(frames, right, strict=True):
        assert {one.name for one in got.of("layer")} and got.of("output")[0].values is not None
        for one in (*got.of("input"), *got.of("layer")):
            true = want.named(one.name)
            assert one.values is None and one.statistics and true and true.values is not None
            same_statistics(one.statistics, true.values, true.scale, true.zero_point)


def same_statistics(found: Statistics, values: np.ndarray, scale: float | None, zero: int) -> None:
    if scale is None:
        want = Statistics.of(values)
    else:
        want = Statistics.of_bytes(np.ascontiguousarray(values), scale, zero)
    assert (found.count, found.bad) == (want.count, want.bad)
    for name in ("mean", "deviation", "low", "high", "zeros", "at_low", "at_high"):
        assert getattr(found, name) == pytest.approx(getattr(want, name), rel=1e-6, abs=1e-7), name


def test_real_numbers_have_statistics_too(tmp_path: Path) -> None:
    program = quantised(mobile(), floats=("mean", "scores"))
    folder = compiled(program, tmp_path / "net", "m4")
    _, whole = trace_of(folder, log_of(folder, tmp_path / "full", 3), tmp_path)
    _, sums = trace_of(folder, log_of(folder, tmp_path / "sums", 2), tmp_path)
    real = 0
    for a, b in zip(whole, sums, strict=True):
        for one in b.of("layer"):
            true = a.named(one.name)
            assert true and true.values is not None and one.statistics
            real += true.dtype == "float32"
            same_statistics(one.statistics, true.values, true.scale, true.zero_point)
    assert real


# ---- the switch ----


@pytest.mark.parametrize("cpu", list(CORES))
def test_without_the_switch_objects_are_those_of_sources_that_lack_it(
    cpu: str, tmp_path: Path
) -> None:
    folder = compiled(quantised(mobile()), tmp_path / "a", cpu)
    library = folder / "library"
    tool = find_compiler(find_core(cpu))
    tool.compile(library / "mobile.c", tmp_path / "with.o")
    counts = []
    for path in (library / "mobile.c", library / "edgebed" / "eb_run.h"):
        bare, count = without(path.read_text())
        path.write_text(bare.replace('#include "mobile_trace.h"\n', ""))
        counts.append(count)
    assert counts == [4, 1]
    assert "trace" not in (library / "mobile.c").read_text()
    for path in (library / "mobile_trace.h", *(library / "edgebed").glob("eb_trace*.h")):
        path.unlink()
    tool.compile(library / "mobile.c", tmp_path / "without.o")
    assert (tmp_path / "with.o").read_bytes() == (tmp_path / "without.o").read_bytes()


def test_calls_in_the_users_code_are_nothing_where_it_is_off(tmp_path: Path) -> None:
    folder = compiled(quantised(mobile()), tmp_path / "net", "m4")
    loaded = {
        traced: load_firmware(built(folder, tmp_path / str(traced), (), traced=traced)).segments
        for traced in (False, True)
    }
    assert loaded[False] == loaded[True]  # byte for byte the same flash


def test_each_level_costs_code_and_the_arena_stays(tmp_path: Path) -> None:
    folder = compiled(quantised(mobile()), tmp_path / "net", "m4")
    found = []
    for level in range(4):
        place = tmp_path / str(level)
        found.append(sizes(built(folder, place, (f"-DEB_TRACE={level}",) if level else ())))
    assert all(one.arena == found[0].arena for one in found)
    assert found[0].static_ram == 0 < found[1].static_ram < found[2].static_ram
    assert all(0 < one.code_flash - found[0].code_flash < 6500 for one in found[1:])


@pytest.mark.parametrize("level", [1, 2, 3])
@pytest.mark.parametrize("cpu", ["m0plus", "m4", "m55"])
@pytest.mark.parametrize("compiler", ["zig", "gcc"])
def test_a_recording_network_needs_nobody_either(
    cpu: str, level: int, compiler: str, tmp_path: Path
) -> None:
    if compiler == "gcc" and shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("arm-none-eabi-gcc is not installed")
    folder = compiled(quantised(mobile()), tmp_path / "net", cpu)
    tool = find_compiler(find_core(cpu), kind=compiler)
    words = (*tool.compiler, f"-DEB_TRACE={level}")
    from dataclasses import replace

    replace(tool, compiler=words).compile(folder / "library" / "mobile.c", tmp_path / "net.o")
    with (tmp_path / "net.o").open("rb") as file:
        symbols = list(ELFFile(file).get_section_by_name(".symtab").iter_symbols())
    missing = {one.name for one in symbols if one["st_shndx"] == "SHN_UNDEF"} - {""}
    assert {name for name in missing if not name.startswith("__aeabi_")} == set()
    offered = {one.name for one in symbols if one["st_info"]["bind"] == "STB_GLOBAL"} - missing
    assert all(name.startswith("mobile_") for name in offered - {""})


def test_the_cores_cycle_counter_is_switched_on(tmp_path: Path) -> None:
    """The virtual counter stands still, so there are no figures; a real one would count."""
    folder = compiled(quantised(mobile()), tmp_path / "net", "m4")
    elf = built(folder, tmp_path / "user", ("-DEB_TRACE=1",))
    board = UnicornBoard(find_core("m4"), load_firmware(elf))
    board.write(b"!")
    log = board.read()
    enabled = board.trace_unit.view("<u4")[0]
    board.close()
    assert enabled & 1
    _, frames = trace_of(folder, log, tmp_path)
    assert "cycles" not in frames[0].figures and "arena_bytes" in frames[0].figures


def test_a_clock_of_the_users_own_times_frame_and_layers(tmp_path: Path) -> None:
    folder = compiled(quantised(mobile()), tmp_path / "net", "m4")
    elf = built(folder, tmp_path / "user", ("-DEB_TRACE=3",))
    main = tmp_path / "user" / "firmware" / "main.c"
    text = main.read_text().replace(
        "int main(void) {",
        "static uint32_t ticks(void *at) { return *(uint32_t *)at += 5; }\n\n"
        "static uint32_t passed = 0xFFFFFF00u;\n\nint main(void) {"
        "\n    mobile_trace_clock(ticks, &passed, 1000000);",
    )
    main.write_text(text)
    elf = build(tmp_path / "user", find_core("m4"), flags=("-DEB_TRACE=3",))
    _, frames = trace_of(folder, said(elf, "m4"), tmp_path)
    runs = len(read(folder / MANIFEST).runs)
    for frame in frames:
        parts = [one["latency"] for one in frame.layer_figures.values()]
        whole = frame.figures["latency"]
        assert whole.kind == "measured" and whole.unit == "us"
        assert sum(one.value for one in parts) == whole.value - 5  # and the way back
        assert whole.value >= 5 * runs and all(one.value % 5 == 0 for one in parts)


def test_two_networks_share_one_line(tmp_path: Path) -> None:
    one = compiled(quantised(mobile("one", seed=1)), tmp_path / "one", "m4")
    two = compiled(quantised(mobile("two", seed=2)), tmp_path / "two", "m4")
    place = tmp_path / "user"
    built(one, place, ())
    shutil.copytree(two / "library", place / "library", dirs_exist_ok=True)
    main = place / "firmware" / "main.c"
    text = main.read_text().replace(
        '#include "uart.h"\n', '#include "uart.h"\n#include "two.h"\n#include "two_trace.h"\n', 1
    )
    text = text.replace(
        "    one_trace_begin(to_uart, 0);\n",
        "    one_trace_begin(to_uart, 0);\n    two_trace_begin(to_uart, 0);\n",
    )
    text = text.replace(
        "        network_run(arena);\n",
        "        for (uint32_t i = 0; i < TWO_INPUT_0_BYTES; i++)\n"
        "            ((uint8_t *)two_input(other, 0))[i] = ((uint8_t *)one_input(arena, 0))[i];\n"
        "        network_run(arena);\n        two_run(other);\n",
    )
    text = text.replace(
        "static uint32_t seed",
        "static uint8_t other[TWO_ARENA_BYTES] __attribute__((aligned(16)));\nstatic uint32_t seed",
    )
    main.write_text(text)
    log = said(build(place, find_core("m4"), flags=("-DEB_TRACE=3",)), "m4")
    for folder, seed in ((one, 1), (two, 2)):
        device, frames = trace_of(folder, log, tmp_path)
        assert len(frames) == 2
        assert equal(quantised(mobile(folder.name, seed=seed)), frames, device, tmp_path)


# ---- whole networks ----


@pytest.mark.slow
@pytest.mark.parametrize("cpu", ["m4", "m0plus", "m55"])
@pytest.mark.parametrize("name", ["kws_ref_model.tflite", "vww_96_int8.tflite"])
def test_public_networks_are_equal_at_full_level(
    name: str, cpu: str, cases_dir: Path, tmp_path: Path
) -> None:
    if cpu == "m55" and not has_qemu(cpu):
        pytest.skip("qemu-system-arm is missing")
    model = cases_dir / "models" / name
    program = read_model(model)
    words = ["compile", str(model), "--target", "cortex_m", "--cpu", cpu, "--quiet"]
    assert execute([*words, "--out", str(tmp_path / "net")]) == 0
    log = log_of(tmp_path / "net", tmp_path / "user", 3)
    device, frames = trace_of(tmp_path / "net", log, tmp_path)
    assert len(frames) == 2
    assert equal(program, frames, device, tmp_path)
