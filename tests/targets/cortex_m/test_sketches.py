"""A device counts what Sketch.of counts, of the tensors it was told to, and nothing unasked."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import mobile, op, quantised

from edgebed.observe.drift_stream import key_of
from edgebed.observe.recorders import reference
from edgebed.observe.sketch import MOST, Sketch, captured
from edgebed.program.types import Array, Program, TensorType
from edgebed.targets._shared.arm_cores import find_compiler, find_core
from edgebed.targets._shared.bare_metal import run_c
from edgebed.targets._shared.rows import sketches
from edgebed.targets._shared.rows.emit import Project, files
from edgebed.targets._shared.rows.kernels.portable import PORTABLE
from edgebed.targets._shared.rows.kernels.sets import Goal
from edgebed.targets._shared.rows.project import make
from edgebed.targets._shared.toolchain import host_compilers

STRICT = ("-std=c99", "-O1", "-Wall", "-Wextra", "-Werror", "-Wpedantic", "-Wno-c99-extensions")
ALLOCATED = 2
READER = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int32, ctypes.c_int32, ctypes.c_void_p)


def pooled(dtype: str) -> Program:
    """Return two pools of a map of bytes; the second is the output."""
    window = {"kernel": (2, 2), "stride": (2, 2)}
    ops = (op("max_pool", "m", "x", **window), op("avg_pool", "y", "m", **window))
    kind = TensorType((3, 12, 12), dtype, 0.05, 3)
    return Program("pooled", {"x": kind}, ops, ("y",), {})


def samples(program: Program, count: int, seed: int = 0) -> Iterator[dict[str, Array]]:
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield {
            name: rng.integers(*ends(kind), kind.shape, endpoint=True).astype(kind.dtype)
            for name, kind in program.inputs.items()
        }


def ends(kind: TensorType) -> tuple[int, int]:
    info = np.iinfo(kind.dtype)
    return int(info.min), int(info.max)


def expected(program: Program, given_: Sequence[Mapping[str, Array]]) -> dict[str, Sketch]:
    """Return what traces of the interpreter give."""
    found: dict[str, Sketch] = {}
    for one in given_:
        for frame in reference.record(program, one):
            for tensor in frame.tensors:
                if tensor.values is not None and tensor.values.dtype.itemsize < 4:
                    key, sketch = key_of(tensor), Sketch.of(tensor.values)
                    found[key] = found[key] + sketch if key in found else sketch
    return found


class Device:
    """A project's library of this process, built with the switch."""

    def __init__(self, project: Project, folder: Path) -> None:
        self.project, self.name = project, project.name
        made = {**files(project), **sketches.files(project)}
        for path, data in made.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        sources = [str(folder / path) for path in made if path.endswith(".c")]
        switch = f"-DEB_OBSERVE={self.name}_sketch_step"
        compiler = host_compilers()[0].command
        words = [*compiler, *STRICT, "-shared", "-fPIC", switch, *sources]
        done = subprocess.run([*words, "-o", str(folder / "n.so")], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        self.library = ctypes.CDLL(str(folder / "n.so"))
        arena = np.zeros(project.placement.peak + 16, np.uint8)
        self.arena = arena[-arena.ctypes.data % 16 :][: project.placement.peak]
        self.tensors, self.others = sketches.parted(project)

    def begin(self, watched: Sequence[int]) -> None:
        self.memory = np.zeros(3 + 37 * len(watched), np.uint32)
        self.watched = (ctypes.c_uint16 * len(watched))(*watched)
        self.call("sketch_begin", self.memory.ctypes.data, self.watched, len(watched))

    def call(self, function: str, *arguments: object) -> int:
        called = getattr(self.library, f"{self.name}_{function}")
        called.restype = ctypes.c_void_p
        return int(called(*(ctypes.c_void_p(a) if isinstance(a, int) and a > 2**31 else a
                            for a in arguments)) or 0)  # fmt: skip

    def run(self, inputs: Mapping[str, Array]) -> None:
        address = int(self.arena.ctypes.data)
        if self.project.fetched:
            (values,) = inputs.values()
            rows = self.project.network.tensors[self.project.network.inputs[0]].rows
            data = np.ascontiguousarray(values).view(np.uint8).reshape(rows, -1)

            def read(_context: int, _input: int, row: int, to: int) -> None:
                ctypes.memmove(to, data[row].ctypes.data, data.shape[1])

            self.call("sketch_inputs", address)
            self.call("run", address, READER(read), None)
            return
        for name, storage in zip(inputs, self.project.network.inputs, strict=True):
            data = np.ascontiguousarray(inputs[name]).view(np.uint8).reshape(-1)
            self.arena[self.project.offset(storage) :][: data.size] = data
        self.call("sketch_inputs", address)
        self.call("run", address)

    def packet(self) -> bytes:
        size = ctypes.c_uint32()
        at = self.call("sketch_packet", ctypes.byref(size))
        return ctypes.string_at(at, size.value)


@pytest.mark.parametrize("goal", ["time", "balanced", "ram"])
@pytest.mark.parametrize("made", ["mobile", "int8", "uint8"])
def test_every_tensor_is_counted_as_traces_count_it(made: str, goal: Goal, tmp_path: Path) -> None:
    program = quantised(mobile(side=24)) if made == "mobile" else pooled(made)
    device = Device(make(program, PORTABLE, goal), tmp_path)
    right = None
    names = [one.key for one in device.tensors]
    assert {"input x", f"output {program.outputs[0]}"} <= {*names, *(n for n, _ in device.others)}
    device.begin(range(len(names)))
    for round_ in range(2):  # the second packet has new counts
        given_ = list(samples(program, 3, round_)) if made != "mobile" else [
            {"x": np.random.default_rng(at).random((3, 24, 24)).astype(np.float32)}
            for at in range(3)
        ]  # fmt: skip
        for one in given_:
            device.run(one)
        ((report,), damaged) = captured(device.packet(), names)
        right = expected(program, given_)
        assert not damaged and not report.unknown
        assert report.sketches == {name: right[name] for name in names}
    assert right is not None
    if made != "mobile":
        assert set(right) == set(names)


def test_what_is_no_byte_is_named_in_the_header(tmp_path: Path) -> None:
    project = make(quantised(mobile()), PORTABLE, "balanced")
    header = sketches.files(project)["mobile_sketch.h"].decode()
    floats = [name for name, kind in project.program.inputs.items() if kind.is_float]
    assert floats == ["x"]
    assert "input x: float32" in header.split("Cannot be counted")[1]


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_rows_that_come_one_by_one_are_counted_as_the_whole_input(
    dtype: str, tmp_path: Path
) -> None:
    window = {"kernel": (2, 2), "stride": (2, 2)}
    ops = (
        op("transpose", "t", "x", perm=(2, 0, 1)), op("max_pool", "m", "t", **window),
        op("avg_pool", "y", "m", **window),
    )  # fmt: skip
    kind = TensorType((32, 32, 3), dtype, 0.05, 3)
    program = Program("lines", {"x": kind}, ops, ("y",), {})
    project = make(program, PORTABLE, "ram")
    assert project.fetched  # or this tests nothing
    device = Device(project, tmp_path)
    names = [one.key for one in device.tensors]
    assert "input x" in names
    device.begin(range(len(names)))
    given_ = list(samples(program, 2))
    for one in given_:
        device.run(one)
    ((report,), _) = captured(device.packet(), names)
    right = expected(program, given_)
    assert report.sketches == {name: right[name] for name in names}


def test_only_the_tensors_that_were_chosen_take_memory(tmp_path: Path) -> None:
    device = Device(make(pooled("int8"), PORTABLE, "balanced"), tmp_path)
    names = [one.key for one in device.tensors]
    device.begin([names.index("output y")])
    (one,) = samples(device.project.program, 1)
    device.run(one)
    packet = device.packet()
    assert len(packet) == 12 + 148 == device.memory.nbytes
    ((report,), _) = captured(packet, names)
    assert list(report.sketches) == ["output y"]


def test_a_counter_that_cannot_hold_one_frame_more_ends_counting(tmp_path: Path) -> None:
    device = Device(make(pooled("int8"), PORTABLE, "balanced"), tmp_path)
    names = [one.key for one in device.tensors]
    device.begin([0])
    device.memory[3 + 5 + 7] = MOST - 435  # bin 7; a frame has 432 values
    for one in samples(device.project.program, 4):
        device.run(one)
    ((report,), _) = captured(device.packet(), names)
    assert report.sketches["input x"].frames == 1  # another might be too much
    assert report.sketches["input x"].full
    assert max(report.sketches["input x"].bins) <= MOST
    device.run(one)
    ((report,), _) = captured(device.packet(), names)
    assert report.sketches["input x"] == Sketch.of(one["x"])


SHOWN = """
#include "eb_sketch.h"
void add(uint32_t *room, const uint8_t *from, uint32_t bytes, uint32_t width, uint32_t sign) {
    const eb_sketch_tensor tensor = {7, 0, bytes / width, 0, 0, (uint8_t)width, (uint8_t)sign, 0};
    const uint16_t watched[] = {0};
    eb_sketch_state state = {0, 0, 0};
    uint32_t size;
    eb_sketch_begin(&state, &tensor, room, watched, 1);
    eb_sketch_step(&state, &tensor, 0, 0, from, bytes);
    eb_sketch_give(&state, &size);
}
"""


@pytest.fixture(scope="module")
def counting(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    folder = tmp_path_factory.mktemp("sketch")
    (folder / "shown.c").write_text(SHOWN)
    include = f"-I{sketches.HERE / 'runtime'}"
    words = [*host_compilers()[0].command, *STRICT, include, "-shared", "-fPIC"]
    subprocess.run([*words, str(folder / "shown.c"), "-o", str(folder / "s.so")], check=True)
    return ctypes.CDLL(str(folder / "s.so"))


@settings(deadline=None)
@given(st.sampled_from(["int8", "uint8", "int16", "uint16"]), st.binary(min_size=2, max_size=400))
def test_every_type_is_counted_as_in_python(counting: ctypes.CDLL, dtype: str, data: bytes) -> None:
    values = np.frombuffer(data[: len(data) // 2 * 2], dtype)
    room = np.zeros(40, np.uint32)
    sign = 0x80 if dtype.startswith("int") else 0
    counting.add(
        ctypes.c_void_p(room.ctypes.data), ctypes.c_void_p(values.ctypes.data),
        ctypes.c_uint32(values.nbytes), ctypes.c_uint32(values.itemsize), ctypes.c_uint32(sign),
    )  # fmt: skip
    assert Sketch.from_bytes(room.tobytes()[16:]) == Sketch.of(values)
    ((report,), _) = captured(room.tobytes(), [])
    assert report.unknown == (7,)


BOARD = """
#include "pooled.h"
#include "pooled_sketch.h"
enum { FRAMES = 4 };
static uint8_t arena[POOLED_ARENA_BYTES] __attribute__((aligned(16)));
uint8_t pictures[FRAMES * POOLED_INPUT_0_BYTES];
uint8_t line[2048]; /* what went over the serial line */
uint32_t used;

static void send(const void *from, uint32_t bytes) {
    for (uint32_t i = 0; i < bytes; i++) line[used++] = ((const uint8_t *)from)[i];
}

void bench(void) {
    static const uint16_t watched[] = {POOLED_SKETCH_INPUT_0, POOLED_SKETCH_OUTPUT_0};
    static uint32_t memory[POOLED_SKETCH_WORDS(2)];
    pooled_sketch_begin(memory, watched, 2);
    send("booted\\r\\n", 8);
    for (uint32_t frame = 0; frame < FRAMES; frame++) {
        uint8_t *in = pooled_input(arena, 0);
        for (uint32_t i = 0; i < POOLED_INPUT_0_BYTES; i++)
            in[i] = pictures[frame * POOLED_INPUT_0_BYTES + i];
        pooled_sketch_inputs(arena);
        pooled_run(arena);
        if (frame % 2 == 0) continue;
        uint32_t bytes;
        const void *packet = pooled_sketch_packet(&bytes);
        send("EBSK? ", 6);
        send(packet, bytes);
        send("ok\\r\\n", 4);
    }
}
"""


@pytest.mark.parametrize("cpu", ["m0plus", "m4"])
def test_packets_of_a_virtual_board_are_found_between_its_text(cpu: str) -> None:
    program = pooled("int8")
    project = make(program, PORTABLE, "balanced")
    made = {**files(project), **sketches.files(project)}
    texts = {path.replace("edgebed/", ""): data.decode().replace('"edgebed/', '"')
             for path, data in made.items()}  # fmt: skip
    given_ = list(samples(program, 4))
    ran = run_c(
        cpu,
        {**{n: t for n, t in texts.items() if n.endswith(".c")}, "main.c": BOARD},
        headers={n: t for n, t in texts.items() if n.endswith(".h")},
        flags=["-DEB_OBSERVE=pooled_sketch_step"],
        inputs={"pictures": b"".join(one["x"].tobytes() for one in given_)},
        outputs=["line", "used"],
    )
    line = ran.outputs["line"][: int.from_bytes(ran.outputs["used"], "little")]
    names = [one.key for one in sketches.parted(project)[0]]
    reports, damaged = captured(line, names)
    assert damaged == 2  # the text names the magic
    for at, report in enumerate(reports):
        right = expected(program, given_[2 * at : 2 * at + 2])
        assert report.sketches == {name: right[name] for name in ("input x", "output y")}
    assert len(reports) == 2
    broken = bytearray(line)
    broken[line.index(b"ok") - 3] ^= 1
    assert len(captured(bytes(broken), names)[0]) == 1
    assert captured(bytes(broken), names)[1] == 3


def test_without_the_switch_there_is_not_a_byte(tmp_path: Path) -> None:
    project = make(quantised(mobile()), PORTABLE, "balanced")
    for path, data in {**files(project), **sketches.files(project)}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(data)
    tool = find_compiler(find_core("m4"))
    tool.compile(tmp_path / "mobile_sketch.c", tmp_path / "s.o")
    with (tmp_path / "s.o").open("rb") as file:
        kept = [one for one in ELFFile(file).iter_sections() if one["sh_flags"] & ALLOCATED]
        assert not [one.name for one in kept if one["sh_size"] and ".ARM" not in one.name]
