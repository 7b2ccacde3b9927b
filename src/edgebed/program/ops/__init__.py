"""The ops, one file each: shape rule, exact numpy meaning, multiply-accumulate count."""

from __future__ import annotations

from edgebed.errors import EdgebedError, did_you_mean
from edgebed.program.ops.add import Add
from edgebed.program.ops.argmax import Argmax
from edgebed.program.ops.avg_pool import AvgPool
from edgebed.program.ops.batch_matmul import BatchMatmul
from edgebed.program.ops.bit_or import BitOr
from edgebed.program.ops.bit_xor import BitXor
from edgebed.program.ops.cast import Cast
from edgebed.program.ops.concat import Concat
from edgebed.program.ops.constant import Constant
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.ops.conv_transpose2d import ConvTranspose2d
from edgebed.program.ops.crop import Crop
from edgebed.program.ops.dense import Dense
from edgebed.program.ops.depth_to_space import DepthToSpace
from edgebed.program.ops.dequantize import Dequantize
from edgebed.program.ops.detection_post_process import DetectionPostProcess
from edgebed.program.ops.divide import Divide
from edgebed.program.ops.gather import Gather
from edgebed.program.ops.identity import Identity
from edgebed.program.ops.l2_normalize import L2Normalize
from edgebed.program.ops.lookup import Lookup
from edgebed.program.ops.max_pool import MaxPool
from edgebed.program.ops.maximum import Maximum
from edgebed.program.ops.minimum import Minimum
from edgebed.program.ops.multiply import Multiply
from edgebed.program.ops.pad import Pad
from edgebed.program.ops.power import Power
from edgebed.program.ops.prelu import Prelu
from edgebed.program.ops.quantize import Quantize
from edgebed.program.ops.reduce import Reduce
from edgebed.program.ops.requantize import Requantize
from edgebed.program.ops.reshape import Reshape
from edgebed.program.ops.resize import Resize
from edgebed.program.ops.slice import Slice
from edgebed.program.ops.softmax import Softmax
from edgebed.program.ops.space_to_depth import SpaceToDepth
from edgebed.program.ops.squared_difference import SquaredDifference
from edgebed.program.ops.strided_slice import StridedSlice
from edgebed.program.ops.subtract import Subtract
from edgebed.program.ops.transpose import Transpose
from edgebed.program.ops.unary import Unary
from edgebed.program.types import Op

KINDS: dict[str, type[Op]] = {
    op.kind: op
    for op in (
        Add,
        Argmax,
        AvgPool,
        BatchMatmul,
        BitOr,
        BitXor,
        Cast,
        Concat,
        Constant,
        Conv2d,
        ConvTranspose2d,
        Crop,
        Dense,
        DepthToSpace,
        Dequantize,
        DetectionPostProcess,
        Divide,
        Gather,
        Identity,
        L2Normalize,
        Lookup,
        MaxPool,
        Maximum,
        Minimum,
        Multiply,
        Pad,
        Power,
        Prelu,
        Quantize,
        Reduce,
        Requantize,
        Reshape,
        Resize,
        Slice,
        Softmax,
        SpaceToDepth,
        SquaredDifference,
        StridedSlice,
        Subtract,
        Transpose,
        Unary,
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
