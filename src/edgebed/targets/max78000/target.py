"""The target's table of contents: what `edgebed.targets.load("max78000")` returns."""

from __future__ import annotations

from dataclasses import dataclass

from edgebed.program.arithmetic import Arithmetic
from edgebed.program.types import Program
from edgebed.targets.max78000.compiler import compile_program
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
    shift_range=(-8, 22),
)
"""Spec 2.9; right_shift = 7 - POST shift, which is -15..15."""


@dataclass(frozen=True)
class Max78000:
    """Analog Devices MAX78000: a Cortex-M4 beside a 64-processor CNN accelerator."""

    name: str = "max78000"
    arithmetic: Arithmetic = ARITHMETIC

    def image(self, source: Program | Project, *, replan: bool = False) -> DeviceImage:
        """Return every word that has to reach the accelerator.

        Args:
            source: a program, which is planned, or a project, whose placement is honoured.
            replan: plan a project anew.

        Raises:
            EdgebedError: it does not fit; layer, number and limit are named.
        """
        return compile_program(source, replan=replan).image


TARGET = Max78000()
