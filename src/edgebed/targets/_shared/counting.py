"""Exact instruction counts of an emulated core, kept by C code that Python only reads.

The counter is one block of 64-bit words: a header, executed instructions per half-word of code
(at the first address of the basic block they belong to), and events. An event is noted whenever a
marked address is entered, with the instructions executed before it; the oldest are overwritten.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgebed.errors import EdgebedError
from edgebed.targets._shared.cpu import Cpu, Memory, NativeHook
from edgebed.targets._shared.elf import Firmware
from edgebed.targets._shared.native import build_library, load_library
from edgebed.targets._shared.toolchain import host_compilers

# Words of the header; the C files have the same list.
_TOTAL, _EVENTS, _CAPACITY, _BASE, _HALFWORDS, _MARKS, _OUTSIDE, _LIMIT, _MARK = range(9)
_CODE, _CACHE, _STOP, _WORDS, _HEADER = 16, 17, 18, 19, 24
_MOST_MARKS = _CODE - _MARK
_CAPACITY_EVENTS = 1 << 17
_UNLIMITED = (1 << 64) - 1

Words = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Event:
    """A marked address was entered after so many instructions since the counter was cleared."""

    mark: int
    instructions: int


class Counter:
    """The counter's memory.

    Args:
        base: address of the code that is counted.
        nbytes: its size.
        marks: addresses whose entries are noted, at most eight. A loop that jumps back to a marked
            address enters it again.
        file: where the memory lies, to share it with another process; None for this process alone.
    """

    def __init__(
        self, base: int, nbytes: int, marks: Sequence[int] = (), file: Path | None = None
    ) -> None:
        if len(marks) > _MOST_MARKS:
            raise EdgebedError(f"{len(marks)} marks; at most {_MOST_MARKS} can be counted")
        size = _HEADER + nbytes // 2 + _CAPACITY_EVENTS
        self.words: Words = (
            np.memmap(file, np.uint64, "w+", shape=(size,)) if file else np.zeros(size, np.uint64)
        )
        self.words[[_CAPACITY, _BASE, _HALFWORDS, _LIMIT]] = (
            *(_CAPACITY_EVENTS, base, nbytes // 2),
            _UNLIMITED,
        )
        self.words[_MARKS] = len(marks)
        self.words[_MARK : _MARK + len(marks)] = marks

    @property
    def total(self) -> int:
        """Instructions since the counter was made or cleared."""
        return int(self.words[_TOTAL])

    @property
    def outside(self) -> int:
        """Blocks executed outside of the counted code."""
        return int(self.words[_OUTSIDE])

    @property
    def counts(self) -> Words:
        """Instructions by half-word."""
        return self.words[_HEADER : _HEADER + int(self.words[_HALFWORDS])]

    @property
    def entered(self) -> int:
        """How many events there were."""
        return int(self.words[_EVENTS])

    def events(self, since: int = 0) -> list[Event]:
        """Return the entries of marked addresses, in order.

        Args:
            since: leave out so many of the first ones.

        Raises:
            EdgebedError: there were more than the counter keeps.
        """
        found = self.entered
        if found - since > _CAPACITY_EVENTS:
            raise EdgebedError(f"{found - since} events; the counter keeps {_CAPACITY_EVENTS}")
        start = _HEADER + int(self.words[_HALFWORDS])
        places = start + np.arange(since, found) % _CAPACITY_EVENTS
        return [
            Event((word >> 56) - 1, word & ((1 << 56) - 1)) for word in self.words[places].tolist()
        ]

    def limit(self, instructions: int | None) -> None:
        """Let unicorn stop once so many are counted; None for no limit."""
        self.words[_LIMIT] = _UNLIMITED if instructions is None else instructions

    def clear(self) -> None:
        """Forget counts and events."""
        self.words[[_TOTAL, _EVENTS, _OUTSIDE]] = 0
        self.counts[:] = 0

    def by_function(self, firmware: Firmware, before: Words | None = None) -> Mapping[str, int]:
        """Return executed instructions by function name, most first.

        Args:
            firmware: whose functions.
            before: an earlier copy of `counts`, which is taken off.
        """
        base = int(self.words[_BASE])
        counts = self.counts if before is None else self.counts - before
        found: dict[str, int] = {}
        for index in np.flatnonzero(counts).tolist():
            function = firmware.function_at(base + 2 * index)
            name = function.name if function else "(no symbol)"
            found[name] = found.get(name, 0) + int(counts[index])
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


class UnicornCount:
    """Lets a counter count on a unicorn core; keep it as long as the core runs.

    Args:
        counter: what to fill.
        cpu: whose instructions.
        code: the memory that lies at the counter's base.
        thumb: instructions have two or four bytes; else four.

    Raises:
        EdgebedError: no C compiler is installed.
    """

    def __init__(self, counter: Counter, cpu: Cpu, code: Memory, *, thumb: bool = True) -> None:
        library = _unicorn_library()
        words = counter.words
        self._cache = np.zeros(len(counter.counts), np.uint64)
        self._keep = (words, code)
        words[_CODE], words[_CACHE] = code.ctypes.data, self._cache.ctypes.data
        words[_STOP] = cpu.services().stop
        words[_WORDS] = not thumb
        function = ctypes.cast(library.count_block, ctypes.c_void_p).value or 0
        cpu.on_native_block(NativeHook(function, words.ctypes.data))


@functools.cache
def _unicorn_library() -> ctypes.CDLL:
    return load_library(Path(__file__).parent / "block_counter.c")


@functools.cache
def qemu_plugin() -> Path:
    """Return the plugin that lets qemu count: `-plugin PATH,counter=FILE`.

    Raises:
        EdgebedError: no C compiler is installed, or none of them could compile it.
    """
    reasons = []
    for compiler in host_compilers():
        try:
            return build_library(Path(__file__).parent / "qemu_counter.c", compiler)
        except EdgebedError as error:
            reasons.append(str(error))
    raise EdgebedError("cannot build the plugin that counts instructions", why="; ".join(reasons))
