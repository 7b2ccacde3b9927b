"""The virtual board as a machine: boots a compiled folder and answers like the real board.

All data goes the way it goes on the real board: tensors and commands over the UART, pictures
through the camera, boxes onto the display. `RealBoard` speaks the same protocol to hardware.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgebed.errors import EdgebedError
from edgebed.figures import Figure
from edgebed.program import from_onnx
from edgebed.program.types import Program
from edgebed.targets._shared.elf import load_firmware
from edgebed.targets.contract import Frame, Trace
from edgebed.targets.max78000 import watch
from edgebed.targets.max78000.board.board import Board
from edgebed.targets.max78000.board.meter import Meter
from edgebed.targets.max78000.board.options import BoardOptions
from edgebed.targets.max78000.compiler import Compiled
from edgebed.targets.max78000.cost import cost_of
from edgebed.targets.max78000.link import Information, Link, Stream, detection_rows
from edgebed.targets.max78000.received import given_outputs, received_input
from edgebed.targets.max78000.wire import Wire, wire

Array = npt.NDArray[Any]
UInt8 = npt.NDArray[np.uint8]

ELF = "firmware.elf"
PROGRAM = "program.onnx"
_MEASURED = "50 MHz timer of the board"


class BoardStream:
    """The virtual UART as a byte stream; waiting runs the board."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def write(self, data: bytes) -> None:
        """Send bytes to the board."""
        self._board.chip.uart.feed(data)

    def read(self, seconds: float) -> bytes:
        """Run until bytes come, for at most `seconds` of virtual time."""
        uart = self._board.chip.uart
        self._board.run(seconds, lambda: uart.available > 0)
        return uart.read()

    def close(self) -> None:
        """Nothing: the board belongs to somebody else."""


class VirtualBoard:
    """A `Machine` that emulates the MAX78000.

    Args:
        options: speed and wiring of the board.
        keep_layers: put every inner layer's result into `Trace.layers` (takes time), by the
            program's names where the folder's plan tells the placement.
        keep_data: put the input as the accelerator got it into `Trace.inputs`, and the outputs of
            camera frames into `Trace.outputs`, where the folder's plan tells the placement.
    """

    def __init__(
        self,
        options: BoardOptions | None = None,
        *,
        keep_layers: bool = False,
        keep_data: bool = False,
    ) -> None:
        self._options, self.keep_layers, self.keep_data = options, keep_layers, keep_data
        self._board: Board | None = None
        self._program: Program | None = None
        self._compiled: Compiled | None = None
        self._planned = False

    # ---- Machine ----

    def load(self, folder: Path) -> None:
        """Boot the build in `folder`: firmware.elf, and program.onnx when it is there.

        Raises:
            EdgebedError: there is no build, unicorn is not installed, or the firmware fails.
        """
        elf = next((p for p in (folder / ELF, folder / "firmware" / ELF) if p.is_file()), None)
        if elf is None:
            raise EdgebedError(
                f"no {ELF} here",
                where=str(folder),
                try_="edgebed compile MODEL --target max78000 --out DIR",
            )
        self.close()
        path = folder / PROGRAM
        self._program = from_onnx.load(path) if path.is_file() else None
        self._board = board = Board(load_firmware(elf), self._options)
        if self._program and self._program.contract:
            board.chip.camera.contract = self._program.contract.input
        self._link = Link(BoardStream(board))
        self._link.wait_ready()
        self._link.stop_streaming()
        self._information = _named(self._link.information(), self._program)
        self._meter = Meter(board)
        self._folder, self._compiled, self._planned = folder, None, False

    def self_test(self) -> None:
        """Let the firmware replay its own test vectors.

        Raises:
            EdgebedError: one of them gave another result.
        """
        self._checked()
        self._link.take_text()
        _check_self_test(self._link)

    def run(self, tensor: Array) -> Trace:
        """Send one input tensor (int8, C x H x W) over the UART and run it."""
        self._checked()
        self._meter.start()
        _, outputs = self._link.run(self._information.wire, tensor)
        return self._trace(outputs)

    def show(self, picture: UInt8) -> Frame:
        """Hold a picture (uint8, H x W x 3, RGB) before the camera and run one frame."""
        board = self._checked()
        board.chip.camera.put(picture)
        return self.next_frame()

    def close(self) -> None:
        """Release the board."""
        if self._board is not None:
            self._board.close()
            self._board = None

    # ---- more than a Machine ----

    @property
    def board(self) -> Board:
        """The board itself: peripherals, notes, instruction counts."""
        return self._checked()

    @property
    def information(self) -> Information:
        """What the firmware says about itself."""
        self._checked()
        return self._information

    @property
    def lcd(self) -> UInt8:
        """What the display shows, uint8, height x width x 3, RGB."""
        return self._checked().chip.lcd.picture()

    def play(self, pictures: Iterable[UInt8]) -> None:
        """Show one picture a frame from now on, for example `readers.pictures` of a video."""
        self._checked().chip.camera.play(pictures)

    def next_frame(self) -> Frame:
        """Run one frame of what is before the camera."""
        board = self._checked()
        self._meter.start()
        report = self._link.detect()
        self._finish_display(board)
        _, height, width = self._information.wire.input_shape
        rows = detection_rows(report, width, height)
        return Frame(board.chip.lcd.picture(), rows, self._trace({}))

    def serve_uart(self, port: int = 0) -> int:
        """Offer UART0 on 127.0.0.1; return the port. Call `idle` to let the board run."""
        return self._checked().chip.serve_uart(port)

    def idle(self, seconds: float) -> None:
        """Let the board run for some virtual time, or until it waits for the host."""
        self._checked().run(seconds)

    def _finish_display(self, board: Board) -> None:
        """Run until the display has everything: the firmware sends on after its answer."""
        uart = board.chip.uart
        board.run(1.0, lambda: uart.available > 0)

    def _trace(self, outputs: dict[str, Array]) -> Trace:
        board = self._checked()
        result = self._meter.stop()
        text = self._link.take_text().replace("\r\n", "\n")
        notes, board.notes[:] = list(board.notes), []
        accelerator, layers, inputs = board.chip.cnn.accelerator, {}, {}
        if self.keep_layers:
            placed = self._placed()
            chain = placed.chain if placed is not None else ()
            layers = watch.named(chain, self._program, accelerator.layer_outputs())
        if self.keep_data and (order := self._order()) is not None:
            name = next(iter(order[0].inputs))
            inputs = {name: received_input(order[1], accelerator.received)}
            outputs = outputs or dict(given_outputs(order[1], accelerator.sram))
        events = tuple(line for line in [*text.split("\n"), *notes] if line)
        costs = self._layer_figures()
        return Trace(outputs, result | self._memory(), events, layers, inputs, costs)

    def _memory(self) -> dict[str, Figure]:
        """Return the bytes of weights, biases, maps and stack, where traces are to have data."""
        if not self.keep_data:
            return {}
        painted = "painted stack of the firmware, since it booted"
        stack = Figure(self._link.information().stack_bytes, "bytes", "emulated", painted)
        placed = self._placed()
        total = cost_of(placed).total if placed is not None else {}
        kept = {f"{name}_bytes": total[name] for name in ("weights", "biases", "data") if total}
        return {**kept, "stack_bytes": stack}

    def _layer_figures(self) -> dict[str, dict[str, Figure]]:
        """Return what each layer cost, where traces are to have data."""
        if not self.keep_data:
            return {}
        placed = self._placed()
        chain = placed.chain if placed is not None else ()
        return watch.layer_figures(chain, self._meter.layers, self.board.chip.gcr.cnn_hz)

    def _placed(self) -> Compiled | None:
        """Return the placed network, planned when it is first asked for."""
        if not self._planned and self._program is not None:
            self._compiled = watch.compiled_of(self._folder, self._program)
        self._planned = True
        return self._compiled

    def _order(self) -> tuple[Program, Wire] | None:
        """Return the program and the places of its tensors; None where they are not known."""
        placed, program = self._placed(), self._program
        if placed is None or program is None:
            return None
        return program, wire(program, placed.image)

    def _checked(self) -> Board:
        if self._board is None:
            raise EdgebedError("no firmware is loaded", try_="load(folder) first")
        return self._board


class RealBoard:
    """A `Machine` that is hardware behind a byte stream (serial port, TCP).

    Args:
        stream: the connection; `SerialStream("/dev/ttyACM0")` for a board on USB.
    """

    def __init__(self, stream: Stream) -> None:
        self._link = Link(stream)
        self._information: Information | None = None

    def load(self, folder: Path) -> None:
        """Check that the board runs the program in `folder`; flashing is the debugger's job.

        Raises:
            EdgebedError: the board does not answer, or runs another program.
        """
        self._link.stop_streaming()
        program = from_onnx.load(folder / PROGRAM)
        found = self._link.information()
        if found.name != program.name or found.wire.input_shape != program.input_type.shape:
            raise EdgebedError(
                f"the board runs {found.name!r}",
                where="serial line",
                why=f"{folder} holds {program.name!r}",
                try_=f"flash {folder / ELF}",
            )
        self._information = _named(found, program)

    def self_test(self) -> None:
        """See `VirtualBoard.self_test`."""
        _check_self_test(self._link)

    def run(self, tensor: Array) -> Trace:
        """Run one input tensor (int8, C x H x W)."""
        cycles, outputs = self._link.run(self._known().wire, tensor)
        text = self._link.take_text().replace("\r\n", "\n")
        events = tuple(line for line in text.split("\n") if line)
        return Trace(outputs, {"cnn_cycles": _timer(cycles)}, events)

    def show(self, picture: UInt8) -> Frame:
        """Refuse: a real camera sees what is before it.

        Raises:
            EdgebedError: always.
        """
        raise EdgebedError(
            "a picture cannot be put before a real camera",
            try_="run(tensor), or point the camera at it and read the display",
        )

    def close(self) -> None:
        """End the connection."""
        self._link.close()

    def _known(self) -> Information:
        if self._information is None:
            self._information = self._link.information()
        return self._information


def _timer(cycles: int) -> Figure:
    return Figure(cycles, "cycles", "measured", _MEASURED)


def _check_self_test(link: Link) -> None:
    test = link.self_test()
    if test.passed == test.run and not test.timeouts:
        return
    raise EdgebedError(
        f"the self-test passed {test.passed} of {test.run} vectors",
        where="firmware",
        why=f"{test.timeouts} of them did not finish" if test.timeouts else "results differ",
        try_="compile again; a board with other results may have a damaged flash",
    )


def _named(information: Information, program: Program | None) -> Information:
    """Give outputs the program's names; the serial line carries ASCII ones, in the same order."""
    if program is None:
        return information

    order = information.wire
    names = dict(zip(order.output_shapes, program.outputs, strict=True))
    renamed = replace(
        order,
        outputs=tuple(replace(part, name=names[part.name]) for part in order.outputs),
        output_shapes={names[name]: shape for name, shape in order.output_shapes.items()},
    )
    return replace(information, wire=renamed)
