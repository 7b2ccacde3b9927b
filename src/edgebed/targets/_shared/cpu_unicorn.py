"""Arm cores on unicorn: the only file that imports it (GPLv2, the optional extra `emu`).

Unicorn 2.1 executes instructions and knows nothing of interrupts, time or faults. What it does
give is enough to build them: every trap ends `run` with its reason, a branch to an EXC_RETURN
value in handler mode is one of them, and C functions may serve as hooks and as memory.
"""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable
from typing import Any

from edgebed.errors import EdgebedError
from edgebed.targets._shared.cpu import (
    Memory,
    NativeHook,
    NativeServices,
    Read,
    Reason,
    Stop,
    Write,
)
from edgebed.targets._shared.interrupts import held_back

_NEVER = 0xFFFFFFFF  # odd: no instruction lives there, so emulation never ends by address
_WAIT_OPCODES = {b"\x30\xbf": "wfi", b"\x20\xbf": "wfe"}
_TRAPS: dict[int | None, Reason] = {
    2: "supervisor_call",
    7: "breakpoint",
    19: "stack_overflow",
}
_EXCEPTION_RETURN = 8


class UnicornCpu:
    """A Cortex-M core; see `Cpu` for the calls.

    Args:
        model: `cortex-m0`, `cortex-m3`, `cortex-m4`, `cortex-m7` or `cortex-m33`.

    Raises:
        EdgebedError: unicorn is not installed.
    """

    _state = 1  # Thumb

    def __init__(self, model: str = "cortex-m4") -> None:
        unicorn = _imported(model.title())
        mode = unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS
        self._prepare(unicorn.Uc(unicorn.UC_ARCH_ARM, mode), "arm")
        number = getattr(self._arm, f"UC_CPU_ARM_{model.upper().replace('-', '_')}")
        self._uc.ctl_set_cpu_model(number)
        self._watch()

    def _prepare(self, emulator: Any, registers: str) -> None:
        import unicorn
        from unicorn.unicorn_py3 import unicorn as binding

        # The package is only partly typed.
        self._unicorn: Any = unicorn
        self._arm: Any = importlib.import_module(f"unicorn.{registers}_const")
        self._prefix = f"UC_{registers.upper()}_REG_"
        self._library: Any = binding.uclib
        self._uc: Any = emulator
        self._registers: dict[str, int] = {}
        self._keep: list[Any] = []  # memories and callbacks that the emulator points to
        self._trap: int | None = None
        self._fault: tuple[int, str] | None = None

    def _watch(self) -> None:
        self._uc.hook_add(self._unicorn.UC_HOOK_INTR, self._on_trap)
        bad = self._unicorn.UC_HOOK_MEM_UNMAPPED | self._unicorn.UC_HOOK_MEM_PROT
        self._uc.hook_add(bad, self._on_bad_access)

    def map_memory(self, address: int, memory: Memory, *, writable: bool = True) -> None:
        """See `Cpu.map_memory`."""
        kind = self._unicorn.UC_PROT_ALL
        if not writable:
            kind = self._unicorn.UC_PROT_READ | self._unicorn.UC_PROT_EXEC
        self._uc.mem_map_ptr(address, memory.nbytes, kind, memory.ctypes.data)
        self._keep.append(memory)

    def unmap(self, address: int, size: int) -> None:
        """See `Cpu.unmap`."""
        self._uc.mem_unmap(address, size)

    def map_bus(self, address: int, size: int, read: Read, write: Write) -> None:
        """See `Cpu.map_bus`."""
        self._uc.mmio_map(
            address,
            size,
            lambda _uc, offset, width, _data: read(address + offset, width),
            None,
            lambda _uc, offset, width, value, _data: write(address + offset, width, value),
            None,
        )

    def map_native_bus(self, address: int, size: int, read: NativeHook, write: NativeHook) -> None:
        """See `Cpu.map_native_bus`."""
        pointer = ctypes.c_void_p
        status = self._library.uc_mmio_map(
            self._uc._uch,
            address,
            size,
            pointer(read.function),
            pointer(read.data),
            pointer(write.function),
            pointer(write.data),
        )
        self._check(status)

    def on_block(self, hook: Callable[[int, int], None]) -> None:
        """See `Cpu.on_block`."""
        self._uc.hook_add(
            self._unicorn.UC_HOOK_BLOCK, lambda _uc, address, size, _data: hook(address, size)
        )

    def on_native_block(self, hook: NativeHook) -> None:
        """See `Cpu.on_native_block`."""
        number = ctypes.c_size_t()
        u64, pointer = ctypes.c_uint64, ctypes.c_void_p
        status = self._library.uc_hook_add(
            self._uc._uch,
            ctypes.byref(number),
            self._unicorn.UC_HOOK_BLOCK,
            pointer(hook.function),
            pointer(hook.data),
            u64(1),
            u64(0),
        )
        self._check(status)

    def services(self) -> NativeServices:
        """See `Cpu.services`."""
        address = [
            ctypes.cast(function, ctypes.c_void_p).value or 0
            for function in (self._library.uc_emu_stop, self._library.uc_reg_read)
        ]
        numbers = [self._number(name) for name in ("primask", "basepri", "faultmask")]
        return NativeServices(self._uc._uch.value, *address, *numbers)

    def stop(self) -> None:
        """See `Cpu.stop`."""
        self._uc.emu_stop()

    def run(self, pc: int) -> Stop:
        """See `Cpu.run`."""
        self._trap, self._fault = None, None
        try:
            with held_back(self._uc.emu_stop):
                self._uc.emu_start(pc | self._state, _NEVER)
        except self._unicorn.UcError as error:
            if self._fault:
                return Stop("bus_fault", self["pc"], *self._fault)
            if self._trap is None:
                return self._unexpected(error)
        return self._reason()

    def _reason(self) -> Stop:
        pc, trap = self["pc"], self._trap
        if trap == _EXCEPTION_RETURN:
            return Stop("exception_return", pc, pc | 1)
        if trap in _TRAPS:
            return Stop(_TRAPS[trap], pc)
        # A block hook may also have paused right behind a WFI; it knows, this does not.
        if kind := self._wait_before(pc):
            return Stop("wait", pc, access=kind)
        return Stop("paused" if trap is None else "undefined", pc)

    def _wait_before(self, pc: int) -> str:
        try:
            return _WAIT_OPCODES.get(bytes(self._uc.mem_read(pc - 2, 2)), "")
        except self._unicorn.UcError:
            return ""

    def _unexpected(self, error: Exception) -> Stop:
        pc = self["pc"]
        if self._wait_before(pc) == "wfe":  # which unicorn takes for an error
            return Stop("wait", pc, access="wfe")
        return Stop("undefined", pc, access=str(error))

    def __getitem__(self, register: str) -> int:
        return int(self._uc.reg_read(self._number(register)))

    def __setitem__(self, register: str, value: int) -> None:
        self._uc.reg_write(self._number(register), value)

    def close(self) -> None:
        """See `Cpu.close`."""
        del self._uc
        self._keep.clear()

    def _number(self, register: str) -> int:
        number = self._registers.get(register)
        if number is None:
            number = int(getattr(self._arm, f"{self._prefix}{register.upper()}"))
            self._registers[register] = number
        return number

    def _on_trap(self, _uc: object, number: int, _data: object) -> None:
        self._trap = number
        self._uc.emu_stop()

    def _on_bad_access(
        self, _uc: object, access: int, address: int, _size: int, _value: int, _data: object
    ) -> bool:
        u = self._unicorn
        reads = (u.UC_MEM_READ_UNMAPPED, u.UC_MEM_READ_PROT)
        writes = (u.UC_MEM_WRITE_UNMAPPED, u.UC_MEM_WRITE_PROT)
        kind = "read" if access in reads else "write" if access in writes else "fetch"
        self._fault = (address, kind)
        return False

    def _check(self, status: int) -> None:
        if status:
            raise EdgebedError(f"the processor emulator refused: error {status}")


class UnicornLinux(UnicornCpu):
    """A core with Advanced SIMD that runs a program of Linux: every system call ends `run`.

    Args:
        bits: 64 for AArch64 with all its extensions, 32 for Armv7-A.

    Raises:
        EdgebedError: unicorn is not installed.
    """

    _state = 0

    def __init__(self, bits: int) -> None:
        unicorn = _imported("AArch64" if bits == 64 else "Armv7-A")
        if bits == 64:
            self._prepare(unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM), "arm64")
            self._uc.ctl_set_cpu_model(self._arm.UC_CPU_ARM64_MAX)
            self["cpacr_el1"] = 3 << 20  # vector registers may be used
        else:
            self._prepare(unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_ARM), "arm")
            self._uc.ctl_set_cpu_model(self._arm.UC_CPU_ARM_CORTEX_A15)
            self["c1_c0_2"] = 0xF << 20
            self["fpexc"] = 1 << 30
        self._watch()

    def services(self) -> NativeServices:
        """See `Cpu.services`; a core for applications has no masks of a microcontroller."""
        stop = ctypes.cast(self._library.uc_emu_stop, ctypes.c_void_p).value or 0
        read = ctypes.cast(self._library.uc_reg_read, ctypes.c_void_p).value or 0
        return NativeServices(self._uc._uch.value, stop, read, 0, 0, 0)

    def _reason(self) -> Stop:
        trap = self._trap
        return Stop("paused" if trap is None else _TRAPS.get(trap, "undefined"), self["pc"])

    def _unexpected(self, error: Exception) -> Stop:
        return Stop("undefined", self["pc"], access=str(error))


def _imported(title: str) -> Any:
    try:
        import unicorn
    except ImportError as error:
        raise EdgebedError(
            "the virtual board needs the package unicorn",
            why=f"it executes the instructions of the {title}",
            try_='pip install "edgebed[emu]"',
        ) from error
    return unicorn
