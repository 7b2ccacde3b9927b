"""The accelerator's arithmetic in compiled C (kernels.c), with the meaning of arithmetic.py."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgebed.errors import EdgebedError
from edgebed.targets._shared.native import load_library
from edgebed.targets.max78000.accelerator.arithmetic import (
    Arithmetic,
    Convolution,
    Int8,
    Memory,
    Moves,
    Output,
    PlainArithmetic,
    Source,
    Window,
)

KERNELS = Path(__file__).with_name("kernels.c")
_BLOCK = 16  # output columns of one block of weights


def best_arithmetic() -> Arithmetic:
    """Return the compiled arithmetic, or the plain one on a machine without a C compiler."""
    try:
        return FastArithmetic()
    except EdgebedError:
        return PlainArithmetic()


def _numbers(*values: int) -> ctypes.Array[ctypes.c_int32]:
    """Return the fields of a C struct of int32, in order."""
    return (ctypes.c_int32 * len(values))(*(int(value) for value in values))


def _pointer(array: npt.NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _layout(memory: Memory) -> tuple[int, int, int]:
    return memory.instance_step, memory.word_step, memory.wrap


class FastArithmetic:
    """The accelerator's arithmetic in C.

    Args:
        library: `kernels.c`, compiled; built for this CPU when left out.

    Raises:
        EdgebedError: there is no compiler; see `PlainArithmetic`.
    """

    def __init__(self, library: ctypes.CDLL | None = None) -> None:
        self._c = library or load_library(KERNELS)

    def gather(self, memory: Memory, source: Source) -> Int8:
        """See `Arithmetic.gather`."""
        slots = len(source.instances)
        out = np.empty((source.operands, source.pixels, source.passes * slots * 4), np.int8)
        shape = (source.base, source.pixels, source.passes, source.operands, slots)
        self._c.gather_words(
            _numbers(*_layout(memory), *shape),
            _pointer(memory.data),
            _numbers(*source.instances),
            _pointer(out),
        )
        return out

    def pool_and_combine(self, window: Window, maps: Int8) -> Output:
        """See `Arithmetic.pool_and_combine`."""
        if window.wide:
            return PlainArithmetic().pool_and_combine(window, maps)
        operands, rows, columns, channels = maps.shape
        if operands == 1 and window.size == (1, 1) and window.stride == 1:
            return np.asarray(maps[0], np.int8)
        maps = np.ascontiguousarray(maps)
        shape = [
            (n - k) // window.stride + 1 for n, k in zip((rows, columns), window.size, strict=True)
        ]
        out = np.empty((shape[0], shape[1], channels), np.int8)
        switches = (window.maximum, window.rounding, window.pool_last, window.function)
        fields = (rows, columns, channels, operands, *window.size, window.stride, *shape)
        self._c.pool_and_combine(_numbers(*fields, *switches), _pointer(maps), _pointer(out))
        return out

    def convolution(self, convolution: Convolution) -> Callable[[Int8], Output]:
        """See `Arithmetic.convolution`."""
        return _Convolution(self._c, _flattened(convolution))

    def scatter(self, memory: Memory, moves: Moves, values: Output) -> None:
        """See `Arithmetic.scatter`."""
        values = np.ascontiguousarray(values)
        width = values[0].nbytes
        fields = _numbers(*_layout(memory), len(values), width, moves.pixel_words)
        for copy, rows in (
            (self._c.scatter_words, moves.words),
            (self._c.scatter_bytes, moves.bytes_),
        ):
            if len(rows):
                copy(fields, _pointer(values), len(rows), _pointer(rows), _pointer(memory.data))


def _flattened(c: Convolution) -> Convolution:
    """Return a one-column convolution as a one-row one: the same bytes, and longer rows."""
    if c.shape[1] != 1 or c.weights.shape[2] != 1 or c.pad[1] or c.transposed:
        return c
    return Convolution(
        weights=np.swapaxes(c.weights, 1, 2),
        bias=c.bias,
        shape=(1, c.shape[0]),
        pad=(0, c.pad[0]),
        transposed=False,
        shift=c.shift,
        activation=c.activation,
        wide=c.wide,
    )


class _Convolution:
    """Packed weights and buffers of one convolution; calling it computes one map."""

    def __init__(self, library: ctypes.CDLL, c: Convolution) -> None:
        outputs, kernel_rows, kernel_columns, channels = c.weights.shape
        blocks = -(-outputs // _BLOCK)
        spread = 2 if c.transposed else 1
        padded = tuple(n * spread + 2 * p for n, p in zip(c.shape, c.pad, strict=True))
        rows, columns = c.out_shape
        self._library = library
        self._weights = _pack(c, blocks)
        self._start = _start(c, blocks)
        self._padded = np.empty((*padded, channels), np.uint8)
        self._out = np.empty((rows * columns, blocks * _BLOCK), np.int32 if c.wide else np.int8)
        self._frame = _numbers(*c.shape, channels, *c.pad, spread)
        self._shape = _numbers(
            rows,
            columns,
            padded[1] * channels,
            channels,
            kernel_rows,
            kernel_columns * channels // 4,
            blocks,
            c.shift,
            c.activation,
            c.wide,
        )

    def __call__(self, x: Int8) -> Output:
        x = np.ascontiguousarray(x)
        self._library.pad(self._frame, _pointer(x), _pointer(self._padded))
        self._library.convolve(
            self._shape,
            _pointer(self._padded),
            _pointer(self._weights),
            _pointer(self._start),
            _pointer(self._out),
        )
        return self._out


def _pack(c: Convolution, blocks: int) -> Int8:
    """Return the weights as [block][four kernel bytes][16 output columns][4]."""
    flat = c.weights.reshape(len(c.weights), -1)
    padded = np.zeros((blocks * _BLOCK, flat.shape[1]), np.int8)
    padded[: len(flat)] = flat
    grouped = padded.reshape(blocks, _BLOCK, -1, 4).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(grouped)


def _start(c: Convolution, blocks: int) -> npt.NDArray[np.int32]:
    """Return bias and the correction for the 128 that is added to every input."""
    start = np.zeros(blocks * _BLOCK, np.int32)
    total = c.weights.reshape(len(c.weights), -1).sum(1, dtype=np.int32)
    start[: len(c.bias)] = 128 * c.bias - 128 * total
    return start
