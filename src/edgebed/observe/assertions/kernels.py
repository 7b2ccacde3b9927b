"""A layer whose kernel computes otherwise than the reference: its error steps up and stays.

Thresholds: errors of sound int8 networks against float stay below 0.075 of a layer's range
(MobileNetV2 of the ML-EXray data: 69 layers at most 0.075; a defective depthwise kernel 0.508).
A step therefore begins at STEP 0.1, and at JUMP 3 times the largest error before it. A smaller
error is a kernel's when a factor and an offset of each channel explain SHARE two fifths of it, and
that part is SIZE a tenth of the layer's deviation and JUMP times what it was before: in the public
int8 networks for visual wake words and keywords they explain an eighth at most, of 0.04; a layer
whose biases are half a step each and left out has 0.46, of 0.13.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from edgebed.observe.assertions.explanation import is_clean
from edgebed.observe.assertions.stages import Stage, stages_of
from edgebed.observe.observed import Observed
from edgebed.observe.verdict import Verdict

STEP: Final = 0.1
SHARE: Final = 0.4
SIZE: Final = 0.1
JUMP: Final = 3.0
FLOOR: Final = 0.01
"""Error that a layer is granted before a step is measured against it."""


def kernel(reference: Observed, device: Observed) -> list[Verdict]:
    """Name the first layer whose error jumps while its inputs were right."""
    if not is_clean(reference, device):
        return []
    stage, before = first_step(stages_of(reference, device))
    if stage is None or stage.role == "input":
        return []
    return [
        Verdict(
            "kernel", stage.name, float(np.clip(0.7 + stage.error, 0, 0.97)),
            f"Its error is {_share(stage.error)} of the range, behind layers with {before:.1%} at"
            f" most{_by_channel(stage)}: the layer itself computes otherwise.",
            "Run this layer with reference kernels; if that heals it, report or replace the"
            " optimised kernel, else compare its weights, scales and padding with the file.",
        )
    ]  # fmt: skip


def kernel_against_third(reference: Observed, device: Observed, third: Observed) -> list[Verdict]:
    """Decide with a trace of the same quantised network in reference kernels.

    Args:
        reference: the trace to trust.
        device: the trace with optimised kernels.
        third: the device's network, computed by reference kernels.
    """
    found = kernel(reference, device)
    if not found or not is_clean(reference, third):
        return found
    stage, _ = first_step(stages_of(reference, third))
    ours, _ = first_step(stages_of(reference, device))
    if ours is None or (stage is not None and stage.reference.name != ours.reference.name):
        return found
    one = found[0]
    if stage is None:
        more = " Reference kernels compute it right: the optimised kernel is at fault."
        return [Verdict(one.cause, one.layer, 0.99, one.evidence + more, one.fix)]
    return [
        Verdict(
            "operator_definition", one.layer, 0.9,
            f"{one.evidence} Reference kernels are off by {_share(stage.error)} as well: no kernel"
            " is at fault, but the layer's quantisation or definition.",
            "Quantise this layer otherwise, or keep it in real numbers.",
        )
    ]  # fmt: skip


def first_step(stages: tuple[Stage, ...]) -> tuple[Stage | None, float]:
    """Return the first stage whose error jumps, and the largest error before it."""
    before = constant = 0.0
    for one in stages:
        share, size = one.systematic
        jumps = one.error >= max(STEP, JUMP * (before + FLOOR))
        shifts = share >= SHARE and size >= max(SIZE, JUMP * (constant + FLOOR))
        if one.expected.size > 1 and (jumps or shifts):
            return one, before
        before, constant = max(before, one.error), max(constant, size)
    return None, before


def _by_channel(stage: Stage) -> str:
    share, _ = stage.systematic
    if share < SHARE:
        return ""
    return f", and a factor and an offset of each channel explain {share:.0%} of it"


def _share(error: float) -> str:
    return f"{error:.1%}" if np.isfinite(error) else "no finite part"
