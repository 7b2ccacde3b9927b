"""A static program on an emulated core: qemu's user emulation where it is installed, else unicorn.

Both execute every instruction and count exactly; neither knows anything of time.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from edgebed.errors import EdgebedError
from edgebed.targets._shared.counting import Counter, UnicornCount, qemu_plugin
from edgebed.targets._shared.cpu import Cpu
from edgebed.targets._shared.elf import Firmware, load_firmware
from edgebed.targets._shared.toolchain import find_installed
from edgebed.targets.arm_linux.cores import Core

Emulator = Literal["qemu", "unicorn"]
Bytes = npt.NDArray[np.uint8]

_TIMEOUT_S: Final = 600
_PAGE: Final = 1 << 12
_STACK_BYTES: Final = 1 << 20
_STACK_TOP: Final = 0x7FFF0000
_BAD_FILE, _BAD_CALL = -9, -38
"""Linux's EBADF and ENOSYS."""


@dataclass(frozen=True)
class Ran:
    """A program that ran to its end.

    Attributes:
        status: with which it ended.
        output: bytes on its standard output.
        log: bytes on its standard error, where it was asked for.
        entries: for every entry of a watched function, in order: its name, and the instructions
            that were executed before.
        emulator: that ran it.
    """

    status: int
    output: bytes
    entries: tuple[tuple[str, int], ...]
    emulator: Emulator
    log: bytes = b""


def find_qemu(core: Core) -> Path | None:
    """Return qemu's user emulation for a core, or None where it is not installed."""
    return find_installed(core.emulator, f"{core.emulator}-static")


def run(
    core: Core,
    program: Path,
    *,
    arguments: Sequence[str] = (),
    data: bytes = b"",
    watched: Sequence[str] = (),
    emulator: Emulator | None = None,
    logs: bool = False,
) -> Ran:
    """Run a static program once.

    Args:
        core: the processor.
        program: the ELF file.
        arguments: of the program.
        data: its standard input.
        watched: functions whose entries are noted, at most eight.
        emulator: which; None for qemu where it is installed, else unicorn.
        logs: the program writes a log to standard error, where others write only that they failed.

    Raises:
        EdgebedError: no emulator is installed, the file is no program for this core, a watched
            function is not in it, or it fails in a way of its own.
    """
    found = load_firmware(program, core.machine)
    if emulator is None:
        emulator = "qemu" if find_qemu(core) else "unicorn"
    marks = [_address(found, name) for name in watched]
    start = _Start(core, found, tuple(arguments), data, tuple(marks), logs)
    with tempfile.TemporaryDirectory(prefix="edgebed-run-") as scratch:
        if emulator == "qemu":
            counter = start.counter(Path(scratch) / "counter")
            status, output, log = start.on_qemu(Path(scratch) / "counter")
        else:
            counter = start.counter()
            status, output, log = start.on_unicorn(counter)
        events = counter.events() if marks else []
        entries = tuple((watched[event.mark], event.instructions) for event in events)
    return Ran(status, output, entries, emulator, log)


def _address(firmware: Firmware, name: str) -> int:
    if name not in firmware.symbols:
        raise EdgebedError(f"no function {name!r}", where=firmware.path.name)
    return firmware.symbols[name]


@dataclass(frozen=True)
class _Start:
    """What a program is started with."""

    core: Core
    firmware: Firmware
    arguments: tuple[str, ...]
    data: bytes
    marks: tuple[int, ...]
    logs: bool = False

    def counter(self, file: Path | None = None) -> Counter:
        """Return a counter for the program's code."""
        base, size = self._span()
        return Counter(base, size, self.marks, file)

    def _span(self) -> tuple[int, int]:
        """Return address and size of the pages from the first to the last function."""
        functions = self.firmware.functions
        first = functions[0].address // _PAGE * _PAGE
        last = max(one.address + one.size for one in functions)
        return first, -(-(last - first + 64) // _PAGE) * _PAGE

    def on_qemu(self, counter: Path) -> tuple[int, bytes, bytes]:
        """Run under qemu; return exit status, output and log."""
        emulator = find_qemu(self.core)
        if emulator is None:
            raise EdgebedError(
                f"{self.core.emulator} is not installed", try_="apt install qemu-user"
            )
        options = ["-cpu", self.core.cpu, "-plugin", f"{qemu_plugin()},counter={counter}"]
        command = [str(emulator), *options, str(self.firmware.path), *self.arguments]
        try:
            done = subprocess.run(
                command, input=self.data, capture_output=True, timeout=_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise EdgebedError(f"the program took longer than {_TIMEOUT_S} s") from error
        except OSError as error:
            raise EdgebedError(f"{emulator} cannot be started: {error.strerror}") from error
        if done.returncode < 0 or (done.stderr and not self.logs):
            why = done.stderr.decode(errors="replace").strip() or f"signal {-done.returncode}"
            raise EdgebedError("the program crashed", where=self.firmware.path.name, why=why)
        return done.returncode, done.stdout, done.stderr

    def on_unicorn(self, counter: Counter) -> tuple[int, bytes, bytes]:
        """Run under unicorn, which leaves system calls to us; return status, output and log."""
        from edgebed.targets._shared.cpu_unicorn import UnicornLinux

        base, size = self._span()
        first = min(address for address, _ in self.firmware.segments) // _PAGE * _PAGE
        memory, stack = self._image(first), self._stack()
        with closing(UnicornLinux(self.core.bits)) as cpu:
            cpu.map_memory(first, memory)
            cpu.map_memory(_STACK_TOP - _STACK_BYTES, stack)
            code = memory[base - first : base - first + size]
            hook = UnicornCount(counter, cpu, code, thumb=False)
            cpu["sp"] = _STACK_TOP - self._argument_bytes()
            parts = {first: memory, _STACK_TOP - _STACK_BYTES: stack}
            system = System(self.core, cpu, parts, self.data)
            status = system.serve(self.firmware.symbols["_start"])
            del hook
        return status, bytes(system.output), bytes(system.log)

    def _image(self, first: int) -> Bytes:
        """Return the program's memory from an address on, its zeros included."""
        found = self.firmware
        ends = [address + len(data) for address, data in found.segments]
        ends += [address + found.object_bytes[name] for name, address in found.objects.items()]
        memory = np.zeros(-(-(max(ends) - first + 64) // _PAGE) * _PAGE, np.uint8)
        for address, data in found.segments:
            memory[address - first : address - first + len(data)] = np.frombuffer(data, np.uint8)
        return memory

    def _argument_bytes(self) -> int:
        words = (len(self.arguments) + 4) * self.core.bits // 8
        return -(-(words + len(self._text())) // 16) * 16

    def _text(self) -> bytes:
        return b"".join(os.fsencode(one) + b"\0" for one in ("program", *self.arguments))

    def _stack(self) -> Bytes:
        """Return the stack with the count of arguments, their addresses, and their text."""
        stack = np.zeros(_STACK_BYTES, np.uint8)
        size, text = self._argument_bytes(), self._text()
        at = _STACK_TOP - len(text)
        words = [1 + len(self.arguments)]
        for one in text.split(b"\0")[:-1]:
            words.append(at)
            at += len(one) + 1
        kind = "<u8" if self.core.bits == 64 else "<u4"
        packed = np.array(words, kind).view(np.uint8)
        stack[_STACK_BYTES - size :][: len(packed)] = packed
        stack[_STACK_BYTES - len(text) :] = np.frombuffer(text, np.uint8)
        return stack


class System:
    """The system calls that `start.h` makes, on standard input, output and error alone.

    Args:
        core: the processor.
        cpu: that makes them.
        memory: the program's, by address.
        data: standard input.
    """

    def __init__(self, core: Core, cpu: Cpu, memory: Mapping[int, Bytes], data: bytes) -> None:
        self._cpu, self._memory = cpu, memory
        self._data, self._at = data, 0
        self.output, self.log = bytearray(), bytearray()
        wide = core.bits == 64
        self._registers = ("x8", "x0", "x1", "x2") if wide else ("r7", "r0", "r1", "r2")
        self._read, self._write, self._exit = (63, 64, 94) if wide else (3, 4, 248)

    def serve(self, entry: int) -> int:
        """Run from `entry` until the program ends; return its exit status.

        Raises:
            EdgebedError: it does something else than computing and calling.
        """
        at = entry
        while True:
            stop = self._cpu.run(at)
            if stop.reason != "supervisor_call":
                why = f"{stop.access} {stop.address:#x}".strip() if stop.address else stop.access
                raise EdgebedError(
                    f"the program crashed: {stop.reason.replace('_', ' ')} at {stop.pc:#x}",
                    why=why or None,
                )
            number, first, second, third = (self._cpu[name] for name in self._registers)
            if number == self._exit:
                return first & 0xFF
            self._cpu[self._registers[1]] = self._answer(number, first, second, third)
            at = stop.pc

    def _answer(self, number: int, file: int, address: int, count: int) -> int:
        if number not in (self._read, self._write):
            return _BAD_CALL
        part = self._part(address, count)
        if part is None or file not in ((1, 2) if number == self._write else (0,)):
            return _BAD_FILE
        if number == self._write:
            into = self.output if file == 1 else self.log
            into += part.tobytes()
            return count
        given = self._data[self._at : self._at + count]
        part[: len(given)] = np.frombuffer(given, np.uint8)
        self._at += len(given)
        return len(given)

    def _part(self, address: int, count: int) -> Bytes | None:
        for base, memory in self._memory.items():
            if base <= address and address + count <= base + len(memory):
                return memory[address - base : address - base + count]
        return None
