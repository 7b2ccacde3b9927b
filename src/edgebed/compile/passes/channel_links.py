"""Which channels of an op's inputs and output belong together: none can go without the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgebed.program.ops._accumulate import Weighted
from edgebed.program.ops._binary import Binary
from edgebed.program.ops._elementwise import Elementwise
from edgebed.program.ops.avg_pool import AvgPool
from edgebed.program.ops.bit_or import BitOr
from edgebed.program.ops.bit_xor import BitXor
from edgebed.program.ops.concat import Concat
from edgebed.program.ops.constant import Constant
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.ops.conv_transpose2d import ConvTranspose2d
from edgebed.program.ops.crop import Crop
from edgebed.program.ops.dense import Dense
from edgebed.program.ops.depth_to_space import DepthToSpace
from edgebed.program.ops.identity import Identity
from edgebed.program.ops.l2_normalize import L2Normalize
from edgebed.program.ops.lookup import Lookup
from edgebed.program.ops.max_pool import MaxPool
from edgebed.program.ops.pad import Pad
from edgebed.program.ops.reduce import Reduce
from edgebed.program.ops.requantize import Requantize
from edgebed.program.ops.reshape import Reshape
from edgebed.program.ops.resize import Resize
from edgebed.program.ops.slice import Slice
from edgebed.program.ops.softmax import Softmax
from edgebed.program.ops.space_to_depth import SpaceToDepth
from edgebed.program.ops.strided_slice import StridedSlice
from edgebed.program.ops.transpose import Transpose
from edgebed.program.types import Op, TensorType

Indices = npt.NDArray[np.int64]
Pair = tuple[Indices, Indices]
"""Channels of an input and the channels of the output that they belong to, entry by entry."""

MIXING = (Binary, Elementwise, BitOr, BitXor)


def tracked(kind: TensorType) -> bool:
    """Return whether channels of a tensor are looked at: integers, channels on the first axis."""
    return bool(kind.shape) and kind.dtype in ("int8", "uint8", "int16", "int32")


def is_depthwise(op: Op, types: Sequence[TensorType]) -> bool:
    """Return whether a convolution filters each channel on its own."""
    return isinstance(op, Conv2d) and op.groups == types[0].shape[0] > 1


def is_layer(op: Op, types: Sequence[TensorType]) -> bool:
    """Return whether an op sums products of int8 channels with weights."""
    if not isinstance(op, Weighted) or types[0].dtype != "int8":
        return False
    if isinstance(op, Dense):
        return not op.last_axis or len(types[0].shape) == 1
    return isinstance(op, Conv2d | ConvTranspose2d)


def mixes_all(op: Op, types: Sequence[TensorType]) -> bool:
    """Return whether a layer may drop any input and any output channel."""
    if not is_layer(op, types):
        return False
    return not isinstance(op, Conv2d) or op.groups == 1


def links(op: Op, types: Sequence[TensorType], out: TensorType) -> tuple[Pair | None, ...] | None:
    """Return the pairs of each input; None for an input all of which is read for any channel.

    None alone means that every channel of every input and of the output is needed.
    """
    if not all(map(tracked, (*types, out))):
        return None
    if isinstance(op, Constant):
        return ()
    if is_depthwise(op, types):
        filters = np.arange(out.shape[0])
        return ((filters // (out.shape[0] // types[0].shape[0]), filters),)
    rule = _RULES.get(type(op))
    if rule is None:
        return _mixed(types, out) if isinstance(op, MIXING) else None
    return rule(op, types, out)


def _same(op: Any, types: Sequence[TensorType], out: TensorType) -> tuple[Pair | None, ...] | None:
    every = np.arange(out.shape[0])
    return ((every, every),) * len(types)


def _mixed(types: Sequence[TensorType], out: TensorType) -> tuple[Pair | None, ...]:
    every = np.arange(out.shape[0])
    return tuple(
        (every, every) if (len(x.shape), x.shape[0]) == (len(out.shape), out.shape[0]) else None
        for x in types
    )


def _unless_axis(
    op: Any, types: Sequence[TensorType], out: TensorType
) -> tuple[Pair | None, ...] | None:
    return None if op.axis == 0 else _same(op, types, out)


def _pad(op: Any, types: Sequence[TensorType], out: TensorType) -> tuple[Pair | None, ...] | None:
    return None if op.before[0] or op.after[0] else _same(op, types, out)


def _reduce(
    op: Any, types: Sequence[TensorType], out: TensorType
) -> tuple[Pair | None, ...] | None:
    return None if 0 in op.axes else _same(op, types, out)


def _reshape(
    op: Any, types: Sequence[TensorType], out: TensorType
) -> tuple[Pair | None, ...] | None:
    return _same(op, types, out) if types[0].shape[0] == out.shape[0] else None


def _transpose(
    op: Any, types: Sequence[TensorType], out: TensorType
) -> tuple[Pair | None, ...] | None:
    return _same(op, types, out) if op.perm[0] == 0 else None


def _slice(op: Any, types: Sequence[TensorType], out: TensorType) -> tuple[Pair | None, ...] | None:
    every = np.arange(out.shape[0])
    return ((every + op.start, every),)


def _strided_slice(
    op: Any, types: Sequence[TensorType], out: TensorType
) -> tuple[Pair | None, ...] | None:
    every = np.arange(out.shape[0])
    return ((every + op.begin[0], every),) if op.step[0] == 1 else None


def _concat(
    op: Any, types: Sequence[TensorType], out: TensorType
) -> tuple[Pair | None, ...] | None:
    if op.axis != 0:
        return _same(op, types, out)
    pairs, start = list[Pair | None](), 0
    for x in types:
        every = np.arange(x.shape[0])
        pairs.append((every, every + start))
        start += x.shape[0]
    return tuple(pairs)


def _space_to_depth(
    op: Any, types: Sequence[TensorType], out: TensorType
) -> tuple[Pair | None, ...] | None:
    every = np.arange(out.shape[0])
    return ((every % types[0].shape[0], every),)


def _depth_to_space(
    op: Any, types: Sequence[TensorType], out: TensorType
) -> tuple[Pair | None, ...] | None:
    every = np.arange(types[0].shape[0])
    return ((every, every % out.shape[0] if op.order == "dcr" else every // op.block**2),)


_Rule = Callable[[Any, Sequence[TensorType], TensorType], tuple[Pair | None, ...] | None]
_RULES: dict[type[Op], _Rule] = {
    AvgPool: _same,
    Concat: _concat,
    Crop: _same,
    DepthToSpace: _depth_to_space,
    Identity: _same,
    L2Normalize: _unless_axis,
    Lookup: _same,
    MaxPool: _same,
    Pad: _pad,
    Reduce: _reduce,
    Requantize: _same,
    Reshape: _reshape,
    Resize: _same,
    Slice: _slice,
    Softmax: _unless_axis,
    SpaceToDepth: _space_to_depth,
    StridedSlice: _strided_slice,
    Transpose: _transpose,
}
