"""The virtual board on qemu-system-arm: for Helium, and as a second opinion."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgebed.errors import EdgebedError
from edgebed.targets._shared.arm_cores import Core
from edgebed.targets._shared.bare_metal import find_qemu
from edgebed.targets._shared.counting import Counter, qemu_plugin
from edgebed.targets._shared.elf import Firmware
from edgebed.targets.cortex_m.board.board import code_bytes, marked

_STOP_SECONDS = 5
_SHARED = {"mps3-an547": (0x60000000, 2 << 30)}
"""Address and size of the one memory that a machine lets others share, by machine."""


class QemuBoard:
    """The virtual board on qemu-system-arm.

    Args:
        core: of the board.
        firmware: to run.
        seconds: without a byte after which the firmware is taken to wait, or to hang.

    Raises:
        EdgebedError: qemu-system-arm is not installed, has no such machine, or fails.
    """

    def __init__(self, core: Core, firmware: Firmware, seconds: float = 60) -> None:
        self._core, self._firmware, self._seconds = core, firmware, seconds
        self._qemu = find_qemu(core)
        self._folder = Path(tempfile.mkdtemp(prefix="edgebed-qemu-"))
        self.counter = Counter(
            core.board.flash_base,
            code_bytes(core, firmware),
            marked(firmware)[1],
            self._folder / "counter",
        )
        self._memory = self._shared_memory()
        self._start()

    def _shared_memory(self) -> npt.NDArray[np.uint8] | None:
        """Return the RAM that we and qemu both see; what is unused takes no space on disk."""
        if self._core.qemu not in _SHARED:
            return None
        start, size = _SHARED[self._core.qemu]
        path = self._folder / "ram"
        with path.open("wb") as file:
            file.truncate(size)
        board = self._core.board
        offset = board.ram_base - start
        return np.memmap(path, np.uint8, "r+", offset=offset, shape=(board.ram_bytes,))

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        command = [str(self._qemu), "-M", self._core.qemu, "-display", "none", "-monitor", "none"]
        command += ["-kernel", str(self._firmware.path)]
        # A multiplexer keeps 32 bytes ready, which halves the time; no byte is its escape.
        line = f"socket,id=line,fd={theirs.fileno()},mux=on"
        command += ["-chardev", line, "-serial", "chardev:line", "-echr", "512"]
        if self._core.qemu in _SHARED:
            memory = f"memory-backend-file,id=ram,share=on,mem-path={self._folder / 'ram'}"
            size = _SHARED[self._core.qemu][1]
            command += ["-object", f"{memory},size={size}", "-machine", "memory-backend=ram"]
        command += ["-plugin", f"{qemu_plugin()},counter={self._folder / 'counter'}"]
        with theirs, (self._folder / "errors").open("wb") as errors:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                pass_fds=[theirs.fileno()],
            )
        self._socket = ours
        self._end = weakref.finalize(self, _end, self._process, ours, self._folder)

    def write(self, data: bytes) -> None:
        """See `Board.write`."""
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise self._ended() from error

    def read(self) -> bytes:
        """See `Board.read`; here it waits for the first bytes only.

        Raises:
            EdgebedError: qemu ended.
        """
        self._socket.settimeout(self._seconds)
        try:
            data = self._socket.recv(1 << 16)
        except TimeoutError:
            return b""
        except OSError as error:
            raise self._ended() from error
        if not data:
            raise self._ended()
        return data

    @property
    def poke(self) -> Callable[[int, bytes], None] | None:
        """See `Board.poke`: each byte on this line costs tens of microseconds."""
        return None if self._memory is None else self._poke

    def _poke(self, address: int, data: bytes) -> None:
        assert self._memory is not None
        at = address - self._core.board.ram_base
        self._memory[at : at + len(data)] = np.frombuffer(data, np.uint8)

    def reset(self) -> None:
        """See `Board.reset`."""
        self._end.detach()
        _stop(self._process, self._socket)
        self.counter.clear()
        if self._memory is not None:
            self._memory[:] = 0
        self._start()

    def close(self) -> None:
        """See `Board.close`."""
        self._end()

    def _ended(self) -> EdgebedError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_SECONDS)
        said = (self._folder / "errors").read_text(errors="replace").strip()
        return EdgebedError(
            "qemu-system-arm ended", where=self._core.qemu, why=said[:300] or "no message"
        )


def _stop(process: subprocess.Popen[bytes], line: socket.socket) -> None:
    line.close()
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _end(process: subprocess.Popen[bytes], line: socket.socket, folder: Path) -> None:
    _stop(process, line)
    shutil.rmtree(folder, ignore_errors=True)
