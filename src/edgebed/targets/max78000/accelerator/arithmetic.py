"""What the accelerator computes, in plain numpy: exact, readable, and slow.

`fast.py` is the same in C. Both are used through `Arithmetic`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Int8 = npt.NDArray[np.int8]
Int32 = npt.NDArray[np.int32]
Words = npt.NDArray[np.uint32]
Output = npt.NDArray[Any]  # int8, or int32 for 32-bit outputs

SUB, ADD, OR, XOR = range(4)
RELU, ABS = 1, 2


@dataclass(frozen=True)
class Memory:
    """Words of several instances; word w of instance i is data[i * instance_step + w * word_step].

    Attributes:
        data: uint32, one-dimensional.
        instance_step: distance between instances.
        word_step: distance between words.
        wrap: mask of word addresses, -1 for none.
    """

    data: Words
    instance_step: int
    word_step: int
    wrap: int

    def at(self, instances: npt.ArrayLike, words: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Return indices into `data`; the arguments broadcast."""
        places = (np.asarray(words, np.int64) & self.wrap) * self.word_step
        return places + np.asarray(instances, np.int64) * self.instance_step


@dataclass(frozen=True)
class Source:
    """Where a layer reads: word base + (pixel * passes + pass) * operands + operand."""

    base: int
    pixels: int
    passes: int
    operands: int
    instances: tuple[int, ...]


@dataclass(frozen=True)
class Window:
    """Pooling and element-wise operation of one layer; `function` as in ONED[15:14].

    `wide` keeps 32-bit results: nothing is clipped.
    """

    size: tuple[int, int]
    stride: int
    maximum: bool
    rounding: bool
    pool_last: bool
    function: int
    wide: bool = False


@dataclass(frozen=True)
class Convolution:
    """One convolution.

    Attributes:
        weights: int8 [output column, kernel row, kernel column, input channel].
        bias: int32 [output column], in units of 128 accumulator steps.
        shape: rows, columns of its (pooled) input.
        pad: zero rows, columns on each side.
        transposed: zeros between the input's pixels first (stride 2).
        shift: left shift of the accumulator before the division by 128.
        activation: 0 none, 1 ReLU, 2 Abs.
        wide: the result is the int32 accumulator itself.
    """

    weights: Int8
    bias: Int32
    shape: tuple[int, int]
    pad: tuple[int, int]
    transposed: bool
    shift: int
    activation: int
    wide: bool

    @property
    def out_shape(self) -> tuple[int, int]:
        """Rows and columns of the result."""
        spread = 2 if self.transposed else 1
        return (
            self.shape[0] * spread + 2 * self.pad[0] - self.weights.shape[1] + 1,
            self.shape[1] * spread + 2 * self.pad[1] - self.weights.shape[2] + 1,
        )


@dataclass(frozen=True)
class Moves:
    """How a result goes to memory; rows are (source byte, instance, word, byte lane).

    Attributes:
        words: int32 [n, 4], whole words (lane 0).
        bytes_: int32 [n, 4], single lanes; the other lanes of the word stay as they are.
        pixel_words: words from one pixel to the next.
    """

    words: Int32
    bytes_: Int32
    pixel_words: int


class Arithmetic(Protocol):
    """The four steps of a layer."""

    def gather(self, memory: Memory, source: Source) -> Int8:
        """Return int8 [operands, pixels, passes * instances * 4]."""

    def pool_and_combine(self, window: Window, maps: Int8) -> Output:
        """Pool and combine int8 [operands, rows, columns, channels]; int32 when wide."""

    def convolution(self, convolution: Convolution) -> Callable[[Int8], Output]:
        """Return a function from int8 [rows, columns, channels] to [pixels, output columns].

        The result may have further columns, without meaning, and may be the same array each call.
        """

    def scatter(self, memory: Memory, moves: Moves, values: Output) -> None:
        """Write [pixels, columns] to memory."""


class PlainArithmetic:
    """The accelerator's arithmetic in numpy."""

    def gather(self, memory: Memory, source: Source) -> Int8:
        """See `Arithmetic.gather`."""
        index = np.arange(source.pixels * source.passes) * source.operands + source.base
        words = index[None] + np.arange(source.operands)[:, None]
        found = memory.data[memory.at(source.instances, words[..., None])]
        return found.view(np.int8).reshape(source.operands, source.pixels, -1)

    def pool_and_combine(self, window: Window, maps: Int8) -> Output:
        """See `Arithmetic.pool_and_combine`."""
        result = _pool_and_combine(window, maps.astype(np.int32))
        return result if window.wide else np.clip(result, -128, 127).astype(np.int8)

    def convolution(self, convolution: Convolution) -> Callable[[Int8], Output]:
        """See `Arithmetic.convolution`."""
        return lambda x: requantise(convolution, accumulate(convolution, x))

    def scatter(self, memory: Memory, moves: Moves, values: Output) -> None:
        """See `Arithmetic.scatter`."""
        source = np.ascontiguousarray(values).view(np.uint8).reshape(len(values), -1)
        pixels = np.arange(len(values))[:, None] * moves.pixel_words
        lanes = memory.data.view(np.uint8)
        for rows, size in ((moves.words, 4), (moves.bytes_, 1)):
            place = memory.at(rows[:, 1], pixels + rows[:, 2])
            for lane in range(size):
                lanes[4 * place + rows[:, 3] + lane] = source[:, rows[:, 0] + lane]


def _pool_and_combine(window: Window, maps: Int32) -> Int32:
    if not window.pool_last:
        return combine(window.function, pool(window, maps))
    combined = combine(window.function, maps)
    if not window.wide:
        combined = np.clip(combined, -128, 127)
    return np.asarray(pool(window, combined[None])[0], np.int32)


def pool(window: Window, maps: Int32) -> Int32:
    """Pool int32 [operands, rows, columns, channels]; what does not fill a window is left out."""
    stride = window.stride
    size = window.size
    windows = np.lib.stride_tricks.sliding_window_view(maps, size, (1, 2))
    windows = windows[:, ::stride, ::stride]
    if window.maximum:
        return np.asarray(windows.max((-2, -1)), np.int32)
    total, count = windows.sum((-2, -1)), size[0] * size[1]
    magnitude = np.abs(total)
    if window.rounding:
        return np.asarray(np.sign(total) * ((2 * magnitude + count) // (2 * count)), np.int32)
    return np.asarray(np.sign(total) * (magnitude // count), np.int32)


def combine(function: int, operands: Int32) -> Int32:
    """Combine int32 [operands, ...] from left to right, exactly."""
    step = {SUB: np.subtract, ADD: np.add, OR: np.bitwise_or, XOR: np.bitwise_xor}[function]
    result = operands[0]
    for operand in operands[1:]:
        result = step(result, operand)
    return np.asarray(result, np.int32)


def accumulate(convolution: Convolution, x: Int8) -> Int32:
    """Return the exact int32 accumulators, [pixels, output columns]."""
    kernel_rows, kernel_columns = convolution.weights.shape[1:3]
    if convolution.transposed:
        spread = np.zeros((2 * x.shape[0], 2 * x.shape[1], x.shape[2]), np.int8)
        spread[::2, ::2] = x
        x = spread
    x = np.pad(x, [(p, p) for p in (*convolution.pad, 0)])
    rows, columns = convolution.out_shape
    total = np.zeros((rows * columns, len(convolution.weights)), np.float64)
    for r in range(kernel_rows):
        for c in range(kernel_columns):
            part = x[r : r + rows, c : c + columns].reshape(rows * columns, -1)
            # Exact in double precision: every sum stays far below 2**53.
            total += part.astype(np.float64) @ convolution.weights[:, r, c].T.astype(np.float64)
    return total.astype(np.int32) + 128 * convolution.bias


def requantise(convolution: Convolution, accumulator: Int32) -> Output:
    """Return floor(acc * 2**shift / 128 + 1/2) clipped to 8 bits and activated; or acc itself."""
    if convolution.wide:
        return accumulator
    right = 7 - convolution.shift
    y = accumulator.astype(np.int64)
    y = (y + (1 << right - 1)) >> right if right > 0 else y << -right
    y = np.clip(y, -128, 127)
    if convolution.activation == RELU:
        y = np.maximum(y, 0)
    elif convolution.activation == ABS:
        y = np.minimum(np.abs(y), 127)
    return y.astype(np.int8)
