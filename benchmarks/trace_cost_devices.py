"""What recording costs on devices: instructions, bytes a frame, code and memory, by level.

    python benchmarks/trace_cost_devices.py MODELS [--cpus m4,a72] [--out FILE.json]

MODELS is a folder with the official int8 .tflite files. Each network is compiled for each core and
built four times: without EB_TRACE and with 1, 2 and 3. Microcontrollers run on the virtual board
with a `write` that only counts, so that instructions are those of the recorder and not of a
serial port; programs for Arm Linux run under qemu or unicorn and write to a file, whose system
calls count with the instructions on this side of them. Instructions are emulated, of one frame
from the call of NAME_run to its return; bytes and sizes are measured; the time on the line is
estimated: 10 bits a byte at 921,600 baud. Prints a table and, with --out, writes JSON.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from edgebed.compile.passes import optimise
from edgebed.program.read import read_model
from edgebed.program.types import Program
from edgebed.targets import load
from edgebed.targets._shared.arm_cores import CORES as MICROCONTROLLERS
from edgebed.targets._shared.arm_cores import find_core
from edgebed.targets._shared.elf import load_firmware
from edgebed.targets._shared.rows.manifest import read
from edgebed.targets.arm_linux import build as arm_linux
from edgebed.targets.arm_linux import cores, emulation
from edgebed.targets.cortex_m.board.board import Board, UnicornBoard, marked
from edgebed.targets.cortex_m.board.qemu import QemuBoard
from edgebed.targets.cortex_m.build import build, sizes

NETWORKS = {
    "KWS": "kws_ref_model.tflite",
    "VWW": "vww_96_int8.tflite",
    "ResNet-8": "pretrainedResnet_quant.tflite",
}
LEVELS = ("off", "io", "statistics", "full")
BAUD, BITS = 921_600, 10
FRAMES = 2
MAIN = """\
#include "network.h"
#include "uart.h"
#include "@NAME@_trace.h"

int main(void);
void report_fault(void);
void network_call(void);
void network_end(void);
static uint8_t arena[NETWORK_ARENA_BYTES] __attribute__((aligned(16), section(".arena")));
static const uint32_t input_bytes[] = NETWORK_INPUT_BYTES;
static uint32_t sent;

static void count_only(void *context, const void *bytes, uint32_t count) {
    (void)context, (void)bytes;
    sent += count;
}

void report_fault(void) { for (;;) uart_sleep(); }

__attribute__((noinline, used)) void network_call(void) { network_run(arena); }

__attribute__((noinline, used)) void network_end(void) { __asm volatile("" ::: "memory"); }

int main(void) {
    uint32_t seed = 1;
    uart_start();
    @NAME@_trace_begin(count_only, 0);
    for (;;) {
        uart_wait();
        for (uint32_t at = 0; at < input_bytes[0]; at++) {
            seed = seed * 1664525u + 1013904223u;
            ((uint8_t *)network_input(arena, 0))[at] = (uint8_t)(seed >> 24);
        }
        sent = 0;
        network_call();
        network_end();
        for (int i = 0; i < 4; i++) uart_put((uint8_t)(sent >> 8 * i));
    }
}
"""


def main() -> None:
    arguments = _arguments()
    rows = [
        row
        for cpu in arguments.cpus.split(",")
        for title, name in NETWORKS.items()
        for row in costs(arguments.models / name, title, cpu)
    ]
    if arguments.out:
        arguments.out.write_text(json.dumps(rows, indent=1) + "\n")
    print("\n".join(table(rows)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("models", type=Path)
    parser.add_argument("--cpus", default="m4,a72")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def costs(model: Path, title: str, cpu: str) -> list[dict[str, Any]]:
    """Return one row for each level."""
    program = optimise(read_model(model))[0]
    measure = microcontroller if cpu in MICROCONTROLLERS else linux
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="edgebed-cost-") as scratch:
        for level, name in enumerate(LEVELS):
            found = measure(program, cpu, level, Path(scratch) / name)
            off = rows[0] if rows else found
            rows.append(
                {
                    "cpu": cpu, "network": title, "level": name, **found,
                    "added_instructions": found["instructions"] - off["instructions"],
                    "added_code_bytes": found["code_bytes"] - off["code_bytes"],
                    "line_ms": found["bytes_a_frame"] * BITS / BAUD * 1000,
                }
            )  # fmt: skip
    return rows


def microcontroller(program: Program, cpu: str, level: int, place: Path) -> dict[str, int]:
    load("cortex_m").with_options({"cpu": cpu}).plan(program).write(place)  # type: ignore[attr-defined]
    name = read(place / "network.json").name
    (place / "firmware" / "packet.c").unlink()
    (place / "firmware" / "main.c").write_text(MAIN.replace("@NAME@", name))
    core = find_core(cpu)
    elf = build(place, core, flags=(f"-DEB_TRACE={level}",) if level else ())
    firmware = load_firmware(elf)
    board: Board = (UnicornBoard if core.unicorn else QemuBoard)(core, firmware)
    try:
        for _ in range(FRAMES):
            board.write(b"!")
            sent = b""
            while len(sent) < 4:
                sent += board.read()
        names = marked(firmware)[0]
        events = [(names[one.mark], one.instructions) for one in board.counter.events()]
    finally:
        board.close()
    begin, end = ([at for name_, at in events if name_ == mark][-1]
                  for mark in ("network_call", "network_end"))  # fmt: skip
    found = sizes(elf)
    return {
        "instructions": end - begin, "bytes_a_frame": int.from_bytes(sent, "little"),
        "code_bytes": found.code_flash, "ram_bytes": found.static_ram,
    }  # fmt: skip


def linux(program: Program, cpu: str, level: int, place: Path) -> dict[str, int]:
    load("arm_linux").with_options({"cpu": cpu}).plan(program).write(place)  # type: ignore[attr-defined]
    manifest = read(place / arm_linux.MANIFEST)
    binary = place / manifest.name
    found = arm_linux.build_traced(place, binary, level)
    size = sum(one.nbytes for one in manifest.inputs)
    data = np.random.default_rng(0).integers(0, 256, FRAMES * size).astype(np.uint8).tobytes()
    entry = f"{manifest.name}_run"
    ran = emulation.run(cores.core(cpu), binary, data=data, watched=(entry, "eb_ran"), logs=True)
    (begin, end) = (at for _, at in ran.entries[-2:])
    return {
        "instructions": end - begin, "bytes_a_frame": len(ran.log) // FRAMES,
        "code_bytes": found["code"], "ram_bytes": 0,
    }  # fmt: skip


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Return a Markdown table."""
    lines = [
        "| core | network | level | instructions | added | bytes a frame | on the line | code |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        off = row["instructions"] - row["added_instructions"]
        lines.append(
            f"| {row['cpu']} | {row['network']} | {row['level']} | {row['instructions']:,} |"
            f" {row['added_instructions'] / off:.1%} | {row['bytes_a_frame']:,} |"
            f" {row['line_ms']:,.1f} ms | +{row['added_code_bytes']:,} |"
        )
    return lines


if __name__ == "__main__":
    main()
