"""Kernels in plain C for any core: any shape, any weights, any rule of requantisation."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgebed.targets._shared.rows.kernels.sets import Goal, Packed, WindowShape


class Portable:
    """The kernel set `portable`; other sets return its kernels for what theirs cannot do."""

    name = "portable"

    def conv(
        self, shape: WindowShape, weights: npt.NDArray[Any], goal: Goal, *, linear: bool
    ) -> Packed:
        """Return the kernel for a convolution; weights O x KH x KW x I."""
        window = int(np.prod(shape.kernel)) * shape.in_channels
        direct = shape.kernel == (1, 1) and not shape.in_place and all_inside(shape)
        copied = 0 if direct else window
        return _packed("eb_conv_portable", "conv_portable.h", weights, scratch_bytes=copied)

    def depthwise(
        self, shape: WindowShape, weights: npt.NDArray[Any], goal: Goal, *, linear: bool
    ) -> Packed:
        """Return the kernel for a depthwise convolution; weights C x KH x KW."""
        window = int(np.prod(shape.kernel)) * shape.in_channels
        return _packed(
            *("eb_depthwise_portable", "depthwise_portable.h", weights),
            depth=shape.out_channels // shape.in_channels,
            scratch_bytes=window,
        )

    def dense(
        self, depth: int, rows: int, weights: npt.NDArray[Any], goal: Goal, *, linear: bool
    ) -> Packed:
        """Return the kernel for a dense layer on `rows` vectors of `depth`; weights O x K."""
        return self.conv(dense_shape(depth, rows, len(weights)), weights, goal, linear=linear)


def dense_shape(depth: int, rows: int, outputs: int) -> WindowShape:
    """Return a dense layer as the pointwise convolution of one row of `rows` pixels."""
    return WindowShape(1, rows, depth, 1, rows, outputs)


def all_inside(shape: WindowShape) -> bool:
    """Whether no window reaches beyond the map."""
    sizes = ((shape.in_height, shape.out_height), (shape.in_width, shape.out_width))
    return shape.padding == (0, 0) and all(
        (count - 1) * stride + (kernel - 1) * dilation < size
        for (size, count), kernel, stride, dilation in zip(
            sizes, shape.kernel, shape.stride, shape.dilation, strict=True
        )
    )


def fits_bytes(weights: npt.NDArray[Any]) -> bool:
    """Whether centred weights are int8."""
    return weights.size == 0 or bool(weights.min() >= -128 and weights.max() <= 127)


def _packed(
    function: str,
    header: str,
    weights: npt.NDArray[Any],
    *,
    depth: int = 0,
    scratch_bytes: int = 0,
) -> Packed:
    narrow = fits_bytes(weights)
    dtype, c_type = ("<i1", "int8_t") if narrow else ("<i2", "int16_t")
    return Packed(
        function=function if narrow else f"{function}_wide",
        header=header,
        c_type=c_type,
        weights=np.ascontiguousarray(weights, dtype=dtype).tobytes(),
        depth=depth,
        scratch_bytes=scratch_bytes,
    )


PORTABLE = Portable()
