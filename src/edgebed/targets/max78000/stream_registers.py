"""Row buffers, streaming starts and ring buffers (spec 2.13)."""

from __future__ import annotations

from collections.abc import Sequence

from edgebed.targets.max78000.layers import Layer, Placed

TRAM_ROWS = 3072


def row_buffer(chain: Sequence[Placed], index: int) -> int:
    """Return register 13 (TPTR) of a layer."""
    placed = chain[index]
    layer = placed.layer
    later = layer.streaming and index > 0
    flat = layer.operator == "conv1d" or (layer.slot_bytes == 1 and not layer.passthrough)
    if flat and not later:
        last = placed.total_passes - 1
        return last << 16 | 2 * last + 1 if layer.flatten and last >= 16 else 0
    length = row_length(layer)
    if not later:
        return length - 1
    base = sum(row_length(before.layer) * before.at.passes for before in chain[:index])
    return base << 16 | length - 1 + base


def row_length(layer: Layer) -> int:
    """Return the positions of a row that a layer keeps in the row buffer."""
    if layer.passthrough:
        return 1
    width = layer.pooled[1]
    if layer.operator == "conv_transpose2d":
        width = 2 * (width - 1) + 1 + 1
    return max(0, width + 2 * layer.padding[1] - layer.kernel_shape[1]) + 1


def stream_start(chain: Sequence[Placed], index: int) -> int:
    """Return register 16 (STREAM1): how far the producer must be ahead."""
    layer = chain[index].layer
    pool_rows, pool_columns = layer.pool
    if index == 0:
        return ((pool_rows - 1) * layer.in_shape[2] + pool_columns) * pool_rows
    before = chain[index - 1].layer
    kernel_rows, kernel_columns = before.kernel_shape
    width = before.pooled[1] + 2 * before.padding[1]
    return width * (kernel_rows - 1 + pool_rows - 1) + kernel_columns - 1 + pool_columns + 2


def stream_words(chain: Sequence[Placed], index: int, *, fifo: bool) -> tuple[int, ...]:
    """Return registers 16, 17 and, where it is written, 18 of a layer."""
    placed = chain[index]
    layer = placed.layer
    if not layer.streaming:
        return (_whole_input(placed) if index == 0 and fifo else 0, 0)
    words = (stream_start(chain, index), _deltas(chain, index))
    return (*words, ring_words(chain, index)) if fifo else words


def _whole_input(placed: Placed) -> int:
    layer = placed.layer
    pixels = layer.in_shape[1] * layer.in_shape[2]
    return (-(-pixels // 4) if placed.at.big_data else pixels) * layer.pool[0]


def _deltas(chain: Sequence[Placed], index: int) -> int:
    layer = chain[index].layer
    (pool_rows, pool_columns), stride, operands = layer.pool, layer.pool_stride, layer.operands
    if index == 0:
        return (pool_rows - 1) * layer.in_shape[2] * operands << 16 | (stride - 1) * operands << 4
    before = chain[index - 1].layer
    width = before.pooled[1] + 2 * before.padding[1]
    delta2 = (stride - 1) * width + pool_columns * operands
    volume = sum(placed.at.passes for placed in chain[:index])
    return delta2 << 16 | stride * operands << 4 | volume


def ring_words(chain: Sequence[Placed], index: int) -> int:
    """Return register 18 (FMAX): words of a streaming layer's ring buffer."""
    placed = chain[index]
    layer = placed.layer
    if placed.at.big_data:
        return 12
    reach = (layer.pool[0] - 1) * layer.in_shape[2]
    words = stream_start(chain, index) + reach + max(1, layer.pool_stride, layer.pool[1])
    return -(-words // placed.at.passes) * placed.at.passes
