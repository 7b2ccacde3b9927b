"""The int8 L2 normalisation of TensorFlow Lite Micro."""

from __future__ import annotations

import numpy as np

from edgebed.program.arithmetic import multiply_by_quantized
from edgebed.program.ops._gemmlowp import inverse_square_root
from edgebed.program.types import Array


def fixed_point_l2(centred: Array) -> Array:
    """Return 128 * x / length along the last axis, rounded, for int64 x less its zero point."""
    squares = np.square(centred).sum(axis=-1, keepdims=True)
    multiplier, shift = inverse_square_root(squares)
    return np.asarray(multiply_by_quantized(centred, multiplier, shift + 7))
