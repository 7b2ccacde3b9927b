"""Writes one layer as registers, kernels and data, and computes it with plain Python loops.

Everything here is spelled out from the device's description, one number at a time, and shares no
code with the model under test.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import Any

Q = 0x00400000
SUB, ADD, OR, XOR = range(4)
Map = dict[tuple[int, int, int], int]  # (channel, row, column) -> value


@dataclass(frozen=True)
class LayerProgram:
    """One layer; `kernel` (0, 0) is passthrough; `maps` one entry per operand."""

    channels: int
    rows: int
    columns: int
    out_channels: int = 0
    kernel: tuple[int, int] = (3, 3)
    one_dimensional: bool = False
    transposed: bool = False
    pad: int = 0
    window: tuple[int, int] = (1, 1)
    stride: int = 1
    maximum: bool = True
    rounding: bool = False
    function: int | None = None
    pool_last: bool = False
    bits: int = 8
    shift: int = 0
    activation: int = 0
    wide: bool = False
    flatten: bool = False
    big_data: bool = False
    column_offset: int = 0
    first_processor: int = 0
    in_word: int = 0x40
    out_word: int = 0x1000
    write_gap: int = 0
    maps: tuple[Map, ...] = ()
    weights: dict[tuple[int, ...], int] = field(default_factory=dict)  # out, in, row, column
    bias: tuple[int, ...] = ()

    @property
    def passthrough(self) -> bool:
        return self.kernel == (0, 0)

    @property
    def channel_passes(self) -> int:
        return -(-self.channels // 64)

    @property
    def passes(self) -> int:
        return self.channel_passes * (self.rows * self.columns if self.flatten else 1)

    @property
    def per_pass(self) -> int:
        share = -(-self.channels // self.channel_passes)
        return -(-share // 4) * 4 if self.channels > 64 else share

    @property
    def processors(self) -> list[int]:
        step = 4 if self.big_data else 1
        return [self.first_processor + step * i for i in range(self.per_pass)]

    @property
    def out_passes(self) -> int:
        return self.channel_passes if self.passthrough else -(-self.out_channels // 64)

    @property
    def out_per_pass(self) -> int:
        share = -(-self.out_channels // self.out_passes)
        return -(-share // 4) * 4 if self.out_channels > 64 else share


def write(accelerator: Any, layer: LayerProgram) -> None:
    """Write registers, kernels, biases and input of `layer` as layer 0, and start."""
    prepare(accelerator)
    write_layer(accelerator, layer)
    write_input(accelerator, layer)
    start(accelerator, 0x2000 if layer.rounding else 0)


def prepare(accelerator: Any, last_layer: int = 0) -> None:
    """Write what firmware writes before weights."""
    accelerator.write32(0x50000000, 0)
    for q in range(4):
        accelerator.write32(0x50100000 + q * Q, 0x00000008)
        accelerator.write32(0x50100004 + q * Q, 0x40E)
        accelerator.write32(0x50100008 + q * Q, last_layer)


def write_layer(accelerator: Any, layer: LayerProgram, index: int = 0, bias: int = 0) -> None:
    """Write registers, kernels and biases (from address `bias`) of layer `index`."""
    for q in range(4):
        for register, value in _registers(layer, q).items():
            if register == 15 and value >> 12 & 1:
                value |= bias
            accelerator.write32(0x50100010 + q * Q + register * 0x80 + index * 4, value)
    for address, value in _kernel_writes(layer).items():
        accelerator.write32(address, value)
    for column, value in enumerate(layer.bias):
        accelerator.write32(0x50108000 + 4 * (bias + column), value & 255)


def write_input(accelerator: Any, layer: LayerProgram) -> None:
    for address, value in _input_writes(layer).items():
        accelerator.write32(address, value)


def start(accelerator: Any, extra: int = 0) -> None:
    accelerator.write32(0x50100000, 0x00000808 | extra)
    for q in (1, 2, 3):
        accelerator.write32(0x50100000 + q * Q, 0x00000809 | extra)
    accelerator.write32(0x50100000, 0x00000009 | extra)


def _registers(p: LayerProgram, q: int) -> dict[int, int]:
    enabled = sum(1 << c - 16 * q for c in p.processors if 16 * q <= c < 16 * q + 16)
    rows, columns = (1, 1) if p.flatten else (p.rows, p.columns)
    scale = 2 if p.transposed else 1
    pad_columns = 0 if p.one_dimensional else p.pad
    oned = p.column_offset * 9 % max(p.kernel[0] * p.kernel[1], 1) << 4
    if p.one_dimensional:
        oned |= p.kernel[0] << 8 | 1 << 12
    elif p.kernel == (1, 1) or (p.passthrough and len(p.maps) == 1):
        oned |= 1 << 8
    if p.function is not None:
        oned |= 1 << 13 | p.function << 14 | (len(p.maps) - 1) << 18
        oned |= (not p.pool_last and p.window != (1, 1)) << 16 | (not p.passthrough) << 17
    post = (abs(p.shift) | (p.shift < 0) << 4) << 13 | {8: 0, 1: 1, 2: 2, 4: 3}[p.bits] << 22
    if p.passthrough:
        post = (3 if len(p.maps) == 1 else 1) << 24
    if p.bias and q == 0:
        post |= 1 << 12
    if p.passes > 16:
        post |= 1 << 27 | (p.passes - 1 >> 4) << 18
    post |= (p.activation == 2) << 26 | p.transposed << 28
    lctl = 1 << 5 | 1 << 11 | p.maximum << 8 | (p.window != (1, 1)) << 7
    counts = [sum(c // 16 == group for c in p.processors) for group in range(4)]
    if p.passthrough:
        oned |= (max(counts) - 1) // 4
        several = len(p.maps) > 1 and p.passes > 1
        offset = 0x2000 if len(p.processors) > 4 or several else 0x800
    else:
        offset = int(p.kernel == (1, 1) and not p.one_dimensional)
        if q == 0:
            lctl |= sum(1 << group + 12 for group in (1, 2, 3) if counts[group])
    lctl |= p.big_data << 6 | (p.activation == 1) << 9 | p.wide << 16
    lctl2 = (p.passes - 1 & 15) | (
        p.write_gap if p.passthrough else p.out_passes * (p.write_gap + 1) - 1
    ) << 4
    mcnt = word = 0
    if p.passthrough:
        inside = [c for c in p.processors if c // 16 == q]
        word = p.out_word | (min(inside) // 4 << 13 if inside else 0)
    else:
        word = p.out_word
        lctl2 |= (p.out_per_pass - 1) * p.bits << 8
        begin = 9 * p.column_offset // (p.kernel[0] * p.kernel[1]) * 8
        end = begin + (p.out_channels * p.passes - 1) * p.bits
        mcnt = begin << 16 | end
    return {
        0: rows * scale - 1 + 2 * p.pad | p.pad << 16,
        1: columns * scale - 1 + 2 * pad_columns | pad_columns << 16,
        2: oned,
        3: p.window[0] - 1,
        4: p.window[1] - 1,
        5: p.stride - 1,
        6: word,
        7: offset,
        8: 0 if p.passthrough else 0x2000,
        9: (4 if p.wide else 1) * (p.write_gap + 1) if p.out_passes > 1 else 0,
        10: p.in_word,
        11: lctl,
        12: mcnt,
        14: enabled | (0 if p.passthrough else enabled << 16),
        15: post,
        20: lctl2,
    }


def _kernel_writes(p: LayerProgram) -> dict[int, int]:
    """Plain four-word access to kernel memory, weight by weight."""
    memory: dict[tuple[int, int], int] = {}  # processor, linear byte
    size = p.kernel[0] * p.kernel[1]
    for (out, channel, row, column), weight in p.weights.items():
        pixel = 0
        tap = row * p.kernel[1] + column
        if p.flatten:
            pixel, tap = row * p.columns + column, 0
        number = out * p.passes + pixel * p.channel_passes + channel // p.per_pass
        processor = p.processors[channel % p.per_pass]
        bit = number * p.bits
        linear = 9 * p.column_offset + bit // 8 * size + (size - 1 - tap)
        value = (weight & (1 << p.bits) - 1) << bit % 8
        memory[processor, linear] = memory.get((processor, linear), 0) | value
    return _four_words(memory)


def _four_words(memory: dict[tuple[int, int], int]) -> dict[int, int]:
    writes = {}
    for processor, column in sorted({(p, linear // 9) for p, linear in memory}):
        byte = [memory.get((processor, 9 * column + 8 - i), 0) for i in range(9)]
        base = 0x50180000 + processor // 16 * Q + processor % 16 * 0x4000 + column * 16
        writes[base] = byte[0]
        writes[base + 4] = byte[1] << 24 | byte[2] << 16 | byte[3] << 8 | byte[4]
        writes[base + 8] = byte[5] << 24 | byte[6] << 16 | byte[7] << 8 | byte[8]
        writes[base + 12] = 0
    return writes


def sram_address(instance: int, word: int) -> int:
    return 0x50400000 + instance // 4 * Q + instance % 4 * 0x8000 + word * 4


def _input_writes(p: LayerProgram) -> dict[int, int]:
    writes: dict[int, int] = {}
    for operand, values in enumerate(p.maps):
        for (channel, row, column), value in values.items():
            pixel = row * p.columns + column
            processor = p.processors[channel % p.per_pass]
            turn = channel // p.per_pass
            word = p.in_word
            lane = processor % 4
            if p.big_data:
                word, lane = word + pixel // 4, pixel % 4
            else:
                word += (pixel * p.channel_passes + turn) * len(p.maps) + operand
            address = sram_address(processor // 4, word)
            writes[address] = writes.get(address, 0) | (value & 255) << 8 * lane
    return writes


def read_output(accelerator: Any, p: LayerProgram, shape: tuple[int, int, int]) -> Map:
    """Unload the result from data memory, value by value."""
    found = {}
    gap = p.write_gap + 1
    for channel, row, column in itertools.product(*map(range, shape)):
        pixel = row * shape[2] + column
        if p.passthrough:
            turn, rank = divmod(channel, p.per_pass)
            quadrant = p.processors[rank] // 16
            inside = [c for c in p.processors if c // 16 == quadrant]
            place = min(inside) // 4 * 4 + inside.index(p.processors[rank])
        else:
            turn, place = divmod(channel, p.out_per_pass)
        word = (pixel * p.out_passes + turn) * gap
        if p.wide:
            value = accelerator.read32(sram_address(place // 4, p.out_word + 4 * word + place % 4))
            found[channel, row, column] = value - (value >> 31 << 32)
        else:
            value = accelerator.read32(sram_address(place // 4, p.out_word + word))
            value = value >> 8 * (place % 4) & 255
            found[channel, row, column] = value - (value >> 7 << 8)
    return found


def expected(p: LayerProgram) -> tuple[Map, tuple[int, int, int]]:
    """Compute the layer with plain loops; return its map and shape."""
    if p.flatten:
        return _dense(p)
    maps = [(values, p.rows, p.columns) for values in p.maps]
    if p.pool_last:
        values, rows, columns = _pooled(p, _combined(p, maps))
    else:
        values, rows, columns = _combined(p, [_pooled(p, one) for one in maps])
    if p.passthrough:
        return values, (p.channels, rows, columns)
    if p.transposed:
        values = {(c, 2 * y, 2 * x): v for (c, y, x), v in values.items()}
        rows, columns = 2 * rows, 2 * columns
    return _convolved(p, values, rows, columns)


def _clip(value: int) -> int:
    return max(-128, min(127, value))


def _pooled(p: LayerProgram, image: tuple[Map, int, int]) -> tuple[Map, int, int]:
    values, rows, columns = image
    out_rows = (rows - p.window[0]) // p.stride + 1
    out_columns = (columns - p.window[1]) // p.stride + 1
    result = {}
    for c, y, x in itertools.product(range(p.channels), range(out_rows), range(out_columns)):
        inside = [
            values[c, y * p.stride + dy, x * p.stride + dx]
            for dy in range(p.window[0])
            for dx in range(p.window[1])
        ]
        result[c, y, x] = max(inside) if p.maximum else _average(p, inside)
    return result, out_rows, out_columns


def _average(p: LayerProgram, values: list[int]) -> int:
    total, n = abs(sum(values)), len(values)
    magnitude = (2 * total + n) // (2 * n) if p.rounding and not p.one_dimensional else total // n
    return magnitude if sum(values) > 0 else -magnitude


def _combined(p: LayerProgram, maps: list[tuple[Map, int, int]]) -> tuple[Map, int, int]:
    first, rows, columns = maps[0]
    result = dict(first)
    for other, _, _ in maps[1:]:
        for key in result:
            a, b = result[key], other[key]
            result[key] = {SUB: a - b, ADD: a + b, OR: a | b, XOR: a ^ b}[p.function or 0]
    return {key: _clip(value) for key, value in result.items()}, rows, columns


def _convolved(p: LayerProgram, values: Map, rows: int, columns: int) -> Any:
    pad_columns = 0 if p.one_dimensional else p.pad
    shape = (
        p.out_channels,
        rows + 2 * p.pad - p.kernel[0] + 1,
        columns + 2 * pad_columns - p.kernel[1] + 1,
    )
    result = {}
    for out, y, x in itertools.product(*map(range, shape)):
        total = 128 * (p.bias[out] if p.bias else 0)
        for c, dy, dx in itertools.product(range(p.channels), *map(range, p.kernel)):
            at = (c, y + dy - p.pad, x + dx - pad_columns)
            total += values.get(at, 0) * p.weights[out, c, dy, dx]
        result[out, y, x] = _finished(p, total)
    return result, shape


def _dense(p: LayerProgram) -> tuple[Map, tuple[int, int, int]]:
    result = {}
    for out in range(p.out_channels):
        total = 128 * (p.bias[out] if p.bias else 0)
        total += sum(p.maps[0][at] * p.weights[(out, *at)] for at in p.maps[0])
        result[out, 0, 0] = _finished(p, total)
    return result, (p.out_channels, 1, 1)


def _finished(p: LayerProgram, total: int) -> int:
    if p.wide:
        return total
    # floor(total * 2**shift / 128 + 1/2) in whole numbers
    y = _clip((total * 2 ** (p.shift + 16) + 2**22) // 2**23)
    if p.activation == 1:
        return max(y, 0)
    return min(abs(y), 127) if p.activation == 2 else y


def filled(p: LayerProgram, random: Any, operands: int = 1, bias: bool = False) -> LayerProgram:
    """Return the layer with random data, weights and biases over their whole range."""
    maps = tuple(
        {
            (c, y, x): random.randint(-128, 127)
            for c in range(p.channels)
            for y in range(p.rows)
            for x in range(p.columns)
        }
        for _ in range(operands)
    )
    low, high = -(1 << p.bits - 1), (1 << p.bits - 1) - 1
    taps = (p.rows, p.columns) if p.flatten else p.kernel
    weights = {
        (out, c, dy, dx): random.randint(low, high)
        for out in range(p.out_channels)
        for c in range(p.channels)
        for dy in range(taps[0])
        for dx in range(taps[1])
    }
    biases = tuple(random.randint(-128, 127) for _ in range(p.out_channels)) if bias else ()
    return replace(p, maps=maps, weights=weights, bias=biases)
