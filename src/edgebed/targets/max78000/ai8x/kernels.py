"""Weights as the program's ops need them, from either form of file."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgebed.errors import EdgebedError
from edgebed.program.arithmetic import weight_range
from edgebed.targets.max78000.ai8x.network import Layer
from edgebed.targets.max78000.ai8x.weights import Weights

Array = npt.NDArray[Any]


def kernel_of(layer: Layer, weights: Weights, channels: int, dense: bool) -> Array:
    """Return a layer's weights.

    Args:
        layer: what the description says.
        weights: of this layer.
        channels: input channels of the convolution; for a dense layer the values of its
            flattened input.
        dense: the layer sees the whole input at once.

    Returns:
        Dense: out x in. Transposed convolution: in x out x rows x columns. Others:
        out x in / groups x rows x columns, with one column for conv1d.

    Raises:
        EdgebedError: another number of values, or kernels of another size.
    """
    values = weights.values
    if weights.shaped and layer.op == "convtranspose2d":
        kernel = _sized(values, layer, weights)
        _check_inputs(layer, weights, kernel.shape[0], channels)
        return kernel
    inner = channels // layer.groups
    if weights.shaped:
        kernel = _sized(values, layer, weights) if values.ndim > 2 else values[:, :, None, None]
        _check_inputs(layer, weights, kernel.shape[1], inner)
    else:
        kernel = _unfold(_sized(_flat(values, layer), layer, weights), inner, layer, weights)
    if dense:
        return kernel.reshape(len(kernel), -1)
    if layer.op == "convtranspose2d":
        # The file holds the kernel as the device convolves with it.
        return np.ascontiguousarray(kernel.swapaxes(0, 1)[:, :, ::-1, ::-1])
    return kernel


def _flat(values: Array, layer: Layer) -> Array:
    """Return flat kernels as 1 x n x kernel; linear weights may come as 1 x out x in."""
    matrix = values.ndim == 3 and len(values) == 1 and values.shape[1:] not in ((1, 1), (3, 3))
    if layer.op == "linear" or (layer.kernel == (1, 1) and matrix):
        return values.reshape(1, -1, 1, 1)
    return values[None]


def _check_inputs(layer: Layer, weights: Weights, found: int, needed: int) -> None:
    if found != needed:
        raise EdgebedError(
            f"layer {layer.number} has {needed} input channels, its weights {found}",
            where=f"{layer.place.file}:{layer.place.line}",
            why=weights.source,
        )


def _unfold(kernels: Array, inner: int, layer: Layer, weights: Weights) -> Array:
    count = kernels.shape[1]
    if inner < 1 or count % inner:
        raise EdgebedError(
            f"{count} kernels for layer {layer.number} with {inner} input channels",
            where=weights.source,
            why=f"{count} is not a multiple of {inner}",
        )
    return kernels.reshape(count // inner, inner, *kernels.shape[2:])


def _sized(values: Array, layer: Layer, weights: Weights) -> Array:
    """Bring the kernels (last axes of a x b x kernel) to the size the description names."""
    kernel = values[..., None] if values.ndim == 3 else values
    size = tuple(kernel.shape[2:])
    if kernel.ndim == 4 and size == layer.kernel:
        return kernel
    if kernel.ndim == 4 and layer.op == "conv1d":
        found = _undilated(kernel, layer)
    elif size == (3, 3) and layer.kernel == (1, 1):
        found = _picked(kernel, (slice(1, 2), slice(1, 2)))  # a 1x1 kernel in a streaming layer
    else:
        found = None
    if found is None:
        rows, columns = layer.kernel
        raise EdgebedError(
            f"the kernels of layer {layer.number} are {'x'.join(map(str, size))}",
            where=weights.source,
            why=f"{rows}x{columns} in line {layer.place.line} of the description",
        )
    return found


def _undilated(kernel: Array, layer: Layer) -> Array | None:
    """Take the taps out of a dilated 1-D kernel that was stretched, or mapped to 3 x 3."""
    taps, step = layer.kernel[0], layer.dilation[0]
    if step == 1:
        return None
    if kernel.shape[2:] == (3, 3) and taps <= 3:
        # The centre column: rows (k0, k1, k2), (0, k0, k1) or (0, k0, 0).
        start = {1: 1, 2: 1, 3: 0}[taps]
        return _picked(kernel, (slice(start, start + taps), slice(1, 2)))
    if kernel.shape[2:] == ((taps - 1) * step + 1, 1):
        return _picked(kernel, (slice(None, None, step), slice(None)))
    return None


def _picked(kernel: Array, part: tuple[slice, slice]) -> Array | None:
    """Return a part of the kernels if everything outside it is zero."""
    inside = kernel[:, :, part[0], part[1]]
    if np.count_nonzero(inside) != np.count_nonzero(kernel):
        return None
    return np.ascontiguousarray(inside)


def check_range(layer: Layer, weights: Weights, bits: int) -> None:
    """Refuse weights and biases that their bits cannot hold.

    Raises:
        EdgebedError: with the largest value and the bits.
    """
    for values, width, what in ((weights.values, bits, "weights"), (weights.bias, 8, "biases")):
        if values is None:
            continue
        low, high = weight_range(width)
        least, most = int(values.min()), int(values.max())
        if least < low or most > high:
            raise EdgebedError(
                f"the {what} of layer {layer.number} hold {least}..{most}",
                where=weights.source,
                why=f"{width} bits hold {low}..{high}",
            )
