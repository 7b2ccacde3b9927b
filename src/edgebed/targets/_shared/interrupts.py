"""Ctrl-C while C code calls back into Python."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def held_back(stop: Callable[[], None]) -> Iterator[None]:
    """Hold Ctrl-C back until the block ends, then raise KeyboardInterrupt.

    An exception that starts inside a callback from C is printed and lost: the work would go on.
    Outside the main thread, and where somebody handles the signal otherwise, nothing changes.

    Args:
        stop: asks the C code to return soon; called when Ctrl-C is pressed.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed in the block.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    pressed = False

    def note(_number: int, _frame: object) -> None:
        nonlocal pressed
        pressed = True
        stop()

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if pressed:
        raise KeyboardInterrupt
