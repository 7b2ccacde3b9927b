"""A virtual microcontroller counts pictures, reports, and `observe` judges the report.

    python benchmarks/device_sketches.py DATA CASES [--pictures 200] [--cpu m4]

The generated C of the network for visual wake words runs with the switch EB_OBSERVE on the virtual
core. Every packet must hold what `Sketch.of` counts in the interpreter's tensors. The profile is
made of pictures that the device does not see; it then sees others, clean ones and darkened ones.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from drift_data import visual_wake_words

from edgebed.compile.passes import optimise
from edgebed.observe.drift_profile import Profile, profile_of_frames
from edgebed.observe.drift_sketches import drift_of_reports
from edgebed.observe.drift_stream import key_of
from edgebed.observe.recorders import reference
from edgebed.observe.sketch import Report, Sketch, captured
from edgebed.program.types import Array, Program
from edgebed.targets._shared.bare_metal import BareProgram, build_c
from edgebed.targets._shared.rows import sketches
from edgebed.targets._shared.rows.emit import Project, files
from edgebed.targets.cortex_m.target import TARGET

AT_ONCE = 40
"""Pictures that lie in the board's memory; each such batch ends with a packet."""
BOARD = """
#include "@name@.h"
#include "@name@_sketch.h"
enum { FRAMES = @frames@ };
static uint8_t arena[@NAME@_ARENA_BYTES] __attribute__((aligned(16)));
uint8_t pictures[FRAMES * @NAME@_INPUT_0_BYTES], packet[16384];
uint32_t used;
const volatile uint32_t frames = FRAMES;
#define SEEN __attribute__((noinline, used))
SEEN void one_run(void) { @name@_run(arena); }
SEEN void inputs(void) { __asm__ volatile(""); @inputs@ }
SEEN void finish(void) { __asm__ volatile(""); @end@ }
void bench(void) {
    static const uint16_t watched[] = {@watched@};
    static uint32_t memory[@NAME@_SKETCH_WORDS(sizeof watched / sizeof *watched)];
    @begin@
    for (uint32_t frame = 0; frame < frames; frame++) {
        uint8_t *in = @name@_input(arena, 0);
        for (uint32_t i = 0; i < @NAME@_INPUT_0_BYTES; i++)
            in[i] = pictures[frame * @NAME@_INPUT_0_BYTES + i];
        inputs();
        one_run();
    }
    finish();
}
"""


def main() -> None:
    arguments = _arguments()
    source = visual_wake_words(arguments.data, arguments.cases)
    program, _ = optimise(source.program, lambda _: None)
    project = TARGET.with_options({"cpu": arguments.cpu}).project(program)
    keys = [one.key for one in sketches.parted(project)[0]]
    ends = [at for at, key in enumerate(keys) if key.startswith(("input ", "output "))]
    some = [ends[0], len(keys) // 2, ends[-1]]
    count = arguments.pictures
    shown, others = source.samples[:count], source.samples[count:]
    profile = _profile(program, [source.prepare(one) for one in others])
    clean = [source.prepare(one) for one in shown]
    dark = [source.prepare((one * 0.5).astype(np.uint8)) for one in shown]
    result: dict[str, Any] = {"pictures": count, "tensors": [keys[at] for at in some]}
    board = _built(project, arguments.cpu, some)
    for name, inputs in (("clean", clean), ("darkened", dark)):
        reports = [_reported(board, part, keys) for part in _parts(inputs)]
        equal = [_equal(program, part, report) for part, report in zip(_parts(inputs), reports,
                                                                      strict=True)]  # fmt: skip
        found = drift_of_reports(reports, profile)
        result[name] = {
            "packets equal": f"{sum(equal)} of {len(equal)}",
            "drifted": found.drifted,
            "verdicts": [str(v) for v in found.verdicts],
        }
    print(json.dumps(result, indent=1), flush=True)
    result = {"instructions of a frame": {
        label: _instructions(project, arguments.cpu, which, clean[0])
        for label, which in (("off", None), ("output", [ends[-1]]), ("input", [ends[0]]),
                             ("all", list(range(len(keys)))))
    }}  # fmt: skip
    print(json.dumps(result, indent=1))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("cases", type=Path)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--cpu", default="m4")
    return parser.parse_args()


def _profile(program: Program, inputs: Sequence[Array]) -> Profile:
    (name,) = program.inputs
    frames = (
        replace(frame, number=at) for at, one in enumerate(inputs)
        for frame in reference.record(program, {name: one})
    )  # fmt: skip
    return profile_of_frames(frames, reference.manifest(program, "full"))


def _parts(inputs: Sequence[Array]) -> list[Sequence[Array]]:
    return [inputs[at : at + AT_ONCE] for at in range(0, len(inputs), AT_ONCE)]


def _built(
    project: Project, cpu: str, watched: Sequence[int] | None, frames: int = AT_ONCE
) -> BareProgram:
    name = project.name
    on = watched is not None
    given = {
        "@frames@": str(frames), "@watched@": ", ".join(map(str, watched or [0])),
        "@inputs@": f"{name}_sketch_inputs(arena);" if on else "",
        "@begin@": f"{name}_sketch_begin(memory, watched, sizeof watched / 2);" if on
        else "(void)watched, (void)memory;",
        "@end@": f"const uint8_t *from = {name}_sketch_packet(&used);"
        " for (uint32_t i = 0; i < used; i++) packet[i] = from[i];" if on else "packet[0] = 1;",
        "@name@": name, "@NAME@": name.upper(),
    }  # fmt: skip
    text = BOARD
    for key, value in given.items():
        text = text.replace(key, value)
    made = {**files(project), **sketches.files(project)}
    texts = {path.replace("edgebed/", ""): data.decode().replace('"edgebed/', '"')
             for path, data in made.items()}  # fmt: skip
    return build_c(
        cpu, {**{n: t for n, t in texts.items() if n.endswith(".c")}, "main.c": text},
        headers={n: t for n, t in texts.items() if n.endswith(".h")},
        flags=[f"-DEB_OBSERVE={name}_sketch_step"] if on else [],
    )  # fmt: skip


def _reported(board: BareProgram, inputs: Sequence[Array], keys: Sequence[str]) -> Report:
    data = b"".join(one.tobytes() for one in inputs)
    ran = board.run(
        ["packet", "used"], limit=10**11,
        inputs={"pictures": data, "frames": len(inputs).to_bytes(4, "little")},
    )  # fmt: skip
    size = int.from_bytes(ran.outputs["used"], "little")
    ((report,), damaged) = captured(ran.outputs["packet"][:size], keys)
    assert not damaged and not report.unknown
    return report


def _equal(program: Program, inputs: Sequence[Array], report: Report) -> bool:
    (name,) = program.inputs
    found: dict[str, Sketch] = {}
    for one in inputs:
        (frame,) = reference.record(program, {name: one})
        for tensor in frame.tensors:
            if (key := key_of(tensor)) in report.sketches and tensor.values is not None:
                sketch = Sketch.of(tensor.values)
                found[key] = found[key] + sketch if key in found else sketch
    return report.sketches == found


def _instructions(project: Project, cpu: str, watched: Sequence[int] | None, picture: Array) -> int:
    board = _built(project, cpu, watched, 1)
    given = {"pictures": picture.tobytes()}
    marks = ["inputs", "one_run", "finish"]
    at = dict(board.run(["packet"], inputs=given, marks=marks, limit=10**11).entries)
    return at["finish"] - at["inputs"]


if __name__ == "__main__":
    main()
