"""Defects that kernels really have, planted in one layer of a generated row-wise project.

The project's C is edited, nothing else: tables, parameters, or a copy of the layer's kernel. So the
same defect runs on this computer and on a virtual core.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from planted_kernels import copied, planted_name
from planted_trials import Defect

from edgebed.targets._shared.rows import manifest as manifests
from edgebed.targets._shared.rows.emit import Project, files
from edgebed.targets._shared.rows.kernels.portable import PORTABLE
from edgebed.targets._shared.rows.kernels.sets import KernelSet
from edgebed.targets._shared.rows.stage import Stage
from edgebed.targets.cortex_m.target import Microcontroller

Files = dict[str, bytes]
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
    if stage.layer_type != "eb_conv":
        return
    copyable = stage.function.endswith(("_portable", "_dsp"))
    rule, fraction = _rule(stage)
    if copyable:
        yield "overflow"
    if copyable or (rule == 0 and fraction):
        yield "rounding"
    lines = [t for t in stage.tables if t.c_type == "eb_line"]
    if lines and len({row[1] for row in _rows(lines[0].data)}) > 1:
        yield "scale"
    if any(window.pad for window in stage.inputs) or _padded_columns(stage):
        yield "border"


def _rule(stage: Stage) -> tuple[int, int]:
    """Return the rule of requantisation and its fraction; see eb.h."""
    found = _PARAMETERS.search(stage.layer + ";")
    assert found
    return int(found[6]), int(found[5])


def _rows(data: bytes) -> list[list[int]]:
    rows: list[list[int]] = np.frombuffer(data, "<i4").reshape(-1, 3).tolist()
    return rows


def _padded_columns(stage: Stage) -> bool:
    numbers = [int(word) for word in re.findall(r"(?<![\w.])-?\d+", stage.layer)]
    return bool(numbers[8])  # in width, channels, out width, channels, depth, kernel 2, stride, pad


def plant(project: Project, place: Place, defect: Defect, rng: np.random.Generator) -> Files:
    """Return the files of a project with a defect in one layer.

    Args:
        project: of any core.
        place: of `places(project)`.
        defect: one that is possible there.
        rng: decides which row stays stale, and how many bits an accumulator has.
    """
    made = files(project)
    source = f"{project.name}.c"
    rule, fraction = _rule(place.stage) if place.stage.layer_type == "eb_conv" else (0, 0)
    bits = int(rng.integers(13, 18))
    planters: dict[Defect, Callable[[str], str]] = {
        "overflow": lambda text: _other_kernel(text, place, copied(
            place.stage.header, made, "overflow", bits)),
        "rounding": lambda text: _other_kernel(text, place, copied(
            place.stage.header, made, "rounding", bits)),
        "border": lambda text: _other_border(text, place),
        "stale": lambda text: _skipped(text, place, int(rng.integers(place.stage.steps))),
    }  # fmt: skip
    path = f"{project.name}_tables.h"
    if defect == "scale":
        made[path] = _other_lines(made[path].decode(), place, _next_scale).encode()
    elif defect == "rounding" and rule == 0 and fraction:
        half = 1 << (fraction - 1)
        made[path] = _other_lines(
            made[path].decode(), place, lambda rows: [[b, m, c - half] for b, m, c in rows]
        ).encode()
    else:
        made[source] = planters[defect](made[source].decode()).encode()
    return made


def _other_kernel(text: str, place: Place, kernel: str) -> str:
    """Let the stage run a copy of its kernel."""
    text = _before(text, "static const eb_stage eb_stages", f"{kernel}\n")
    return _renamed(text, place, planted_name(place.stage.function))


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


def _next_scale(rows: list[list[int]]) -> list[list[int]]:
    """Give every channel the multiplier of the next one."""
    return [[row[0], rows[(i + 1) % len(rows)][1], row[2]] for i, row in enumerate(rows)]


def _other_lines(
    text: str, place: Place, other: Callable[[list[list[int]]], list[list[int]]]
) -> str:
    """Write other numbers into the table of the stage's channels."""
    table = next(one for one in place.stage.tables if one.c_type == "eb_line")
    rows = _rows(table.data)
    listed = ",\n".join("{" + ", ".join(map(str, row)) + "}" for row in other(rows))
    head = re.escape(f"eb_line {table.name}[{len(rows)}]")
    new, count = re.subn(
        rf"({head}[^\n]*= \{{\n).*?(\n\}};)", rf"\g<1>{listed}\2", text, flags=re.S
    )
    assert count == 1
    return new
