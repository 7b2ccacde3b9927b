"""How far a quantised network agrees with its float original, when there are no labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from edgebed.program.types import Array, Program

CLASSES: Final = "share of samples with the float network's class"
COSINE: Final = "cosine between the outputs of both networks over all samples, mean of outputs"


def measure_of(program: Program) -> str:
    """Return which measure suits a network: the class for one vector of scores, else the cosine."""
    if len(program.outputs) != 1:
        return COSINE
    shape = [size for size in program.types[program.outputs[0]].shape if size > 1]
    return CLASSES if len(shape) == 1 and len(program.types) > 1 and shape[0] <= 2000 else COSINE


def agreement(
    measure: str, real: Sequence[Mapping[str, Array]], other: Sequence[Mapping[str, Array]]
) -> float:
    """Return the agreement of two networks on the same samples, 1.0 for equal ones.

    Args:
        measure: from `measure_of`.
        real: the float network's outputs by name, one entry a sample, at least one.
        other: the other network's.
    """
    if measure == CLASSES:
        same = [
            int(np.argmax(one[name]) == np.argmax(two[name]))
            for one, two in zip(real, other, strict=True)
            for name in one
        ]
        return float(np.mean(same))
    found = [
        _cosine(np.stack([one[n] for one in real]), np.stack([one[n] for one in other]))
        for n in real[0]
    ]
    return float(np.mean(found))


def _cosine(one: Array, two: Array) -> float:
    a, b = one.astype(np.float64).reshape(-1), two.astype(np.float64).reshape(-1)
    if np.array_equal(a, b, equal_nan=True):
        return 1.0
    with np.errstate(all="ignore"):
        found = float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
    return found if np.isfinite(found) else 0.0  # of zeros alone, or with NaN or infinity


def noise_db(real: Array, other: Array) -> float:
    """Return signal over noise in decibels; infinite for equal arrays, or where one alone is."""
    if np.array_equal(real, other, equal_nan=real.dtype.kind == "f"):
        return float("inf")
    with np.errstate(all="ignore"):
        error = float(np.square(other.astype(np.float64) - real).sum())
        signal = float(np.square(real.astype(np.float64)).sum())
    if not (np.isfinite(error) and np.isfinite(signal)):
        return float("-inf")
    return 10 * float(np.log10(max(signal, 1e-30) / error))
