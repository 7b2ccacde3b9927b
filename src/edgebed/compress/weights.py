"""Float weights as integers, one scale per output channel, and biases that fit them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgebed.errors import EdgebedError
from edgebed.program.types import Array, Constant

LIMIT = 127  # -128 is left out, so that products of two weights fit 16 bits (Jacob et al.)
_BIAS_LIMIT = 2.0**30


@dataclass(frozen=True)
class Weights:
    """Integer weights and what they lost.

    Attributes:
        constant: int8, with a scale per output channel.
        scales: float64, real value of one step per output channel.
        error: integer weights times scale minus the float weights, float64.
    """

    constant: Constant
    scales: npt.NDArray[np.float64]
    error: npt.NDArray[np.float64]


def quantise_weights(
    values: Array, axis: int, input_scale: float, bias: Array | None, where: str
) -> Weights:
    """Return symmetric 8-bit weights.

    Args:
        values: float32 weights.
        axis: of the output channels.
        input_scale: of the layer's input; a bias that would leave 31 bits widens the steps.
        bias: float32, one per output channel.
        where: the layer, for messages.

    Raises:
        EdgebedError: a weight is not finite.
    """
    real = np.moveaxis(values.astype(np.float64), axis, 0)
    if not np.isfinite(real).all():
        raise EdgebedError("its weights hold NaN or infinity", where=where)
    largest = np.abs(real.reshape(len(real), -1)).max(axis=1)
    scales = np.maximum(largest / LIMIT, 1e-12)
    if bias is not None:
        scales = np.maximum(scales, np.abs(bias.astype(np.float64)) / (_BIAS_LIMIT * input_scale))
    scales = scales.astype(np.float32).astype(np.float64)
    shape = (-1, *[1] * (real.ndim - 1))
    whole = np.clip(np.rint(real / scales.reshape(shape)), -LIMIT, LIMIT)
    error = np.moveaxis(whole * scales.reshape(shape) - real, 0, axis)
    stored = np.ascontiguousarray(np.moveaxis(whole, 0, axis)).astype(np.int8)
    listed = tuple(float(scale) for scale in scales)
    return Weights(Constant(stored, 8, listed[0], 0, listed), scales, error)


def quantise_bias(bias: Array, scales: npt.NDArray[np.float64], *, wide: bool) -> Constant:
    """Return biases in accumulator units: int32, or int64 for 16-bit inputs."""
    steps = np.rint(bias.astype(np.float64) / scales)
    listed = tuple(float(scale) for scale in scales)
    if wide:
        return Constant(steps.astype(np.int64), 64, listed[0], 0, listed)
    return Constant(np.clip(steps, -(2**31), 2**31 - 1).astype(np.int32), 32, listed[0], 0, listed)
