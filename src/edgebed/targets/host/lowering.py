"""From a program to steps of C: which function lowers which op."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from edgebed.program.types import Op, Program
from edgebed.targets.contract import Problem
from edgebed.targets.host.arena import in_place
from edgebed.targets.host.frame import Frame
from edgebed.targets.host.kernels.conv import Tile
from edgebed.targets.host.layout import no_margins, stored_bias
from edgebed.targets.host.lower import (
    detections,
    elementwise,
    functions,
    matrices,
    moves,
    plain_conv,
    pools,
    reduce,
    resize,
    softmax,
    views,
    weighted,
)
from edgebed.targets.host.steps import Lowered, TileKey

Lowering = Callable[[Frame, Op], None]

LOWERINGS: Final[Mapping[str, Lowering]] = {
    "add": elementwise.add,
    "argmax": reduce.argmax,
    "avg_pool": pools.avg_pool,
    "batch_matmul": matrices.batch_matmul,
    "bit_or": elementwise.bit_or,
    "bit_xor": elementwise.bit_xor,
    "cast": elementwise.cast_,
    "concat": views.concat,
    "constant": views.constant,
    "conv2d": weighted.conv2d,
    "conv_transpose2d": plain_conv.conv_transpose2d,
    "crop": views.rows,
    "dense": weighted.dense,
    "depth_to_space": moves.depth_to_space,
    "dequantize": elementwise.dequantize,
    "detection_post_process": detections.detections,
    "divide": elementwise.divide,
    "gather": moves.gather,
    "identity": views.identity,
    "l2_normalize": matrices.l2_normalize,
    "lookup": elementwise.lookup,
    "max_pool": pools.max_pool,
    "maximum": elementwise.maximum,
    "minimum": elementwise.minimum,
    "multiply": elementwise.multiply,
    "pad": moves.pad,
    "power": elementwise.power,
    "prelu": elementwise.prelu,
    "quantize": elementwise.quantize,
    "reduce": reduce.reduce,
    "requantize": elementwise.requantize,
    "reshape": views.reshape,
    "resize": resize.resize,
    "slice": views.channels,
    "softmax": softmax.softmax,
    "space_to_depth": moves.space_to_depth,
    "squared_difference": elementwise.squared_difference,
    "strided_slice": views.strided,
    "subtract": elementwise.subtract,
    "transpose": views.transpose,
    "unary": functions.unary,
}
"""One entry an op. To add one: a function in `lower/` that reads `frame.view` (or `map`, `flat`),
takes `frame.output` and emits its steps."""


def check(program: Program) -> list[Problem]:
    """Return the ops that have no lowering."""
    return [
        Problem(
            op.name,
            f"the op {op.kind!r} cannot be compiled for this target",
            f"{len(LOWERINGS)} others can",
            "replace it in the network, or run that part elsewhere",
        )
        for op in program.ops
        if op.kind not in LOWERINGS
    ]


def lower(program: Program, tuned: Mapping[TileKey, Tile] | None = None) -> Lowered:
    """Return the steps of a program that `check` accepts.

    Args:
        program: what to lower.
        tuned: tiles from `tuning.tune`; the model chooses where there is none.
    """
    frame = Frame(program, tuned=tuned or {})
    for number, name in enumerate(program.inputs):
        _load(frame, name, number)
    for op in program.ops:
        inputs = [program.types[name] for name in op.inputs]
        frame.layer(op, op.macs(program.types[op.output], program.constants, inputs))
        LOWERINGS[op.kind](frame, op)
        frame.show(op.output)
    for number, name in enumerate(program.outputs):
        _store(frame, name, number)
    return in_place(frame.done())


def _load(frame: Frame, name: str, number: int) -> None:
    """Take an input as it is where its readers can, else bring it into the order they wish for."""
    kind = frame.kind(name)
    given = frame.external(kind, "input", number)
    wish = frame.wish(name)
    plain = wish.margins == no_margins(len(kind.shape))
    target = None
    if stored_bias(kind) or not plain or frame.is_placed(name):
        target = frame.place(name)
    elif wish.order is not None:
        ordered = frame.place(name)
        target = None if ordered.is_row_major else ordered
    if target is None:
        frame.views[name] = given
        return
    frame.copy(given, target, " ^ 128" if stored_bias(kind) else "")
    frame.views[name] = target


def _store(frame: Frame, name: str, number: int) -> None:
    """Copy an output that was not written to the caller's memory straight away."""
    kind, view = frame.kind(name), frame.view(name)
    store = frame.stores[view.store]
    if (store.where, store.place) == ("output", number):
        return
    target = frame.external(kind, "output", number)
    frame.copy(view, target, " ^ 128" if stored_bias(kind) else "")
