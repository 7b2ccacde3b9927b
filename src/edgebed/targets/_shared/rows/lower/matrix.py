"""Products of two activations, and where the largest value is."""

from __future__ import annotations

import math
from typing import cast

import numpy as np

from edgebed.program.arithmetic import multiplier_table
from edgebed.program.ops.argmax import Argmax
from edgebed.program.ops.batch_matmul import BatchMatmul
from edgebed.program.types import Op, TensorType
from edgebed.targets._shared.rows import requantize
from edgebed.targets._shared.rows.frame import Frame, usual_order
from edgebed.targets._shared.rows.lower.parts import memory_steps
from edgebed.targets._shared.rows.stage import Stage

_BYTES = ("int8", "uint8")


def batch_matmul(frame: Frame, op: Op) -> None:
    """Lower a matrix product of two tensors of bytes."""
    layer = cast(BatchMatmul, op)
    a, b = (frame.kind(name) for name in op.inputs)
    out, rule = frame.kind(op.output), layer.requantize
    if rule is None or any(kind.dtype not in _BYTES for kind in (a, b, out)):
        raise frame.refuse(op, f"has no kernel for {a.dtype} to {out.dtype}", "int8 with a rule")
    outer = math.prod(out.shape[:-2])
    if any(math.prod(kind.shape[:-2]) not in (1, outer) for kind in (a, b)):
        raise frame.refuse(op, f"{a.shape} times {b.shape}", "operands that repeat whole or not")
    depth = a.shape[-2 if layer.transpose_a else -1]
    reach = [128 + abs(frame.zero(name)) for name in op.inputs]
    most = np.array([depth * reach[0] * reach[1]])
    first, second, target = (np.float32(kind.scale) for kind in (a, b, out))
    factor = (
        np.array([first * second / target], np.float32)
        if rule.rounding == "float"
        else multiplier_table([float(first) * float(second) / float(target)])
    )
    lines = requantize.lines(rule, factor, np.zeros(1, np.int64), -most, most)
    line = f"{{{lines.bias[0]}, {lines.multiplier[0]}, {lines.c[0]}}}"
    rows, columns = out.shape[-2:]
    numbers = (
        outer, rows, depth, columns, *_steps(a, layer.transpose_a),
        *_steps(b, layer.transpose_b), *_steps(out), *(frame.zero(name) for name in op.inputs),
    )  # fmt: skip
    text = f"{{{', '.join(map(str, numbers))}, {line}, {requantize.output_text(lines)}}}"
    frame.add(
        Stage(
            name=op.name, kind=op.kind, output=op.output,
            inputs=tuple(frame.whole(name) for name in op.inputs), steps=1, function="eb_matmul",
            header="matrix.h", layer_type="eb_matmul_t", layer=text, macs=out.size * depth,
        )
    )  # fmt: skip


def argmax(frame: Frame, op: Op) -> None:
    """Lower the index of the largest value along an axis."""
    layer = cast(Argmax, op)
    kind, out = frame.kind(op.inputs[0]), frame.kind(op.output)
    if kind.dtype not in (*_BYTES, "float32"):
        raise frame.refuse(op, f"has no kernel for {kind.dtype}", "int8 or float32")
    steps = memory_steps(kind)
    order = usual_order(out)
    others = [a for a in range(len(kind.shape)) if a != layer.axis]
    kept = [a for a in order if a != layer.axis] if layer.keep else [others[a] for a in order]
    groups: list[tuple[int, int]] = []
    for a in kept:
        if groups and groups[-1][1] == kind.shape[a] * steps[a]:
            groups[-1] = groups[-1][0] * kind.shape[a], steps[a]
        elif kind.shape[a] > 1:
            groups.append((kind.shape[a], steps[a]))
    if len(groups) > 3:
        raise frame.refuse(op, f"along axis {layer.axis} of {kind.shape}", "fewer axes")
    groups = [(1, 0)] * (3 - len(groups)) + groups
    sizes = ", ".join(str(n) for n in (*(n for n, _ in groups), *(s for _, s in groups)))
    flags = (layer.last, layer.least, kind.is_float, layer.dtype == "int64")
    numbers = (kind.shape[layer.axis], steps[layer.axis], *map(int, flags))
    frame.add(
        Stage(
            name=op.name, kind=op.kind, output=op.output, inputs=(frame.whole(op.inputs[0]),),
            steps=1, function="eb_argmax", header="matrix.h", layer_type="eb_argmax_t",
            layer=f"{{{{{sizes}}}, {', '.join(map(str, numbers))}}}",
        )
    )  # fmt: skip


def _steps(kind: TensorType, transposed: bool = False) -> tuple[int, int, int]:
    """Return the steps of the outer axes, and of rows and columns as the product sees them."""
    steps = memory_steps(kind)
    outer = steps[-3] if math.prod(kind.shape[:-2]) > 1 else 0
    return (outer, steps[-1], steps[-2]) if transposed else (outer, steps[-2], steps[-1])
