"""Cycles of one accelerator layer: the vendor synthesiser's law, stated as a pure function."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerShape:
    """The arguments of the law, in its own order; all sizes in pixels, channels or counts.

    Attributes:
        rows: rows of the pooled (transposed convolution: then doubled) input.
        columns: columns of the same.
        out_columns: columns of the output map.
        channels: output columns of the kernel memory (output channels with gaps and dummies).
        passes: input passes.
        operands: element-wise operands.
        pool_rows: rows of the pooling window, 1 when not pooling.
        pool_columns: columns of the pooling window, 1 when not pooling.
        pad_rows: zero rows added on each side.
        pad_columns: zero columns added on each side.
        kernel_rows: rows of the kernel; the length for conv1d.
        kernel_columns: columns of the kernel; 1 for conv1d.
        pool_last: pooling follows the element-wise operation.
        passthrough: no convolution.
        time_slots: words a passthrough layer writes per pass and quadrant.
        out_passes: output passes; counts for pooling passthrough layers only.
        kernel_offset: first 72-bit column in kernel memory; counts when pooling last only.
        flatten: the POST flatten bit (more than 16 passes).
        streaming: the layer runs in the streaming chain.
    """

    rows: int
    columns: int
    out_columns: int
    channels: int
    passes: int = 1
    operands: int = 1
    pool_rows: int = 1
    pool_columns: int = 1
    pad_rows: int = 0
    pad_columns: int = 0
    kernel_rows: int = 1
    kernel_columns: int = 1
    pool_last: bool = False
    passthrough: bool = False
    time_slots: int = 1
    out_passes: int = 1
    kernel_offset: int = 0
    flatten: bool = False
    streaming: bool = False


@dataclass(frozen=True)
class LayerCycles:
    """Cycles of one layer at the CNN clock.

    Attributes:
        unscaled: the law as it stands; closer to published measurements.
        scaled: one and a half times as much for streaming layers, the vendor tool's guess; equal
            to `unscaled` for all others.
    """

    unscaled: int
    scaled: int


STARTUP_CYCLES = 1  # added once per network


def layer_cycles(shape: LayerShape) -> LayerCycles:
    """Return the cycles of one layer (ai8x-synthesis' latency estimate, MAX78000)."""
    total = _passthrough(shape) if shape.passthrough else _convolution(shape)
    return LayerCycles(total, (15 * total + 9) // 10 if shape.streaming else total)


def _load_cycles(s: LayerShape, passes: int) -> tuple[int, int]:
    """Return cycles to fetch one padding pixel and one data pixel, all passes."""
    window = s.pool_rows * s.pool_columns
    if s.pool_last:
        return 2 * passes, passes * (s.operands * window + 1)
    return 2 * passes * s.operands, passes * s.operands * (window + 1)


def _passthrough(s: LayerShape) -> int:
    pooling = s.pool_rows * s.pool_columns > 1
    passes = 2 * s.passes - 1 if pooling and s.out_passes > 1 else s.passes
    data = _load_cycles(s, passes)[1]
    return s.rows * s.columns * (data + passes * s.time_slots)


def _convolution(s: LayerShape) -> int:
    pad, data = _load_cycles(s, s.passes)
    times = s.passes if s.pool_last else 1
    edge = s.pad_columns * (pad + 1)
    lead = times * (s.kernel_columns - 1 - s.pad_columns)
    rest = times * (s.out_columns - s.pad_columns)
    first = 2 * edge + times * s.columns * (pad + 1)
    silent = 2 * edge + times * s.columns * (data + 1)
    row = edge + lead * (data + 1) + rest * data + s.pad_columns * pad
    bottom = edge + lead * (pad + 1) + rest * pad + s.pad_columns * pad
    single = s.channels if s.channels == 1 and s.passes == 1 else 0
    out = s.passes * s.out_columns * s.channels + single
    depth = s.kernel_rows - 1 - s.pad_rows
    total = int(s.flatten) + _prefetch(s) + s.pad_rows * first + depth * silent
    return total + (row + out) * (s.rows - depth) + s.pad_rows * (bottom + out)


def _prefetch(s: LayerShape) -> int:
    if not s.pool_last or (s.passes == 1 and s.operands == 1):
        return 0
    across = (s.rows + 2 * s.pad_rows - s.kernel_columns + 1) * s.pad_columns
    down = (s.columns + 2 * s.pad_columns - s.kernel_rows + 1) * s.pad_rows
    return (across + down - s.pad_rows * s.pad_columns) * s.kernel_offset
