"""What a virtual board needs of a processor core, whoever emulates it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy.typing as npt

Memory = npt.NDArray[Any]
Read = Callable[[int, int], int]
"""(address, size in bytes) -> value."""
Write = Callable[[int, int, int], None]
"""(address, size in bytes, value)."""

Reason = Literal[
    "paused",  # a block hook asked for it; nothing of the block at `pc` was executed
    "wait",  # WFI or WFE is before `pc` (executed, unless a block hook paused here)
    "supervisor_call",  # SVC; `pc` is behind it
    "breakpoint",  # BKPT; `pc` is at it
    "exception_return",  # an EXC_RETURN value was branched to
    "bus_fault",  # no memory at `address`
    "stack_overflow",  # the stack pointer went below its limit (Armv8-M)
    "undefined",  # an instruction that the core does not have
]


@dataclass(frozen=True)
class Stop:
    """Why the core stopped.

    Attributes:
        reason: see `Reason`.
        pc: address of the next instruction.
        address: data address of a bus fault, EXC_RETURN value of an exception return.
        access: `read`, `write` or `fetch` of a bus fault; `wfi` or `wfe` of a wait.
    """

    reason: Reason
    pc: int
    address: int = 0
    access: str = ""


@dataclass(frozen=True)
class NativeHook:
    """A C function and its user data, as addresses in this process."""

    function: int
    data: int


@dataclass(frozen=True)
class NativeServices:
    """Addresses that a C hook needs to call back into the emulator.

    Attributes:
        handle: the emulator, first argument of both functions.
        stop: `int stop(void *handle)`.
        register_read: `int register_read(void *handle, int register, void *value)`.
        primask: register number of PRIMASK for `register_read`.
        basepri: register number of BASEPRI.
        faultmask: register number of FAULTMASK.
    """

    handle: int
    stop: int
    register_read: int
    primask: int
    basepri: int
    faultmask: int


class Cpu(Protocol):
    """A Cortex-M core without interrupt controller, timers and time; the board adds those."""

    def map_memory(self, address: int, memory: Memory, *, writable: bool = True) -> None:
        """Let the core see `memory` (whole pages, page-aligned) at `address`, without a copy."""

    def unmap(self, address: int, size: int) -> None:
        """Take memory away."""

    def map_bus(self, address: int, size: int, read: Read, write: Write) -> None:
        """Forward loads and stores in a range to Python; addresses are absolute."""

    def map_native_bus(self, address: int, size: int, read: NativeHook, write: NativeHook) -> None:
        """Forward loads and stores in a range to C; addresses are offsets from `address`."""

    def on_block(self, hook: Callable[[int, int], None]) -> None:
        """Call `hook(address, size)` before each basic block."""

    def on_native_block(self, hook: NativeHook) -> None:
        """Call `void hook(void *handle, uint64_t address, uint32_t size, void *data)` likewise."""

    def services(self) -> NativeServices:
        """Return what C hooks need."""

    def stop(self) -> None:
        """Pause before the block whose hook is running."""

    def run(self, pc: int) -> Stop:
        """Run from `pc` until something needs the board."""

    def __getitem__(self, register: str) -> int:
        """Read a register: r0 .. r12, sp, lr, pc, xpsr, ipsr, control, primask, s0, fpscr ..."""

    def __setitem__(self, register: str, value: int) -> None:
        """Write a register."""

    def close(self) -> None:
        """Release the emulator."""
