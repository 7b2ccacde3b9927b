"""One attempt at a placement: its buffers, and the hints that follow from their places."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from edgebed.program.types import Program
from edgebed.targets.max78000.buffers import Plan, Position, Slot
from edgebed.targets.max78000.hints import LayerHint
from edgebed.targets.max78000.layers import (
    KERNEL_WORD,
    PER_INSTANCE,
    PER_QUADRANT,
    Layer,
    Placed,
    Placement,
    passes_of,
    per_pass,
)
from edgebed.targets.max78000.locations import Location, packed_map
from edgebed.targets.max78000.memory import (
    Buffer,
    Load,
    Tie,
)
from edgebed.targets.max78000.stream_registers import ring_words
from edgebed.targets.max78000.views import device_inputs, parts_of, shift_of, stored


@dataclass(frozen=True)
class Decision:
    """Everything the planner decided; `resolve` turns it into placements.

    Attributes:
        layers: device layers, copies included.
        hints: one for each layer, complete.
        copies: tensors to read instead of the program's.
        provided: where the CPU puts the network's input for each reader.
        fifo: the input arrives through the FIFOs.
    """

    layers: tuple[Layer, ...]
    hints: tuple[LayerHint, ...]
    copies: Mapping[Position, str]
    provided: Mapping[Position, Location]
    fifo: bool


class Sketch:
    """The buffers of one attempt: sizes, lives, ties, and from their places the hints."""

    def __init__(self, program: Program, plan: Plan, stream: int, chw: bool) -> None:
        self.program, self.plan, self.stream, self.chw = program, plan, stream, chw
        self.layers = plan.layers
        self.given = device_inputs(program)
        self.skips = _skips(plan)
        self.first_reads = {
            layer.name: [slot for (name, _, _), slot in plan.reads.items() if name == layer.name]
            for layer in plan.layers
        }

    def step(self, index: int) -> int:
        """Return a layer's time; the streaming chain runs at once."""
        return max(index, self.stream - 1)

    def buffers(self) -> dict[str, Buffer]:
        """Return every buffer with its size and life."""
        found: dict[str, Buffer] = {}
        for index, layer in enumerate(self.layers):
            for slot, tensor in self.reads(layer):
                early = -1 if tensor in self.given else self.step(index)
                before = self.skips.get(slot.buffer, 0) + self._shift(layer)
                pixels = before + layer.in_shape[1] * layer.in_shape[2]
                self._add(found, slot, pixels * slot.stride, early, self.step(index))
            slot = self.plan.slots[layer.output]
            pixels = self.skips[slot.buffer] + layer.out_shape[1] * layer.out_shape[2]
            last = len(self.layers) if self._is_output(layer.output) else self.step(index)
            unit = 4 if layer.wide else 1
            self._add(found, slot, pixels * slot.stride * unit, self.step(index), last)
            if layer.passthrough:
                self._widen(found, slot.buffer, self.first_reads[layer.name])
        return self._ringed(found)

    def reads(self, layer: Layer) -> Iterator[tuple[Slot, str]]:
        """Yield slot and tensor of every part that a layer reads."""
        for position, slot in self.plan.reads.items():
            if position[0] == layer.name:
                yield slot, self.tensor(position)

    def tensor(self, position: Position) -> str:
        """Return the tensor at a position, for inputs; the buffer's name for all others."""
        slot = self.plan.reads[position]
        layer = next(layer for layer in self.layers if layer.name == position[0])
        part = parts_of(self.program, layer.sources[position[1]])[position[2]]
        tensor, _ = stored(self.program, part)
        return tensor if tensor in self.given else slot.buffer

    def _is_output(self, tensor: str) -> bool:
        return any(
            tensor == stored(self.program, part)[0]
            for output in self.program.outputs
            for part in parts_of(self.program, output)
        )

    def _add(self, found: dict[str, Buffer], slot: Slot, words: int, first: int, last: int) -> None:
        lanes = frozenset(range(slot.lane, slot.lane + slot.width))
        new = Buffer(slot.buffer, lanes, words, first, last)
        old = found.get(slot.buffer, new)
        found[slot.buffer] = Buffer(
            slot.buffer,
            old.lanes | new.lanes,
            max(old.words, words),
            min(old.first, first),
            max(old.last, last),
        )

    def _widen(self, found: dict[str, Buffer], name: str, reads: Sequence[Slot]) -> None:
        lanes = found[name].lanes.union(*(found[slot.buffer].lanes for slot in reads))
        found[name] = replace(found[name], lanes=lanes)

    def _ringed(self, found: dict[str, Buffer]) -> dict[str, Buffer]:
        """Replace the maps inside the streaming chain by rings, and a CHW input by bytes."""
        if self.chw:
            name = self.first_reads[self.layers[0].name][0].buffer
            words = -(-found[name].words // 4)
            found[name] = replace(
                found[name], words=words, lanes=self._input_lanes(PER_INSTANCE, 1), fixed=True
            )
        chain = self._provisional()
        for index in range(self.stream):
            name = self.first_reads[self.layers[index].name][0].buffer
            words = ring_words(chain, index) * chain[index].at.passes
            found[name] = replace(found[name], words=words, first=-1, last=self.stream - 1)
            if index == 0:
                lanes = self._input_lanes(PER_QUADRANT, PER_INSTANCE)
                found[name] = replace(found[name], lanes=lanes, fixed=True)
        return found

    def _input_lanes(self, distance: int, share: int) -> frozenset[int]:
        channels = range(self.layers[0].in_shape[0])
        return frozenset(c // share * distance + c % share for c in channels)

    def _provisional(self) -> list[Placed]:
        return [
            Placed(
                layer,
                Placement(
                    processors=1,
                    passes=passes_of(layer.in_shape[0]),
                    sites=(),
                    in_offset=0,
                    output_processors=1,
                    out_passes=1,
                    out_offset=0,
                ),
            )
            for layer in self.layers[: self.stream]
        ]

    def ties(self) -> list[Tie]:
        """Return what passthrough layers demand: results in the window of the input."""
        found = []
        for layer in self.layers:
            if layer.passthrough:
                source, result = self.first_reads[layer.name][0], self.plan.slots[layer.output]
                distance = (source.lane - result.lane) // PER_INSTANCE
                found.append(Tie(source.buffer, result.buffer, distance, layer.name))
        return found

    def loads(self) -> list[Load]:
        """Return the kernel columns of every weighted layer."""
        found = []
        for layer in self.layers:
            if layer.passthrough:
                continue
            slots = self.first_reads[layer.name]
            channels = layer.out_shape[0]
            pixels = layer.in_shape[1] * layer.in_shape[2] if layer.flatten else 1
            count = passes_of(channels) * per_pass(channels) * slots[0].stride // layer.operands
            bits = count * pixels * layer.slot_bytes * layer.bits
            columns = -(-bits // (8 * KERNEL_WORD)) // 4 * 4 + 4
            found.append(Load(slots[0].buffer, self._lanes(layer), columns))
        return found

    def _lanes(self, layer: Layer) -> frozenset[int]:
        if layer is self.layers[0] and (self.chw or self.stream):
            return self._input_lanes(*((PER_INSTANCE, 1) if self.chw else (PER_QUADRANT, 4)))
        return frozenset(
            lane
            for slot in self.first_reads[layer.name]
            for lane in range(slot.lane, slot.lane + slot.width)
        )

    def decision(self, starts: Mapping[str, int], words: Mapping[str, int]) -> Decision:
        """Return the hints for windows and offsets."""
        hints = []
        for index, layer in enumerate(self.layers):
            source = self.first_reads[layer.name][0]
            mask = _mask(self._lanes(layer), starts[source.buffer])
            slot = self.plan.slots[layer.output]
            unit = 4 if layer.wide else 1
            hints.append(
                LayerHint(
                    name=layer.name,
                    ops=layer.ops,
                    processors=mask,
                    output_processors=packed_map(mask)
                    if layer.passthrough
                    else _mask(range(slot.lane, slot.lane + slot.width), starts[slot.buffer]),
                    in_offset=4 * (self._first(source, words) + self._shift(layer) * source.stride),
                    out_offset=4 * (self._first(slot, words, unit) + slot.word),
                    write_gap=slot.step - 1,
                    streaming=layer.streaming,
                    big_data=self.chw and index == 0,
                )
            )
        provided = self._provided(starts, words)
        return Decision(self.layers, tuple(hints), self.plan.copies, provided, self.stream > 0)

    def _first(self, slot: Slot, words: Mapping[str, int], unit: int = 1) -> int:
        """Return the word of a buffer's first real pixel, after the junk of dilated conv1d."""
        return words[slot.buffer] + self.skips.get(slot.buffer, 0) * slot.stride * unit

    def _shift(self, layer: Layer) -> int:
        """Return the pixels that a crop of the first operand leaves out at its start."""
        if layer.sources[0] not in self.program.types:
            return 0
        part = parts_of(self.program, layer.sources[0])[0]
        return shift_of(self.program, stored(self.program, part)[1])

    def _provided(
        self, starts: Mapping[str, int], words: Mapping[str, int]
    ) -> dict[Position, Location]:
        found: dict[Position, Location] = {}
        for position, slot in self.plan.reads.items():
            tensor = self.tensor(position)
            special = position[0] == self.layers[0].name and (self.chw or self.stream)
            if tensor not in self.given or special:
                continue
            channels = range(self.program.types[tensor].shape[0])
            base = self._first(slot, words) + slot.word
            lane = starts[slot.buffer] * PER_INSTANCE + slot.lane
            found[position] = Location(
                tuple(lane + c % slot.width for c in channels),
                tuple(base + c // slot.width * slot.step for c in channels),
                slot.stride,
            )
        return found


def _skips(plan: Plan) -> dict[str, int]:
    """Return the pixels of junk in front of each buffer that layers write."""
    found: dict[str, int] = {}
    for layer in plan.layers:
        buffer = plan.slots[layer.output].buffer
        found[buffer] = max(found.get(buffer, 0), layer.skipped)
    return found


def _mask(lanes: frozenset[int] | range, start: int) -> int:
    return sum(1 << (PER_INSTANCE * start + lane) for lane in lanes)
