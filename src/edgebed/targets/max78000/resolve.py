"""From offsets and processor maps to complete placements, checked by following the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgebed.errors import EdgebedError
from edgebed.program.ops.concat import Concat
from edgebed.program.ops.slice import Slice
from edgebed.program.ops.space_to_depth import SpaceToDepth
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
    """Layers at their places, and where the network's inputs and every tensor lie."""

    chain: tuple[Placed, ...]
    inputs: tuple[Input, ...]
    tensors: Mapping[str, Location]


def device_inputs(program: Program) -> dict[str, tuple[str, int]]:
    """Return (device input tensor, first channel) of each tensor that the CPU provides."""
    known = {name: (name, 0) for name in program.inputs}
    for op in program.ops:
        if isinstance(op, SpaceToDepth) and op.inputs[0] in program.inputs:
            known[op.output] = (op.output, 0)
        if isinstance(op, Slice) and op.inputs[0] in known:
            tensor, channel = known[op.inputs[0]]
            known[op.output] = (tensor, channel + op.start)
    return known


Position = tuple[str, int, int]


def concatenations(program: Program) -> dict[str, tuple[str, ...]]:
    """Return the parts of every concatenated tensor."""
    return {op.output: op.inputs for op in program.ops if isinstance(op, Concat)}


def flat_parts(concats: Mapping[str, tuple[str, ...]], tensor: str) -> tuple[str, ...]:
    """Return the tensors that a possibly nested concatenation consists of."""
    if tensor not in concats:
        return (tensor,)
    return tuple(leaf for part in concats[tensor] for leaf in flat_parts(concats, part))


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
    return Resolved(tuple(work.chain), tuple(work.inputs), work.tensors)


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
        self.concats = concatenations(program)
        self.chain: list[Placed] = []
        self.inputs: list[Input] = []
        self.tensors: dict[str, Location] = {}

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
        parts = [self.tensors.get(part) for part in flat_parts(self.concats, tensor)]
        found = [part for part in parts if part is not None]
        return joined(found, tensor) if len(found) == len(parts) else None

    def _source(self, index: int, operand: int, tensor: str, base: int) -> Location:
        parts = flat_parts(self.concats, tensor)
        positions = [(self.layers[index].name, operand, part) for part in range(len(parts))]
        found = [self._part(index, p, t, base) for p, t in zip(positions, parts, strict=True)]
        return joined(found, tensor)

    def _part(self, index: int, position: Position, tensor: str, base: int) -> Location:
        known = self.tensors.get(self.copies.get(position, tensor))
        if tensor in self.given:
            if position in self.provided:
                return self._provide(tensor, self.provided[position])
            if known is None or not self._readable(index, known, base):
                return self._provide(tensor, self._expected(index, position, tensor, base))
        if known is None:
            raise EdgebedError(
                f"reads {tensor!r}, which no device layer before it writes",
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

    def _expected(self, index: int, position: Position, tensor: str, base: int) -> Location:
        layer, hint = self.layers[index], self.hints[index]
        channels = self.program.types[tensor].shape[0]
        return input_location(
            channels, hint.processors, base, position[1], layer.operands, chw=hint.big_data
        )

    def _provide(self, tensor: str, where: Location) -> Location:
        name, channel = self.given[tensor]
        if not any(piece == Input(name, channel, where) for piece in self.inputs):
            self.inputs.append(Input(name, channel, where))
        self.tensors[tensor] = where
        return where

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
            if source == tensor:
                return sum(1 << p for p in enabled[:lanes])
            if tensor in flat_parts(self.concats, source):
                return sum(1 << p for p in self._lanes(source, tensor, enabled))
        return None

    def _lanes(self, concat: str, tensor: str, enabled: tuple[int, ...]) -> tuple[int, ...]:
        first = 0
        for part in flat_parts(self.concats, concat):
            lanes = per_pass(self.program.types[part].shape[0])
            if part == tensor:
                return enabled[first : first + lanes] or enabled[:lanes]
            first = (first + lanes) % len(enabled)
        return enabled
