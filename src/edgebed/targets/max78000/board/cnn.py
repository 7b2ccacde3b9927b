"""The accelerator on the bus: power gate, register traffic, FIFOs, start, and done in time."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from edgebed.errors import EdgebedError
from edgebed.targets.max78000.accelerator import Accelerator, LayerRun, RunResult
from edgebed.targets.max78000.board.clock import Clock, Due
from edgebed.targets.max78000.board.gcr import Gcr, PowerSwitches
from edgebed.targets.max78000.board.nvic import Nvic
from edgebed.targets.max78000.board.state import TIME_UNITS, Shared, page_aligned

IRQ_CNN = 101
BASE, END = 0x50000000, 0x52000000
_FIFO_STATUS, _FIFO_DATA = BASE + 4, BASE + 8
SRAM_PARTS = tuple((0x50400000 + q * 0x400000, 0x20000) for q in range(4))
CONTROL_PARTS = (
    (0x50000000, 0x400000),
    (0x50420000, 0x3E0000),
    (0x50820000, 0x3E0000),
    (0x50C20000, 0x3E0000),
    (0x51020000, 0x0E0000),
)


class Cnn:
    """Drives `Accelerator` from the bus.

    Kernel, bias and layer-register stores are collected by the bus and handed over in bulk. The
    arithmetic is done when the network starts (or its last FIFO word has come); the done flag and
    the interrupt come when the estimated cycles have passed.

    Attributes:
        accelerator: the model.
        runs: results of all completed runs since `take_runs`.
    """

    def __init__(
        self,
        shared: Shared,
        clock: Clock,
        nvic: Nvic,
        gcr: Gcr,
        power: PowerSwitches,
        note: Callable[[str], None],
    ) -> None:
        self._shared, self._clock, self._nvic = shared, clock, nvic
        self._gcr, self._power, self._note = gcr, power, note
        self.sram = page_aligned((16, 8192), np.uint32)
        self._due: Due | None = None
        self.reset()

    def reset(self) -> None:
        """Return to the state after reset; the memories are not cleared by the chip either."""
        if self._due:
            self._due.cancel()
        self._due = None
        self.accelerator = Accelerator(self.sram)
        self.runs: list[RunResult] = []
        self._started_at = 0
        self._waiting = False
        state = self._shared.state
        state.log_length, state.fifo_started = 0, 0
        for i in range(4):
            state.fifo_length[i] = 0
        self.power_changed()

    def power_changed(self) -> None:
        """Look whether power and clock are on, and pause the core so that memory follows."""
        state = self._shared.state
        state.cnn_on = int(bool(self._power.ready) and self._gcr.cnn_clocked)
        state.attention |= 1

    @property
    def on(self) -> bool:
        """Whether firmware may touch the accelerator."""
        return bool(self._shared.state.cnn_on)

    def check_on(self, address: int) -> None:
        """Raise the diagnosis of an access that would hang the chip."""
        if self.on:
            return
        reasons = self._power.missing()
        if not self._gcr.cnn_clocked:
            reasons += (", " if reasons else "") + "GCR PCLKDIS0 bit 25 (clock off) is set"
        raise EdgebedError(
            f"the accelerator is touched at {address:#010x} before it is on",
            why=f"{reasons}; the real chip hangs here",
            try_="GCFR reg3 = 0xf, reg1 = reg0 = 0xf, reg2 = 0, reg3 = 0, PCLKDIV, then clear "
            "PCLKDIS0 bit 25, before any access",
        )

    def load(self, address: int, size: int) -> int:
        """Load a register or memory word."""
        self.check_on(address)
        if address == _FIFO_STATUS:
            return 0
        self.flush()
        word = self.accelerator.read32(address & ~3)
        return word >> 8 * (address & 3) & (1 << 8 * size) - 1

    def store(self, address: int, size: int, value: int) -> None:
        """Store into a register or memory."""
        self.check_on(address)
        self.flush()
        if size == 4:
            self.accelerator.write32(address, value)
        elif size == 1:
            self.accelerator.write8(address, value)
        else:
            raise _half_word(address)
        self._nvic.line(IRQ_CNN, self.accelerator.interrupt_pending)
        if self.accelerator.started and self._due is None and not self._waiting:
            self._start()

    def flush(self) -> None:
        """Hand collected stores to the accelerator, in order, consecutive words in one go."""
        state, log = self._shared.state, self._shared.log
        count = state.log_length
        if not count:
            return
        state.log_length = 0
        entries = log[:count]
        addresses, sizes = entries[:, 0].astype(np.int64), entries[:, 2]
        breaks = (np.diff(addresses) != 4) | (sizes[1:] != 4) | (sizes[:-1] != 4)
        starts = [0, *(np.flatnonzero(breaks) + 1).tolist(), count]
        for first, last in pairwise(starts):
            address, size = int(addresses[first]), int(sizes[first])
            if size == 4:
                self.accelerator.load_words(address, entries[first:last, 1])
            elif size == 1:
                self.accelerator.write8(address, int(entries[first, 1]))
            else:
                raise _half_word(address)

    def service(self) -> None:
        """Take words from the FIFOs; called whenever the core pauses."""
        state = self._shared.state
        for i in range(4):
            count = state.fifo_length[i]
            if count and self._waiting:
                self._drain(i)
        if state.fifo_lost:
            self._note(f"{state.fifo_lost} words were pushed into a full FIFO: the chip loses them")
            state.fifo_lost = 0
        if self._waiting:
            self._try_run()

    def take_runs(self) -> list[RunResult]:
        """Return the runs since the last call, oldest first."""
        runs, self.runs = self.runs, []
        return runs

    @property
    def _cpu_cycles(self) -> float:
        """CPU cycles in one accelerator cycle."""
        return self._gcr.cpu_hz / self._gcr.cnn_hz

    def _drain(self, i: int) -> None:
        state = self._shared.state
        taken = self._taken[i]
        count = state.fifo_length[i]
        if count > taken:
            self.accelerator.push_fifo(i, self._shared.fifo[i, taken:count].copy())
            self._taken[i] = count

    def _start(self) -> None:
        state = self._shared.state
        self._started_at = state.now
        self._taken = [0] * 4
        self._waiting = True
        state.fifo_started, state.fifo_start = 1, state.now
        layers, frame_words = self.accelerator.expected()
        # The first layer takes words at an even pace over its own estimated time.
        first = layers[0].cycles * self._cpu_cycles * TIME_UNITS
        state.fifo_period = max(round(first / frame_words), 1) if frame_words else 0
        self._try_run()

    def _try_run(self) -> None:
        state = self._shared.state
        result = self.accelerator.run(raise_done=False)
        if not result.finished:
            return
        self._waiting = False
        state.fifo_started = 0
        for i in range(4):
            state.fifo_length[i] = 0
        self.runs.append(result)
        end = self._started_at + round(result.cycles * self._cpu_cycles * TIME_UNITS)
        self._due = self._clock.at(max(end, state.now), self._done)

    def _done(self) -> None:
        self._due = None
        self.accelerator.signal_done()
        self._nvic.line(IRQ_CNN, self.accelerator.interrupt_pending)

    @property
    def layers(self) -> tuple[LayerRun, ...]:
        """Layers of the last run."""
        return self.runs[-1].layers if self.runs else ()


def _half_word(address: int) -> EdgebedError:
    return EdgebedError(
        f"half-word store to the accelerator at {address:#010x}",
        why="its memories take whole words only",
    )
