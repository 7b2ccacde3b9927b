"""The device image: control, layer registers, kernels, biases, tensor layouts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgebed.program.ops.avg_pool import AvgPool
from edgebed.program.types import Program
from edgebed.targets.max78000.biases import pack_biases
from edgebed.targets.max78000.image import DeviceImage, TensorLayout, Writes
from edgebed.targets.max78000.kernels import load_list, pack_kernels
from edgebed.targets.max78000.layers import (
    PER_QUADRANT,
    QUADRANTS,
    Placed,
    processors_in,
    quadrant_bits,
)
from edgebed.targets.max78000.layouts import layouts_of
from edgebed.targets.max78000.locations import Location, joined
from edgebed.targets.max78000.registers import layer_registers
from edgebed.targets.max78000.resolve import Resolved
from edgebed.targets.max78000.views import locate, parts_of

POWER_CONTROL = 0x50001000
CONTROL = 0x50100000
LAYER_REGISTERS = 0x50100010
FRAME_SIZE = 0x50100990
FIFO_CONTROL = 0x50000000
QUADRANT_STRIDE = 0x00400000
SRAM_CONTROL = 0x0000040E  # what every known program writes

# CTL bits (spec 2.4)
ENABLE, CLOCK, SYNC, ROUND = 1 << 0, 1 << 3, 1 << 11, 1 << 13
STREAM, FIFO, STREAM_FIFO, COMPRESSED = 1 << 14, 1 << 15, 1 << 19, 1 << 20

Pairs = list[tuple[int, int]]


@dataclass(frozen=True)
class Mode:
    """What the whole network needs from the control registers."""

    quadrants: tuple[int, ...]
    fifos: tuple[int, ...]
    streaming: bool
    rounding: bool


def used_quadrants(chain: Sequence[Placed]) -> tuple[int, ...]:
    """Return the quadrants that any layer reads or the last one writes; 0 is always used."""
    maps = [placed.at.processors for placed in chain] + [chain[-1].at.output_processors]
    touched = {q for q in range(QUADRANTS) for m in maps if quadrant_bits(m, q)}
    return tuple(sorted(touched | {0}))


def mode_of(program: Program, chain: Sequence[Placed], *, fifo: bool) -> Mode:
    """Return the control settings of a placed network."""
    first = chain[0]
    fifos = {p // PER_QUADRANT for p in processors_in(first.at.processors)} if fifo else set()
    rounding = any(isinstance(o, AvgPool) and o.rounding == "half_away" for o in program.ops)
    return Mode(used_quadrants(chain), tuple(sorted(fifos)), first.layer.streaming, rounding)


def assemble(
    program: Program, resolved: Resolved, cycles: dict[str, int], *, fifo: bool
) -> DeviceImage:
    """Return every word of a placed network."""
    chain = resolved.chain
    mode = mode_of(program, chain, fifo=fifo)
    return DeviceImage(
        init=_writes(_init(mode, len(chain))),
        kernels=load_list(chain, pack_kernels(chain)),
        biases=pack_biases(chain),
        config=_writes(_config(chain, mode)),
        start=_writes(_start(mode)),
        quadrants=mode.quadrants,
        inputs=_inputs(program, resolved, fifo=fifo),
        outputs=tuple(
            layout for name in program.outputs for layout in _output(program, resolved, name)
        ),
        cycles=cycles,
        maps={placed.layer.name: _map(program, placed, resolved) for placed in chain},
    )


def _writes(pairs: Pairs) -> Writes:
    return np.array(pairs, dtype=np.uint32).reshape(-1, 2)


def _init(mode: Mode, layers: int) -> Pairs:
    pairs: Pairs = [(POWER_CONTROL, 0)]
    control = CLOCK | COMPRESSED | (FIFO if mode.fifos else 0) | (ROUND if mode.rounding else 0)
    for quadrant in mode.quadrants:
        base = CONTROL + quadrant * QUADRANT_STRIDE
        pairs += [(base, control), (base + 4, SRAM_CONTROL), (base + 8, layers - 1)]
    return pairs


def _start(mode: Mode) -> Pairs:
    control = CLOCK | COMPRESSED | SYNC | (ROUND if mode.rounding else 0)
    control |= FIFO if mode.fifos else 0
    control |= STREAM if mode.streaming else 0
    control |= STREAM_FIFO if mode.streaming and mode.fifos else 0
    master, *others = (CONTROL + q * QUADRANT_STRIDE for q in mode.quadrants)
    pairs = [(master, control), *((address, control | ENABLE) for address in others)]
    # Without a FIFO the master runs free: known programs clear its external-sync bit.
    go = control if mode.fifos else control & ~SYNC
    return [*pairs, (master, go | ENABLE)]


def _config(chain: Sequence[Placed], mode: Mode) -> Pairs:
    pairs: Pairs = []
    for quadrant in mode.quadrants:
        base = LAYER_REGISTERS + quadrant * QUADRANT_STRIDE
        for index in range(len(chain)):
            words = layer_registers(chain, index, quadrant, mode.quadrants, fifo=bool(mode.fifos))
            pairs += [(base + r * 0x80 + index * 4, word) for r, word in words.items() if word]
    if mode.fifos:
        frame = _frame_words(chain[0])
        pairs += [(FRAME_SIZE + q * QUADRANT_STRIDE, frame) for q in mode.quadrants]
        enables = sum(1 << (12 + fifo) for fifo in mode.fifos)
        pairs.append((FIFO_CONTROL, 2 << 2 | 2 << 7 | 1 << 11 | enables))
    return pairs


def _frame_words(first: Placed) -> int:
    _, rows, columns = first.layer.in_shape
    return -(-rows * columns // 4) if first.at.big_data else rows * columns


def _inputs(program: Program, resolved: Resolved, *, fifo: bool) -> tuple[TensorLayout, ...]:
    found: list[TensorLayout] = []
    for piece in resolved.inputs:
        _, rows, columns = program.types[piece.tensor].shape
        shape = (len(piece.location.words), rows, columns)
        found += layouts_of(piece.tensor, piece.location, shape, piece.channel, fifo=fifo)
    return tuple(found)


def _output(program: Program, resolved: Resolved, name: str) -> tuple[TensorLayout, ...]:
    parts = parts_of(program, name)
    where = [locate(program, part, resolved.tensors.get) for part in parts]
    found = [place for place in where if place is not None]
    if len({(place.stride, place.wide) for place in found}) == 1:
        return layouts_of(name, joined(found, name), program.types[name].chw)
    return _side_by_side(program, name, parts, found)


def _side_by_side(
    program: Program, name: str, tensors: Sequence[str], parts: Sequence[Location]
) -> tuple[TensorLayout, ...]:
    found: list[TensorLayout] = []
    channel = 0
    for tensor, part in zip(tensors, parts, strict=True):
        shape = program.types[tensor].chw
        found += layouts_of(name, part, shape, channel)
        channel += shape[0]
    return tuple(found)


def _map(program: Program, placed: Placed, resolved: Resolved) -> tuple[TensorLayout, ...]:
    layer = placed.layer
    known = program.types.get(layer.output)  # a copy that the planner made is in no program
    shape = layer.out_shape if known is None else known.chw
    return layouts_of(layer.output, resolved.tensors[layer.output], shape)
