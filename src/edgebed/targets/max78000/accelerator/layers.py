"""Turns one layer's registers and kernels into a prepared computation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgebed.errors import EdgebedError
from edgebed.targets.max78000.accelerator.arithmetic import (
    Arithmetic,
    Convolution,
    Int8,
    Int32,
    Moves,
    Output,
    Source,
    Window,
)
from edgebed.targets.max78000.accelerator.memory import (
    BIASES,
    INSTANCES,
    KERNEL_BYTES,
    Storage,
)
from edgebed.targets.max78000.accelerator.registers import LayerRegisters
from edgebed.targets.max78000.cycles import LayerCycles, LayerShape, layer_cycles


@dataclass(frozen=True)
class Layer:
    """One layer, ready to run.

    Attributes:
        registers: what it does.
        source: where it reads; for CHW one byte per pixel, see `Accelerator`.
        window: pooling and element-wise operation.
        convolve: the convolution, None in passthrough layers.
        moves: where the result goes.
        channels: index of each output channel in the last axis of the result.
        macs: multiply-accumulates of real processors and columns.
        cycles: the estimate.
    """

    registers: LayerRegisters
    source: Source
    window: Window
    convolve: Callable[[Int8], Output] | None
    moves: Moves
    channels: npt.NDArray[np.int64]
    macs: int
    cycles: LayerCycles


def prepare_layer(storage: Storage, registers: LayerRegisters, arithmetic: Arithmetic) -> Layer:
    """Unpack kernels and biases and plan the reads and writes of one layer.

    Raises:
        EdgebedError: kernels or biases lie outside their memories.
    """
    convolve, macs = None, 0
    moves, channels = _passthrough_moves(registers), _input_channels(registers)
    if not registers.passthrough:
        weights = unpack_weights(storage, registers)
        convolve = arithmetic.convolution(_convolution(storage, registers, weights))
        moves, channels = _convolution_moves(registers), np.arange(registers.out_channels)
        rows, columns = registers.out_size
        macs = rows * columns * weights[0].size * len(weights)
        macs = macs * len(registers.processors) * registers.passes // weights.shape[3]
    return Layer(
        registers=registers,
        source=_source(registers),
        window=Window(
            registers.window,
            registers.stride,
            registers.maximum,
            registers.rounding,
            registers.pool_last,
            registers.function,
            registers.wide and registers.passthrough,
        ),
        convolve=convolve,
        moves=moves,
        channels=channels,
        macs=macs,
        cycles=layer_cycles(layer_shape(registers)),
    )


def _instances(registers: LayerRegisters) -> tuple[int, ...]:
    return tuple(sorted({processor // 4 for processor in registers.processors}))


def _source(r: LayerRegisters) -> Source:
    return Source(r.read_base, r.rows * r.columns, r.passes, r.operands, _instances(r))


def _input_channels(r: LayerRegisters) -> npt.NDArray[np.int64]:
    """Return, for every input channel, its place in a gathered pixel.

    HWC: [pass][instance][lane]; channel = pass * processors + rank. CHW: the rank itself.
    """
    if r.big_data:
        return np.arange(len(r.processors))
    instances = _instances(r)
    lanes = np.array([4 * instances.index(p // 4) + p % 4 for p in r.processors])
    places = np.arange(r.passes)[:, None] * 4 * len(instances) + lanes
    return np.asarray(places.reshape(-1), np.int64)


def gathered_channels(r: LayerRegisters) -> int:
    """Return the number of bytes of a gathered pixel, a multiple of 4."""
    return -(-len(r.processors) // 4) * 4 if r.big_data else 4 * len(_instances(r)) * r.passes


def unpack_weights(storage: Storage, r: LayerRegisters) -> Int8:
    """Return int8 [output column, kernel row, kernel column, gathered channel].

    Kernel n = column * passes + pass of a processor starts at bit start + n * bits of its slots;
    a slot is one kernel's size in bytes, last weight first (specification 2.7). Channels that no
    processor reads have weight 0.

    Raises:
        EdgebedError: the last kernel lies behind the end of kernel memory.
    """
    size = r.kernel_rows * r.kernel_columns
    number = np.arange(r.out_channels * r.passes).reshape(r.out_channels, r.passes)
    bit = r.weight_start + number * r.bits
    first = bit // 8 * size + r.weight_offset
    place = first[..., None] + np.arange(size)[::-1]
    linear = storage.kernels.data.reshape(len(storage.kernels.data), -1)
    if place.max() >= linear.shape[1]:
        raise EdgebedError(
            f"kernels reach column {int(place.max()) // KERNEL_BYTES}",
            where=f"layer {r.index}, register MCNT",
            why="legal: the last kernel inside column 767",
        )
    packed = linear[np.array(r.processors)][:, place] >> (bit % 8)[None, :, :, None]
    left = 8 - r.bits
    values = (packed << left).astype(np.uint8).view(np.int8) >> left
    weights = np.zeros((r.out_channels, size, gathered_channels(r)), np.int8)
    values = values.transpose(1, 3, 2, 0).reshape(r.out_channels, size, -1)
    weights[:, :, _input_channels(r)] = values
    return weights.reshape(r.out_channels, r.kernel_rows, r.kernel_columns, -1)


def _biases(storage: Storage, r: LayerRegisters) -> Int32:
    if r.bias is None:
        return np.zeros(r.out_channels, np.int32)
    quadrant, address = r.bias
    if r.index == 0 and r.streaming:
        address += 1  # a dummy byte comes first (specification 2.8)
    if address + r.out_channels > BIASES:
        raise EdgebedError(
            f"biases {address} to {address + r.out_channels - 1} of quadrant {quadrant}",
            where=f"layer {r.index}, register POST",
            why=f"legal: the last one below {BIASES}",
        )
    return storage.bias[quadrant, address : address + r.out_channels].astype(np.int32)


def _convolution(storage: Storage, r: LayerRegisters, weights: Int8) -> Convolution:
    return Convolution(
        weights=weights,
        bias=_biases(storage, r),
        shape=r.pooled,
        pad=(r.pad_rows, r.pad_columns),
        transposed=r.transposed,
        shift=r.shift,
        activation=r.activation,
        wide=r.wide,
    )


def _convolution_moves(r: LayerRegisters) -> Moves:
    """Column c of output pass e goes to lane c % 4 of instance start + c // 4 (2.11)."""
    word, instance = r.write_base[0]
    output_pass, column = np.divmod(np.arange(r.out_channels), r.columns_per_pass)
    base = word + output_pass * r.pass_offset
    target = (instance + column // 4) % INSTANCES
    step = r.skip + 1
    if r.wide:
        rows = [4 * np.arange(r.out_channels), target, base + column % 4, 0 * column]
        return _moves(np.stack(rows, 1), np.zeros((0, 4)), 4 * step)
    return _grouped(np.stack([np.arange(r.out_channels), target, base, column % 4], 1), step)


def _passthrough_moves(r: LayerRegisters) -> Moves:
    """Each quadrant packs its enabled processors from lane 0 of its first output instance."""
    gap = r.skip + 1
    rows = []
    for index, place in enumerate(_input_channels(r)):
        number, rank = divmod(index, len(r.processors))
        processor = r.processors[rank]
        quadrant = processor // 16
        packed = sum(1 for p in r.processors[:rank] if p // 16 == quadrant)
        word, instance = r.write_base[quadrant]
        target = (instance + packed // 4) % INSTANCES
        if r.wide:
            rows.append((4 * place, target, word + 4 * number * gap + packed % 4, 0))
        else:
            rows.append((place, target, word + number * gap, packed % 4))
    if r.wide:
        return _moves(np.array(rows), np.zeros((0, 4)), 4 * r.passes * gap)
    return _grouped(np.array(rows), r.passes * gap)


def _grouped(rows: npt.NDArray[np.int64], pixel_words: int) -> Moves:
    """Join four neighbouring bytes that fill a word into one move."""
    words, singles = [], []
    position = 0
    while position < len(rows):
        four = rows[position : position + 4]
        place, target, base, _ = four[0]
        whole = [(place + i, target, base, i) for i in range(4)]
        if len(four) == 4 and np.array_equal(four, whole):
            words.append(four[0])
            position += 4
        else:
            singles.append(four[0])
            position += 1
    empty = np.zeros((0, 4))
    return _moves(np.array(words) if words else empty, np.array(singles) if singles else empty,
                  pixel_words)  # fmt: skip


def _moves(words: npt.NDArray[np.generic], singles: npt.NDArray[np.generic], step: int) -> Moves:
    return Moves(
        np.ascontiguousarray(words, np.int32), np.ascontiguousarray(singles, np.int32), step
    )


def layer_shape(r: LayerRegisters) -> LayerShape:
    """Return the arguments of the cycle law for this layer."""
    spread = 2 if r.transposed else 1
    rows, columns = r.pooled
    first_byte = r.weight_start // 8 * r.kernel_rows * r.kernel_columns + r.weight_offset
    return LayerShape(
        rows=rows * spread,
        columns=columns * spread,
        out_columns=r.out_size[1],
        channels=r.out_channels,
        passes=r.passes,
        operands=r.operands,
        pool_rows=r.window[0],
        pool_columns=r.window[1],
        pad_rows=r.pad_rows,
        pad_columns=r.pad_columns,
        kernel_rows=r.kernel_rows,
        kernel_columns=r.kernel_columns,
        pool_last=r.pool_last,
        passthrough=r.passthrough,
        time_slots=r.time_slots,
        out_passes=r.passes if r.passthrough else 1,
        kernel_offset=first_byte // KERNEL_BYTES,
        flatten=r.flatten,
        streaming=r.streaming,
    )
