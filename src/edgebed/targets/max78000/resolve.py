"""From offsets and processor maps to complete placements, checked by following the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgebed.errors import EdgebedError
from edgebed.program.types import Program
from edgebed.targets.max78000.hints import LayerHint
from edgebed.targets.max78000.layers import (
    Layer,
    Placed,
    Placement,
    passes_of,
    per_pass,
    processors_in,
)
from edgebed.targets.max78000.locations import (
    Location,
    input_location,
    joined,
    packed_map,
    read_sites,
    result_location,
)
from edgebed.targets.max78000.views import device_inputs, locate, parts_of, shift_of, stored


@dataclass(frozen=True)
class Input:
    """One piece of the network input that the CPU writes or pushes.

    Attributes:
        tensor: name of the device's input tensor: the program's input, or what a leading
            space_to_depth makes of it.
        channel: first channel of that tensor held here.
        location: where.
    """

    tensor: str
    channel: int
    location: Location


@dataclass(frozen=True)
class Resolved:
    """Layers at their places, and where the network's inputs and every tensor lie.

    Attributes:
        chain: in execution order.
        inputs: pieces of the network's input.
        tensors: location of each tensor in memory, copies included.
        reads: what each layer reads: results of other layers by name, pieces of the input.
    """

    chain: tuple[Placed, ...]
    inputs: tuple[Input, ...]
    tensors: Mapping[str, Location]
    reads: tuple[frozenset[str | Input], ...]


Position = tuple[str, int, int]


def resolve(
    program: Program,
    layers: Sequence[Layer],
    hints: Sequence[LayerHint],
    copies: Mapping[Position, str] | None = None,
    provided: Mapping[Position, Location] | None = None,
) -> Resolved:
    """Return the complete placements of layers whose offsets and maps are decided.

    Args:
        program: the layers' program.
        layers: in execution order.
        hints: one for each layer.
        copies: tensors to read instead of the program's, by layer, operand and part.
        provided: where the CPU puts the network's input for each reader; derived where absent.

    Raises:
        EdgebedError: a layer cannot read what its producers wrote.
    """
    work = _Work(program, layers, hints, copies or {}, provided or {})
    for index in range(len(layers)):
        work.place(index)
    reads = tuple(frozenset(names) for names in work.reads)
    return Resolved(tuple(work.chain), tuple(work.inputs), work.tensors, reads)


class _Work:
    """Follows the data through the layers once."""

    def __init__(
        self,
        program: Program,
        layers: Sequence[Layer],
        hints: Sequence[LayerHint],
        copies: Mapping[Position, str],
        provided: Mapping[Position, Location],
    ) -> None:
        self.program, self.layers, self.hints = program, layers, hints
        self.copies, self.provided = copies, provided
        self.given = device_inputs(program)
        self.chain: list[Placed] = []
        self.inputs: list[Input] = []
        self.tensors: dict[str, Location] = {}
        self.reads: list[set[str | Input]] = [set() for _ in layers]

    def place(self, index: int) -> None:
        layer, hint = self.layers[index], self.hints[index]
        base = self._base(index)
        sources = [self._source(index, o, tensor, base) for o, tensor in enumerate(layer.sources)]
        passes, sites = read_sites(layer, sources, base, hint.processors)
        at = Placement(
            processors=hint.processors,
            passes=passes,
            sites=sites,
            in_offset=4 * base,
            output_processors=self._results(index),
            out_passes=passes if layer.passthrough else passes_of(layer.out_shape[0]),
            out_offset=hint.out_offset,
            write_gap=hint.write_gap,
            big_data=hint.big_data,
        )
        self.chain.append(Placed(layer, at))
        self.tensors[layer.output] = result_location(layer, at)

    def _base(self, index: int) -> int:
        hint, tensor = self.hints[index], self.layers[index].sources[0]
        if hint.in_offset is not None:
            return hint.in_offset // 4
        known = self._known(tensor)
        return min(known.words) if known is not None else 0

    def _known(self, tensor: str) -> Location | None:
        parts = [locate(self.program, p, self.tensors.get) for p in parts_of(self.program, tensor)]
        found = [part for part in parts if part is not None]
        return joined(found, tensor) if len(found) == len(parts) else None

    def _source(self, index: int, operand: int, tensor: str, base: int) -> Location:
        parts = parts_of(self.program, tensor)
        positions = [(self.layers[index].name, operand, part) for part in range(len(parts))]
        found = [self._part(index, p, t, base) for p, t in zip(positions, parts, strict=True)]
        return joined(found, tensor)

    def _part(self, index: int, position: Position, part: str, base: int) -> Location:
        tensor, _ = stored(self.program, part)
        copied = self.copies.get(position, tensor)
        known = locate(self.program, part, lambda _: self.tensors.get(copied))
        if tensor in self.given:
            if position in self.provided:
                self._provide(tensor, self.provided[position])
            elif known is None or not self._readable(index, known, base):
                self._provide(tensor, self._expected(index, position, part, base))
            known = locate(self.program, part, self.tensors.get)
            self.reads[index].add(Input(*self.given[tensor], self.tensors[tensor]))
            return known or self.tensors[tensor]
        self.reads[index].add(copied)
        if known is None:
            raise EdgebedError(
                f"reads {part!r}, which no device layer before it writes",
                where=self.layers[index].name,
            )
        return known

    def _readable(self, index: int, known: Location, base: int) -> bool:
        try:
            layer = self.layers[index]
            read_sites(layer, [known] * layer.operands, base, self.hints[index].processors)
        except EdgebedError:
            return False
        return True

    def _expected(self, index: int, position: Position, part: str, base: int) -> Location:
        layer, hint = self.layers[index], self.hints[index]
        tensor, views = stored(self.program, part)
        channels = self.program.types[tensor].shape[0]
        where = input_location(
            channels, hint.processors, base, position[1], layer.operands, chw=hint.big_data
        )
        return where.moved(-shift_of(self.program, views) * where.stride)

    def _provide(self, tensor: str, where: Location) -> None:
        name, channel = self.given[tensor]
        if Input(name, channel, where) not in self.inputs:
            self.inputs.append(Input(name, channel, where))
        self.tensors[tensor] = where

    def _results(self, index: int) -> int:
        layer, hint = self.layers[index], self.hints[index]
        if hint.output_processors is not None:
            return hint.output_processors
        if layer.passthrough:
            return packed_map(hint.processors)
        lanes = per_pass(layer.out_shape[0])
        for later in range(index + 1, len(self.layers)):
            found = self._reader_lanes(later, layer.output, lanes)
            if found is not None:
                return found
        return (1 << lanes) - 1

    def _reader_lanes(self, later: int, tensor: str, lanes: int) -> int | None:
        enabled = processors_in(self.hints[later].processors)
        for source in self.layers[later].sources:
            parts = [stored(self.program, part)[0] for part in parts_of(self.program, source)]
            if parts == [tensor]:
                return sum(1 << p for p in enabled[:lanes])
            if tensor in parts:
                return sum(1 << p for p in self._lanes(parts, tensor, enabled))
        return None

    def _lanes(
        self, parts: Sequence[str], tensor: str, enabled: tuple[int, ...]
    ) -> tuple[int, ...]:
        first = 0
        for part in parts:
            lanes = per_pass(self.program.types[part].shape[0])
            if part == tensor:
                return enabled[first : first + lanes] or enabled[:lanes]
            first = (first + lanes) % len(enabled)
        return enabled
