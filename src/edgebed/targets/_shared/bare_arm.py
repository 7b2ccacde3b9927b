"""A C compiler and linker for bare Cortex-M4: arm-none-eabi-gcc, or clang and lld from zig."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgebed.errors import EdgebedError
from edgebed.targets._shared.toolchain import find_installed, find_zig

# No floating point: firmware of ours is integer only.
_FLAGS = (
    *("-std=c99", "-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=soft", "-ffreestanding"),
    *("-ffunction-sections", "-fdata-sections", "-fstack-usage"),
    *("-Wall", "-Wextra", "-Werror"),
)
_TIMEOUT_S = 120
_TELLING = re.compile("error|overflowed|undefined reference|exceeds? ", re.IGNORECASE)


class ToolError(EdgebedError):
    """A compiler or linker refused its input; `output` is all that it said."""

    output = ""


@dataclass(frozen=True)
class CortexM:
    """Command lines of one toolchain.

    Attributes:
        name: for messages.
        compiler: program and flags; source and output follow.
        linker: program and flags; linker script, objects and output follow.
        libraries: what the linker needs at the end.
    """

    name: str
    compiler: tuple[str, ...]
    linker: tuple[str, ...]
    script_flag: str
    libraries: tuple[str, ...] = ()

    def compile(self, source: Path, target: Path) -> None:
        """Compile one C file into an object.

        Raises:
            ToolError: the compiler refused it; its first message is quoted.
        """
        self._run([*self.compiler, "-c", str(source), "-o", str(target)], source)

    def link(self, objects: Sequence[Path], script: Path, target: Path) -> None:
        """Link objects by a linker script.

        Raises:
            ToolError: a symbol is missing or the program does not fit; the linker's message is
                quoted.
        """
        inputs = [str(path) for path in objects]
        command = [*self.linker, f"{self.script_flag}{script}", *inputs, *self.libraries]
        self._run([*command, "-o", str(target)], target)

    def _run(self, command: list[str], where: Path) -> None:
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise EdgebedError(f"{self.name} took too long", where=str(where)) from error
        if done.returncode:
            why = _stopped(done.returncode) or _why(done.stderr)
            refused = ToolError(f"{self.name} refused it", where=str(where), why=why)
            refused.output = done.stderr
            raise refused


def _stopped(code: int) -> str | None:
    """Return why a process was ended from outside, or None: a full disk or quota, for example."""
    return (signal.strsignal(-code) or f"signal {-code}") if code < 0 else None


def _why(output: str) -> str:
    """Return the line that tells: GNU's linker calls none of its own an error."""
    lines = [line.strip() for line in output.splitlines() if "collect2" not in line]
    telling = [line for line in lines if _TELLING.search(line)]
    return (telling or [output.strip()[:200] or "no message"])[0]


def find_bare_arm() -> CortexM:
    """Return the toolchain to use: an installed arm-none-eabi-gcc, otherwise zig's.

    Raises:
        EdgebedError: neither is installed.
    """
    found = installed_gcc() or zig_clang()
    if found is None:
        raise EdgebedError(
            "no compiler for Cortex-M is installed",
            why="arm-none-eabi-gcc is not on PATH and the ziglang package is missing",
            try_='pip install "edgebed[cc]"',
        )
    return found


def installed_gcc() -> CortexM | None:
    """Return arm-none-eabi-gcc from PATH, or None."""
    path = find_installed("arm-none-eabi-gcc")
    if path is None:
        return None
    machine = ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=soft")
    return CortexM(
        "arm-none-eabi-gcc",
        # At -O2 gcc leaves the pixel loops rolled: half the speed. A network without biases counts
        # to 0 of them, of which gcc warns.
        (str(path), "-O3", *_FLAGS, "-Wno-type-limits"),
        (str(path), *machine, "-nostdlib", "-Wl,--gc-sections"),
        "-Wl,-T,",
        ("-lgcc",),
    )


def zig_clang() -> CortexM | None:
    """Return the plain clang and lld inside zig, or None.

    `zig cc` would bring its own runtime, link flags and optimisation levels; the sub-commands
    `clang` and `ld.lld` of the same program do not.
    """
    zig = find_zig()
    if zig is None:
        return None
    headers = zig.parent / "lib" / "include"
    target = ("--target=thumbv7em-none-eabi", "-nostdinc", "-isystem", str(headers))
    return CortexM(
        "zig clang",
        (str(zig), "clang", *target, "-O2", *_FLAGS),
        (str(zig), "ld.lld", "--gc-sections", "-m", "armelf"),
        "--script=",
    )
