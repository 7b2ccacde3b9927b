"""Ops that move nothing where memory allows, and the sign of bytes that have none."""

from __future__ import annotations

from typing import cast

from edgebed.program.ops.transpose import Transpose
from edgebed.program.types import Op
from edgebed.targets._shared.rows.frame import Frame
from edgebed.targets._shared.rows.stage import Stage, Tensor, Window


def alias(frame: Frame, op: Op) -> None:
    """Look at the same values under another shape."""
    frame.alias(op)


def transpose(frame: Frame, op: Op) -> None:
    """Look at the axes in another order."""
    frame.transpose(op, cast(Transpose, op).perm)


def flip(label: str, source: str, target: str, memory: Tensor) -> Stage:
    """Return the stage that turns uint8 values into int8 ones less 128, or back."""
    window = Window(source, whole=memory.rows == 1)
    return Stage(
        name=label, kind="sign", output=target, inputs=(window,), steps=memory.rows,
        function="eb_flip", header="flip.h", layer_type="eb_flip_t",
        layer=f"{{{memory.row_bytes}}}", in_place=(0,),
    )  # fmt: skip
