"""Which words of data memory hold which tensor, and from when to when."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgebed.program.types import Program
from edgebed.targets.max78000.layers import (
    INSTANCE_BYTES,
    PER_INSTANCE,
    PROCESSORS,
    Placed,
    processors_in,
)
from edgebed.targets.max78000.locations import Location, result_location
from edgebed.targets.max78000.resolve import Input, Resolved
from edgebed.targets.max78000.stream_registers import ring_words
from edgebed.targets.max78000.views import parts_of, stored

WORDS = INSTANCE_BYTES // 4


@dataclass(frozen=True)
class Area:
    """Words that a tensor takes in the byte lanes of some processors.

    Attributes:
        name: of the tensor.
        writer: layer that writes it; -1 = the CPU, before the first layer; -2 = a ring.
        words: word addresses, ascending.
        lanes: processors whose lanes it takes; all four of an instance for 32-bit values.
        first: step in which it is first written.
        last: step in which it is last needed.
    """

    name: str
    writer: int
    words: npt.NDArray[np.int64]
    lanes: frozenset[int]
    first: int
    last: int

    @property
    def start(self) -> int:
        """First word."""
        return int(self.words[0])

    @property
    def end(self) -> int:
        """One past the last word."""
        return int(self.words[-1]) + 1

    def meets(self, other: Area) -> bool:
        """Return whether both need one word at the same time."""
        together = self.first <= other.last and other.first <= self.last
        near = self.start < other.end and other.start < self.end
        if not (together and near and self.lanes & other.lanes):
            return False
        return bool(np.isin(self.words, other.words).any())


def layer_area(placed: Placed, first: int = 0, last: int = 0, index: int = 0) -> Area:
    """Return the words a layer writes, dummies and the junk of a dilated conv1d included."""
    layer, at = placed.layer, placed.at
    location = result_location(layer, at)
    pixels = layer.out_shape[1] * layer.out_shape[2]
    starts = sorted(set(location.words))
    lanes = range(4) if layer.wide else range(1)
    offsets = np.arange(-layer.skipped, pixels - layer.skipped) * location.stride
    words = np.unique([start + lane + offsets for start in starts for lane in lanes])
    columns = range(at.first_column, at.first_column + at.columns_per_pass)
    taken = _lanes(location.processors if layer.passthrough else columns, whole=layer.wide)
    return Area(layer.output, index, words, taken, first, last)


def _lanes(processors: Iterable[int], *, whole: bool) -> frozenset[int]:
    """Return the lanes of processors, or of their whole instances."""
    if not whole:
        return frozenset(processors)
    first = {p // PER_INSTANCE * PER_INSTANCE for p in processors}
    return frozenset(low + lane for low in first for lane in range(PER_INSTANCE))


def areas(program: Program, resolved: Resolved, *, fifo: bool) -> list[Area]:
    """Return the areas of the input, of every result and of the rings of a stream."""
    chain = resolved.chain
    streaming = sum(placed.layer.streaming for placed in chain)
    found = [] if fifo else _inputs(resolved)
    found += [_ring(chain, index, streaming) for index in range(streaming)] if fifo else []
    for index, placed in enumerate(chain):
        inside = placed.layer.streaming and index < streaming - 1
        last = _last_read(program, resolved, placed.layer.output)
        start = 0 if placed.layer.streaming else index
        area = layer_area(placed, start, max(index, last), index)
        found.append(_nowhere(area) if inside and fifo else area)
    return found


def _nowhere(area: Area) -> Area:
    """Return an area that meets nobody: inside a stream only the ring of the reader exists."""
    return Area(area.name, area.writer, area.words, frozenset(), area.first, area.last)


def _ring(chain: Sequence[Placed], index: int, streaming: int) -> Area:
    placed = chain[index]
    start = placed.at.in_offset // 4
    words = np.arange(start, start + ring_words(chain, index))
    taken = frozenset(processors_in(placed.at.processors))
    return Area(f"ring of {placed.layer.name}", -2, words, taken, 0, streaming - 1)


def _inputs(resolved: Resolved) -> list[Area]:
    found = []
    for piece in resolved.inputs:
        users = [index for index, names in enumerate(resolved.reads) if piece in names]
        shape = resolved.chain[users[-1]].layer.in_shape
        words = _words(piece.location, shape[1] * shape[2])
        taken = _lanes(piece.location.processors, whole=piece.location.chw)
        found.append(Area(piece.tensor, -1, words, taken, -1, users[-1]))
    return found


def input_clashes(program: Program, resolved: Resolved) -> list[str]:
    """Return the pieces of the network's input that overwrite an earlier piece with other values.

    Readers may want the same channels in several places; the CPU writes all of them first.
    """
    held = np.zeros((PROCESSORS, WORDS), dtype=np.int64)
    clashing: list[str] = []
    for piece in resolved.inputs:
        mine = _contents(program, piece)
        if np.any((mine > 0) & (held > 0) & (mine != held)):
            clashing.append(piece.tensor)
        held = np.where(mine > 0, mine, held)
    return clashing


def input_words(program: Program, piece: Input) -> npt.NDArray[np.int64]:
    """Return the words of each instance that a piece of the network's input takes."""
    _, rows, columns = program.types[piece.tensor].shape
    return _words(piece.location, rows * columns)


def _contents(program: Program, piece: Input) -> npt.NDArray[np.int64]:
    """Return which channel and pixel (one number, from 1) each processor's words hold; 0 = none."""
    _, rows, columns = program.types[piece.tensor].shape
    where = piece.location
    numbers = 1 + np.arange(-(-rows * columns // 4) if where.chw else rows * columns)
    held = np.zeros((PROCESSORS, WORDS), dtype=np.int64)
    for rank, (processor, word) in enumerate(zip(where.processors, where.words, strict=True)):
        lanes = sorted(_lanes([processor], whole=where.chw))
        words = (word + where.stride * (numbers - 1))[None, :]
        held[np.array(lanes)[:, None], words] = (piece.channel + rank << 20) + numbers
    return held


def _words(location: Location, pixels: int) -> npt.NDArray[np.int64]:
    if location.chw:
        return np.arange(location.words[0], location.words[0] + -(-pixels // 4))
    offsets = np.arange(pixels) * location.stride
    return np.unique([start + offsets for start in set(location.words)])


def _last_read(program: Program, resolved: Resolved, tensor: str) -> int:
    """Return the last layer that reads a tensor; one past the end for an output."""
    for output in program.outputs:
        if tensor in (stored(program, part)[0] for part in parts_of(program, output)):
            return len(resolved.chain)
    return max((i for i, names in enumerate(resolved.reads) if tensor in names), default=-1)
