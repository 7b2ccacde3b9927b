"""Kernel memory: which columns each layer gets, and the bytes in them (spec 2.7)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from edgebed.targets.max78000.layers import (
    KERNEL_COLUMNS,
    KERNEL_WORD,
    PER_QUADRANT,
    PROCESSORS,
    Placed,
    processors_in,
)

KERNEL_MEMORY = 0x50180000
QUADRANT_STRIDE = 0x00400000
PROCESSOR_STRIDE = 0x4000
FULL = (1 << PROCESSORS) - 1

Memory = npt.NDArray[np.uint8]  # processor x linear byte
Run = tuple[int, int]  # first column, one past the last


def kernel_length(placed: Placed) -> int:
    """Return the 72-bit columns that a layer needs on each of its processors."""
    if placed.layer.passthrough:
        return 0
    slots = -(-placed.kernels * placed.layer.bits // 8)
    return -(-slots * placed.layer.slot_bytes // KERNEL_WORD)


def allocate_kernels(chain: Sequence[Placed]) -> list[Placed] | None:
    """Return the layers with their kernel columns, or None when they do not fit.

    First fit in several orders: layers on all processors first, then longest first, then
    widest first. Columns start at multiples of 4, as everything known to work does.
    """
    indices = [i for i, placed in enumerate(chain) if not placed.layer.passthrough]
    lengths = {i: kernel_length(chain[i]) for i in indices}
    width = {i: chain[i].at.processors.bit_count() for i in indices}
    orders = (
        sorted(indices, key=lambda i: chain[i].at.processors != FULL),
        sorted(indices, key=lambda i: -lengths[i]),
        sorted(indices, key=lambda i: (-width[i], -lengths[i])),
    )
    for order in orders:
        columns = _first_fit(chain, order, lengths)
        if columns is not None:
            return [
                replace(placed, at=replace(placed.at, kernel_column=columns.get(i, 0)))
                for i, placed in enumerate(chain)
            ]
    return None


def _first_fit(
    chain: Sequence[Placed], order: Sequence[int], lengths: dict[int, int]
) -> dict[int, int] | None:
    free = np.ones((PROCESSORS, KERNEL_COLUMNS), dtype=bool)
    columns: dict[int, int] = {}
    for index in order:
        processors = list(processors_in(chain[index].at.processors))
        room = np.logical_and.reduce(free[processors])
        start = _find(room, lengths[index])
        if start is None:
            return None
        free[processors, start : start + lengths[index]] = False
        columns[index] = start
    return columns


def _find(room: npt.NDArray[np.bool_], length: int) -> int | None:
    for start in range(0, KERNEL_COLUMNS - length + 1, 4):
        if room[start : start + length].all():
            return start
    return None


def pack_kernels(chain: Sequence[Placed]) -> Memory:
    """Return the kernel memory of every processor as linear bytes (spec 2.7, byte order)."""
    memory = np.zeros((PROCESSORS, KERNEL_COLUMNS * KERNEL_WORD), dtype=np.uint8)
    for placed in chain:
        if not placed.layer.passthrough:
            _pack(memory, placed)
    return memory


def _pack(memory: Memory, placed: Placed) -> None:
    layer, at = placed.layer, placed.at
    assert layer.kernel is not None
    out, channels = layer.kernel.shape[:2]
    weights = layer.kernel.reshape(out, channels, -1)
    column = np.array([at.column(c) for c in range(out)])[:, None, None]
    number, processor = (np.array(part)[None, :, None] for part in zip(*at.sites, strict=True))
    taps = np.arange(weights.shape[2])[None, None, :]
    if layer.flatten:
        kernel = column * placed.total_passes + taps * at.passes + number
        byte_in_slot = np.zeros_like(taps)
    else:
        kernel = column * at.passes + number
        byte_in_slot = layer.slot_bytes - 1 - taps  # last weight first
    slot, bit = np.divmod(placed.koffs * 8 + kernel * layer.bits, 8)
    place = processor * memory.shape[1] + slot * layer.slot_bytes + placed.sad + byte_in_slot
    value = (weights.view(np.uint8) & ((1 << layer.bits) - 1)).astype(np.uint8) << bit
    flat = memory.reshape(-1)
    np.bitwise_or.at(flat, place, value.astype(np.uint8))


def load_list(chain: Sequence[Placed], memory: Memory) -> npt.NDArray[np.uint32]:
    """Return the compressed load: {address, number of words, words ...} ended by 0."""
    words: list[npt.NDArray[np.uint32]] = []
    for processor in range(PROCESSORS):
        for start, stop in _runs(chain, processor):
            part = memory[processor, start * KERNEL_WORD : stop * KERNEL_WORD]
            stream = part.reshape(-1, KERNEL_WORD)[:, ::-1].reshape(-1)
            padded = np.pad(stream, (0, -len(stream) % 4))
            body = padded.view(">u4").astype(np.uint32)
            head = np.array([_address(processor) + 4 * start, len(body)], dtype=np.uint32)
            words += [head, body]
    return np.concatenate([*words, np.zeros(1, dtype=np.uint32)])


def _address(processor: int) -> int:
    quadrant, number = divmod(processor, PER_QUADRANT)
    return KERNEL_MEMORY + quadrant * QUADRANT_STRIDE + number * PROCESSOR_STRIDE


def _runs(chain: Sequence[Placed], processor: int) -> Iterator[Run]:
    spans = sorted(
        (placed.at.kernel_column, placed.at.kernel_column + kernel_length(placed))
        for placed in chain
        if not placed.layer.passthrough and placed.at.processors >> processor & 1
    )
    current: Run | None = None
    for start, stop in spans:
        if current is not None and start == current[1]:
            current = (current[0], stop)
            continue
        if current is not None:
            yield current
        current = (start, stop)
    if current is not None:
        yield current
