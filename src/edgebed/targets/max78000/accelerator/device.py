"""The accelerator as firmware sees it: registers, memories, FIFOs, start and done."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from edgebed.errors import EdgebedError
from edgebed.targets.max78000.accelerator.advice import layer_advice, network_advice
from edgebed.targets.max78000.accelerator.arithmetic import (
    Arithmetic,
    Int8,
    Memory,
    Output,
)
from edgebed.targets.max78000.accelerator.decode import decode_layer, decode_network
from edgebed.targets.max78000.accelerator.fast import best_arithmetic
from edgebed.targets.max78000.accelerator.inputs import (
    Fifos,
    Received,
    fifo_source,
    frame_words,
    gather_chw,
)
from edgebed.targets.max78000.accelerator.layers import (
    Layer,
    gathered_channels,
    prepare_layer,
)
from edgebed.targets.max78000.accelerator.memory import (
    CTL,
    CTL_DONE,
    CTL_ENABLE,
    CTL_MEXPRESS,
    INSTANCES,
    SRAM_WORDS,
    Place,
    Region,
    Storage,
    Words,
    decode_address,
)
from edgebed.targets.max78000.accelerator.registers import NetworkRegisters
from edgebed.targets.max78000.accelerator.results import LayerRun, RunResult, layer_run
from edgebed.targets.max78000.cycles import STARTUP_CYCLES


class Accelerator:
    """A register-level model of the MAX78000 CNN accelerator.

    Args:
        sram: data memory, uint32 [16, 8192], contiguous; a new one when left out. It may be a
            view of memory that an emulator shares.
        arithmetic: compiled or plain; the fastest this machine has when left out.
        fifo_depth: words a FIFO holds; writing more is noted in `events`. None: unlimited.

    Attributes:
        sram: data memory; may be written directly.
        events: diagnostics, oldest first.
    """

    def __init__(
        self,
        sram: Words | None = None,
        *,
        arithmetic: Arithmetic | None = None,
        fifo_depth: int | None = None,
    ) -> None:
        self.storage = Storage(sram)
        self.sram = self.storage.sram
        self.events: list[str] = []
        self.started = False
        self._arithmetic = arithmetic or best_arithmetic()
        self._fifo_depth = fifo_depth
        self._fifos = Fifos()
        self._master = 0
        self._prepared: tuple[object, tuple[Layer, ...]] | None = None
        self._scratch: dict[int, Memory] = {}
        self._results: list[tuple[Layer, Output]] = []
        self._received: Received | None = None

    # Access from firmware

    def write32(self, address: int, value: int) -> None:
        """Write one word at an absolute address.

        Raises:
            EdgebedError: nothing is there, the address is not a multiple of 4, or a compressed
                kernel load is out of sequence.
        """
        place = _aligned(address)
        value &= 0xFFFFFFFF
        unit, word = place.unit, place.offset // 4
        match place.region:
            case Region.SRAM:
                self.sram[unit, word] = value
            case Region.CONTROL:
                self._write_control(unit, word, value)
            case Region.FIFO_DATA:
                self.push_fifo(unit, (value,))
            case Region.FIFO_CONTROL:
                self.storage.fifo_control = value
            case Region.AON:
                self.storage.aon = value
            case Region.TRAM if word < self.storage.tram.shape[1]:
                self.storage.tram[unit, word] = value & 0xFFFF
            case Region.BIAS | Region.KERNEL:
                self._write_words(place, np.array([value], np.uint32))
            case _:
                self.events.append(f"write to {place.region.value} at {address:#010x} is ignored")

    def write8(self, address: int, value: int) -> None:
        """Write one byte: the start of a compressed kernel load, or a byte of data memory.

        Raises:
            EdgebedError: any other byte write.
        """
        place = decode_address(address)
        if place.region is Region.SRAM:
            self.sram.view(np.uint8)[place.unit, place.offset] = value & 255
        elif place.region is Region.KERNEL and place.offset % 4 == 1 and value & 1:
            self.storage.kernels.start_stream(place.unit, place.offset & ~3)
        else:
            raise EdgebedError(
                f"byte write of {value:#x} to {address:#010x} ({place.region.value})",
                where="accelerator",
                why="legal: 1 to (kernel address | 1) starts a compressed load; bytes of data SRAM",
                try_="write the whole 32-bit word",
            )

    def read32(self, address: int) -> int:
        """Return one word at an absolute address; write-only and unmodelled ones read 0.

        Raises:
            EdgebedError: nothing is there, or the address is not a multiple of 4.
        """
        place = _aligned(address)
        unit, word = place.unit, place.offset // 4
        match place.region:
            case Region.SRAM:
                return int(self.sram[unit, word])
            case Region.CONTROL:
                return int(self.storage.control[unit, word])
            case Region.KERNEL:
                return self.storage.kernels.read(unit, place.offset)
            case Region.BIAS:
                return int(self.storage.bias[unit, word]) & 255
            case Region.TRAM if word < self.storage.tram.shape[1]:
                return int(self.storage.tram[unit, word])
            case Region.FIFO_CONTROL:
                return self.storage.fifo_control
            case Region.AON:
                return self.storage.aon
            case _:
                return 0

    def load_words(self, address: int, words: npt.ArrayLike) -> None:
        """Write consecutive 32-bit words from `address` on; the fast form of many `write32`.

        Raises:
            EdgebedError: as `write32`.
        """
        values = np.asarray(words).astype(np.uint32)
        while len(values):
            place = _aligned(address)
            count = min(len(values), (place.end - place.offset) // 4)
            if place.region in (Region.SRAM, Region.BIAS, Region.KERNEL):
                self._write_words(place, values[:count])
            else:
                count = 1
                self.write32(address, int(values[0]))
            values, address = values[count:], address + 4 * count

    def push_fifo(self, i: int, words: Iterable[int] | Words) -> None:
        """Append words to FIFO `i` (0..3), as firmware does through its data register."""
        waiting = self._fifos.push(i, words)
        if self._fifo_depth is not None and waiting > self._fifo_depth:
            self.events.append(f"FIFO {i} overflows: {waiting} words, depth {self._fifo_depth}")

    def fifo_level(self, i: int) -> int:
        """Return the number of words waiting in FIFO `i`."""
        return self._fifos.level(i)

    # Running

    @property
    def interrupt_pending(self) -> bool:
        """The accelerator asks for its interrupt: some quadrant's CTL bit 12 is set."""
        return bool((self.storage.control[:, CTL] & CTL_DONE).any())

    def run(self, *, raise_done: bool = True) -> RunResult:
        """Run the started network to its end.

        Args:
            raise_done: set CTL bit 12 at the end; an emulator that delivers the interrupt at the
                estimated cycle passes False and calls `signal_done` later.

        Returns:
            finished False when nothing was started or FIFO words of the frame are missing.

        Raises:
            EdgebedError: registers or kernels are illegal; layer, register and value are named.
        """
        if not self.started:
            return RunResult(False)
        network = decode_network(self.storage, self._master)
        layers = self._layers(network)
        if any(self.fifo_level(i) < network.frame_words for i in network.fifos):
            return RunResult(False)
        self._results = []
        self._received = Received(self.sram.copy(), self._fifos.waiting())
        for position, layer in enumerate(layers):
            follower = layers[position + 1] if position + 1 < len(layers) else None
            self._run_layer(network, layer, follower)
        self.started = False
        if raise_done:
            self.signal_done()
        runs = tuple(layer_run(layer) for layer in layers)
        return RunResult(True, sum(run.cycles for run in runs) + STARTUP_CYCLES, runs)

    def expected(self) -> tuple[tuple[LayerRun, ...], int]:
        """Return the layers that the started network will run, and FIFO words of one frame.

        Raises:
            EdgebedError: as `run`.
        """
        network = decode_network(self.storage, self._master)
        return tuple(layer_run(layer) for layer in self._layers(network)), network.frame_words

    def signal_done(self) -> None:
        """Set the done flag (CTL bit 12) of every enabled quadrant."""
        control = self.storage.control[:, CTL]
        control[control & CTL_ENABLE != 0] |= CTL_DONE

    @property
    def received(self) -> Received:
        """Data memory and FIFOs as they were when the last run had its input.

        Raises:
            EdgebedError: nothing has run.
        """
        if self._received is None:
            raise EdgebedError("no network has run", where="accelerator")
        return self._received

    def layer_outputs(self) -> list[npt.NDArray[Any]]:
        """Return the result of every layer of the last run, C x H x W, int8 or int32.

        Convolutions: channels are output columns, counted from the 4-aligned first processor and
        including gaps; passthrough layers: the input's channels.
        """
        outputs = []
        for layer, values in self._results:
            rows, columns = layer.registers.out_size
            maps = values[:, layer.channels].reshape(rows, columns, -1)
            outputs.append(np.ascontiguousarray(maps.transpose(2, 0, 1)))
        return outputs

    # Inside

    def _write_control(self, quadrant: int, word: int, value: int) -> None:
        before = int(self.storage.control[quadrant, CTL])
        self.storage.write_control(quadrant, word, value)
        after = int(self.storage.control[quadrant, CTL])
        master = after >> 9 & 3 == quadrant
        if word == CTL and master and after & ~before & CTL_ENABLE:
            self.started, self._master = True, quadrant
        elif word == CTL and quadrant == self._master and not after & CTL_ENABLE:
            self.started = False

    def _write_words(self, place: Place, words: Words) -> None:
        unit, first = place.unit, place.offset // 4
        if place.region is Region.SRAM:
            self.sram[unit, first : first + len(words)] = words
        elif place.region is Region.BIAS:
            self.storage.write_bias(unit, first, words)
        elif self.storage.control[unit // 16, CTL] & CTL_MEXPRESS:
            self.storage.kernels.stream(unit, place.offset, words)
        else:
            for i, word in enumerate(words):
                self.storage.kernels.write(unit, place.offset + 4 * i, int(word))

    def _layers(self, network: NetworkRegisters) -> tuple[Layer, ...]:
        """Decode once per configuration; a change of registers, kernels or biases decodes anew."""
        key = (self.storage.changes, network)
        if self._prepared is None or self._prepared[0] != key:
            indices = range(network.first, network.last + 1)
            decoded = [decode_layer(self.storage, network, index) for index in indices]
            layers = tuple(prepare_layer(self.storage, r, self._arithmetic) for r in decoded)
            self._prepared, self._scratch = (key, layers), {}
            self._advise(network, layers)
        return self._prepared[1]

    def _advise(self, network: NetworkRegisters, layers: tuple[Layer, ...]) -> None:
        """Note settings that this model does not need and the chip does."""
        notes = list(network_advice(self.storage, network))
        for layer in layers:
            notes += layer_advice(self.storage, network, layer.registers)
        if network.fifos and network.frame_words != (words := frame_words(layers[0])):
            notes.append(
                f"layer {network.first}: IFRM is {network.frame_words}, a frame has {words} words"
            )
        self.events += [note for note in notes if note not in self.events]

    def _run_layer(self, network: NetworkRegisters, layer: Layer, next_: Layer | None) -> None:
        r = layer.registers
        maps = self._read(network, layer).reshape(r.operands, r.rows, r.columns, -1)
        pooled = self._arithmetic.pool_and_combine(layer.window, maps)
        values: Output = layer.convolve(pooled) if layer.convolve else pooled
        values = values.reshape(-1, values.shape[-1])
        streams = r.streaming and next_ is not None and next_.registers.streaming
        memory = self._stream_memory(layer, next_) if streams and next_ else self._sram_memory()
        self._arithmetic.scatter(memory, layer.moves, values)
        self._results.append((layer, values))

    def _read(self, network: NetworkRegisters, layer: Layer) -> Int8:
        r, memory, source = layer.registers, self._sram_memory(), layer.source
        if r.index == network.first and network.fifos:
            source = fifo_source(network, layer)
            memory = self._fifos.take_frame(network, frame_words(layer))
        elif r.index in self._scratch:
            memory = self._scratch[r.index]
        if not r.big_data:
            return self._arithmetic.gather(memory, source)
        return gather_chw(memory, source, gathered_channels(r))

    def _sram_memory(self) -> Memory:
        return Memory(self.sram.reshape(-1), SRAM_WORDS, 1, SRAM_WORDS - 1)

    def _stream_memory(self, layer: Layer, next_: Layer) -> Memory:
        """Return memory for a complete map between two streaming layers.

        The device keeps only a ring of it in data memory; what the ring holds after a run is not
        defined, so the model uses memory of its own, without wrapping.
        """
        if next_.registers.index not in self._scratch:
            source = next_.source
            last_read = source.base + source.pixels * source.passes * source.operands
            words = [*layer.moves.words[:, 2], *layer.moves.bytes_[:, 2]]
            rows, columns = layer.registers.out_size
            last_write = int(max(words)) + rows * columns * layer.moves.pixel_words
            data = np.zeros(max(last_read, last_write) * INSTANCES, np.uint32)
            self._scratch[next_.registers.index] = Memory(data, 1, INSTANCES, -1)
        return self._scratch[next_.registers.index]


def _aligned(address: int) -> Place:
    if address % 4:
        raise EdgebedError(
            f"32-bit access to {address:#010x}", where="accelerator", why="not a multiple of 4"
        )
    return decode_address(address)
