"""The switch EB_OBSERVE: what steps write can be seen, and without it nothing is there."""

from __future__ import annotations

import re
import shutil
import struct
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from contract_programs import detector, rules
from small_networks import mobile, pictures, quantised

from edgebed.errors import EdgebedError
from edgebed.program.contract import ImageInput
from edgebed.program.run import trace
from edgebed.program.types import Array, Program
from edgebed.targets._shared.arm_cores import find_compiler, find_core
from edgebed.targets._shared.bare_metal import run_c
from edgebed.targets._shared.rows.manifest import read
from edgebed.targets.contract import Inner, Watchable
from edgebed.targets.cortex_m.build import build, sizes
from edgebed.targets.cortex_m.machine import MANIFEST
from edgebed.targets.cortex_m.network import load
from edgebed.targets.cortex_m.target import TARGET
from edgebed.targets.cortex_m.watch import SWITCH, Memory

SWITCHED = re.compile(r"^#ifdef EB_OBSERVE\n.*?^#endif\n", re.MULTILINE | re.DOTALL)
COLLECTOR = """
#include <stdint.h>
#include "mobile.h"

enum { ROOM = 65536 };
uint8_t seen[ROOM];
uint32_t used;
static uint8_t arena[MOBILE_ARENA_BYTES] __attribute__((aligned(16)));
uint8_t picture[MOBILE_INPUT_0_BYTES];

static void word(uint32_t value) {
    for (int i = 0; i < 4; i++) seen[used++] = (uint8_t)(value >> 8 * i);
}

void my_own_log(int32_t stage, int32_t step, const void *out, uint32_t bytes) {
    if (used + 12 + bytes > ROOM) return;
    word((uint32_t)stage), word((uint32_t)step), word(bytes);
    for (uint32_t i = 0; i < bytes; i++) seen[used++] = ((const uint8_t *)out)[i];
}

void bench(void) {
    uint8_t *in = mobile_input(arena, 0);
    for (uint32_t i = 0; i < sizeof picture; i++) in[i] = picture[i];
    mobile_run(arena);
}
"""


def folder_of(program: Program, place: Path, cpu: str, goal: str = "balanced") -> Path:
    TARGET.with_options({"cpu": cpu, "goal": goal}).plan(program).write(place)
    return place


def check(program: Program, given: Mapping[str, Array], inner: tuple[Inner, ...]) -> None:
    """Assert that what was seen is what the interpreter computes, and that it is most of it."""
    right = dict(trace(program, given))
    quantised = {n for n, kind in program.types.items() if kind.dtype == "int8"}
    assert quantised - set(program.inputs) <= {one.name for one in inner}
    for one in inner:
        values = one.values.transpose(np.argsort(one.axes))
        np.testing.assert_array_equal(values, right[one.name], one.name)
        kind = program.types[one.name]
        assert (one.scale, one.zero_point) == (kind.scale, kind.zero_point)


@pytest.mark.parametrize("cpu", ["m0plus", "m4"])
@pytest.mark.parametrize("goal", ["time", "ram"])
def test_the_board_shows_every_layer(cpu: str, goal: str, tmp_path: Path) -> None:
    program = quantised(mobile(side=24))
    folder = folder_of(program, tmp_path, cpu, goal)
    build(folder, find_core(cpu))
    with closing(load(folder)) as network:
        assert isinstance(network, Watchable)
        for given in pictures(program, 2):
            check(program, given, network.watch({"x": given["x"][None]}))


@pytest.mark.skipif(shutil.which("qemu-system-arm") is None, reason="qemu-system-arm is missing")
def test_vectors_show_what_the_interpreter_computes(tmp_path: Path) -> None:
    program = quantised(mobile())
    folder = folder_of(program, tmp_path, "m55")
    build(folder, find_core("m55"))
    with closing(load(folder)) as network:
        (given,) = pictures(program, 1)
        check(program, given, network.watch({"x": given["x"][None]}))


def test_rows_that_a_ring_forgets_are_seen_too(tmp_path: Path) -> None:
    program = detector(rules(ImageInput(48, 48)))
    project = TARGET.with_options({"cpu": "m4", "goal": "ram"}).project(program)
    kept, tensors = project.placement.rings, project.network.tensors
    assert any(kept[name] < one.rows for name, one in tensors.items())  # or this tests nothing
    folder = folder_of(program, tmp_path, "m4", "ram")
    build(folder, find_core("m4"))
    given = {"x": np.random.default_rng(0).integers(-128, 128, (3, 48, 48)).astype(np.int8)}
    with closing(load(folder)) as network:
        check(program, given, network.watch({"x": given["x"][None]}))


def test_a_users_own_function_collects_the_rows(tmp_path: Path) -> None:
    program = quantised(mobile())
    folder = folder_of(program, tmp_path, "m4")
    library = folder / "library"
    (given,) = pictures(program, 1)
    ran = run_c(
        "m4",
        {"mobile_copy.c": (library / "mobile.c").read_text(), "main.c": COLLECTOR},
        include=[library],
        flags=["-DEB_OBSERVE=my_own_log"],
        inputs={"picture": given["x"].tobytes()},
        outputs=["seen", "used"],
    )
    memory, log = Memory(read(folder / MANIFEST)), ran.outputs["seen"]
    at, (end,) = 0, struct.unpack("<I", ran.outputs["used"])
    while at < end:
        stage, step, size = struct.unpack_from("<3I", log, at)
        memory.take(stage, step, 0, log[at + 12 : at + 12 + size])
        at += 12 + size
    check(program, given, memory.inner())


@pytest.mark.parametrize("cpu", ["m0plus", "m4", "m7", "m33", "m55"])
def test_without_the_switch_objects_are_those_of_sources_that_lack_it(
    cpu: str, tmp_path: Path
) -> None:
    folder = folder_of(quantised(mobile()), tmp_path / "a", cpu)
    runtime = folder / "library" / "edgebed" / "eb_run.h"
    source, core = folder / "library" / "mobile.c", find_core(cpu)
    tool = find_compiler(core)
    tool.compile(source, tmp_path / "with.o")
    bare, count = SWITCHED.subn("", runtime.read_text())
    assert count == 2
    runtime.write_text(bare)
    tool.compile(source, tmp_path / "without.o")
    assert (tmp_path / "with.o").read_bytes() == (tmp_path / "without.o").read_bytes()


def test_the_firmware_pays_only_where_it_is_observed(tmp_path: Path) -> None:
    folder, core = folder_of(quantised(mobile()), tmp_path / "a", "m4"), find_core("m4")
    plain = sizes(build(folder, core))
    (tmp_path / "b").mkdir()
    observed = sizes(build(folder, core, flags=(SWITCH,), objects=tmp_path / "b"))
    assert observed.code_flash > plain.code_flash
    assert observed.weights_flash == plain.weights_flash and observed.arena == plain.arena


def test_observed_and_plain_board_agree_and_figures_are_the_plain_ones(tmp_path: Path) -> None:
    program = quantised(mobile())
    folder = folder_of(program, tmp_path, "m4")
    build(folder, find_core("m4"))
    (given,) = pictures(program, 1)
    sample = {"x": given["x"][None]}
    with closing(load(folder)) as network:
        output = network.run(sample)
        counted = network.figures["instructions"].value
        shown = {one.name: one.values for one in network.watch(sample)}
        np.testing.assert_array_equal(shown["classes"], np.asarray(output)[0])
        network.run(sample)
        assert network.figures["instructions"].value == pytest.approx(counted, rel=1e-3)


def test_a_folder_of_an_earlier_version_says_so(tmp_path: Path) -> None:
    from dataclasses import replace

    manifest = read(folder_of(quantised(mobile()), tmp_path, "m4") / MANIFEST)
    with pytest.raises(EdgebedError, match="earlier version"):
        Memory(replace(manifest, inner=()))
