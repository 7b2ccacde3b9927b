"""A user's own firmware around a generated network, with a trace on its serial line."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgebed.targets._shared.arm_cores import find_core
from edgebed.targets._shared.elf import load_firmware
from edgebed.targets._shared.rows.manifest import Manifest, read
from edgebed.targets.cortex_m.board.board import Board, UnicornBoard
from edgebed.targets.cortex_m.board.qemu import QemuBoard
from edgebed.targets.cortex_m.build import MANIFEST, build

END = b"that was all\n"
APPLICATION = """\
#include "network.h"
#include "uart.h"

int main(void);
void report_fault(void);
static uint8_t arena[NETWORK_ARENA_BYTES] __attribute__((aligned(16), section(".arena")));
static const uint32_t input_bytes[] = NETWORK_INPUT_BYTES;
static uint32_t seed = 1;

static void say(const char *text) { while (*text) uart_put((uint8_t)*text++); }

void report_fault(void) { say("fault\\n"); for (;;) uart_sleep(); }

static uint8_t noise(void) { seed = seed * 1664525u + 1013904223u; return (uint8_t)(seed >> 24); }
@READER@
int main(void) {
    uart_start();
    uart_wait();
    say("hello, \\xEB world\\r\\n");
    for (int n = 0; n < @FRAMES@; n++) {
        @FILL@
        network_run(@RUN@);
        say("a frame is done\\r\\n");
    }
    say("that was all\\n");
    for (;;) uart_wait();
}
"""
FILL = """for (int i = 0; i < NETWORK_INPUTS; i++)
            for (uint32_t at = 0; at < input_bytes[i] / sizeof(@TYPE@); at++)
                ((@TYPE@ *)network_input(arena, i))[at] = @VALUE@;"""
READER = """
static void read_row(void *context, int32_t input, int32_t row, void *to) {
    static const uint32_t rows[] = NETWORK_INPUT_ROWS;
    (void)context, (void)row;
    for (uint32_t at = 0; at < input_bytes[input] / rows[input]; at++)
        ((uint8_t *)to)[at] = noise();
}
"""
ADDED = {
    '#include "uart.h"\n': """\
#include "@NAME@_trace.h"
static void to_uart(void *context, const void *bytes, uint32_t count) {
    (void)context;
    for (uint32_t i = 0; i < count; i++) uart_put(((const uint8_t *)bytes)[i]);
}
""",
    "    for (int n = 0": "    @NAME@_trace_begin(to_uart, 0);\n",
    "        network_run(": """\
        @NAME@_trace_sensor("battery_mv", 3700 - n);
        @NAME@_trace_note("place", "hall");
""",
}
"""By where the lines go in: after the first, before the others."""


def added_lines() -> int:
    """How many lines a user writes for a trace."""
    return sum(text.count("\n") for text in ADDED.values())


def source(manifest: Manifest, frames: int, *, traced: bool = True) -> str:
    """Return the user's main.c."""
    fetched, real = manifest.fetched, manifest.inputs[0].dtype == "float32"
    text = APPLICATION
    for place, lines in ADDED.items() if traced else ():
        assert text.count(place) == 1, place
        both = place + lines if place.startswith("#include") else lines + place
        text = text.replace(place, both)
    values = {
        "NAME": manifest.name, "FRAMES": str(frames), "FILL": "" if fetched else FILL,
        "TYPE": "float" if real else "uint8_t",
        "VALUE": "(float)noise() * 0.00390625f" if real else "noise()",
        "READER": READER if fetched else "", "RUN": "arena, read_row, 0" if fetched else "arena",
    }  # fmt: skip
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    return text


def inputs(shape: tuple[int, ...], frames: int, dtype: str = "int8") -> npt.NDArray[Any]:
    """Return what `noise` puts into the only input, frames x shape."""
    count, seed, found = frames * int(np.prod(shape)), 1, bytearray()
    for _ in range(count):
        seed = (seed * 1664525 + 1013904223) & 0xFFFFFFFF
        found.append(seed >> 24)
    if dtype == "float32":
        return (np.frombuffer(bytes(found), np.uint8) / np.float32(256)).reshape(frames, *shape)
    return np.frombuffer(bytes(found), dtype).reshape(frames, *shape)


def built(folder: Path, place: Path, flags: tuple[str, ...], frames: int = 2, **how: bool) -> Path:
    """Build a compiled folder's network with the user's main.c; return the ELF file."""
    manifest = read(folder / MANIFEST)
    shutil.copytree(folder, place, dirs_exist_ok=True)
    (place / "firmware" / "packet.c").unlink()
    (place / "firmware" / "main.c").write_text(source(manifest, frames, **how))
    return build(place, find_core(manifest.cpu), flags=flags)


def said(elf: Path, cpu: str, *, qemu: bool = False) -> bytes:
    """Run a firmware to its end and return all that it sent."""
    core, firmware = find_core(cpu), load_firmware(elf)
    board: Board = (QemuBoard if qemu or not core.unicorn else UnicornBoard)(core, firmware)
    try:
        board.write(b"!")
        log = b""
        while not log.endswith(END):
            got = board.read()
            assert got, log[-200:]
            log += got
        return log
    finally:
        board.close()


def log_of(folder: Path, place: Path, level: int, *, frames: int = 2, qemu: bool = False) -> bytes:
    """Return what a compiled folder's network says of itself at a level."""
    elf = built(folder, place, (f"-DEB_TRACE={level}",), frames)
    return said(elf, read(folder / MANIFEST).cpu, qemu=qemu)
