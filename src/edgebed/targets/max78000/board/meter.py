"""What a stretch of running cost: cycles, instructions, time and energy as figures."""

from __future__ import annotations

from edgebed.figures import Figure
from edgebed.targets.max78000.accelerator import LayerRun
from edgebed.targets.max78000.board.board import Board
from edgebed.targets.max78000.board.energy import board_energy, cnn_energy
from edgebed.targets.max78000.board.state import TIME_UNITS
from edgebed.targets.max78000.cost import BAND, LAW

_TOP_FUNCTIONS = 12


class Meter:
    """Compares the board's counters before and after.

    Figures:
        cnn_cycles, cnn_time: estimated by the cycle law, at the accelerator's clock.
        cnn_energy, energy: estimated; accelerator alone, and with the processor.
        cpu_instructions: emulated, exact; `cpu_instructions.NAME` for the busiest functions.
        cpu_cycles, time: virtual; instructions times an assumed factor, waiting included.

    Attributes:
        layers: of the accelerator's last run before `stop`; none where it did not run.
    """

    def __init__(self, board: Board) -> None:
        self._board = board
        self.layers: tuple[LayerRun, ...] = ()
        self.start()

    def start(self) -> None:
        """Begin."""
        board = self._board
        board.chip.cnn.take_runs()
        board.counter.take()
        self._instructions = board.instructions
        self._cycles, self._slept = board.chip.clock.cycles, board.chip.clock.slept

    def stop(self) -> dict[str, Figure]:
        """Return the figures since `start`."""
        board = self._board
        options, clock = board.options, board.chip.clock
        runs = board.chip.cnn.take_runs()
        self.layers = runs[-1].layers if runs else ()
        cycles = clock.cycles - self._cycles
        asleep = (clock.slept - self._slept) / TIME_UNITS / options.cpu_hz
        seconds = cycles / options.cpu_hz
        cnn_hz = board.chip.gcr.cnn_hz
        cnn_cycles = sum(run.cycles for run in runs)
        cnn_ms = cnn_cycles / cnn_hz * 1000
        factor = f"instructions x {options.cycles_per_instruction} by assumption, plus waiting"
        figures = {
            "cnn_cycles": Figure(cnn_cycles, "cycles", "estimated", LAW),
            "cnn_time": Figure(cnn_ms, "ms", "estimated", LAW, BAND[0] * cnn_ms, BAND[1] * cnn_ms),
            "cnn_energy": cnn_energy(runs),
            "energy": board_energy(runs, seconds - asleep, asleep, cnn_hz),
            "cpu_instructions": self._count(board.instructions - self._instructions),
            "cpu_cycles": Figure(cycles, "cycles", "estimated", factor),
            "time": Figure(seconds * 1000, "ms", "estimated", factor),
        }
        functions = list(board.counter.take().functions.items())[:_TOP_FUNCTIONS]
        figures |= {f"cpu_instructions.{name}": self._count(count) for name, count in functions}
        return figures

    @staticmethod
    def _count(count: int) -> Figure:
        return Figure(count, "instructions", "emulated", "counted on the virtual board, exact")
