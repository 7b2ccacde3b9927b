"""Where each channel of a tensor lives, and what a layer must therefore read.

A layer's input sites and kernel order follow from where its producers really wrote, so residual
operands, concatenated parts and several passes need no rules of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgebed.errors import EdgebedError
from edgebed.targets.max78000.layers import (
    PER_INSTANCE,
    PER_QUADRANT,
    QUADRANTS,
    Layer,
    Placement,
    processors_in,
)

Site = tuple[int, int]


@dataclass(frozen=True)
class Location:
    """A tensor in data memory.

    Attributes:
        processors: of each channel.
        words: word address of pixel 0 of each channel, the same in every instance.
        stride: words from one pixel to the next.
        wide: 32-bit elements; the word of lane p % 4 is added to `words`.
        chw: one channel per instance, four pixels per word; `words` are the bases.
    """

    processors: tuple[int, ...]
    words: tuple[int, ...]
    stride: int
    wide: bool = False
    chw: bool = False

    def part(self, start: int, stop: int) -> Location:
        """Return the location of a range of channels."""
        return Location(
            self.processors[start:stop], self.words[start:stop], self.stride, self.wide, self.chw
        )

    def below(self, pixels: int) -> Location:
        """Return the location without its first pixels."""
        words = tuple(word + pixels * self.stride for word in self.words)
        return replace(self, words=words)

    def moved(self, words: int) -> Location:
        """Return the location some words later."""
        later = tuple(word + words for word in self.words)
        return Location(self.processors, later, self.stride, self.wide, self.chw)


def joined(parts: Sequence[Location], where: str) -> Location:
    """Return the location of concatenated tensors.

    Raises:
        EdgebedError: they do not lie side by side.
    """
    first = parts[0]
    if any((p.stride, p.wide, p.chw) != (first.stride, first.wide, first.chw) for p in parts):
        raise EdgebedError(
            "concatenated tensors are written with different steps",
            where=where,
            why=f"words per pixel: {', '.join(str(p.stride) for p in parts)}",
            try_="equal write gaps for every part",
        )
    return Location(
        tuple(p for part in parts for p in part.processors),
        tuple(w for part in parts for w in part.words),
        first.stride,
        first.wide,
        first.chw,
    )


def input_location(
    channels: int, processors: int, base: int, operand: int, operands: int, *, chw: bool
) -> Location:
    """Return where the network's input (or one stacked operand of it) is expected."""
    enabled = processors_in(processors)
    if chw:
        return Location(enabled[:channels], (base,) * channels, 1, chw=True)
    passes = -(-channels // len(enabled))
    return Location(
        tuple(enabled[c % len(enabled)] for c in range(channels)),
        tuple(base + c // len(enabled) * operands + operand for c in range(channels)),
        passes * operands,
    )


def result_location(layer: Layer, at: Placement) -> Location:
    """Return where a layer writes (spec 2.11)."""
    step = (4 if layer.wide else 1) * (at.write_gap + 1)
    base, channels = at.out_offset // 4, layer.out_shape[0]
    if layer.passthrough:
        lanes = packed_lanes(at.processors, at.output_processors)
        return Location(
            tuple(lanes[processor] for _, processor in at.sites),
            tuple(base + number * step for number, _ in at.sites),
            at.passes * step,
        )
    results = processors_in(at.output_processors)
    return Location(
        tuple(results[c % len(results)] for c in range(channels)),
        tuple(base + c // len(results) * step for c in range(channels)),
        at.out_passes * step,
        layer.wide,
    )


def packed_lanes(processors: int, output_processors: int) -> dict[int, int]:
    """Return where a passthrough layer puts each processor's data.

    The enabled processors of a quadrant are packed in order from the instance of the quadrant's
    first result.
    """
    lanes: dict[int, int] = {}
    results = processors_in(output_processors)
    for quadrant in range(QUADRANTS):
        low = PER_QUADRANT * quadrant
        mine = [p for p in processors_in(processors) if low <= p < low + PER_QUADRANT]
        first = next((p for p in results if low <= p < low + PER_QUADRANT), low)
        start = first // PER_INSTANCE * PER_INSTANCE
        lanes |= {processor: start + rank for rank, processor in enumerate(mine)}
    return lanes


def packed_map(processors: int) -> int:
    """Return the output map of a passthrough layer that stays in its instances."""
    first = {p // PER_QUADRANT: p for p in reversed(processors_in(processors))}
    lanes = packed_lanes(processors, sum(1 << p for p in first.values()))
    return sum(1 << lane for lane in lanes.values())


def read_sites(
    layer: Layer, sources: Sequence[Location], base: int, processors: int
) -> tuple[int, tuple[Site, ...]]:
    """Return input passes and the site of each channel.

    Raises:
        EdgebedError: the data do not lie as one layer can read them.
    """
    if sources[0].chw:
        return 1, tuple((0, p) for p in sources[0].processors)
    passes, rest = divmod(sources[0].stride, layer.operands)
    if rest or any(source.stride != sources[0].stride for source in sources):
        steps = [source.stride for source in sources]
        raise _misplaced(layer, f"{steps} words per pixel for {layer.operands} operands")
    ordered = _as_they_lie(layer, sources)
    sites = [_sites(layer, source, base + o, passes) for o, source in enumerate(ordered)]
    if any(other != sites[0] for other in sites):
        raise _misplaced(layer, "the operands' channels lie on different processors")
    if len(set(sites[0])) < len(sites[0]):
        raise _misplaced(layer, "two of its channels lie in the same place")
    missing = {p for _, p in sites[0]} - set(processors_in(processors))
    if missing:
        raise _misplaced(layer, f"processors {sorted(missing)} hold data but are not enabled")
    return passes, sites[0]


def _as_they_lie(layer: Layer, sources: Sequence[Location]) -> list[Location]:
    """Return operands in the order of their words; only the first of a difference stays."""
    kept = 1 if layer.combine == "subtract" else 0
    return [*sources[:kept], *sorted(sources[kept:], key=lambda source: min(source.words))]


def _sites(layer: Layer, source: Location, base: int, passes: int) -> tuple[Site, ...]:
    sites: list[Site] = []
    for processor, word in zip(source.processors, source.words, strict=True):
        number, rest = divmod(word - base, layer.operands)
        if rest or not 0 <= number < passes or source.wide:
            at = f"offset {4 * word:#x}, read from {4 * base:#x}"
            raise _misplaced(layer, f"its input lies at {at} in {passes} passes")
        sites.append((number, processor))
    return tuple(sites)


def _misplaced(layer: Layer, what: str) -> EdgebedError:
    return EdgebedError(
        f"cannot read its input: {what}",
        where=f"{layer.name} ({', '.join(layer.ops) or 'copy'})",
        try_="write the operands interleaved, or plan the placement anew",
    )
