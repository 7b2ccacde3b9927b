"""The virtual microcontroller: boots the real ELF file and feeds it over its serial line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgebed.errors import EdgebedError
from edgebed.events import Listener, Progress, ignore
from edgebed.figures import Figure
from edgebed.targets._shared.arm_cores import Core, find_core
from edgebed.targets._shared.counting import Event
from edgebed.targets._shared.elf import Firmware, load_firmware
from edgebed.targets._shared.rows import manifest as manifests
from edgebed.targets._shared.rows.manifest import Manifest
from edgebed.targets._shared.rows.network import StageCount, array_of, bytes_of, count_stages
from edgebed.targets.contract import Frame, Trace
from edgebed.targets.cortex_m.board.board import MARKS, Board, UnicornBoard, marked
from edgebed.targets.cortex_m.board.qemu import QemuBoard
from edgebed.targets.cortex_m.build import ELF, FIRMWARE, MANIFEST
from edgebed.targets.cortex_m.figures import chip, figures
from edgebed.targets.cortex_m.link import Hello, Link, Seen

Array = npt.NDArray[Any]
_CALL, _END, _STEP, _FETCH, _FETCHED = MARKS
_MUCH: Final = 4096
"""Bytes of input from which on a debugger places them where the emulated line is slow."""
_NO_HEAP: Final = "heap: none; the firmware has no allocator"


class VirtualMicrocontroller:
    """A `Machine` that emulates a Cortex-M with the firmware of a compiled folder.

    Args:
        qemu: use qemu-system-arm where unicorn would do, as a second opinion.
        listener: hears of every packet of input.
    """

    def __init__(self, *, qemu: bool = False, listener: Listener = ignore) -> None:
        self._qemu, self._listener = qemu, listener
        self._board: Board | None = None
        self._stages: tuple[StageCount, ...] = ()
        self._functions: Mapping[str, int] = {}
        self._seen: Seen | None = None

    # ---- Machine ----

    def load(self, folder: Path) -> None:
        """Boot `folder`/firmware/firmware.elf.

        Raises:
            EdgebedError: there is no build, it was built from another plan than the folder's
                `network.json`, an emulator is missing, or the firmware fails.
        """
        elf = self._elf(folder)
        self._manifest = manifests.read(folder / MANIFEST)
        if not elf.is_file():
            raise EdgebedError(
                f"no {FIRMWARE}/{ELF} here", where=str(folder), try_="build the folder first"
            )
        self.close()
        self._core = find_core(self._manifest.cpu)
        self._firmware = load_firmware(elf)
        self._names = marked(self._firmware)[0]
        self._board = self._boot(self._core, self._firmware)
        self._link = Link(self._board)
        _check_digest(self._link.hello(), self._manifest, elf)

    def _elf(self, folder: Path) -> Path:
        return folder / FIRMWARE / ELF

    def _boot(self, core: Core, firmware: Firmware) -> Board:
        if core.unicorn and not self._qemu:
            return UnicornBoard(core, firmware)
        return QemuBoard(core, firmware)

    def self_test(self) -> None:
        """Let the firmware replay its own test vectors.

        Raises:
            EdgebedError: one of them gave another result.
        """
        self.board  # noqa: B018  # says so when nothing is loaded
        if wrong := self._link.self_test():
            raise EdgebedError(
                f"vector {wrong} of the self-test gave another result",
                where=self._manifest.name,
                try_="compile again; the same twice is a bug worth reporting",
            )

    def run(self, tensor: Array) -> Trace:
        """Compute one sample of a network with one input.

        Args:
            tensor: of the shape and dtype in the imported file; a batch axis of 1 may be absent.

        Raises:
            EdgebedError: another shape or dtype, or the firmware refuses.
        """
        self.board  # noqa: B018
        (first, *others) = self._manifest.inputs
        if others:
            raise EdgebedError(
                f"the network has {1 + len(others)} inputs", try_="run_named({name: array})"
            )
        return self.run_named({first.name: tensor})

    def show(self, picture: npt.NDArray[np.uint8]) -> Frame:
        """Refuse: this board has no camera and no display.

        Raises:
            EdgebedError: always.
        """
        raise EdgebedError("this board has no camera", try_="edgebed run DIR --input X.npy")

    def close(self) -> None:
        """Release the emulator."""
        if self._board is not None:
            self._board.close()
            self._board = None

    # ---- more than a Machine ----

    def run_named(self, inputs: Mapping[str, Array]) -> Trace:
        """Compute one sample from all inputs by name; see `run`."""
        board, manifest = self.board, self._manifest
        data = [bytes_of(inputs.get(one.name), one) for one in manifest.inputs]
        start, before = board.counter.entered, board.counter.counts.copy()
        if not manifest.fetched:
            self._send(data)
        poke = board.poke if sum(map(len, data)) > _MUCH else None
        stack = self._link.run(lambda which, row: self._row(data, which, row), poke, self._seen)
        self._note(board.counter.events(start))
        self._functions = board.counter.by_function(self._firmware, before)
        outputs = {
            one.name: array_of(self._link.output(number, one.nbytes), one)
            for number, one in enumerate(manifest.outputs)
        }
        return Trace(outputs, self._figures(stack), (_NO_HEAP,))

    @property
    def board(self) -> Board:
        """The board: power, serial line, counter.

        Raises:
            EdgebedError: nothing is loaded.
        """
        if self._board is None:
            raise EdgebedError("no firmware is loaded", try_="load(folder) first")
        return self._board

    @property
    def link(self) -> Link:
        """Commands to the firmware."""
        self.board  # noqa: B018
        return self._link

    @property
    def stages(self) -> tuple[StageCount, ...]:
        """What each stage took in the last run, in the network's order."""
        return self._stages

    @property
    def functions(self) -> Mapping[str, int]:
        """Instructions of the last run by function, most first; with the serial line's own."""
        return self._functions

    def _send(self, data: list[bytes]) -> None:
        total, done = sum(map(len, data)), 0
        poke = self.board.poke if total > _MUCH else None
        for index, one in enumerate(data):
            if poke:
                self._link.place_input(index, one, poke)
                continue
            self._link.send_input(
                index,
                one,
                lambda sent, done=done: self._listener(  # type: ignore[misc]
                    Progress("run", done + sent, total, "bytes of input")
                ),
            )
            done += len(one)

    def _row(self, data: list[bytes], which: int, row: int) -> bytes:
        rows = self._manifest.inputs[which].rows
        size = len(data[which]) // rows
        self._listener(Progress("run", row + 1, rows, "rows of input"))
        return data[which][row * size : (row + 1) * size]

    def _note(self, events: list[Event]) -> None:
        """Split the run's instructions by stage: entry n of `eb_step` is entry n of the plan."""
        found = [(self._names[event.mark], event.instructions) for event in events]
        self._instructions, spans = split(found)
        whole = len(spans) == len(self._manifest.runs)
        self._stages = count_stages(self._manifest, spans) if whole else ()

    def _figures(self, stack: int) -> dict[str, Figure]:
        emulator = "unicorn" if isinstance(self._board, UnicornBoard) else "qemu-system-arm"
        source = f"counted on a virtual {self._core.title} ({emulator})"
        instructions = Figure(self._instructions, "instructions", "emulated", source)
        return {
            "instructions": instructions,
            "stack_bytes": Figure(stack, "bytes", "emulated", f"painted stack, {source}"),
            "arena_bytes": Figure(
                self._manifest.arena_bytes,
                "bytes",
                "measured",
                "the plan; inputs, outputs included",
            ),
            "heap_bytes": Figure(0, "bytes", "measured", "no allocator is linked"),
            **figures(chip(self._core.name), instructions),
        }


def split(events: list[tuple[str, int]]) -> tuple[int, list[int]]:
    """Return the instructions of one run, and from each entry of its schedule to the next.

    What ran before the first entry counts as part of it. Waiting for rows of input is left out.

    Args:
        events: entered function of `MARKS`, and instructions executed before.
    """
    begin, hidden, spans, last = 0, 0, list[int](), 0
    for name, at in events:
        if name == _CALL:
            begin = last = at
            hidden = 0
        elif name == _FETCH:
            hidden -= at
        elif name == _FETCHED:
            hidden += at
        elif name == _STEP:
            spans.append(at - hidden)
    end = next(at for name, at in events if name == _END) - 1 - hidden  # the call of its function
    return end - begin, np.diff([last, *spans[1:], end]).tolist() if spans else []


def _check_digest(hello: Hello, manifest: Manifest, elf: Path) -> None:
    if hello.digest != manifest.digest:
        raise EdgebedError(
            f"the firmware was built from plan {hello.digest[:12]}",
            where=str(elf),
            why=f"this folder's plan is {manifest.digest[:12]}",
            try_="build the folder again",
        )
