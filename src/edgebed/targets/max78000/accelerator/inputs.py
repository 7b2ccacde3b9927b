"""How the first layer gets its data: FIFOs, and channel-by-channel (CHW) maps."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from edgebed.errors import EdgebedError
from edgebed.targets.max78000.accelerator.arithmetic import Int8, Memory, Source
from edgebed.targets.max78000.accelerator.layers import Layer
from edgebed.targets.max78000.accelerator.memory import FIFOS, Words
from edgebed.targets.max78000.accelerator.registers import NetworkRegisters


@dataclass(frozen=True, eq=False)
class Received:
    """The accelerator's memories when a network has all of its input.

    Attributes:
        memory: data memory, uint32 [16, 8192].
        fifos: words waiting in each FIFO, oldest first.
    """

    memory: Words
    fifos: tuple[Words, ...]


class Fifos:
    """The four input FIFOs."""

    def __init__(self) -> None:
        self._queues = [array("I") for _ in range(FIFOS)]

    def push(self, i: int, words: Iterable[int] | Words) -> int:
        """Append words to FIFO `i`; return how many wait there now.

        Raises:
            EdgebedError: there is no such FIFO.
        """
        if not 0 <= i < FIFOS:
            raise EdgebedError(f"there is no FIFO {i}", where="accelerator", why="legal: 0 to 3")
        if isinstance(words, np.ndarray):
            self._queues[i].frombytes(words.astype(np.uint32).tobytes())
        else:
            self._queues[i].extend(int(word) & 0xFFFFFFFF for word in words)
        return self.level(i)

    def level(self, i: int) -> int:
        """Return the number of words waiting in FIFO `i`."""
        return len(self._queues[i])

    def waiting(self) -> tuple[Words, ...]:
        """Return copies of the words that wait in each FIFO, oldest first."""
        return tuple(np.array(queue, np.uint32) for queue in self._queues)

    def take_frame(self, network: NetworkRegisters, words: int) -> Memory:
        """Take one frame of every enabled FIFO as memory of `words` words; instance i is FIFO i.

        Words that the frame does not have read 0.
        """
        count = network.frame_words
        data = np.zeros((FIFOS, max(count, words)), np.uint32)
        for i in network.fifos:
            data[i, :count] = self._queues[i][:count]
            del self._queues[i][:count]
        return Memory(data.reshape(-1), data.shape[1], 1, -1)


def fifo_source(network: NetworkRegisters, layer: Layer) -> Source:
    """Return where `layer` finds its data in `Fifos.take_frame`: FIFO i feeds instance 4 i.

    Raises:
        EdgebedError: a processor of the layer is not fed by an enabled FIFO.
    """
    source = layer.source
    if not {4 * i for i in network.fifos}.issuperset(source.instances):
        raise EdgebedError(
            f"processors {layer.registers.processors} with FIFOs {network.fifos} enabled",
            where=f"layer {layer.registers.index}, register ENA",
            why="legal: FIFO i feeds processors 16 i to 16 i + 3 and must be enabled",
        )
    return replace(source, base=0, instances=tuple(i // 4 for i in source.instances))


def frame_words(layer: Layer) -> int:
    """Return the words per FIFO that `layer` reads: one per pixel, or a quarter for CHW."""
    source = layer.source
    words = source.pixels * source.passes * source.operands
    return -(-words // 4) if layer.registers.big_data else words


def gather_chw(memory: Memory, source: Source, channels: int) -> Int8:
    """Return int8 [1, pixels, channels] of CHW data: four pixels per word, one channel each."""
    words = np.arange(-(-source.pixels // 4)) + source.base
    data = memory.data[memory.at(np.array(source.instances)[:, None], words)]
    maps = data.view(np.int8)[:, : source.pixels]
    out = np.zeros((1, source.pixels, channels), np.int8)
    out[0, :, : len(maps)] = maps.T
    return out
