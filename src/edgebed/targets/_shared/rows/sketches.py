"""C that counts the values of chosen tensors on the device: what it reports for `edgebed observe`.

The counts are those of `edgebed.observe.sketch`, whose packet the device fills in place. Nothing of
it is compiled without the switch EB_OBSERVE.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from edgebed.program.types import TensorType
from edgebed.targets._shared.rows.emit import HERE, Project, comment
from edgebed.targets._shared.rows.lowering import FETCH
from edgebed.targets._shared.rows.manifest import inner

RUNTIME: Final = "eb_sketch.h"
HEAD_BYTES: Final = 12
TENSOR_BYTES: Final = 148
"""Of a packet: 32 counters, frames, values at either end, a flag, the name's CRC-32."""
_SIGNS: Final = {"int8": 0x80, "uint8": 0, "int16": 0x80, "uint16": 0}


@dataclass(frozen=True)
class Counted:
    """A tensor that can be counted.

    Attributes:
        key: what traces and profiles call it, e.g. `input x`.
        macro: its number's C name without the network's.
        kind: its type.
        stage: that writes it; -1 for an input that is in the arena before the run.
        last: number of that stage's last step.
        sign: 0x80 where the stored integers have a sign, or are stored less 128.
        adds: it is complete only after the last step.
        offset: of an input in the arena.
    """

    key: str
    macro: str
    kind: TensorType
    stage: int
    last: int = 0
    sign: int = 0
    adds: bool = False
    offset: int = 0

    @property
    def values(self) -> int:
        """Of a frame."""
        return self.kind.nbytes // self.width

    @property
    def width(self) -> int:
        """Bytes of a value."""
        return 2 if self.kind.dtype.endswith("16") else 1


def files(project: Project) -> dict[str, bytes]:
    """Return the header, the source and the runtime by path."""
    name = project.name
    tensors, others = parted(project)
    return {
        f"{name}_sketch.h": _header(project, tensors, others).encode(),
        f"{name}_sketch.c": _source(project, tensors).encode(),
        f"edgebed/{RUNTIME}": (HERE / "runtime" / RUNTIME).read_bytes(),
    }


def parted(project: Project) -> tuple[list[Counted], list[tuple[str, str]]]:
    """Return the tensors that can be counted, and (name, type) of those that cannot."""
    tensors = list[Counted]()
    others = list[tuple[str, str]]()
    for one in (*_inputs(project), *_layers(project), *_outputs(project)):
        if one.kind.dtype in _SIGNS and one.values:
            tensors.append(one)
        else:
            others.append((one.key, one.kind.dtype))
    return tensors, others


def _inputs(project: Project) -> Iterator[Counted]:
    writers = _writers(project)
    for number, (name, kind) in enumerate(project.program.inputs.items()):
        storage, sign = project.network.inputs[number], _SIGNS.get(kind.dtype, 0)
        macro = f"INPUT_{number}"
        stage = writers.get(storage, -1)
        fetched = stage >= 0 and project.network.stages[stage].function == FETCH
        last = project.network.stages[stage].steps - 1 if fetched else 0
        offset = 0 if fetched else project.offset(storage)
        at = stage if fetched else -1
        yield Counted(f"input {name}", macro, kind, at, last, sign, offset=offset)


def _layers(project: Project) -> Iterator[Counted]:
    program, stages = project.program, project.network.stages
    for one in inner(project):
        if one.name in program.outputs:
            continue
        kind, stage = program.types[one.name], stages[one.stage]
        sign = 0x80 if one.flipped else _SIGNS.get(kind.dtype, 0)
        yield Counted(
            one.name, f"LAYER_{one.stage}", kind, one.stage, stage.steps - 1, sign,
            stage.accumulates,
        )  # fmt: skip


def _outputs(project: Project) -> Iterator[Counted]:
    writers = _writers(project)
    for number, name in enumerate(project.program.outputs):
        kind, storage = project.program.types[name], project.network.outputs[number]
        if storage not in writers or project.network.tensors[storage].nbytes != kind.nbytes:
            continue
        at = writers[storage]
        stage = project.network.stages[at]
        sign = _SIGNS.get(kind.dtype, 0)
        yield Counted(f"output {name}", f"OUTPUT_{number}", kind, at, stage.steps - 1, sign,
                      stage.accumulates)  # fmt: skip


def _writers(project: Project) -> dict[str, int]:
    return {stage.output: number for number, stage in enumerate(project.network.stages)}


def _header(project: Project, tensors: list[Counted], others: list[tuple[str, str]]) -> str:
    name, upper = project.name, project.name.upper()
    rows = "\n".join(
        f"    {upper}_SKETCH_{one.macro} = {number}, /* {comment(one.key)}: {one.kind.dtype} */"
        for number, one in enumerate(tensors)
    )
    rows = f"enum {{\n{rows}\n}};" if rows else "/* none */"
    left = "".join(f"\n   {comment(key)}: {dtype}" for key, dtype in others)
    left = f"\n/* Cannot be counted, being no integers of 8 or 16 bits:{left} */" if left else ""
    return f"""/* Counts of what {name} reads and computes, for a device to report.
 * Generated by edgebed.
 *
 * Compile the library with -DEB_OBSERVE={name}_sketch_step; without the switch there is not a byte
 * of this. The counts add up over frames and need {HEAD_BYTES} bytes and {TENSOR_BYTES} for each \
tensor:
 *
 *   static const uint16_t watched[] = {{{_example(upper, tensors)}}};
 *   static uint32_t memory[{upper}_SKETCH_WORDS(1)];
 *   {name}_sketch_begin(memory, watched, 1);
 *   for each frame: put the input, {name}_sketch_inputs(arena), {name}_run
 *   uint32_t bytes;
 *   const void *packet = {name}_sketch_packet(&bytes);
 *
 * Send the packet before the next frame, which begins new counts. Packets may have text between
 * them: edgebed observe CAPTURED.bin --program DIR finds them and compares them with the profile
 * in DIR. An observer of your own may call {name}_sketch_step with what it is given.
 */
#ifndef {upper}_SKETCH_H
#define {upper}_SKETCH_H

#include <stdint.h>

#define {upper}_SKETCH_WORDS(tensors) ({HEAD_BYTES // 4} + {TENSOR_BYTES // 4} * (tensors))

/* What can be counted; the number of a layer is that of its stage in network.json. */
{rows}
{left}
#ifdef __cplusplus
extern "C" {{
#endif

/* Begins to count `count` tensors in `memory`; both must stay where they are. */
void {name}_sketch_begin(uint32_t *memory, const uint16_t *watched, uint32_t count);

/* Counts inputs that lie in the arena, before the run that may write over them. */
void {name}_sketch_inputs(const void *arena);

/* Called by the network after each step. */
void {name}_sketch_step(int32_t stage, int32_t step, const void *out, uint32_t bytes);

/* What was counted since the last packet, little-endian. */
const void *{name}_sketch_packet(uint32_t *bytes);

#ifdef __cplusplus
}}
#endif

#endif
"""


def _example(upper: str, tensors: list[Counted]) -> str:
    return f"{upper}_SKETCH_{tensors[0].macro}" if tensors else "0"


def _source(project: Project, tensors: list[Counted]) -> str:
    name = project.name
    rows = "\n".join(
        f"    {{0x{zlib.crc32(one.key.encode()):08x}u, {one.offset}, {one.values}, {one.stage},"
        f" {one.last}, {one.width}, {one.sign}, {int(one.adds)}}}, /* {comment(one.key)} */"
        for one in tensors
    )
    rows = rows or "    {0, 0, 0, -2, 0, 1, 0, 0},"
    return f"""/* The functions of {name}_sketch.h. Generated by edgebed. */
#include "{name}_sketch.h"

#ifdef EB_OBSERVE
#include "edgebed/{RUNTIME}"

/* name, offset, values, stage, last step, bytes of a value, sign, adds */
static const eb_sketch_tensor tensors[] = {{
{rows}
}};

static eb_sketch_state state;

void {name}_sketch_begin(uint32_t *memory, const uint16_t *watched, uint32_t count) {{
    eb_sketch_begin(&state, tensors, memory, watched, count);
}}

void {name}_sketch_inputs(const void *arena) {{
    eb_sketch_step(&state, tensors, -1, 0, arena, 0);
}}

void {name}_sketch_step(int32_t stage, int32_t step, const void *out, uint32_t bytes) {{
    eb_sketch_step(&state, tensors, stage, step, out, bytes);
}}

const void *{name}_sketch_packet(uint32_t *bytes) {{
    return eb_sketch_give(&state, bytes);
}}
#endif
"""
