"""The MAX78000: compiler, register-level accelerator model and virtual board."""

from __future__ import annotations

from importlib import import_module
from typing import Any

# Public name -> module that defines it; importing this package imports none of them.
_PUBLIC = {
    "Accelerator": "edgebed.targets.max78000.accelerator",
    "BoardOptions": "edgebed.targets.max78000.board.options",
    "RealBoard": "edgebed.targets.max78000.machine",
    "SerialStream": "edgebed.targets.max78000.link",
    "TcpStream": "edgebed.targets.max78000.link",
    "VirtualBoard": "edgebed.targets.max78000.machine",
}

__all__ = ["Accelerator", "BoardOptions", "RealBoard", "SerialStream", "TcpStream", "VirtualBoard"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(_PUBLIC)
