"""The target's table of contents: what `edgebed.targets.load` returns for this folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from edgebed.compile.plan import BuildPlan
from edgebed.figures import Figure
from edgebed.program.arithmetic import Arithmetic, Wide
from edgebed.program.types import Program
from edgebed.targets._shared.arm_cores import Core, find_core
from edgebed.targets._shared.contract import library as contract
from edgebed.targets._shared.rows import exports, lowering, sketches, vectors
from edgebed.targets._shared.rows import manifest as manifests
from edgebed.targets._shared.rows import project as projects
from edgebed.targets._shared.rows.budget import Limit, parse_bytes, too_heavy, too_large
from edgebed.targets._shared.rows.describe import layout
from edgebed.targets._shared.rows.emit import Project, files, weight_bytes
from edgebed.targets._shared.rows.kernels.sets import GOALS, Goal, KernelSet, check_goal
from edgebed.targets.contract import Cost, Library, Machine, Problem
from edgebed.targets.cortex_m.build import FIRMWARE, LIBRARY, MANIFEST
from edgebed.targets.layout import Layout

ARITHMETIC = Arithmetic(
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
"""int8 as TensorFlow Lite has it; float32 where that is not enough and the core has an FPU."""

_WITHOUT_FPU: Final = frozenset(
    [
        "cast",
        "concat",
        "constant",
        "crop",
        "dequantize",
        "identity",
        "pad",
        "reshape",
        "slice",
        "strided_slice",
        "transpose",
    ]
)
"""What a core without a floating-point unit may do with real numbers: hand them on."""


@dataclass(frozen=True)
class Microcontroller:
    """An Arm Cortex-M without operating system.

    Attributes:
        cpu: its core, see `arm_cores.CORES`.
        goal: what to prefer where memory and time are at odds.
        max_ram: bytes of arena and stack that must suffice; 0 for no limit.
        max_flash: bytes of weights and code that must suffice; 0 for no limit.
    """

    name: str = "cortex_m"
    arithmetic: Arithmetic = ARITHMETIC
    cpu: str = "m4"
    goal: Goal = "balanced"
    max_ram: int = 0
    max_flash: int = 0
    _kept: projects.Kept = field(
        default_factory=projects.Kept, init=False, repr=False, compare=False
    )

    @property
    def core(self) -> Core:
        """Facts about the core."""
        return find_core(self.cpu)

    @property
    def kernels(self) -> KernelSet:
        """Kernels for its instruction set."""
        return kernel_set(self.core.isa)

    def with_options(self, options: Mapping[str, Any]) -> Microcontroller:
        """Return the target with other settings.

        Args:
            options: cpu, goal, max_ram and max_flash (with units, e.g. 64KB).

        Raises:
            EdgebedError: a value makes no sense.
        """
        given = dict(options)
        if "cpu" in given:
            core = find_core(given["cpu"])
            wide: Wide = "float32" if core.fpu else "none"
            given |= {"cpu": core.name, "arithmetic": replace(ARITHMETIC, wide=wide)}
        check_goal(given.get("goal", self.goal))
        for limit in ("max_ram", "max_flash"):
            if limit in given:
                given[limit] = parse_bytes(given[limit], f"--{limit.replace('_', '-')}")
        return replace(self, **given)

    def check(self, program: Program) -> list[Problem]:
        """Return every op that has no kernel; empty when all have."""
        found = [
            Problem(name, error.what, f"{self.core.title}", error.try_ or "another target")
            for name, error in lowering.refusals(program, self.kernels)
        ]
        if self.core.fpu:
            return found
        return found + [
            Problem(
                op.name,
                "computes in float32",
                f"{self.core.title} has no floating-point unit",
                "edgebed compress the network, or --cpu m4",
            )
            for op in program.ops
            if program.types[op.output].is_float and op.kind not in _WITHOUT_FPU
        ]

    def project(self, program: Program) -> Project:
        """Return the placed network.

        Raises:
            EdgebedError: an op has no kernel, or the board is too small.
            BudgetMissedError: the arena alone is larger than `max_ram`, or the weights than
                `max_flash`.
        """
        found = self._placed(program, self.goal)
        board = f"the virtual {self.core.title} board"
        ram = [Limit(self.max_ram), Limit(self.core.board.ram_bytes, board)]
        flash = [
            Limit(self.max_flash, option="--max-flash"),
            Limit(self.core.board.flash_bytes, board),
        ]
        for limit in ram:
            if limit.nbytes and found.placement.peak > limit.nbytes:
                raise too_large(found, self.goal, limit, self._peaks(program))
        for limit in flash:
            if limit.nbytes and weight_bytes(found.network) > limit.nbytes:
                raise too_heavy(found, self.goal, limit)
        return found

    def _peaks(self, program: Program) -> dict[str, int]:
        return {
            goal: self._placed(program, goal).placement.peak for goal in GOALS if goal != self.goal
        }

    def _placed(self, program: Program, goal: Goal) -> Project:
        return self._kept.make(program, self.kernels, goal)

    def plan(self, program: Program) -> BuildPlan:
        """Return library, exports and firmware. Pure: the same arguments give the same digest.

        Raises:
            EdgebedError: an op has no kernel.
            BudgetMissedError: the arena alone is larger than `max_ram`.
        """
        from edgebed.targets.cortex_m import sources

        project = self.project(program)
        library = {
            **files(project),
            **vectors.files(project),
            **sketches.files(project),
            **contract.files(program, project.name),
        }
        flags = " ".join(self.core.flags)
        given = {**library, **exports.files(project, library, flags)}
        found = {f"{LIBRARY}/{path}": data for path, data in given.items()}
        manifest = manifests.describe(
            project, self.cpu, self.goal, max_ram=self.max_ram, max_flash=self.max_flash
        )
        firmware = sources.files(self.core, manifest)
        found |= {f"{FIRMWARE}/{path}": data for path, data in firmware.items()}
        found[MANIFEST] = manifest.to_json().encode()
        return BuildPlan(self.name, found)

    def cost(self, program: Program) -> Cost:
        """Return estimated instructions, time and energy per layer.

        Raises:
            EdgebedError: an op has no kernel.
        """
        from edgebed.targets.cortex_m.cost import estimate

        return estimate(self.project(program), self.core)

    def layout(self, program: Program) -> Layout:
        """Return the stages and the map of the arena.

        Raises:
            EdgebedError: an op has no kernel.
        """
        return layout(self.project(program))

    def figures_of(self, cycles: Figure) -> Mapping[str, Figure]:
        """Return the energy of cycles that a device of this core counted."""
        from edgebed.targets.cortex_m.figures import chip, energy

        return energy(chip(self.cpu), cycles)

    def build(self, folder: Path) -> Mapping[str, int]:
        """Build the firmware in `folder`, run it once, and return its four sizes in bytes.

        Raises:
            EdgebedError: no compiler is installed, or the firmware does not fit the board.
            BudgetMissedError: it needs more than the manifest allows.
        """
        from edgebed.targets.cortex_m.sizes import measured

        return measured(folder)

    def open(self, folder: Path, *, threads: int = 1, isa: str | None = None) -> Library:
        """Boot a compiled folder on the virtual microcontroller."""
        from edgebed.targets.cortex_m.network import load

        return load(folder, threads=threads, isa=isa)

    def machine(self) -> Machine:
        """Return a virtual microcontroller."""
        from edgebed.targets.cortex_m.machine import VirtualMicrocontroller

        return VirtualMicrocontroller()


def kernel_set(isa: str) -> KernelSet:
    """Return the kernels of an instruction set."""
    if isa == "dsp":
        from edgebed.targets._shared.rows.kernels.dsp import DSP

        return DSP
    if isa == "mve":
        from edgebed.targets._shared.rows.kernels.mve import MVE

        return MVE
    from edgebed.targets._shared.rows.kernels.portable import PORTABLE

    return PORTABLE


TARGET = Microcontroller()
