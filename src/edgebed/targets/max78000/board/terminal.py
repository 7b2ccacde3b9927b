"""UART0 over TCP on this machine, so that any terminal program can attach."""

from __future__ import annotations

import contextlib
import socket

from edgebed.errors import EdgebedError
from edgebed.targets.max78000.board.uart import Uart

_CHUNK = 65536


class Terminal:
    """A listening socket on 127.0.0.1 for one client at a time; never blocks the board.

    What the board sends is copied to the client; it can still be read in Python.

    Args:
        port: port number, 0 for a free one.

    Raises:
        EdgebedError: the port is taken.
    """

    def __init__(self, port: int = 0) -> None:
        self._client: socket.socket | None = None
        self._unsent = bytearray()
        try:
            self._server = socket.create_server(("127.0.0.1", port))
        except OSError as error:
            raise EdgebedError(
                f"port {port} on 127.0.0.1 cannot be used: {error.strerror}",
                try_="another port, or 0 for a free one",
            ) from error
        self._server.setblocking(False)
        self.port = int(self._server.getsockname()[1])

    def exchange(self, uart: Uart) -> None:
        """Move bytes both ways, as many as are there."""
        self._unsent += uart.take_copy()
        if self._client is None:
            self._accept()
        if self._client is None:
            self._unsent.clear()
            return
        try:
            self._receive(uart)
            self._send()
        except (ConnectionError, OSError):
            self._drop()

    def close(self) -> None:
        """Close client and server."""
        self._drop()
        self._server.close()

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._client, _ = self._server.accept()
            self._client.setblocking(False)

    def _receive(self, uart: Uart) -> None:
        if self._client is None:
            return
        with contextlib.suppress(BlockingIOError):
            data = self._client.recv(_CHUNK)
            if not data:
                self._drop()
            else:
                uart.feed(data)

    def _send(self) -> None:
        if self._client is None or not self._unsent:
            return
        with contextlib.suppress(BlockingIOError):
            sent = self._client.send(self._unsent)
            del self._unsent[:sent]

    def _drop(self) -> None:
        if self._client:
            self._client.close()
        self._client = None
        self._unsent.clear()
