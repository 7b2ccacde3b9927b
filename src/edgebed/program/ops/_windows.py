"""Sliding windows shared by convolution and pooling."""

from __future__ import annotations

import numpy as np

from edgebed.program.types import Array


def output_size(size: int, kernel: int, stride: int, before: int, after: int, dilation: int) -> int:
    """Return how many windows fit along an axis; what is left over at the end is ignored."""
    return (size + before + after - (kernel - 1) * dilation - 1) // stride + 1


def windows(
    x: Array, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int] = (1, 1)
) -> Array:
    """Return a view N x C x OH x OW x KH x KW of the windows of x (N x C x H x W)."""
    span = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
    view = np.lib.stride_tricks.sliding_window_view(x, span, axis=(2, 3))
    (sh, sw), (dh, dw) = stride, dilation
    result: Array = view[:, :, ::sh, ::sw, ::dh, ::dw]
    return result
