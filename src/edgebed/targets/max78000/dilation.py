"""Dilated conv1d, which the device does as a 3x3 convolution over a folded sequence (spec 2.10)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from edgebed.targets.max78000.layers import Layer

LONGEST = 9
Int8 = npt.NDArray[np.int8]


def spaced(layer: Layer, taps: Int8, dilation: int) -> Layer:
    """Return a conv1d layer with a dilated kernel (out x in x taps x 1) in device form.

    Up to 9 taps the kernel is stretched with zeros. Beyond, the sequence of length L becomes
    ceil(L / d) rows of d columns and the taps stand in the centre column of a 3x3 kernel, so one
    step along the rows is d steps in time. With three taps the first row is junk; the tail beyond
    the true result is junk too.
    """
    length = (taps.shape[2] - 1) * dilation + 1
    if length <= LONGEST:
        kernel = np.zeros((*taps.shape[:2], length, 1), dtype=np.int8)
        kernel[:, :, ::dilation] = taps
        return replace(layer, operator="conv1d", kernel=kernel, kernel_shape=(length, 1))
    rows = -(-layer.in_shape[1] // dilation)
    out, inner, count, _ = taps.shape
    kernel = np.zeros((out, inner, 3, 3), dtype=np.int8)
    kernel[:, :, 3 - count :, 1] = taps[..., 0]
    return replace(
        layer,
        operator="conv2d",
        in_shape=(inner, rows, dilation),
        out_shape=(out, rows, dilation),
        kernel=kernel,
        kernel_shape=(3, 3),
        padding=(1, 1),
        skipped=dilation if count == 3 else 0,
    )
