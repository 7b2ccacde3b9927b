"""Which tensors share a buffer: operands interleaved, concatenated parts side by side.

A tensor that only one layer reads is written straight into the place where that layer needs it.
A tensor with conflicting readers keeps a buffer of its own, and a passthrough layer copies it to
where an element-wise or concatenating layer expects it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from edgebed.program.types import Program
from edgebed.targets.max78000.layers import (
    PER_INSTANCE,
    PROCESSORS,
    Layer,
    Shape,
    passes_of,
    per_pass,
)
from edgebed.targets.max78000.lowering import copying
from edgebed.targets.max78000.views import device_inputs, parts_of, stored


@dataclass(frozen=True)
class Slot:
    """Where a tensor lies inside its buffer.

    Attributes:
        buffer: name of the buffer.
        word: first word.
        step: words from one (pixel, pass) to the next.
        lane: first processor, from the start of the buffer's window; a multiple of 4.
        stride: words per pixel of the whole buffer.
        width: processors of this tensor.
    """

    buffer: str
    word: int
    step: int
    lane: int
    stride: int
    width: int


Position = tuple[str, int, int]
"""Layer name, operand, and number of the concatenated part: one place where a tensor is read."""


@dataclass(frozen=True)
class Plan:
    """Layers with the copies they need, and the slots of their operands and results.

    Attributes:
        layers: in execution order, copies included.
        slots: of each layer's result, by tensor.
        reads: slot that each part of each operand is read from.
        copies: tensor that is read instead of the program's, where a copy was needed.
    """

    layers: tuple[Layer, ...]
    slots: Mapping[str, Slot]
    reads: Mapping[Position, Slot]
    copies: Mapping[Position, str]


@dataclass(frozen=True)
class _Want:
    """What one layer asks of one tensor."""

    position: Position
    tensor: str
    slot: Slot
    natural: bool  # a buffer of its own will do
    shareable: bool  # readers that want a buffer of their own can read this one


def plan_buffers(
    program: Program, layers: Sequence[Layer], moved: frozenset[str] = frozenset()
) -> Plan:
    """Return buffers and copies for all layers; copies named in `moved` change processors."""
    given = device_inputs(program)
    wants = [want for layer in layers for want in _wants(program, layer)]
    homes = _homes(layers, [want for want in wants if want.tensor not in given])
    slots = {layer.output: _natural(layer.output, layer.out_shape[0]) for layer in layers}
    slots |= {tensor: want.slot for tensor, want in homes.items()}
    return _with_copies(layers, wants, slots, homes, set(given), moved)


def _homes(layers: Sequence[Layer], wants: Sequence[_Want]) -> dict[str, _Want]:
    """Return the request that each tensor is written for, where it is a special one."""
    streamed = {layer.output for layer in layers if layer.streaming}
    homes: dict[str, _Want] = {}
    for tensor in dict.fromkeys(want.tensor for want in wants):
        home = _home([want for want in wants if want.tensor == tensor])
        if home is not None and tensor not in streamed:
            homes[tensor] = home
    return homes


def _natural(buffer: str, channels: int) -> Slot:
    return Slot(buffer, 0, 1, 0, passes_of(channels), per_pass(channels))


def _home(wants: Sequence[_Want]) -> _Want | None:
    special = [want for want in wants if not want.natural]
    if len(special) == 1 and len(wants) == 1:
        return special[0]
    return next((want for want in special if want.shareable), None)


def _wants(program: Program, layer: Layer) -> Iterator[_Want]:
    operands = [
        tuple(stored(program, part)[0] for part in parts_of(program, source))
        for source in layer.sources
    ]
    natural = len(operands) == 1 and len(operands[0]) == 1
    for number, tensors in enumerate(operands):
        channels = [program.types[tensor].shape[0] for tensor in tensors]
        shareable = len(operands) == 1 and _beside(channels)
        buffer = tensors[0] if natural else f"input of {layer.name}"
        slots = _group(buffer, channels)
        for part, (tensor, slot) in enumerate(zip(tensors, slots, strict=True)):
            spread = _interleaved(slot, number, len(operands))
            yield _Want((layer.name, number, part), tensor, spread, natural, shareable)


def _interleaved(slot: Slot, operand: int, operands: int) -> Slot:
    return replace(
        slot,
        word=slot.word * operands + operand,
        step=slot.step * operands,
        stride=slot.stride * operands,
    )


def _beside(channels: Sequence[int]) -> bool:
    return _padded(channels[:-1]) + channels[-1] <= PROCESSORS


def _padded(channels: Sequence[int]) -> int:
    return sum(-(-c // PER_INSTANCE) * PER_INSTANCE for c in channels)


def _group(buffer: str, channels: Sequence[int]) -> Iterator[Slot]:
    """Yield slots for parts side by side in one pass, or in passes that take turns."""
    if len(channels) == 1:
        yield _natural(buffer, channels[0])
        return
    if _beside(channels):
        for number, count in enumerate(channels):
            yield Slot(buffer, 0, 1, _padded(channels[:number]), 1, count)
        return
    passes = [passes_of(count) for count in channels]
    stride = math.lcm(*passes) * len(channels)
    for number, count in enumerate(channels):
        step = stride // passes[number]
        yield Slot(buffer, number, step, 0, stride, per_pass(count))


def _with_copies(
    layers: Sequence[Layer],
    wants: Sequence[_Want],
    slots: dict[str, Slot],
    homes: Mapping[str, _Want],
    given: set[str],
    moved: frozenset[str],
) -> Plan:
    found: list[Layer] = []
    reads: dict[Position, Slot] = {}
    copies: dict[Position, str] = {}
    shapes = {layer.output: layer.out_shape for layer in layers}
    for layer in layers:
        for want in (want for want in wants if want.position[0] == layer.name):
            reads[want.position] = want.slot if want.tensor in given else slots[want.tensor]
            if want.natural or want.tensor in given or homes.get(want.tensor) is want:
                continue
            copy = _copy(want, shapes[want.tensor], moved)
            found.append(copy)
            reads[copy.name, 0, 0] = slots[want.tensor]
            slots[copy.output] = reads[want.position] = want.slot
            copies[want.position] = copy.output
        found.append(layer)
    return Plan(tuple(found), slots, reads, copies)


def _copy(want: _Want, shape: Shape, moved: frozenset[str]) -> Layer:
    layer, operand, part = want.position
    copy = Layer(
        name=f"{layer}.copy{operand}.{part}",
        operator="passthrough",
        ops=(),
        sources=(want.tensor,),
        output=f"{want.tensor} for {layer} ({operand}.{part})",
        in_shape=shape,
        out_shape=shape,
    )
    return copying(copy) if copy.name in moved else copy
