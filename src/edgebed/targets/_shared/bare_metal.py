"""Compile a few C files for a Cortex-M core, run one function, and look at memory: for kernels.

    ran = run_c("m4", {"k.c": text}, outputs=["result"], inputs={"data": bytes(64)})

Armv6-M to Armv8-M run on unicorn; what it lacks (Helium) on qemu-system-arm, an optional tool.
Instruction counts are exact and the same on both.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgebed.errors import EdgebedError
from edgebed.targets._shared.arm_cores import Core, find_compiler, find_core
from edgebed.targets._shared.counting import Counter, UnicornCount, qemu_plugin
from edgebed.targets._shared.cpu_unicorn import UnicornCpu
from edgebed.targets._shared.elf import Firmware, load_firmware
from edgebed.targets._shared.toolchain import find_installed

Bytes = npt.NDArray[np.uint8]

_END = "bare_metal_end"
_HAND_OVER = "bare_metal_hand_over"
_TABLE = "bare_metal_outputs"
_OURS = ("reset_handler", _END, _HAND_OVER)
_TABLE_ROWS = 63
_PAINT = 0xA5A5A5A5
_PAGE = 4096
_SYSTEM_REGISTERS = 0xE000E000
_SCRIPT = """
ENTRY(reset_handler)
MEMORY
{
    FLASH (rx) : ORIGIN = %(flash_base)#x, LENGTH = %(flash_bytes)d
    RAM (rwx) : ORIGIN = %(ram_base)#x, LENGTH = %(ram_bytes)d
    VECTORS (rx) : ORIGIN = %(vector_base)#x, LENGTH = 1024
}
SECTIONS
{
    .vectors : { KEEP(*(.vectors)) } > %(vector_region)s
    .text : { *(.text .text.*) } > FLASH
    .rodata : { *(.rodata .rodata.*) } > FLASH
    .stack (NOLOAD) : {
        stack_bottom = .;
        . += %(stack)d;
        . = ALIGN(16);
        stack_top = .;
    } > RAM
    .data : { *(.data .data.*) } > RAM
    .bss (NOLOAD) : { *(.bss .bss.* COMMON) } > RAM
    /DISCARD/ : { *(.ARM.exidx*) *(.comment) *(.note*) }
}
"""


@dataclass(frozen=True)
class Ran:
    """What one call of the function did.

    Attributes:
        outputs: contents of the symbols that were asked for.
        instructions: from the function's first to its return, calls included.
        stack_bytes: deepest use of the stack by it and what it called.
        entries: (function, instructions executed before it) for each entry of a marked function.
        functions: executed instructions by function, most first.
    """

    outputs: dict[str, bytes]
    instructions: int
    stack_bytes: int
    entries: tuple[tuple[str, int], ...] = ()
    functions: Mapping[str, int] | None = None

    def between(self, function: str) -> list[int]:
        """Return the instructions from each entry of a marked function to the next, or the end."""
        starts = [at for name, at in self.entries if name == function]
        return np.diff([*starts, self.instructions]).tolist() if starts else []


@dataclass(frozen=True)
class BareProgram:
    """A linked program that calls `entry` from reset and ends.

    Attributes:
        core: it was compiled for.
        entry: the function.
        firmware: the ELF file's contents.
    """

    core: Core
    entry: str
    firmware: Firmware

    def run(
        self,
        outputs: Sequence[str],
        *,
        inputs: Mapping[str, bytes] | None = None,
        marks: Sequence[str] = (),
        limit: int = 2_000_000_000,
        qemu: bool = False,
    ) -> Ran:
        """Run it once from reset.

        Args:
            outputs: variables to return.
            inputs: contents of variables before the start, from their first byte on.
            marks: functions whose entries are noted, at most six; they must not be inlined.
            limit: instructions after which it is taken to hang.
            qemu: run on qemu-system-arm although unicorn could.

        Raises:
            EdgebedError: a symbol does not exist, the program faults or hangs, or an emulator is
                missing.
        """
        places = {name: self._place(name) for name in (*outputs, *(inputs or {}))}
        memory = _Memory.of(self.core, self.firmware)
        for name, data in (inputs or {}).items():
            address, size = places[name]
            if len(data) > size:
                raise EdgebedError(f"{len(data)} bytes for {name!r}, which has {size}")
            memory.put(address, data)
        wanted = {name: places[name] for name in outputs}
        stack = self.firmware.symbols["stack_bottom"], self.firmware.symbols["stack_top"]
        wanted[""] = (stack[0], stack[1] - stack[0])
        names = [self.entry, _END, *marks]
        addresses = [self._function(name) for name in names]
        where = _Run(self.core, self.firmware, memory, addresses, wanted, limit)
        contents, counter = (where.on_qemu if qemu or not self.core.unicorn else where.on_unicorn)()
        return _ran(contents, counter, names, self.firmware)

    def _place(self, name: str) -> tuple[int, int]:
        firmware = self.firmware
        if name not in firmware.objects:
            raise EdgebedError(
                f"no variable {name!r}",
                where=str(firmware.path.name),
                why="it does not exist, or the linker dropped it as unused",
                try_="make it global and let the code use it",
            )
        return firmware.objects[name], firmware.object_bytes[name]

    def _function(self, name: str) -> int:
        found = [f.address for f in self.firmware.functions if f.name == name]
        if not found:
            raise EdgebedError(
                f"no function {name!r}",
                why="it does not exist, was inlined, or is not used",
                try_="__attribute__((noinline, used))",
            )
        return found[0]


def build_c(
    core: str,
    sources: Mapping[str, str],
    *,
    headers: Mapping[str, str] | None = None,
    include: Sequence[Path] = (),
    entry: str = "bench",
    flags: Sequence[str] = (),
    compiler: str = "",
    optimise: str = "-O2",
    stack: int = 16384,
) -> BareProgram:
    """Compile and link C sources around `void entry(void)`.

    Args:
        core: m0plus, m4, m7, m33 or m55.
        sources: text by file name.
        headers: likewise, found by #include "name".
        include: more folders with headers.
        entry: the function that runs.
        flags: more compiler flags.
        compiler: `zig` or `gcc`; empty for the first that is installed, zig before gcc.
        optimise: optimisation flag.
        stack: bytes of stack.

    Raises:
        EdgebedError: unknown core, no compiler, or the compiler refuses a file.
    """
    found = find_core(core)
    tool = find_compiler(found, optimise, kind=compiler)
    tool = replace(tool, compiler=(*tool.compiler, *(f"-I{path}" for path in include), *flags))
    with tempfile.TemporaryDirectory(prefix="edgebed-bare-") as scratch:
        folder = Path(scratch)
        start = Path(__file__).with_suffix(".c").read_text()
        files = {**sources, "bare_metal_start.c": f"#define ENTRY {entry}\n{start}"}
        for name, text in {**(headers or {}), **files}.items():
            (folder / name).write_text(text)
        script = folder / "link.ld"
        script.write_text(_SCRIPT % {**vars(found.board), "stack": stack, **_vectors(found)})
        objects = [(folder / name).with_suffix(".o") for name in files]
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(tool.compile, [folder / name for name in files], objects))
        elf = folder / "bare.elf"
        tool.link(objects, script, elf)
        return BareProgram(found, entry, load_firmware(elf))


def run_c(
    core: str,
    sources: Mapping[str, str],
    *,
    outputs: Sequence[str],
    headers: Mapping[str, str] | None = None,
    include: Sequence[Path] = (),
    inputs: Mapping[str, bytes] | None = None,
    entry: str = "bench",
    marks: Sequence[str] = (),
    flags: Sequence[str] = (),
    compiler: str = "",
) -> Ran:
    """Compile, run once, and return what happened; see `build_c` and `BareProgram.run`."""
    program = build_c(
        core,
        sources,
        headers=headers,
        include=include,
        entry=entry,
        flags=flags,
        compiler=compiler,
    )
    return program.run(outputs, inputs=inputs, marks=marks)


@dataclass(frozen=True)
class _Memory:
    """Contents of a board's memories, by their first address."""

    parts: dict[int, Bytes]

    @classmethod
    def of(cls, core: Core, firmware: Firmware) -> _Memory:
        """Return the memories of a board with a program in them."""
        board = core.board
        sizes = {board.flash_base: board.flash_bytes, board.ram_base: board.ram_bytes}
        sizes.setdefault(board.vector_base, _PAGE)
        memory = cls({base: np.zeros(size, np.uint8) for base, size in sizes.items()})
        for address, data in firmware.segments:
            memory.put(address, data)
        return memory

    def put(self, address: int, data: bytes) -> None:
        """Write bytes."""
        self._at(address)[: len(data)] = np.frombuffer(data, np.uint8)

    def get(self, address: int, size: int) -> bytes:
        """Read bytes."""
        return self._at(address)[:size].tobytes()

    def _at(self, address: int) -> Bytes:
        base = max(one for one in self.parts if one <= address)
        return self.parts[base][address - base :]


@dataclass(frozen=True)
class _Run:
    """One run: memories, what is counted and what is wanted."""

    core: Core
    firmware: Firmware
    memory: _Memory
    marks: list[int]
    wanted: dict[str, tuple[int, int]]
    limit: int

    def on_unicorn(self) -> tuple[dict[str, bytes], Counter]:
        core = self.core
        counter = Counter(core.board.flash_base, self._code_bytes(), self.marks)
        counter.limit(self.limit)
        with closing(UnicornCpu(core.unicorn)) as cpu:
            flash = self.memory.parts[core.board.flash_base]
            for base, part in self.memory.parts.items():
                cpu.map_memory(base, part, writable=part is not flash)
            cpu.map_memory(_SYSTEM_REGISTERS, np.zeros(_PAGE, np.uint8))
            hook = UnicornCount(counter, cpu, flash)
            stop = cpu.run(self.firmware.symbols["reset_handler"])
            del hook
        if stop.reason == "paused":
            raise EdgebedError(f"did not return within {self.limit:,} instructions")
        if stop.reason != "breakpoint" or not self._ended(stop.pc):
            raise EdgebedError(
                f"the core stopped: {stop.reason.replace('_', ' ')}",
                where=self.firmware.name_of(stop.pc),
                why=f"{stop.access} {stop.address:#x}" if stop.access else None,
            )
        return {name: self.memory.get(*place) for name, place in self.wanted.items()}, counter

    def on_qemu(self) -> tuple[dict[str, bytes], Counter]:
        with tempfile.TemporaryDirectory(prefix="edgebed-qemu-") as scratch:
            folder = Path(scratch)
            counter = Counter(
                self.core.board.flash_base, self._code_bytes(), self.marks, folder / "counter"
            )
            self._fill_table()
            run_qemu(self.core, folder, self.memory.parts)
            try:
                data = (folder / "outputs.bin").read_bytes()
            except OSError as error:
                raise EdgebedError("the program ended without its outputs") from error
        contents, at = {}, 0
        for name, (_, size) in self.wanted.items():
            contents[name], at = data[at : at + size], at + size
        return contents, counter

    def _fill_table(self) -> None:
        rows = list(self.wanted.values())
        if len(rows) > _TABLE_ROWS:
            raise EdgebedError(f"{len(rows)} outputs; at most {_TABLE_ROWS}")
        table = np.array([*rows, (0, 0)], np.uint32).tobytes()
        self.memory.put(self.firmware.objects[_TABLE], table)

    def _ended(self, pc: int) -> bool:
        function = self.firmware.function_at(pc)
        return function is not None and function.name == _HAND_OVER

    def _code_bytes(self) -> int:
        ends = [f.address + f.size for f in self.firmware.functions]
        return max(ends) - self.core.board.flash_base + 4


def find_qemu(core: Core) -> Path:
    """Return qemu-system-arm.

    Raises:
        EdgebedError: it is not installed, or has no machine with this core.
    """
    if not core.qemu:
        raise EdgebedError(f"qemu has no machine with a {core.title}")
    found = find_installed("qemu-system-arm")
    if found is None:
        raise EdgebedError(
            f"the virtual {core.title} needs qemu-system-arm",
            why="it is not on PATH; unicorn does not know this core's instructions",
            try_="apt install qemu-system-arm, or the package of that name for your system",
        )
    return found


def run_qemu(
    core: Core, folder: Path, memory: Mapping[int, Bytes], *, seconds: float = 120
) -> None:
    """Run memory images from reset to the semihosting exit, counting into `folder`/counter.

    Raises:
        EdgebedError: qemu is missing, fails, or the program does not end.
    """
    command = [str(find_qemu(core)), "-M", core.qemu, "-display", "none", "-monitor", "none"]
    command += ["-serial", "none", "-semihosting-config", "enable=on,target=native"]
    for base, image in memory.items():
        used = np.flatnonzero(image.view(np.uint64))
        path = folder / f"{base:x}.bin"
        path.write_bytes(image[: 8 * used[-1] + 8 if len(used) else 8].tobytes())
        command += ["-device", f"loader,file={path},addr={base:#x},force-raw=on"]
    command += ["-plugin", f"{qemu_plugin()},counter={folder / 'counter'}"]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise EdgebedError(f"did not return within {seconds:.0f} s of emulation") from error
    if done.returncode:
        raise EdgebedError(
            "qemu-system-arm failed", where=core.qemu, why=done.stderr.strip()[:300] or "no message"
        )


def _vectors(core: Core) -> dict[str, int | str]:
    return {"vector_base": core.board.vector_base, "vector_region": core.board.vector_region}


def _ran(contents: dict[str, bytes], counter: Counter, names: list[str], firmware: Firmware) -> Ran:
    events = counter.events()
    if [event.mark for event in events if event.mark < 2] != [0, 1]:
        raise EdgebedError(
            f"{names[0]} was entered again",
            why="its first instruction is the target of a loop or of a call",
            try_="call it from a function of its own",
        )
    start = next(event.instructions for event in events if event.mark == 0)
    end = next(event.instructions for event in events if event.mark == 1)
    entries = tuple((names[e.mark], e.instructions - start) for e in events if e.mark > 1)
    stack = np.frombuffer(contents.pop(""), np.uint32)
    touched = np.flatnonzero(stack != _PAINT)
    used = 4 * (len(stack) - int(touched[0])) if len(touched) else 0
    by_function = counter.by_function(firmware)
    theirs = {name: n for name, n in by_function.items() if name not in _OURS}
    return Ran(contents, end - start - 1, used, entries, theirs)
