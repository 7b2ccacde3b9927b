"""Ops on float32 for layers that stay real: functions of one value, slopes, windows."""

from __future__ import annotations

import math
from typing import Final, cast

import numpy as np

from edgebed.program.ops._pool import Pool
from edgebed.program.ops.avg_pool import AvgPool
from edgebed.program.ops.prelu import Prelu
from edgebed.program.ops.reduce import Reduce
from edgebed.program.ops.unary import Unary
from edgebed.program.types import Op
from edgebed.targets._shared.rows.frame import Frame, usual_order
from edgebed.targets._shared.rows.lower.elementwise import REAL, braced, one_row
from edgebed.targets._shared.rows.lower.real import each, literal
from edgebed.targets._shared.rows.stage import Stage, Window

FUNCTIONS: Final = (
    "relu", "clip", "leaky_relu", "abs", "neg", "square", "reciprocal", "sigmoid", "silu", "tanh",
    "exp", "hard_swish", "hard_sigmoid", "elu", "softsign",
)  # fmt: skip
"""In the order of real_math.h."""


def unary(frame: Frame, op: Op) -> None:
    """Lower a function of float32 values."""
    layer = cast(Unary, op)
    function, alpha, beta = layer.function, layer.alpha, layer.beta
    most = float(np.finfo(np.float32).max)
    if function == "relu6":
        function, alpha, beta = "clip", 0.0, 6.0
    elif function == "clip":
        alpha = -most if layer.low is None else layer.low
        beta = most if layer.high is None else layer.high
    if function not in FUNCTIONS:
        raise frame.refuse(op, f"has no kernel for {function!r}", "quantise it to int8")
    numbers = f"{FUNCTIONS.index(function)}, {literal(alpha)}, {literal(beta)}"
    each(frame, op, "eb_real_unary", "real_pairs.h", numbers, in_place=True)


def prelu(frame: Frame, op: Op) -> None:
    """Lower slopes of float32 values: one for all, or one a channel."""
    layer, kind = cast(Prelu, op), frame.kind(op.inputs[0])
    slope = frame.program.constants[layer.slope].values
    rank = len(kind.shape)
    slope = slope.reshape((1,) * (rank - slope.ndim) + slope.shape)
    order = usual_order(kind)
    if slope.size not in (1, slope.shape[order[-1]]):
        raise frame.refuse(op, f"slopes of shape {slope.shape}", "one for all, or one a channel")
    rows, width, channels = frame.pixels(op.output)
    inner = kind.shape[order[-1]]
    table = frame.table(op, "slope", "float", slope.astype("<f4").tobytes())
    shape = (1, 1, width * channels // inner, inner)
    own, theirs = (0, 0, inner, 1), (0, 0, 0, int(slope.size > 1))
    lists = ", ".join(braced(one) for one in (shape, own, theirs))
    frame.add(
        Stage(
            name=op.name, kind=op.kind, output=op.output, inputs=(one_row(frame, op.inputs[0]),),
            steps=rows, function="eb_real_pair", header="real_pairs.h",
            layer_type="eb_real_pair_t", layer=f"{{0, {table.name}, {lists}, 0, 0, {len(REAL)}}}",
            tables=(table,), in_place=(0,),
        )
    )  # fmt: skip


def pool(frame: Frame, layer: Pool, window: Window, geometry: str) -> None:
    """Lower the maximum or mean of windows of float32."""
    mean, count = isinstance(layer, AvgPool), 0
    if isinstance(layer, AvgPool) and layer.include_padding:
        count = math.prod(layer.kernel)
    frame.add(
        Stage(
            name=layer.name, kind=layer.kind, output=layer.output, inputs=(window,),
            steps=frame.pixels(layer.output)[0], function="eb_real_pool", header="real_pairs.h",
            layer_type="eb_real_pool_t", layer=f"{{{geometry}, {int(mean)}, {count}}}",
        )
    )  # fmt: skip


def whole_map(frame: Frame, layer: Reduce) -> None:
    """Lower the mean, sum or maximum of float32 over the rows and columns of a map."""
    kind = frame.kind(layer.inputs[0])
    known = layer.function in ("mean", "sum", "max")
    if not known or len(kind.shape) != 3 or layer.axes != (1, 2):
        raise frame.refuse(
            layer, f"has no kernel for {layer.function} of float32 along {layer.axes}",
            "mean, sum or max over rows and columns, or int8",
        )  # fmt: skip
    height, width, channels = frame.pixels(layer.inputs[0])
    geometry = f"{{{width}, 1, {channels}, {height}, {width}, 1, 0}}"
    count = height * width if layer.function == "mean" else 1
    frame.add(
        Stage(
            name=layer.name, kind=layer.kind, output=layer.output,
            inputs=(frame.window(layer.inputs[0], height, 1, 0),), steps=1,
            function="eb_real_pool", header="real_pairs.h", layer_type="eb_real_pool_t",
            layer=f"{{{geometry}, {int(layer.function != 'max')}, {count}}}",
        )
    )  # fmt: skip
