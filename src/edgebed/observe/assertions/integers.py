"""Bytes of another type, and zero points that are off.

Settings of the verdicts: the types `written` and `read`; the `steps` that integers are moved by.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgebed.observe.assertions.explanation import Suspect, explain
from edgebed.observe.assertions.scene import Quantiser, Scene
from edgebed.observe.observed import Observed
from edgebed.observe.verdict import Verdict
from edgebed.program.types import Array


def wrong_type(reference: Observed, device: Observed) -> list[Verdict]:
    """Name bytes read with another sign, or real numbers cast without a scale."""
    found = explain(reference, device)
    return found.verdicts("dtype") if found else []


def zero_point(reference: Observed, device: Observed) -> list[Verdict]:
    """Name integers that are all moved by the same number of steps."""
    found = explain(reference, device)
    return found.verdicts("zero_point") if found else []


def suspects(scene: Scene) -> Iterator[Suspect]:
    """Give signs mixed up, casts without a scale, and the best offset in whole steps."""
    limits = scene.quantiser
    if not limits.scale or not scene.same_shape:
        return
    expected = scene.expected[:, :, list(scene.rows)].astype(np.float64)
    steps = limits.integers(expected)
    half = (limits.high - limits.low + 1) / 2
    wrapped = (steps - limits.low + half) % (2 * half) + limits.low
    signs = ("uint8", "int8") if limits.low < 0 else ("int8", "uint8")
    yield Suspect(
        "dtype",
        f"reads {signs[0]} bytes as {signs[1]}",
        f"Convert instead of reinterpreting: {int(half)} lies between both types' zero points.",
        _real(wrapped, limits),
        0.5,
        affine=False,
        settings={"written": signs[0], "read": signs[1]},
    )
    yield Suspect(
        "dtype",
        "casts real numbers to integers without dividing by the scale",
        f"Quantise: round(value / {limits.scale:.6g}) + {limits.zero_point}.",
        _real(np.clip(np.trunc(expected), limits.low, limits.high), limits),
        affine=False,
        settings={"written": "real numbers", "read": signs[1]},
    )
    yield from _moved(scene, steps)


def _moved(scene: Scene, steps: Array) -> Iterator[Suspect]:
    limits = scene.quantiser
    given = limits.integers(scene.seen)
    inside = (given > limits.low) & (given < limits.high)
    if inside.mean() < 0.05:
        return
    moved = int(np.rint(np.median((given - steps)[inside])))
    if abs(moved) < 2:
        return
    for wraps in (False, True):
        found = steps + moved
        if wraps:
            found = (found - limits.low) % (limits.high - limits.low + 1) + limits.low
        yield Suspect(
            "zero_point",
            f"moves every integer by {moved:+d} steps" + (" and lets them wrap" if wraps else ""),
            f"Use zero point {limits.zero_point} on both sides of the input;"
            f" {limits.zero_point + moved} or an offset of {moved} is in use.",
            _real(found, limits),
            1.5 + wraps,
            affine=False,
            settings={"steps": moved, "wraps": wraps},
        )


def _real(steps: Array, limits: Quantiser) -> Array:
    return np.asarray((steps - limits.zero_point) * limits.scale)
