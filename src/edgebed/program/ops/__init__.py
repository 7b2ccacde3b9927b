"""The ops, one file each: shape rule, exact numpy meaning, multiply-accumulate count."""

from __future__ import annotations

from edgebed.errors import EdgebedError, did_you_mean
from edgebed.program.ops.add import Add
from edgebed.program.ops.avg_pool import AvgPool
from edgebed.program.ops.bit_or import BitOr
from edgebed.program.ops.bit_xor import BitXor
from edgebed.program.ops.concat import Concat
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.ops.conv_transpose2d import ConvTranspose2d
from edgebed.program.ops.crop import Crop
from edgebed.program.ops.dense import Dense
from edgebed.program.ops.identity import Identity
from edgebed.program.ops.max_pool import MaxPool
from edgebed.program.ops.reshape import Reshape
from edgebed.program.ops.slice import Slice
from edgebed.program.ops.space_to_depth import SpaceToDepth
from edgebed.program.ops.subtract import Subtract
from edgebed.program.types import Op

KINDS: dict[str, type[Op]] = {
    op.kind: op
    for op in (
        Add,
        AvgPool,
        BitOr,
        BitXor,
        Concat,
        Conv2d,
        ConvTranspose2d,
        Crop,
        Dense,
        Identity,
        MaxPool,
        Reshape,
        Slice,
        SpaceToDepth,
        Subtract,
    )
}


def by_kind(kind: str) -> type[Op]:
    """Return the class of an op.

    Raises:
        EdgebedError: there is no such op.
    """
    if kind not in KINDS:
        raise EdgebedError(f"unknown op {kind!r}", try_=did_you_mean(kind, KINDS))
    return KINDS[kind]
