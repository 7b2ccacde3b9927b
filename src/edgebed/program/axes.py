"""Names of the axes of a program's tensors."""

from __future__ import annotations

from typing import Final

from edgebed.program.types import Program

POINTWISE: Final = frozenset(
    {"quantize", "dequantize", "requantize", "lookup", "identity", "unary"}
)


def own_layout(program: Program, name: str) -> str:
    """Return the axes of a map: CHW, or HWC where transposes stand because a file has it so."""
    if len(program.types[name].shape) != 3:
        return ""
    readers, writer = program.readers(name), program.writer(name)
    if writer is None:
        turned = readers and all(getattr(op, "perm", None) == (2, 0, 1) for op in readers)
        return "HWC" if turned else "CHW"
    if writer.kind == "transpose":
        return "HWC" if getattr(writer, "perm", None) == (1, 2, 0) else "CHW"
    if writer.kind in POINTWISE:
        return own_layout(program, writer.inputs[0])
    return "CHW"
