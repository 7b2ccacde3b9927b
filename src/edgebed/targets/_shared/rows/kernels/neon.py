"""Packing for Advanced SIMD: AArch64 with and without dot products, Armv7.

A step multiplies sixteen inputs. Steps go along the kernel's rows, its channels sixteen at a time
and its columns; or, where few channels would leave them nearly empty, along the whole window in
one. Weights lie in the order in which `conv_neon.h` reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgebed.targets._shared.rows.kernels.portable import PORTABLE, fits_bytes
from edgebed.targets._shared.rows.kernels.sets import Goal, KernelSet, Packed, WindowShape

Array = npt.NDArray[Any]

_WINDOWS: Final = 1
_TWICE: Final = 2
_GATHERED: Final = 4
_STEPS_LIMIT: Final = 1 << 13


@dataclass(frozen=True)
class Neon:
    """Kernels for one variant of Advanced SIMD.

    Attributes:
        name: neon, neon_dot.
        dot: the core multiplies and adds four bytes at a time.
        fallback: for layers that these kernels cannot do.
    """

    name: str
    dot: bool
    fallback: KernelSet = PORTABLE

    @property
    def outputs(self) -> int:
        """Outputs of a block."""
        return 8 if self.dot else 4

    def conv(self, shape: WindowShape, weights: Array, goal: Goal, *, linear: bool) -> Packed:
        """See `KernelSet.conv`."""
        windows = _collects(shape)
        arranged = self._arranged(weights, windows=windows)
        steps = sum(part.shape[1] for part in arranged)
        if not 0 < steps < _STEPS_LIMIT:
            return self.fallback.conv(shape, weights, goal, linear=linear)
        packed = self._blocks(np.concatenate(arranged, axis=1)).astype(np.int8).tobytes()
        if not windows and len(arranged) == 1 and shape.kernel[0] > 1:
            packed += self._sums(weights)
        gathered = windows and steps == 2 and len(arranged) == 1 and _is_gathered(shape)
        if gathered:
            packed += _window_table(shape)
        each = arranged[0].shape[1]
        inputs = _window_bytes(shape, each) if windows else _plane_bytes(shape)
        return Packed(
            function="eb_conv_neon",
            header="conv_neon_dot.h" if self.dot else "conv_neon.h",
            c_type="int8_t",
            weights=packed,
            depth=8 * steps
            + _WINDOWS * windows
            + _TWICE * (len(arranged) == 2)
            + _GATHERED * gathered,
            scratch_bytes=_padded(4 * steps) + inputs,
        )

    def dense(self, depth: int, rows: int, weights: Array, goal: Goal, *, linear: bool) -> Packed:
        """See `KernelSet.dense`."""
        outputs = len(weights)
        shape = WindowShape(1, rows, depth, 1, rows, outputs)
        kernel = weights.reshape(outputs, 1, 1, depth)
        packed = self.conv(shape, kernel, goal, linear=linear)
        if packed.function == "eb_conv_neon":
            return packed
        return self.fallback.dense(depth, rows, weights, goal, linear=linear)

    def depthwise(self, shape: WindowShape, weights: Array, goal: Goal, *, linear: bool) -> Packed:
        """See `KernelSet.depthwise`."""
        taps = shape.kernel[0] * shape.kernel[1]
        flat = weights.reshape(len(weights), taps)
        lone = fits_bytes(weights) and not _meet(flat[:, 0 : taps - 1 : 2], flat[:, 1::2])
        parts = (weights,) if lone else _parts(weights, -127)
        pairs = (taps * len(parts or ()) + 1) // 2
        if not 0 < pairs < _STEPS_LIMIT or shape.in_channels != shape.out_channels:
            return self.fallback.depthwise(shape, weights, goal, linear=linear)
        flat = np.concatenate([part.reshape(len(part), taps).T for part in parts or ()])
        return Packed(
            function="eb_depthwise_neon",
            header="depthwise_neon.h",
            c_type="int8_t",
            weights=_channel_groups(flat, 2 * pairs).astype(np.int8).tobytes(),
            depth=pairs,
            scratch_bytes=_padded(8 * pairs) + _bordered_bytes(shape) + 16,
        )

    def _arranged(self, weights: Array, *, windows: bool) -> list[Array]:
        """Return one or two sets of steps of bytes whose sum is the weights; none if impossible.

        Two products of bytes fit 16 bits unless both weights are -128.
        """
        whole = _steps(weights, windows=windows)
        if fits_bytes(weights) and (self.dot or not _meet(whole[..., :8], whole[..., 8:])):
            return [whole]
        parts = _parts(weights, -128 if self.dot else -127)
        return [_steps(part, windows=windows) for part in parts or ()]

    def _blocks(self, weights: Array) -> Array:
        """Return O x steps x 16 in blocks of outputs, filled up with zeros."""
        outputs, steps, _ = weights.shape
        blocks = -(-outputs // self.outputs)
        padded = np.zeros((blocks * self.outputs, steps, 16), np.int64)
        padded[:outputs] = weights
        group = 4 if self.dot else 16  # inputs of one output that lie side by side
        lanes = padded.reshape(blocks, self.outputs, steps, 16 // group, group)
        return lanes.transpose(0, 2, 3, 1, 4)

    def _sums(self, weights: Array) -> bytes:
        """Return the sums of each output's weights above each row of the kernel, and of all.

        What lies outside of the map holds the zero point: rows there need no products.
        """
        outputs, rows = weights.shape[:2]
        padded = -(-outputs // self.outputs) * self.outputs
        sums = np.zeros((rows + 1, padded), np.int64)
        sums[1:, :outputs] = weights.sum(axis=(2, 3)).cumsum(axis=1).T
        return sums.astype("<i4").tobytes()


def _parts(weights: Array, low: int) -> tuple[Array, ...] | None:
    """Return one or two sets of bytes from `low` on whose sum is `weights`, or None."""
    half = weights // 2
    for parts in ((weights,), (half, weights - half)):
        if all(part.min() >= low and part.max() <= 127 for part in parts):
            return parts
    return None


def _meet(first: Array, second: Array) -> bool:
    """Return whether -128 stands in the same place of both."""
    return bool(((first == -128) & (second == -128)).any())


def _padded(depth: int) -> int:
    return -(-depth // 16) * 16


def _steps(weights: Array, *, windows: bool) -> Array:
    """Return O x KH x KW x I as O x steps x 16."""
    outputs, rows, columns, channels = weights.shape
    if windows:
        flat = weights.reshape(outputs, -1)
        padded = np.zeros((outputs, _padded(flat.shape[1])), np.int64)
        padded[:, : flat.shape[1]] = flat
        return padded.reshape(outputs, -1, 16)
    full = np.zeros((outputs, rows, columns, _padded(channels)), np.int64)
    full[..., :channels] = weights
    by_plane = full.reshape(outputs, rows, columns, -1, 16).transpose(0, 1, 3, 2, 4)
    return by_plane.reshape(outputs, -1, 16)


def _plane_bytes(shape: WindowShape) -> int:
    """Return the bytes of all planes: sixteen channels each, one for each column modulo stride."""
    reach, stride = (shape.kernel[1] - 1) * shape.dilation[1], shape.stride[1]
    columns = shape.out_width + reach // stride
    planes = min(reach + 1, stride) * shape.kernel[0] * _padded(shape.in_channels)
    return planes * columns


def _window_bytes(shape: WindowShape, steps: int) -> int:
    """Return the bytes of all pixels' windows, twice, and of the rows with borders."""
    return (32 * steps + 16) * shape.out_width + _bordered_bytes(shape) + 16


def _is_gathered(shape: WindowShape) -> bool:
    """Return whether a window is three runs of at most sixteen bytes."""
    run = shape.kernel[1] * shape.in_channels
    return shape.kernel[0] == 3 and run <= 16 and shape.dilation[1] == 1


def _window_table(shape: WindowShape) -> bytes:
    """Return for each of 32 bytes of a window where it lies in three runs, sixteen bytes apart."""
    row, byte = np.divmod(np.arange(32), shape.kernel[1] * shape.in_channels)
    return np.where(row < 3, 16 * row + byte, 255).astype(np.uint8).tobytes()


def _bordered_bytes(shape: WindowShape) -> int:
    """Return the bytes of the rows that a step reads, as wide as all windows together."""
    reach = (shape.kernel[1] - 1) * shape.dilation[1] + 1
    columns = (shape.out_width - 1) * shape.stride[1] + reach
    return shape.kernel[0] * columns * shape.in_channels


def _channel_groups(weights: Array, taps: int) -> Array:
    """Return T x C as groups of sixteen channels, `taps` x 16 each; the last may overlap."""
    count, channels = weights.shape
    starts = np.minimum(np.arange(0, channels, 16), max(channels - 16, 0))
    padded = np.zeros((taps, max(channels, 16)), np.int64)
    padded[:count, :channels] = weights
    return np.stack([padded[:, start : start + 16] for start in starts])


def _collects(shape: WindowShape) -> bool:
    """Return whether whole windows are collected, because planes would be too empty.

    Both in sixteenths of a product: collecting a pixel costs about as many instructions as eight
    steps of one output for every row of the kernel.
    """
    rows, columns = shape.kernel
    planes = rows * columns * _padded(shape.in_channels) // 16
    window = _padded(rows * columns * shape.in_channels) // 16
    return (planes - window) * shape.out_channels > 8 * rows


NEON: Final = Neon("neon", dot=False)
NEON_DOT: Final = Neon("neon_dot", dot=True)
