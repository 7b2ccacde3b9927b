"""A compiled folder: the program, its plan, the firmware project and the build that booted.

program.onnx    the exact program
plan.json       target, digest, device layers, memories, sizes, cost
firmware/       the project's sources
firmware.elf    the build

A library's folder (`edgebed.deploy.library`) has the first two, and its project beside them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from edgebed import files
from edgebed.compile.plan import BuildPlan
from edgebed.errors import EdgebedError
from edgebed.events import Finished, Listener, Note, Started, ignore
from edgebed.figures import Figure
from edgebed.program import from_onnx, to_onnx
from edgebed.program.run import run
from edgebed.program.types import Program
from edgebed.targets.contract import Cost, LayerCost, Problem, Target
from edgebed.targets.layout import Layout

FORMAT: Final = 1
PLAN: Final = "plan.json"
PROGRAM: Final = "program.onnx"
SOURCES: Final = "firmware"
BUILD: Final = "firmware.elf"
KEYS: Final = ("target", "digest", "layout", "sizes", "cost")
"""What every plan.json has beside its format."""


class DoesNotFitError(EdgebedError):
    """A program breaks limits of a device; `problems` has every one of them."""

    def __init__(self, program: str, target: str, problems: list[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(problems)
        super().__init__(
            f"{program} does not fit {target}: {count} problem{'s' if count > 1 else ''}\n"
            + "\n".join(f"  {problem}" for problem in problems)
        )


@dataclass(frozen=True)
class Bundle:
    """A compiled folder.

    Attributes:
        folder: where it is.
        program: what it computes.
        plan: contents of `plan.json`.
    """

    folder: Path
    program: Program
    plan: Mapping[str, Any]

    @property
    def target(self) -> str:
        """Name of the device."""
        return str(self.plan["target"])

    @property
    def layout(self) -> Layout:
        """Device layers and memory maps."""
        return Layout.from_json(self.plan["layout"])

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of the build by name; empty when only sources were written."""
        return dict(self.plan["sizes"])

    @property
    def cost(self) -> Cost:
        """Time, energy and memory, per device layer and in total."""
        stored = self.plan["cost"]
        layers = (
            LayerCost(one["name"], one["macs"], _figures(one["figures"]))
            for one in stored["layers"]
        )
        return Cost(tuple(layers), _figures(stored["total"]))


def build(
    program: Program,
    target: Target,
    folder: Path,
    listener: Listener = ignore,
    *,
    source: Any = None,
    only_generate: bool = False,
) -> Bundle:
    """Check, plan, write, build, and boot the build on the virtual device.

    Args:
        program: what to compile.
        target: for which device.
        folder: where to; what an earlier call wrote there is replaced.
        listener: hears the steps.
        source: what the target plans instead of the program: a project with its own layout.
        only_generate: stop after writing the sources.

    Raises:
        DoesNotFitError: the program breaks limits of the device.
        EdgebedError: a file can't be written, no compiler is there, or the build answers wrongly.
    """
    given = program if source is None else source
    listener(Started("compile", f"{program.name} for {target.name}, into {folder}"))
    for warning in fitting(program, target, given):
        listener(Note("compile", str(warning)))
    plan = target.plan(given)
    _clear(folder)
    to_onnx.save(program, folder / PROGRAM)  # first: it marks the folder as one of ours
    plan.write(folder / SOURCES)
    # The plan marks a folder as compiled, so without a build that booted it is not written.
    sizes = {} if only_generate else _built(program, target, folder, listener)
    content = plan_content(program, plan, target.layout(given), target.cost(given), sizes)
    if defect := _defect(target):
        content["defect"] = defect
    files.write_text(folder / PLAN, json.dumps(content, indent=2) + "\n")
    listener(Finished("compile", _said(folder, sizes, defect)))
    return Bundle(folder, program, content)


def fitting(program: Program, target: Target, source: Any) -> list[Problem]:
    """Return a device's warnings about a program that fits it.

    Raises:
        DoesNotFitError: the program breaks limits of the device.
    """
    found = target.check(source)
    broken = [problem for problem in found if not problem.warning]
    if broken:
        raise DoesNotFitError(program.name, target.name, broken)
    return found


def load(path: Path) -> Bundle:
    """Open a compiled folder, or the one inside a run folder.

    Raises:
        EdgebedError: it is none, or damaged.
    """
    folder = find(path)
    if folder is None:
        raise EdgebedError(
            "is not a compiled folder",
            where=str(path),
            why=f"no {PLAN}",
            try_="edgebed compile MODEL --target NAME --out DIR first",
        )
    try:
        plan = json.loads((folder / PLAN).read_text())
        known = plan["format"]
        missing = [key for key in KEYS if key not in plan]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EdgebedError(
            "cannot be read", where=str(folder / PLAN), why=str(error), try_="compile again"
        ) from error
    if known != FORMAT:
        raise EdgebedError(
            f"has format {known}", where=str(folder / PLAN), try_="compile again with this version"
        )
    if missing:
        raise EdgebedError(
            f"lacks {', '.join(missing)}", where=str(folder / PLAN), try_="compile again"
        )
    return Bundle(folder, from_onnx.load(folder / PROGRAM), plan)


def find(path: Path) -> Path | None:
    """Return `path`, or its `device` folder, whichever was compiled; None for neither."""
    return next((one for one in (path, path / "device") if (one / PLAN).is_file()), None)


def is_ours(folder: Path) -> bool:
    """Say whether a compile wrote a folder, to its end or not; its sources may be replaced.

    A program alone does not make a folder ours: its owner may keep a `firmware` of his own there.
    """
    if not (folder / PROGRAM).is_file():
        return False
    names = {one.name for one in folder.iterdir()}
    names = {one for one in names if one != ".lock" and not one.startswith(".tmp-")}
    return PLAN in names or names <= {PROGRAM, SOURCES, BUILD}


def own_names(folder: Path) -> set[str]:
    """Return the names at the top of a compiled folder that a compile wrote."""
    try:
        plan = json.loads((folder / PLAN).read_text())
        artifacts = {str(one) for one in plan.get("artifacts", ())}
    except (OSError, ValueError, AttributeError, TypeError):
        artifacts = set()
    return {PROGRAM, PLAN, SOURCES, BUILD, *artifacts}


def _clear(folder: Path) -> None:
    """Remove what an earlier compile left: a build takes every source it finds."""
    try:
        for name in own_names(folder) - {PROGRAM, PLAN, SOURCES, BUILD}:
            _remove(folder / Path(name).name)
        (folder / PLAN).unlink(missing_ok=True)
        (folder / BUILD).unlink(missing_ok=True)
        if (folder / SOURCES).is_dir():
            shutil.rmtree(folder / SOURCES)
    except OSError as error:
        raise EdgebedError(
            f"cannot replace what an earlier compile wrote: {error.strerror}",
            where=str(error.filename or folder),
            try_="another --out folder",
        ) from error


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _built(program: Program, target: Target, folder: Path, listener: Listener) -> dict[str, int]:
    listener(Started("compile", "building the firmware"))
    sizes = dict(target.build(folder / SOURCES))
    files.write_bytes(folder / BUILD, (folder / SOURCES / BUILD).read_bytes())
    listener(Started("compile", "booting it on the virtual device, self-test"))
    _boot(program, target, folder)
    return sizes


def _defect(target: Target) -> str:
    """Return the defect that a build has on purpose; empty for none."""
    return str(getattr(target, "defect", ""))


def _boot(program: Program, target: Target, folder: Path) -> None:
    """Run random integers on the device and compare every output with the interpreter.

    A build with a defect on purpose has to boot, no more.

    Raises:
        EdgebedError: the device's own self-test fails, or an integer differs.
    """
    shape = program.input_type.shape
    tensor = np.random.default_rng(0).integers(-128, 128, shape).astype(np.int8)
    machine = target.machine()
    try:
        machine.load(folder)
        if _defect(target):
            return
        machine.self_test()
        answered = machine.run(tensor).outputs
    finally:
        machine.close()
    for name, wanted in run(program, tensor).items():
        if not np.array_equal(answered[name], wanted):
            raise EdgebedError(
                f"the build computes other integers in output {name!r}",
                where=str(folder / BUILD),
                why="it must equal the program's interpreter",
                try_="report it with this folder",
            )


def plan_content(
    program: Program, plan: BuildPlan, layout: Layout, cost: Cost, sizes: Mapping[str, int]
) -> dict[str, Any]:
    """Return what `plan.json` says of a build."""
    return {
        "format": FORMAT,
        "target": plan.target,
        "program": program.name,
        "digest": plan.digest,
        "commands": [list(command) for command in plan.commands],
        "files": {path: len(data) for path, data in sorted(plan.files.items())},
        "sizes": dict(sizes),
        "layout": layout.to_json(),
        "cost": _cost(cost),
    }


def _cost(cost: Cost) -> dict[str, Any]:
    layers = [
        {"name": one.name, "macs": one.macs, "figures": _plain(one.figures)} for one in cost.layers
    ]
    return {"total": _plain(cost.total), "layers": layers}


def _figures(plain: Mapping[str, Any]) -> dict[str, Figure]:
    return {name: Figure(**one) for name, one in plain.items()}


def _plain(figures: Mapping[str, Figure]) -> dict[str, Any]:
    return {name: one.to_json() for name, one in figures.items()}


def _said(folder: Path, sizes: Mapping[str, int], defect: str = "") -> str:
    if not sizes:
        return f"sources in {folder / SOURCES}"
    table = ", ".join(f"{name} {size:,} bytes" for name, size in sizes.items())
    passed = f", with the defect {defect!r} on purpose" if defect else " and passed its self-test"
    return f"{folder / BUILD} booted{passed}: {table}"
