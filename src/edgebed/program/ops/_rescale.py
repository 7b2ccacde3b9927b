"""From one affine integer scale to another."""

from __future__ import annotations

import numpy as np

from edgebed.program.arithmetic import Affine, multiply_by_quantized, quantize_multiplier
from edgebed.program.ops._float import real_values
from edgebed.program.types import Array, TensorType


def rescale(x: Array, kind: TensorType, rule: Affine) -> Array:
    """Return integers of another scale and zero point that mean the same, clamped by the rule.

    The fixed-point rules multiply q - zero_point by scale_in / scale_out (in double precision,
    then 31 bits), `float` dequantises and quantises in float32. Values of 8 and 16 bits whose
    scale stays just move by the difference of the zero points. Source: TensorFlow Lite's
    Requantize, whose 32-bit values wrap where the left shift leaves 32 bits.
    """
    if rule.rounding == "float":
        return rule.quantise(real_values(x, kind))
    real = float(np.float32(kind.scale)) / float(np.float32(rule.scale))
    multiplier, shift = (np.array(n) for n in quantize_multiplier(real))
    single = rule.rounding == "fixed_point_single"
    centred = x.astype(np.int64) - kind.zero_point
    return rule.clamp(multiply_by_quantized(centred, multiplier, shift, single=single))
