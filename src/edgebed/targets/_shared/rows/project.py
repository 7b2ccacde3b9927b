"""From a program to a placed network and its C: the one way in for targets."""

from __future__ import annotations

import hashlib
import keyword
import re
from dataclasses import dataclass, field, replace
from typing import Final

from edgebed.program.types import Program
from edgebed.targets._shared.rows import emit
from edgebed.targets._shared.rows.emit import Project
from edgebed.targets._shared.rows.kernels.sets import Goal, KernelSet
from edgebed.targets._shared.rows.lowering import lower
from edgebed.targets._shared.rows.placement import plan

_WORTH: Final = 0.95
"""Rows on demand must bring the arena below this share: callers have to feed them."""
_RESERVED: Final = frozenset(("int", "float", "double", "char", "long", "short", "auto", "main"))


@dataclass
class Kept:
    """The projects of the last program: a target's plan, layout and cost ask for the same ones."""

    program: Program | None = None
    projects: dict[tuple[str, Goal, int], Project] = field(default_factory=dict)

    def make(
        self, program: Program, kernels: KernelSet, goal: Goal, *, alignment: int = 8
    ) -> Project:
        """Return what `make` does, once for each program."""
        if self.program is not program:
            self.program, self.projects = program, {}
        key = (kernels.name, goal, alignment)
        if key not in self.projects:
            self.projects[key] = make(program, kernels, goal, alignment=alignment)
        return self.projects[key]


def make(program: Program, kernels: KernelSet, goal: Goal, *, alignment: int = 8) -> Project:
    """Return the project of a program. Pure: the same arguments give the same digest.

    With the goal `ram` a network takes its input row by row where that makes its memory smaller.

    Args:
        program: what to compile.
        kernels: of the processor.
        goal: what to prefer.
        alignment: of every tensor, in bytes.

    Raises:
        EdgebedError: an op has no kernel.
    """
    found = _placed(program, kernels, goal, alignment, fetched=False)
    if goal == "ram" and any(len(kind.shape) == 3 for kind in program.inputs.values()):
        other = _placed(program, kernels, goal, alignment, fetched=True)
        if other.fetched and other.placement.peak < _WORTH * found.placement.peak:
            found = other
    return replace(found, digest=_digest(found))


def _placed(
    program: Program, kernels: KernelSet, goal: Goal, alignment: int, *, fetched: bool
) -> Project:
    network = lower(program, kernels, goal, fetched=fetched)
    placement = plan(network, goal, alignment=alignment)
    return Project(program, network, placement, identifier(program.name), "")


def _digest(project: Project) -> str:
    state = hashlib.sha256()
    for path, data in sorted(emit.files(project).items()):
        state.update(f"{path}\0{len(data)}\0".encode())
        state.update(data)
    return state.hexdigest()


def identifier(name: str) -> str:
    """Return a C identifier for a network's name."""
    word = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower() or "model"
    if word[0].isdigit() or keyword.iskeyword(word) or word in _RESERVED:
        word = f"net_{word}"
    return word[:48]
