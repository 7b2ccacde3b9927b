"""Convolutions and dense layers whose raw sums are the output: the heads of detectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgebed.program.ops._accumulate import Weighted
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.ops.dense import Dense
from edgebed.targets._shared.rows.frame import Frame
from edgebed.targets._shared.rows.stage import Stage, Window

Ints = npt.NDArray[np.int64]


def conv2d(frame: Frame, op: Conv2d, weights: Ints) -> None:
    """Lower a convolution from int8 to int32.

    Args:
        frame: collects the stages.
        op: without a rule.
        weights: O x I x KH x KW; I = 1 where the layer is depthwise.
    """
    _, in_width, in_channels = frame.pixels(op.inputs[0])
    out_height, out_width, out_channels = frame.pixels(op.output)
    height, width = weights.shape[2:]
    top, left, _, _ = op.padding
    numbers = (
        in_width, in_channels, out_width, out_channels, height, width, op.stride[1], left,
        op.dilation[1], int(op.groups == in_channels > 1),
    )  # fmt: skip
    window = frame.window(op.inputs[0], height, op.stride[0], top, op.dilation[0])
    macs = op.macs(frame.kind(op.output), frame.program.constants)
    _add(frame, op, weights.transpose(0, 2, 3, 1), window, numbers, (out_height, macs))


def dense(frame: Frame, op: Dense, weights: Ints, window: Window, count: int) -> None:
    """Lower a dense layer from int8 to int32.

    Args:
        frame: collects the stages.
        op: without a rule.
        weights: outputs x depth, in the order in which the input lies.
        window: the input.
        count: how often the weights are used.
    """
    outputs, depth = weights.shape
    numbers = (count, depth, count, outputs, 1, 1, 1, 0, 1, 0)
    _add(frame, op, weights, window, numbers, (1, count * weights.size))


def _add(
    frame: Frame,
    op: Weighted,
    weights: Ints,
    window: Window,
    numbers: tuple[int, ...],
    work: tuple[int, int],
) -> None:
    """Append the stage; `work` is its steps and multiply-accumulates."""
    if weights.size and (weights.min() < -128 or weights.max() > 127):
        raise frame.refuse(op, "its weights less their zero point exceed 8 bits", "int8 weights")
    bias: npt.NDArray[Any] = np.zeros(len(weights), np.int32)
    if op.bias is not None:
        bias = frame.program.constants[op.bias].values
    packed = np.ascontiguousarray(weights, np.int8).tobytes()
    tables = (
        frame.table(op, "weights", "int8_t", packed),
        frame.table(op, "bias", "int32_t", bias.astype("<i4").tobytes()),
    )
    text = ", ".join([*(table.name for table in tables), *map(str, numbers)])
    steps, macs = work
    frame.add(
        Stage(
            name=op.name, kind=op.kind, output=op.output, inputs=(window,),
            steps=1 if window.whole else steps, function="eb_raw", header="raw.h",
            layer_type="eb_raw_t", layer=f"{{{text}, {frame.zero(op.inputs[0])}}}",
            tables=tables, macs=macs,
        )
    )  # fmt: skip
