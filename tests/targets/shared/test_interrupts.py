"""Ctrl-C inside callbacks from C code."""

from __future__ import annotations

import ctypes
import signal

import pytest

from edgebed.targets._shared.interrupts import held_back


def test_ctrl_c_in_a_callback_from_c_is_not_lost() -> None:
    stopped: list[bool] = []
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    callback = ctypes.CFUNCTYPE(None)(lambda: signal.raise_signal(signal.SIGINT))
    try:
        with pytest.raises(KeyboardInterrupt), held_back(lambda: stopped.append(True)):
            callback()  # through C: an exception raised in here would be printed and lost
        assert stopped == [True]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_handler_of_somebody_else_stays() -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    try:
        with held_back(lambda: None):
            signal.raise_signal(signal.SIGINT)
        assert seen == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, before)
