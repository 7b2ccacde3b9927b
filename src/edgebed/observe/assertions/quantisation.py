"""Integers that cannot hold a layer's values, or of which a layer uses few; channels gone dead.

Thresholds:

* OUTSIDE 0.5 % and CUT 0.1: calibration cuts some values on purpose (1.2 % of the last layer's in
  the public keyword network), by little; here what is cut off must be a tenth of the layer's
  deviation. The reference may hold values from before an activation that the device has fused, so
  the end at zero of a range that begins there, and 6 (ReLU6), count as wanted. Of a sparse layer
  little is cut wherever its range ends; there ACTIVE 5 % of the values that are not at its wanted
  end count, LEAST of them or more, cut by CUT_ACTIVE 0.03: no calibration gives up so many.
* FEW 3 steps and USED 1/16: rounding to a step adds a step / sqrt(12) of noise; with a deviation of
  3 steps that is a tenth of the signal. The sparsest layer of the public keyword network has 2.0
  steps, on a tenth of its range; so both must hold.
* DEAD: a channel that never changes, where the reference's deviates by 2 device steps, which no
  rounding hides, by a fiftieth of the median channel and by a thousandth of the whole layer: what
  is less comes of the order in which sums are taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from edgebed.observe.assertions.explanation import is_clean
from edgebed.observe.assertions.kernels import SHARE, SIZE
from edgebed.observe.assertions.stages import Stage, stages_of, systematic
from edgebed.observe.observed import Observed
from edgebed.observe.verdict import Verdict
from edgebed.program.types import Array

OUTSIDE: Final = 0.005
CUT: Final = 0.1
ACTIVE: Final = 0.05
CUT_ACTIVE: Final = 0.03
FEW: Final = 3.0
USED: Final = 1 / 16
DEAD_STEPS: Final = 2.0
DEAD_SHARE: Final = 0.02
DEAD_LEAST: Final = 1e-3
STUCK: Final = 0.95
LEAST: Final = 64
"""Values below which nothing is said about a distribution."""
WANTED_ENDS: Final = (0.0, 6.0)


def range_too_narrow(reference: Observed, device: Observed) -> list[Verdict]:
    """Name the first layer whose integers cannot reach the reference's values."""
    return _first(_narrow(one) for one in _examined(reference, device))


def range_too_wide(reference: Observed, device: Observed) -> list[Verdict]:
    """Name the first layer whose values fall on a few steps of its range."""
    return _first(_wide(one) for one in _examined(reference, device))


def dead_channels(reference: Observed, device: Observed) -> list[Verdict]:
    """Name the first layer with channels that never change, where the reference's do."""
    return _first(_dead(one) for one in _examined(reference, device))


def saturated_channels(reference: Observed, device: Observed) -> list[Verdict]:
    """Name the first layer with channels stuck at an end of their integers."""
    return _first(_stuck(one) for one in _examined(reference, device))


def _examined(reference: Observed, device: Observed) -> Iterator[Stage]:
    """Give stages of enough finite values; a wrong input makes every range look wrong."""
    if not is_clean(reference, device):
        return
    for one in stages_of(reference, device):
        if one.expected.size >= LEAST and np.isfinite(one.expected).all():
            yield one


def _first(found: Iterator[Verdict | None]) -> list[Verdict]:
    return [one for one in found if one is not None][:1]


def _narrow(stage: Stage) -> Verdict | None:
    limits, step = stage.device.limits, stage.device.scale
    if limits is None or step is None or _softmax(stage):
        return None
    above, below = stage.expected > limits[1] + step, stage.expected < limits[0] - step
    shares = [0.0 if _wanted(end, limits, step) else float(mask.mean())
              for end, mask in zip(limits, (below, above), strict=True)]  # fmt: skip
    share = max(shares)
    lost = stage.expected - np.clip(stage.expected, *limits)
    cut = float(np.sqrt(np.square(lost).mean())) / (float(stage.expected.std()) or 1.0)
    if share < OUTSIDE or not (cut >= CUT or (cut >= CUT_ACTIVE and _cuts_many(stage, share))):
        return None
    low, high = float(stage.expected.min()), float(stage.expected.max())
    return Verdict(
        "range_too_narrow", stage.name, min(0.99, 0.8 + share),
        f"Integers hold {limits[0]:.4g} to {limits[1]:.4g}, the reference has {low:.4g} to"
        f" {high:.4g}: {share:.1%} of its values are cut.",
        "Calibrate again with data that shows the whole range, or by largest values rather than"
        " percentiles.",
    )  # fmt: skip


def _cuts_many(stage: Stage, share: float) -> bool:
    """Say whether a share of all values is many of those that a ReLU leaves, and no few values."""
    limits, step = stage.device.limits, stage.device.scale
    if limits is None or step is None or share * stage.expected.size < LEAST:
        return False
    low, high = (_wanted(end, limits, step) for end in limits)
    active = np.ones(stage.expected.shape, bool)
    if low:
        active &= stage.expected > limits[0] + step / 2
    if high:
        active &= stage.expected < limits[1] - step / 2
    return share >= ACTIVE * float(active.mean())


def _wanted(end: float, limits: tuple[float, float], step: float) -> bool:
    return any(abs(end - one) <= max(step, 0.01 * abs(one)) for one in WANTED_ENDS)


def _softmax(stage: Stage) -> bool:
    return "softmax" in stage.device.kind.lower()


def _wide(stage: Stage) -> Verdict | None:
    limits, step = stage.device.limits, stage.device.scale
    if limits is None or step is None or stage.role == "output" or _softmax(stage):
        return None
    deviation = float(stage.expected.std())
    used = float(np.ptp(np.percentile(stage.expected, [0.05, 99.95]))) / (limits[1] - limits[0])
    if deviation == 0 or deviation >= FEW * step or used >= USED:
        return None
    return Verdict(
        "range_too_wide", stage.name, 0.9,
        f"Integers hold {limits[0]:.4g} to {limits[1]:.4g}, of which the reference's values use"
        f" {used:.1%}: their deviation is {deviation / step:.2g} steps.",
        "Calibrate again without outliers, or quantise this layer per channel.",
    )  # fmt: skip


def _dead(stage: Stage) -> Verdict | None:
    if stage.role == "input" or stage.device.dtype == "bool":
        return None
    expected, given = stage.channels(stage.expected), stage.channels(stage.given)
    varies = np.where(np.ptp(expected, axis=1) > 0, expected.std(1, dtype=np.float64), 0.0)
    typical = float(np.median(varies[varies > 0])) if (varies > 0).any() else 0.0
    least = max(
        DEAD_STEPS * (stage.device.scale or 0.0), DEAD_SHARE * typical,
        DEAD_LEAST * float(expected.std(dtype=np.float64)),
    )  # fmt: skip
    dead = np.flatnonzero((np.ptp(given, axis=1) == 0) & (varies > least) & (least > 0))
    if not len(dead) or expected.shape[1] < 8 or _others_too(expected, given, dead):
        return None
    return Verdict(
        "dead_channels", stage.name, 0.95,
        f"{_listed(dead)} of {len(given)} never change; in the reference they deviate by"
        f" {varies[dead].mean():.3g}.",
        "Check bias, scale and weights of these channels in the file that the device loads.",
    )  # fmt: skip


def _stuck(stage: Stage) -> Verdict | None:
    limits, step = stage.device.limits, stage.device.scale
    if limits is None or step is None or stage.role == "input" or _softmax(stage):
        return None
    expected, given = stage.channels(stage.expected), stage.channels(stage.given)
    high = (given >= limits[1] - step / 2).mean(1)
    wanted = (expected >= limits[1] - 4 * step).mean(1)
    stuck = np.flatnonzero((high >= STUCK) & (wanted < 0.5))
    if not len(stuck) or expected.shape[1] < 8 or _others_too(expected, given, stuck):
        return None
    return Verdict(
        "saturated_channels", stage.name, 0.95,
        f"{_listed(stuck)} of {len(given)} lie at the largest integer in"
        f" {high[stuck].mean():.0%} of all places, in the reference in {wanted[stuck].mean():.0%}.",
        "Check bias and scale of these channels, and the width of the accumulator.",
    )  # fmt: skip


def _others_too(expected: Array, given: Array, channels: Array) -> bool:
    """Say whether the other channels are scaled or moved too: then the whole kernel is wrong."""
    share, size = systematic(np.delete(expected, channels, 0), np.delete(given, channels, 0))
    return share >= SHARE and size >= SIZE


def _listed(channels: Array) -> str:
    shown = ", ".join(map(str, channels[:8])) + (", ..." if len(channels) > 8 else "")
    return f"Channel{'s' if len(channels) > 1 else ''} {shown}"
