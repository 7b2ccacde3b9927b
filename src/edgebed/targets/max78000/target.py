"""The target's table of contents: what `edgebed.targets.load` returns for this folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgebed.compile.plan import BuildPlan
from edgebed.program.arithmetic import Arithmetic
from edgebed.program.types import Program
from edgebed.targets.contract import Cost, Machine, Problem
from edgebed.targets.layout import Layout
from edgebed.targets.max78000 import check as checks
from edgebed.targets.max78000.compiler import compile_program
from edgebed.targets.max78000.cost import cost_of
from edgebed.targets.max78000.defects import check_defect
from edgebed.targets.max78000.describe import layout
from edgebed.targets.max78000.hints import Project
from edgebed.targets.max78000.image import DeviceImage

ARITHMETIC = Arithmetic(
    weight_bits=(1, 2, 4, 8),
    activation_bits=8,
    symmetric=True,
    per_channel=False,
    requantize="power_of_two",
    bias_unit=128,
    bias_bits=8,
    shift_range=(-8, 22),  # 7 - POST shift, which is -15..15
)
"""Spec 2.9."""


@dataclass(frozen=True)
class Max78000:
    """A Cortex-M4 beside a CNN accelerator of 64 processors.

    Wherever a program is taken, a project with its own placement is taken too and honoured.

    Attributes:
        name: of the target.
        arithmetic: what its programs compute in.
        defect: built into the firmware on purpose, one of `defects.DEFECTS`; empty for none.
    """

    name: str = "max78000"
    arithmetic: Arithmetic = ARITHMETIC
    defect: str = ""

    def with_options(self, options: Mapping[str, Any]) -> Max78000:
        """Return the target with other settings.

        Args:
            options: defect.

        Raises:
            EdgebedError: no defect is called so.
        """
        return replace(self, defect=check_defect(str(options.get("defect", self.defect))))

    def check(self, source: Program | Project) -> list[Problem]:
        """Return every reason why it does not fit; empty when it does."""
        return checks.check(source)

    def image(self, source: Program | Project, *, replan: bool = False) -> DeviceImage:
        """Return every word that has to reach the accelerator.

        Args:
            source: what to compile.
            replan: plan a project anew.

        Raises:
            EdgebedError: it does not fit; layer, number and limit are named.
        """
        return compile_program(source, replan=replan).image

    def plan(self, source: Program | Project) -> BuildPlan:
        """Return the firmware project. Pure: the same program gives the same digest.

        Raises:
            EdgebedError: it does not fit, or its contract asks for what firmware cannot do.
        """
        from edgebed.targets.max78000.emit import COMMANDS, emit

        program = source.program if isinstance(source, Project) else source
        files = emit(self.image(source), program, defect=self.defect)
        return BuildPlan(self.name, files, COMMANDS)

    def cost(self, source: Program | Project) -> Cost:
        """Return estimated time and energy per device layer.

        Raises:
            EdgebedError: it does not fit.
        """
        return cost_of(compile_program(source))

    def layout(self, source: Program | Project) -> Layout:
        """Return the device layers and maps of the memories.

        Raises:
            EdgebedError: it does not fit.
        """
        return layout(compile_program(source))

    def build(self, folder: Path) -> Mapping[str, int]:
        """Compile the firmware in `folder`; return bytes of flash and RAM by name.

        Raises:
            EdgebedError: no compiler is installed, or the firmware does not fit.
        """
        from edgebed.targets.max78000 import build

        sizes = build.sizes(build.build(folder))
        return {
            "weights in flash": sizes.flash_weights,
            "code in flash": sizes.flash_code,
            "static RAM": sizes.ram_static,
            "stack": sizes.ram_stack,
        }

    def machine(self) -> Machine:
        """Return a virtual board."""
        from edgebed.targets.max78000.machine import VirtualBoard

        return VirtualBoard()

    def board(self, port: str) -> Machine:
        """Return the real board behind a serial port, or HOST:PORT."""
        from edgebed.targets.max78000.link import SerialStream, TcpStream
        from edgebed.targets.max78000.machine import RealBoard

        host, _, number = port.rpartition(":")
        if host and number.isdigit():
            return RealBoard(TcpStream(host, int(number)))
        return RealBoard(SerialStream(port))


TARGET = Max78000()
