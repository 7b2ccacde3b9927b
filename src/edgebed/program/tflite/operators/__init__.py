"""The operators that can be converted, by their names in the schema."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from edgebed.program.tflite.layer import Layer
from edgebed.program.tflite.operators import (
    activations,
    conversions,
    convolutions,
    detection,
    elementwise,
    normalising,
    parts,
    pools,
    products,
    shapes,
    spatial,
    strided,
)

Conversion = Callable[[Layer], None]

CONVERSIONS: Final[Mapping[str, Conversion]] = {
    "CONV_2D": convolutions.conv_2d,
    "DEPTHWISE_CONV_2D": convolutions.depthwise_conv_2d,
    "TRANSPOSE_CONV": convolutions.transpose_conv,
    "FULLY_CONNECTED": products.fully_connected,
    "BATCH_MATMUL": products.batch_matmul,
    "AVERAGE_POOL_2D": pools.average_pool,
    "MAX_POOL_2D": pools.max_pool,
    "MEAN": pools.reduction,
    "SUM": pools.reduction,
    "REDUCE_MAX": pools.reduction,
    "REDUCE_MIN": pools.reduction,
    "REDUCE_PROD": pools.reduction,
    "ADD": elementwise.binary,
    "SUB": elementwise.binary,
    "MUL": elementwise.binary,
    "DIV": elementwise.binary,
    "POW": elementwise.binary,
    "MAXIMUM": elementwise.binary,
    "MINIMUM": elementwise.binary,
    "SQUARED_DIFFERENCE": elementwise.binary,
    "PRELU": elementwise.prelu,
    **dict.fromkeys(activations.KINDS, activations.unary),
    "RESHAPE": shapes.reshape,
    "SQUEEZE": shapes.squeeze,
    "EXPAND_DIMS": shapes.expand_dims,
    "TRANSPOSE": shapes.transpose,
    "SHAPE": shapes.shape_of,
    "GATHER": shapes.gather,
    "ARG_MAX": shapes.arg_extreme,
    "ARG_MIN": shapes.arg_extreme,
    "CONCATENATION": parts.concatenation,
    "PACK": parts.pack,
    "UNPACK": parts.unpack,
    "SPLIT": parts.split,
    "SPLIT_V": parts.split_v,
    "PAD": parts.pad,
    "PADV2": parts.pad,
    "MIRROR_PAD": parts.pad,
    "SLICE": parts.slice_,
    "STRIDED_SLICE": strided.strided_slice,
    "RESIZE_NEAREST_NEIGHBOR": spatial.resize_nearest,
    "RESIZE_BILINEAR": spatial.resize_bilinear,
    "SPACE_TO_DEPTH": spatial.space_to_depth,
    "DEPTH_TO_SPACE": spatial.depth_to_space,
    "SOFTMAX": normalising.softmax,
    "LOG_SOFTMAX": normalising.log_softmax,
    "L2_NORMALIZATION": normalising.l2_normalization,
    "QUANTIZE": conversions.quantize,
    "DEQUANTIZE": conversions.dequantize,
    "CAST": conversions.cast,
    "TFLite_Detection_PostProcess": detection.detection_post_process,
}
