"""Planning: streaming or not, windows of processors, offsets; the result is a set of hints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from edgebed.errors import EdgebedError
from edgebed.program.types import Program
from edgebed.targets.max78000.buffers import Plan, Position, Slot, plan_buffers
from edgebed.targets.max78000.hints import LayerHint
from edgebed.targets.max78000.layers import (
    KERNEL_COLUMNS,
    KERNEL_WORD,
    PER_INSTANCE,
    PER_QUADRANT,
    PROCESSORS,
    Layer,
    Placed,
    Placement,
    passes_of,
    per_pass,
)
from edgebed.targets.max78000.locations import Location, packed_map
from edgebed.targets.max78000.lowering import for_streaming
from edgebed.targets.max78000.memory import (
    WORDS,
    Buffer,
    Load,
    Tie,
    clusters,
    place_offsets,
    place_windows,
)
from edgebed.targets.max78000.stream_registers import ring_words
from edgebed.targets.max78000.views import device_inputs, parts_of, shift_of, stored

LONGEST_STREAM = 8
FIFO_CHANNELS = 16


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


def candidates(program: Program, layers: Sequence[Layer]) -> Iterator[Decision]:
    """Yield placements whose data fit, best first; kernels and biases may still not fit.

    Raises:
        EdgebedError: no placement of the data fits; the error names the tensor.
    """
    first: EdgebedError | None = None
    found = False
    for stream in _streams(program, layers):
        for columns in (KERNEL_COLUMNS * 3 // 4, 0):
            try:
                yield _decide(program, layers, stream, columns)
                found = True
            except EdgebedError as error:
                first = first or error
    if not found and first is not None:
        raise first


def _streams(program: Program, layers: Sequence[Layer]) -> Iterator[tuple[int, bool]]:
    """Yield (streaming layers, CHW input), simplest first.

    Layers stream up to the last map that cannot be stored; a longer chain relieves the memory.
    """
    needed = 0
    for index, layer in enumerate(layers):
        if layer.operands == 1 and _map_words(layer) > WORDS:
            needed = index + 1
    chain = _chain(program, layers)
    if needed == 0:
        yield 0, False
    if needed <= 1 and _fits_chw(program, layers[0]):
        yield 0, True
    for length in range(max(needed, 1), chain + 1):
        if max(layers[length - 1].padding) > 0 or layers[length - 1].kernel_shape == (1, 1):
            yield length, False
    if needed > chain:
        yield 0, False  # so that the failure names the tensor


def _map_words(layer: Layer) -> int:
    channels, rows, columns = layer.in_shape
    return rows * columns * passes_of(channels)


def _fits_chw(program: Program, first: Layer) -> bool:
    channels, rows, columns = first.in_shape
    plain = first.sources[0] in device_inputs(program) and first.operands == 1
    fits = channels <= PROCESSORS // PER_INSTANCE and rows * columns <= 4 * WORDS
    alone = len(program.readers(first.sources[0])) == 1
    return plain and fits and alone and first.operator == "conv2d" and not first.flatten


def _chain(program: Program, layers: Sequence[Layer]) -> int:
    """Return how many leading layers could stream: plain convolutions one after the other."""
    given = device_inputs(program)
    expected = layers[0].sources[0]
    if expected not in given or layers[0].in_shape[0] > FIFO_CHANNELS:
        return 0
    for index, layer in enumerate(layers[:LONGEST_STREAM]):
        alone = len(program.readers(expected)) == 1 and expected not in program.outputs
        if layer.sources != (expected,) or not alone or layer.operator != "conv2d" or layer.wide:
            return index
        expected = layer.output
    return min(len(layers), LONGEST_STREAM)


def _decide(
    program: Program, layers: Sequence[Layer], stream: tuple[int, bool], columns: int
) -> Decision:
    length, chw = stream
    streamed = [replace(layer, streaming=i < length) for i, layer in enumerate(layers)]
    plan = plan_buffers(program, for_streaming(streamed))
    sketch = _Sketch(program, plan, length, chw)
    buffers, ties = sketch.buffers(), sketch.ties()
    groups = clusters(buffers, ties)
    if isinstance(groups, Tie):
        raise EdgebedError(
            f"{groups.second!r} would have to lie on two sets of processors",
            why="passthrough layers keep data on their processors",
            try_="a 1x1 convolution instead of one of the copies",
        )
    starts = place_windows(
        buffers, groups, sketch.loads(), lambda full, start: (max(full, columns), start)
    )
    if starts is None:
        raise EdgebedError("tied tensors need more than 64 processors side by side")
    words = place_offsets(buffers, starts)
    if isinstance(words, str):
        raise _no_room(buffers[words])
    return sketch.decision(starts, words)


def _no_room(buffer: Buffer) -> EdgebedError:
    return EdgebedError(
        f"no room for {buffer.name!r}: {4 * buffer.words} bytes in each instance",
        why=f"{4 * WORDS} bytes for everything that is alive at the same time",
        try_="smaller maps (pool earlier, or fold pixels into channels)",
    )


class _Sketch:
    """The buffers of one attempt."""

    def __init__(self, program: Program, plan: Plan, stream: int, chw: bool) -> None:
        self.program, self.plan, self.stream, self.chw = program, plan, stream, chw
        self.layers = plan.layers
        self.given = device_inputs(program)
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
                pixels = self._shift(layer) + layer.in_shape[1] * layer.in_shape[2]
                self._add(found, slot, pixels * slot.stride, early, self.step(index))
            slot = self.plan.slots[layer.output]
            pixels = layer.skipped + layer.out_shape[1] * layer.out_shape[2]
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
                found.append(Tie(source.buffer, result.buffer, distance))
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
            skipped = layer.skipped * slot.stride
            hints.append(
                LayerHint(
                    name=layer.name,
                    ops=layer.ops,
                    processors=mask,
                    output_processors=packed_map(mask)
                    if layer.passthrough
                    else _mask(range(slot.lane, slot.lane + slot.width), starts[slot.buffer]),
                    in_offset=4 * (words[source.buffer] + self._shift(layer) * source.stride),
                    out_offset=4 * (words[slot.buffer] + slot.word + skipped),
                    write_gap=slot.step - 1,
                    streaming=layer.streaming,
                    big_data=self.chw and index == 0,
                )
            )
        provided = self._provided(starts, words)
        return Decision(self.layers, tuple(hints), self.plan.copies, provided, self.stream > 0)

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
            base = words[slot.buffer] + slot.word
            lane = starts[slot.buffer] * PER_INSTANCE + slot.lane
            found[position] = Location(
                tuple(lane + c % slot.width for c in channels),
                tuple(base + c // slot.width * slot.step for c in channels),
                slot.stride,
            )
        return found


def _mask(lanes: frozenset[int] | range, start: int) -> int:
    return sum(1 << (PER_INSTANCE * start + lane) for lane in lanes)
