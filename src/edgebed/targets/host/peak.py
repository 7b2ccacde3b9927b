"""The int8 peak of one core of this machine, measured."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np

from edgebed.targets._shared.native import cache_folder
from edgebed.targets.host.build import shared_library
from edgebed.targets.host.cpu import isa_of
from edgebed.targets.host.emit_layers import KERNELS

_SOURCE: Final = Path(__file__).parent / "runtime" / "peak.c"
_RUNS: Final = 200


@cache
def int8_peak(variant: int) -> float:
    """Return int8 multiply-accumulates a second of one core: the best of many short runs.

    Args:
        variant: number of the instruction set.
    """
    cache = cache_folder() / "host"
    library = ctypes.CDLL(str(shared_library(_SOURCE, isa_of(variant), cache, KERNELS)))
    function = library.eb_peak
    function.restype = ctypes.c_double
    x, w, sink = np.ones(64, np.uint8), np.ones(64, np.int8), np.zeros(256, np.int32)
    places = [ctypes.c_void_p(one.ctypes.data) for one in (x, w, sink)]
    return float(max(function(*places) for _ in range(_RUNS))) * 1e9
