"""Defects that kernels really have, planted in one layer of a generated row-wise project.

The project's C is edited, nothing else: tables, parameters, or a copy of the layer's kernel. So the
same defect runs on this computer and on a virtual core.
"""

from __future__ import annotations

import ctypes
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from native_network import program_inputs

from edgebed.observe.recorders import reference
from edgebed.observe.recorders.described import manifest_of, tensor_of
from edgebed.observe.recorders.library import seen
from edgebed.observe.trace import Frame, Tensor
from edgebed.observe.trace_writer import TraceWriter
from edgebed.program.types import Program
from edgebed.targets._shared.rows import manifest as manifests
from edgebed.targets._shared.rows.emit import Project, files
from edgebed.targets._shared.rows.kernels.portable import PORTABLE
from edgebed.targets._shared.rows.kernels.sets import KernelSet
from edgebed.targets._shared.rows.stage import Stage
from edgebed.targets._shared.toolchain import host_compilers
from edgebed.targets.contract import Inner
from edgebed.targets.cortex_m.target import Microcontroller
from edgebed.targets.cortex_m.watch import Memory

Array = npt.NDArray[Any]
Files = dict[str, bytes]
Defect = Literal["overflow", "scale", "rounding", "border", "stale"]
DEFECTS: tuple[Defect, ...] = get_args(Defect)

_OVERFLOW = "return eb_byte((int16_t)sum, line, output);"
_CUT = """
    int64_t y;
    if (output->rule == 0) {
        uint32_t low;
        const int32_t half = output->fraction ? 1 << (output->fraction - 1) : 0;
        y = (eb_rules_product(sum, line->multiplier, &low) + line->c - half) >> output->fraction;
        return (int8_t)eb_limit((int32_t)y, output->low, output->high);
    }
    if (output->rule == 4) {
        union { int32_t bits; float real; } factor = {line->multiplier};
        y = (int32_t)((float)sum * factor.real);
    } else {
        const int32_t right = output->rule == 3 ? 32 + line->c : 31 - line->c;
        y = right > 62 ? -(sum < 0) : ((int64_t)sum * line->multiplier) >> right;
    }
    return (int8_t)eb_limit((int32_t)y + output->zero_point, output->low, output->high);"""
_PARAMETERS = re.compile(r"(-?\d+), \{(-?\d+), (-?\d+), (-?\d+), (\d+), (\d+)\}\};")
"""Zero point of the input, and the output, at the end of an eb_conv."""


class PortableM4(Microcontroller):
    """A Cortex-M4 that gets the kernels any core can run: they are the ones planted in."""

    @property
    def kernels(self) -> KernelSet:
        return PORTABLE


@dataclass(frozen=True)
class Place:
    """A stage that can be seen: its number, facts, and the defects that it can have."""

    number: int
    stage: Stage
    defects: tuple[Defect, ...]


def places(project: Project) -> list[Place]:
    """Return the layers of a project that can have a defect."""
    seen = {one.stage for one in manifests.describe(project, "m4", "balanced").inner}
    found = []
    for number, stage in enumerate(project.network.stages):
        if number in seen:
            found.append(Place(number, stage, tuple(_possible(stage))))
    return found


def _possible(stage: Stage) -> Iterator[Defect]:
    yield "stale"
    if stage.layer_type != "eb_conv" or not stage.function.endswith("portable"):
        return
    yield from ("overflow", "rounding")
    lines = [t for t in stage.tables if t.c_type == "eb_line"]
    if lines and len({row[1] for row in _rows(lines[0].data)}) > 1:
        yield "scale"
    if any(window.pad for window in stage.inputs) or _padded_columns(stage):
        yield "border"


def _rows(data: bytes) -> list[list[int]]:
    rows: list[list[int]] = np.frombuffer(data, "<i4").reshape(-1, 3).tolist()
    return rows


def _padded_columns(stage: Stage) -> bool:
    numbers = [int(word) for word in re.findall(r"(?<![\w.])-?\d+", stage.layer)]
    return bool(numbers[8])  # in width, channels, out width, channels, depth, kernel 2, stride, pad


def plant(project: Project, place: Place, defect: Defect, rng: np.random.Generator) -> Files:
    """Return the files of a project with a defect in one layer.

    Args:
        project: with portable kernels.
        place: of `places(project)`.
        defect: one that is possible there.
        rng: decides which row stays stale.
    """
    made = files(project)
    source = f"{project.name}.c"
    planters: dict[Defect, Callable[[str], str]] = {
        "overflow": lambda text: _other_kernel(text, place, made, _OVERFLOW),
        "rounding": lambda text: _other_kernel(text, place, made, _CUT),
        "border": lambda text: _other_border(text, place),
        "stale": lambda text: _skipped(text, place, int(rng.integers(place.stage.steps))),
        "scale": lambda text: text,
    }
    if defect == "scale":
        path = f"{project.name}_tables.h"
        made[path] = _next_scale(made[path].decode(), place).encode()
    made[source] = planters[defect](made[source].decode()).encode()
    return made


def _other_kernel(text: str, place: Place, made: Files, body: str) -> str:
    """Let the stage run a copy of its kernel whose last step does something else."""
    kernel = made[f"edgebed/{place.stage.header}"].decode()
    kernel = re.sub(r"\beb_(conv|depthwise)_(\w+)", r"planted_\1_\2", kernel)
    kernel = re.sub(r"\bEB_(CONV|DEPTHWISE|ROLLED)", r"PLANTED_\1", kernel)
    kernel = kernel.replace("eb_byte(", "planted_byte(").replace('include "', 'include "edgebed/')
    byte = (
        "static inline int8_t planted_byte(int32_t sum, const eb_line *line,\n"
        f"                                  const eb_output *output) {{\n    {body}\n}}\n"
    )
    name = place.stage.function.replace("eb_", "planted_", 1)
    text = _before(text, "static const eb_stage eb_stages", f"{byte}{kernel}\n")
    return _renamed(text, place, name)


def _before(text: str, mark: str, new: str) -> str:
    assert text.count(mark) == 1
    return text.replace(mark, new + mark)


def _renamed(text: str, place: Place, name: str) -> str:
    """Give the stage another function."""
    lines = text.split("\n")
    at = next(
        i for i, line in enumerate(lines) if f"/* {place.number}: " in line and "{" in line[:6]
    )
    lines[at] = lines[at].replace(place.stage.function + ",", name + ",", 1)
    return "\n".join(lines)


def _other_border(text: str, place: Place) -> str:
    """Let pixels outside of the map hold 0, not the integer that means 0.0."""
    lines = text.split("\n")
    at = next(i for i, one in enumerate(lines) if f" eb_layer_{place.number} =" in one)
    found = _PARAMETERS.search(lines[at])
    assert found
    wrong = 0 if int(found[1]) else -128
    rest = lines[at][found.start() + len(found[1]) :]
    lines[at] = f"{lines[at][: found.start()]}{wrong}{rest}"
    return "\n".join(lines)


def _skipped(text: str, place: Place, step: int) -> str:
    """Let one step of the stage do nothing: what lay in its buffer stays there."""
    name = f"planted_{place.number}"
    wrapper = (
        f"static void {name}(const void *layer, const int8_t *const *rows, int8_t *out,\n"
        "                    void *scratch, int32_t step) {\n"
        f"    if (step != {step}) {place.stage.function}(layer, rows, out, scratch, step);\n}}\n\n"
    )
    return _renamed(_before(text, "static const eb_stage eb_stages", wrapper), place, name)


def _next_scale(text: str, place: Place) -> str:
    """Give every channel the multiplier of the next one."""
    table = next(one for one in place.stage.tables if one.c_type == "eb_line")
    rows = _rows(table.data)
    moved = [[row[0], rows[(i + 1) % len(rows)][1], row[2]] for i, row in enumerate(rows)]
    listed = ",\n".join("{" + ", ".join(map(str, row)) + "}" for row in moved)
    head = re.escape(f"eb_line {table.name}[{len(rows)}]")
    new, count = re.subn(
        rf"({head}[^\n]*= \{{\n).*?(\n\}};)", rf"\g<1>{listed}\2", text, flags=re.S
    )
    assert count == 1
    return new


# ---- running them ----

_SEEN = ctypes.CFUNCTYPE(None, ctypes.c_int32, ctypes.c_int32, ctypes.c_void_p, ctypes.c_uint32)
_HOOK = """#include <stdint.h>
static void (*hook)(int32_t, int32_t, const void *, uint32_t);
void planted_hook(void (*to)(int32_t, int32_t, const void *, uint32_t)) { hook = to; }
void planted_seen(int32_t stage, int32_t step, const void *out, uint32_t bytes) {
    hook(stage, step, out, bytes);
}
"""


class NativeObserved:
    """A project's files as a library of this process, with the switch EB_OBSERVE."""

    def __init__(self, project: Project, made: Mapping[str, bytes], folder: Path) -> None:
        self.project, self.facts = project, manifests.describe(project, "m4", "balanced")
        for path, data in {**made, "hook.c": _HOOK.encode()}.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        sources = [str(folder / f"{project.name}.c"), str(folder / "hook.c")]
        flags = ("-std=c99", "-O1", "-shared", "-fPIC", "-DEB_OBSERVE=planted_seen")
        command = [*host_compilers()[0].command, *flags, *sources, "-o", str(folder / "seen.so")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        self.library = ctypes.CDLL(str(folder / "seen.so"))
        arena = np.zeros(project.placement.peak + 16, np.uint8)  # kept, as on a device
        self.arena = arena[-arena.ctypes.data % 16 :][: project.placement.peak]

    def watch(self, inputs: Mapping[str, Array]) -> tuple[Inner, ...]:
        memory = Memory(self.facts)

        def take(stage: int, step: int, out: int, size: int) -> None:
            memory.take(stage, step, 0, ctypes.string_at(out, size))

        hook = _SEEN(take)
        self.library.planted_hook(hook)
        for name, storage in zip(inputs, self.project.network.inputs, strict=True):
            data = np.ascontiguousarray(inputs[name]).view(np.uint8).reshape(-1)
            at = self.project.offset(storage)
            self.arena[at : at + data.size] = data
        run = getattr(self.library, f"{self.project.name}_run")
        run(ctypes.c_void_p(self.arena.ctypes.data))
        return memory.inner()


def frame_of(
    program: Program, inputs: Mapping[str, Array], inner: tuple[Inner, ...], number: int
) -> Frame:
    """Return a device's frame of inputs and whatever could be seen."""
    tensors: list[Tensor] = [tensor_of(program, n, v, "input") for n, v in inputs.items()]
    tensors += [seen(program, one) for one in inner]
    return Frame(number, tuple(tensors))


def write_traces(
    program: Program, watch: Callable[[Mapping[str, Array]], tuple[Inner, ...]], folder: Path,
    source: str, frames: int = 2, seed: int = 0,
) -> tuple[Path, Path]:  # fmt: skip
    """Write the traces of the reference and of a device on the same inputs."""
    paths = folder / "reference.trace", folder / "device.trace"
    manifest = manifest_of(program, source, "full")
    with (
        TraceWriter(paths[0], replace(manifest, source="reference")) as right,
        TraceWriter(paths[1], manifest) as device,
    ):
        for number in range(frames):
            inputs = program_inputs(program, seed + number)
            (known,) = reference.record(program, inputs)
            right.write(replace(known, number=number))
            device.write(frame_of(program, inputs, watch(inputs), number))
    return paths
