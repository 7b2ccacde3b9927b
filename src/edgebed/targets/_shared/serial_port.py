"""A real serial port as a byte stream."""

from __future__ import annotations

from edgebed.errors import EdgebedError

BAUD = 921600


class SerialStream:
    """A real board behind a serial port.

    Args:
        port: name of the port: /dev/ttyACM0, COM3.
        baud: speed of the line.

    Raises:
        EdgebedError: pyserial is not installed, or the port cannot be opened.
    """

    def __init__(self, port: str, baud: int = BAUD) -> None:
        try:
            import serial  # type: ignore[import-not-found,import-untyped,unused-ignore]
        except ImportError as error:
            raise EdgebedError(
                "a real board needs the package pyserial", try_="pip install 'edgebed[serial]'"
            ) from error
        try:
            self._port = serial.Serial(port, baud)
        except (OSError, ValueError) as error:
            raise EdgebedError("cannot open the serial port", where=port, why=str(error)) from error

    def write(self, data: bytes) -> None:
        """Send all of `data`.

        Raises:
            EdgebedError: the line is gone.
        """
        try:
            self._port.write(data)
        except OSError as error:
            raise lost(str(error)) from error

    def read(self, seconds: float) -> bytes:
        """Return what arrived, at least one byte; empty when nothing comes within `seconds`.

        Raises:
            EdgebedError: the line is gone.
        """
        try:
            self._port.timeout = seconds
            return bytes(self._port.read(max(self._port.in_waiting, 1)))
        except OSError as error:
            raise lost(str(error)) from error

    def close(self) -> None:
        """End the connection."""
        self._port.close()


def lost(why: str) -> EdgebedError:
    """Return what is said when a serial line ends."""
    return EdgebedError(
        "the connection to the board is lost", where="serial line", why=why, try_="connect again"
    )
