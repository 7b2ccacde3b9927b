"""The target's table of contents: what `edgebed.targets.load` returns for this folder."""

from __future__ import annotations

import hashlib
import platform
import sys
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgebed.compile.plan import BuildPlan
from edgebed.errors import EdgebedError
from edgebed.program.arithmetic import Arithmetic
from edgebed.program.types import Op, Program, TensorType
from edgebed.targets.contract import Cost, Library, Machine, Problem
from edgebed.targets.host import build as builds
from edgebed.targets.host import emit, lowering
from edgebed.targets.host.arena import Arena, arrange
from edgebed.targets.host.emit_observed import Observed
from edgebed.targets.host.kernels.conv import Tile
from edgebed.targets.host.manifest import FILE, InnerFacts, LayerFacts, Manifest, TensorFacts
from edgebed.targets.host.steps import Lowered, TileKey
from edgebed.targets.layout import Layout

ARITHMETIC = Arithmetic(
    weight_bits=(8,),
    activation_bits=8,
    symmetric=False,
    per_channel=True,
    requantize="float",
    bias_unit=1,
    bias_bits=32,
    shift_range=(-31, 31),
)
"""Everything a program can say is exact here; this is what is fastest."""


@dataclass
class _Last:
    """What was lowered last: plan and layout of a program are asked for one after the other.

    The program is known by its identity, and only as long as somebody else keeps it.
    """

    kept: tuple[weakref.ref[Program], Lowered, Arena] | None = None

    def of(self, program: Program) -> tuple[Lowered, Arena]:
        """Return the steps and the arena of a program."""
        kept = self.kept  # one read: another thread may replace it
        if kept is not None and kept[0]() is program:
            return kept[1:]
        lowered = lowering.lower(program)
        arena = arrange(lowered)
        self.kept = (weakref.ref(program), lowered, arena)
        return lowered, arena


@dataclass(frozen=True)
class Host:
    """This computer: x86-64 with its vector instructions, or anything that has a C compiler."""

    name: str = "host"
    arithmetic: Arithmetic = ARITHMETIC
    _last: _Last = field(default_factory=_Last, repr=False, compare=False)

    def check(self, program: Program) -> list[Problem]:
        """Return every op that cannot be compiled; empty when all can."""
        return lowering.check(program)

    def project(
        self, program: Program, tuned: Mapping[TileKey, Tile] | None = None
    ) -> emit.Project:
        """Return the C project of a program.

        Args:
            program: what to compile.
            tuned: tiles from `tuning.tune`; the model chooses where there is none.

        Raises:
            EdgebedError: an op cannot be compiled.
        """
        problems = self.check(program)
        if problems:
            raise EdgebedError(str(problems[0]), where=program.name)
        if tuned:
            lowered = lowering.lower(program, tuned)
            arena = arrange(lowered)
        else:
            lowered, arena = self._last.of(program)
        name = emit.identifier(program.name)
        digest = _digest(program, lowered, arena)
        return emit.Project(program, lowered, arena, name, digest)

    def plan(self, program: Program, tuned: Mapping[TileKey, Tile] | None = None) -> BuildPlan:
        """Return the complete C project. Pure: the same arguments give the same digest.

        Args:
            program: what to compile.
            tuned: tiles from `tuning.tune`; the model chooses where there is none.

        Raises:
            EdgebedError: an op cannot be compiled.
        """
        project = self.project(program, tuned)
        files = emit.files(project)
        files[FILE] = manifest_of(project).to_json().encode()
        return BuildPlan(self.name, files, builds.commands(project.name, files))

    def cost(self, program: Program) -> Cost:
        """Return estimated time per layer."""
        from edgebed.targets.host.cost import cost_of

        return cost_of(program)

    def layout(self, program: Program) -> Layout:
        """Return the layers and the map of the arena.

        Raises:
            EdgebedError: an op cannot be compiled.
        """
        from edgebed.targets.host.describe import layout

        return layout(self.project(program))

    def build(self, folder: Path) -> Mapping[str, int]:
        """Compile the project in `folder`; return sizes in bytes by name."""
        return builds.build(folder)

    def open(self, folder: Path, *, threads: int = 1, isa: str | None = None) -> Library:
        """Load a compiled folder; see `edgebed.load`."""
        from edgebed.targets.host.session import load

        return load(folder, threads=threads, isa=isa)

    def machine(self) -> Machine:
        """Return this computer as a machine that runs compiled folders."""
        from edgebed.targets.host.machine import ThisComputer

        return ThisComputer()


def manifest_of(project: emit.Project) -> Manifest:
    """Return the manifest of a project whose library is not built yet."""
    program = project.program
    real = {op.name for op in program.ops if _is_real(program, op)}
    return Manifest(
        name=project.name,
        title=program.name,
        digest=project.digest,
        machine=platform.machine(),
        system=sys.platform,
        library=f"lib{project.name}.so",
        library_sha256="",
        inputs=tuple(_tensor(program, name, kind) for name, kind in program.inputs.items()),
        outputs=tuple(_tensor(program, name, program.types[name]) for name in program.outputs),
        layers=tuple(
            LayerFacts(
                layer.name, layer.kind, layer.macs, layer.nbytes, layer.shape, layer.name in real
            )
            for layer in project.lowered.layers
        ),
        arena_bytes=project.arena.nbytes,
        arena_lower_bound=project.arena.plan.lower_bound,
        constant_bytes=len(project.lowered.constants),
        inner=tuple(_inner(one) for one in project.observed if one.role == "layer"),
    )


def _is_real(program: Program, op: Op) -> bool:
    return all(program.types[name].is_float for name in (*op.inputs, op.output))


def _tensor(program: Program, name: str, kind: TensorType) -> TensorFacts:
    return TensorFacts(name, program.file_shape(name), kind.dtype, kind.scale, kind.zero_point)


def _inner(one: Observed) -> InnerFacts:
    kind = one.type
    scale, zero = float(kind.scale), kind.zero_point
    return InnerFacts(one.name, one.kind, one.shape, one.axes, kind.dtype, scale, zero)


def _digest(program: Program, lowered: Lowered, arena: Arena) -> str:
    state = hashlib.sha256(program.name.encode())
    for part in (program.inputs, program.outputs, lowered.stores, lowered.steps):
        state.update(repr(part).encode())
    state.update(repr(sorted(arena.offsets.items())).encode())
    state.update(lowered.constants)
    return state.hexdigest()


TARGET = Host()
