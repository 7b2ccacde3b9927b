"""Tensors too large to be copied, in parts: what a trace holds stays in its file until it is used.

A reader maps large values into memory and reads none of them. Whoever computes with them takes part
after part and lets the pages of each go, so that memory does not grow with a tensor's size.
"""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Iterator
from typing import Final

import numpy as np

from edgebed.program.types import Array

LARGE: Final = 1 << 20
"""Bytes of values from which on a reader leaves them in the file."""
PART: Final = 1 << 20
"""Values of a part; one row of the leading axis at least."""


def rows(values: Array) -> Iterator[slice]:
    """Give slices of the leading axis that hold about PART values each; one for a single value."""
    if not values.ndim or values.size <= PART:
        yield slice(None)
        return
    step = max(1, PART * len(values) // values.size)
    for start in range(0, len(values), step):
        yield slice(start, start + step)


def parts(values: Array) -> Iterator[Array]:
    """Give values in parts along the leading axis; the pages of each are let go behind it."""
    shaped = values if values.ndim else values.reshape(1)
    for place in rows(shaped):
        yield shaped[place]
        let_go(values)


def worst_rows(reference: Array, device: Array) -> slice:
    """Return the part of two arrays of one shape in which they differ most.

    Args:
        reference: stored values; what they mean may differ by a scale and an offset.
        device: the same of the other side.
    """
    scale = [max(float(np.abs(one[place]).max()) for place in rows(one)) or 1.0
             for one in (reference, device)]  # fmt: skip
    best, worst = slice(None), -1.0
    for place in rows(device):
        with np.errstate(invalid="ignore"):
            gap = np.abs(reference[place] / scale[0] - device[place] / scale[1])
        largest = float(np.nan_to_num(gap, nan=np.inf).max())
        let_go(reference)
        let_go(device)
        if largest > worst:
            best, worst = place, largest
    return best


def let_go(values: Array) -> None:
    """Give the memory of mapped values back; they are read from the file again when needed."""
    base: object = values
    while isinstance(base, (np.ndarray, memoryview)):
        base = base.base if isinstance(base, np.ndarray) else base.obj
    if isinstance(base, mmap.mmap) and hasattr(base, "madvise"):
        with contextlib.suppress(OSError, ValueError):
            base.madvise(mmap.MADV_DONTNEED)
