"""The target's table of contents: what `edgebed.targets.load` returns for this folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from edgebed.compile.plan import BuildPlan
from edgebed.program.arithmetic import Arithmetic
from edgebed.program.types import Program
from edgebed.targets._shared.contract import library as contract
from edgebed.targets._shared.rows import lowering, sketches, vectors
from edgebed.targets._shared.rows import manifest as manifests
from edgebed.targets._shared.rows import project as projects
from edgebed.targets._shared.rows.describe import layout
from edgebed.targets._shared.rows.emit import Project, files
from edgebed.targets._shared.rows.kernels.sets import Goal, check_goal
from edgebed.targets.arm_linux import build as builds
from edgebed.targets.arm_linux import program as programs
from edgebed.targets.arm_linux.cores import Core, core
from edgebed.targets.contract import Cost, Library, Machine, Problem
from edgebed.targets.layout import Layout

ARITHMETIC: Final = Arithmetic(
    weight_bits=(8,),
    activation_bits=8,
    symmetric=False,
    per_channel=True,
    requantize="fixed_point",
    bias_unit=1,
    bias_bits=32,
    shift_range=(-31, 31),
    wide="float32",
)
"""int8 as TensorFlow Lite has it, float32 where that is not enough."""
_ALIGNMENT: Final = 16


@dataclass(frozen=True)
class ArmLinux:
    """An Arm board with Linux.

    Attributes:
        cpu: its core, see `cores.CORES`.
        goal: what to prefer where memory and time are at odds.
    """

    name: str = "arm_linux"
    arithmetic: Arithmetic = ARITHMETIC
    cpu: str = "a72"
    goal: Goal = "balanced"
    _kept: projects.Kept = field(
        default_factory=projects.Kept, init=False, repr=False, compare=False
    )

    @property
    def core(self) -> Core:
        """Facts about the core."""
        return core(self.cpu)

    def with_options(self, options: Mapping[str, Any]) -> ArmLinux:
        """Return the target with other settings.

        Args:
            options: cpu and goal.

        Raises:
            EdgebedError: a value makes no sense.
        """
        given = dict(options)
        core(given.get("cpu", self.cpu))
        check_goal(given.get("goal", self.goal))
        return replace(self, **given)

    def check(self, program: Program) -> list[Problem]:
        """Return every op that has no kernel; empty when all have."""
        return [
            Problem(name, error.what, self.core.cpu, error.try_ or "another target")
            for name, error in lowering.refusals(program, self.core.kernels)
        ]

    def project(self, program: Program) -> Project:
        """Return the placed network.

        Raises:
            EdgebedError: an op has no kernel.
        """
        return self._kept.make(program, self.core.kernels, self.goal, alignment=_ALIGNMENT)

    def plan(self, program: Program) -> BuildPlan:
        """Return library and program. Pure: the same arguments give the same digest.

        Raises:
            EdgebedError: an op has no kernel.
        """
        project = self.project(program)
        manifest = manifests.describe(project, self.cpu, self.goal)
        library = {
            **files(project),
            **vectors.files(project),
            **sketches.files(project),
            **contract.files(program, project.name),
        }
        found = {f"{builds.LIBRARY}/{path}": data for path, data in library.items()}
        for path, data in programs.files(project, manifest, self.core).items():
            own = path.endswith((".c", ".h"))
            found[f"{builds.PROGRAM}/{path}" if own else path] = data
        found[builds.MANIFEST] = manifest.to_json().encode()
        return BuildPlan(self.name, found, (("make", f"CC={self.core.prefix}gcc"),))

    def cost(self, program: Program) -> Cost:
        """Return estimated instructions per layer and the memory of all.

        Raises:
            EdgebedError: an op has no kernel.
        """
        from edgebed.targets.arm_linux.cost import estimate

        return estimate(self.project(program), self.core)

    def layout(self, program: Program) -> Layout:
        """Return the stages and the map of the arena.

        Raises:
            EdgebedError: an op has no kernel.
        """
        return layout(self.project(program))

    def build(self, folder: Path) -> Mapping[str, int]:
        """Compile the project in `folder`; return sizes in bytes by name."""
        return builds.build(folder)

    def open(self, folder: Path, *, threads: int = 1, isa: str | None = None) -> Library:
        """Start a compiled folder on the virtual board."""
        from edgebed.targets.arm_linux.network import load

        return load(folder, threads=threads, isa=isa)

    def machine(self) -> Machine:
        """Return a virtual board."""
        from edgebed.targets.arm_linux.machine import VirtualBoard

        return VirtualBoard()


TARGET = ArmLinux()
