"""Which known fault, if any, turns the reference's input into the device's.

Every family of faults predicts inputs; each prediction is judged twice. *Exactly*: sent through the
device's quantiser, how far is it from what the device fed (root mean square, real units)? *Up to
an affine map per channel*: what share of the device's variance does it leave unexplained? The exact
judgement names faults beyond doubt; the other one finds a second fault under a first, as red and
blue swapped under a wrong normalisation.

Thresholds, with the reason of each:

* CLEAN 12 x noise, where noise is 0.1 of the larger of a device's step and 1/255 of the range:
  rounding differently on both sides leaves sqrt(1/12 + 1/12) = 0.41 steps; 12 x 0.1 leaves room
  for three times that. Below it nothing is said unless a prediction is exact.
* EXACT 1.5: a prediction must be that much closer than the reference's own input. Another picture
  decoder or camera noise is in all predictions alike, so it cannot make one win.
* Where noise hides that: ALONG, a tenth of the departure's power must lie along the predicted
  departure, at SLOPE 0.8 to 1.2 of its size. Noise has no part in either; a fault predicted by
  chance has another size, and predictions less than a third of a step away are not looked at.
* GAIN 4 and LEFT 0.25: an affine match must leave a quarter of the variance at most, and at most a
  quarter of what the untouched input leaves. Pictures of the visual wake words set, six at a time,
  leave 0.40 at least when they are mirrored or turned, so a chance match is far away.
* DEVIATION 0.03 of the range, plus twice what is left unexplained: slopes of a fit are diluted by
  as much as the fit is bad. Where most values lie close together in a wide range that says little;
  then a map counts that takes the exact judgement of the untouched input down GAIN times.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np

from edgebed.observe.assertions.fits import affine, root_mean_square
from edgebed.observe.assertions.scene import Scene, scene_of
from edgebed.observe.observed import Observed
from edgebed.observe.verdict import Verdict
from edgebed.program.types import Array

CLEAN: Final = 12.0
EXACT: Final = 1.5
SLOPE: Final = 0.2
ALONG: Final = 0.1
VISIBLE: Final = 3.0
"""Times the noise that a predicted departure must have to be measured under other noise."""
NEARER: Final = 1.5
"""An affine map must come that much closer than an exact prediction to speak against it."""
GAIN: Final = 4.0
LEFT: Final = 0.25
DEVIATION: Final = 0.03
FEW: Final = 2.0
"""Steps of deviation below which a device's input is little but rounding."""
FAMILIES: Final = ("channels", "geometry", "layout", "normalisation", "integers", "colour")
FROM_RAW: Final = ("placing", "audio", "waveform")
"""Families that compute inputs from raw data, which takes longer: not asked where another family
predicts the input to its rounding."""


@dataclass(frozen=True, eq=False)
class Suspect:
    """A fault and the input it would make.

    Attributes:
        cause: of the verdict.
        text: what the device does, as the end of `the device ...`.
        fix: what to change.
        planes: N x C x compared rows x W, real values; NaN where it says nothing.
        cost: how far-fetched it is; decides between equal evidence.
        affine: whether it may stand under an affine map.
        settings: of the verdict.
    """

    cause: str
    text: str
    fix: str
    planes: Array
    cost: float = 1.0
    affine: bool = True
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Tried:
    """A suspect judged.

    Attributes:
        suspect: None for the reference's own input.
        error: exact judgement, real units.
        left: share of variance left by the affine fit.
        factor: of the fit, per channel.
        offset: of the fit, per channel, real units.
    """

    suspect: Suspect | None
    error: float
    left: float
    factor: Array
    offset: Array


@dataclass(frozen=True, eq=False)
class Explanation:
    """The judgement of two inputs.

    Attributes:
        scene: both inputs.
        kind: `clean`, `exact` (one suspect predicts the input), `affine` (up to a map of values),
            or `unknown`.
        own: the reference's input judged.
        best: what explains the device's input; `own` where no suspect does.
        deviates: whether a map of values is a fault of its own, beside or without a suspect.
    """

    scene: Scene
    kind: Literal["clean", "exact", "affine", "unknown"]
    own: Tried
    best: Tried
    deviates: bool = False

    @property
    def suspect(self) -> Suspect | None:
        """The fault that explains the input."""
        return self.best.suspect if self.kind in ("exact", "affine") else None

    def verdicts(self, *causes: str) -> list[Verdict]:
        """Return the verdict if the fault is of these causes."""
        suspect = self.suspect
        if suspect is None or suspect.cause not in causes:
            return []
        scene = self.scene
        unit = scene.span / 255
        before = "another shape" if np.isinf(self.own.error) else f"{self.own.error / unit:.3g}"
        if self.kind == "exact":
            sure = 0.99
            shown = (
                f"predicting that gives its input to {self.best.error / unit:.2g}/255 of the range"
                f" (the reference's input as it is: {before})"
            )
        else:
            sure = float(np.clip(1 - self.best.left, 0.5, 0.98))
            shown = (
                f"up to a factor and an offset that leaves {self.best.left:.1%} of its variance"
                f" (the reference's input as it is: {self.own.left:.0%})"
            )
        text = f"The device {suspect.text}: {shown}, over {len(scene.places)} frames."
        name = scene.device.input.name if scene.device.input else ""
        return [Verdict(suspect.cause, name, sure, text, suspect.fix, settings=suspect.settings)]


def explain(reference: Observed, device: Observed) -> Explanation | None:
    """Return the judgement of both inputs; None where they cannot be compared."""
    return device.once("explanation", reference, lambda: _explained(reference, device))


def is_clean(reference: Observed, device: Observed) -> bool:
    """Say whether both fed the network the same, or nobody knows."""
    found = explain(reference, device)
    return found is None or found.kind == "clean"


def _explained(reference: Observed, device: Observed) -> Explanation | None:
    scene = scene_of(reference, device)
    if scene is None:
        return None
    own = _own(scene)
    if own.error <= EXACT * scene.noise:
        return Explanation(scene, "clean", own, own)
    tried = [_judged(scene, one) for one in _suspects(scene, FAMILIES)]
    least = min((one.error for one in tried), default=own.error)
    if least > scene.noise or own.error <= CLEAN * scene.noise:
        tried += [_judged(scene, one) for one in _suspects(scene, FROM_RAW)]
    exact = _exact(scene, own, tried)
    if exact is not None:
        return Explanation(scene, "exact", own, exact)
    if own.error <= CLEAN * scene.noise:
        return Explanation(scene, "clean", own, own)
    best = _affine(scene, own, tried)
    if best.left > LEFT:
        return Explanation(scene, "unknown", own, own)
    deviates = _deviates(scene, own, best)
    kind: Literal["clean", "affine"] = "affine" if best.suspect or deviates else "clean"
    return Explanation(scene, kind, own, best, deviates)


def _deviates(scene: Scene, own: Tried, best: Tried) -> bool:
    """Say whether a fit does more than rounding: at the ends of the range, or where values lie."""
    if deviation(scene, best) > DEVIATION + 2 * best.left:
        return True
    return best.suspect is None and GAIN * _error_mapped(scene, best) <= own.error


def deviation(scene: Scene, one: Tried) -> float:
    """Return how far a fit is from doing nothing, at the ends of the range, as a share of it."""
    planes = scene.expected if one.suspect is None else one.suspect.planes
    ends = np.nanpercentile(planes, [5, 95], axis=(0, 2, 3))
    moved = ends * one.factor + one.offset - ends
    return float(np.abs(moved).max() / scene.span)


def _suspects(scene: Scene, families: tuple[str, ...]) -> Iterator[Suspect]:
    for family in families:
        module = importlib.import_module(f"edgebed.observe.assertions.{family}")
        yield from module.suspects(scene)


def _own(scene: Scene) -> Tried:
    channels = scene.given.shape[1]
    if not scene.same_shape:
        return Tried(None, float("inf"), 1.0, np.ones(channels), np.zeros(channels))
    return _tried(scene, None, scene.expected[:, :, list(scene.rows)])


def _judged(scene: Scene, suspect: Suspect) -> Tried:
    return _tried(scene, suspect, suspect.planes)


def _tried(scene: Scene, suspect: Suspect | None, planes: Array) -> Tried:
    error = root_mean_square(scene.quantiser(planes) - scene.seen)
    if suspect is not None and not suspect.affine:
        channels = planes.shape[1]
        return Tried(suspect, error, 1.0, np.ones(channels), np.zeros(channels))
    factor, offset, left = affine(planes, scene.seen, _inside(scene))
    return Tried(suspect, error, left, factor, offset)


def _inside(scene: Scene) -> Array | None:
    """Return where the device's integers are not at an end of their type."""
    limits = scene.quantiser
    if not limits.scale:
        return None
    steps = np.rint(scene.seen / limits.scale) + limits.zero_point
    return np.asarray((steps > limits.low) & (steps < limits.high))


def _exact(scene: Scene, own: Tried, tried: list[Tried]) -> Tried | None:
    best = min(tried, key=lambda one: one.error, default=None)
    if best is None:
        return None
    if max(best.error, scene.noise) * EXACT > own.error:
        return best if _lies_along(scene, best) else None
    if best.error > max(CLEAN * scene.noise, 0.02 * scene.span, _allowed(scene, own)):
        return None
    mapped = min([own, *tried], key=lambda one: one.left)
    if _speaks_against(scene, mapped, best) and not _allowed(scene, own):
        return None  # an affine map comes closer than any known fault
    close = [one for one in tried if one.error <= 1.3 * max(best.error, scene.noise)]
    return min(close, key=lambda one: max(one.error, scene.noise) * (1 + 0.1 * _cost(one)))


def _speaks_against(scene: Scene, mapped: Tried, best: Tried) -> bool:
    """Say whether a map explains more; one that does nothing to the same fault is rounding."""
    causes = [one.suspect.cause if one.suspect else "" for one in (mapped, best)]
    if causes[0] == causes[1] and deviation(scene, mapped) <= DEVIATION:
        return False
    return NEARER * _error_mapped(scene, mapped) < best.error


def _error_mapped(scene: Scene, one: Tried) -> float:
    """Return the exact judgement of a prediction sent through its affine map."""
    planes = one.suspect.planes if one.suspect else scene.expected[:, :, list(scene.rows)]
    mapped = planes * one.factor[None, :, None, None] + one.offset[None, :, None, None]
    return max(root_mean_square(scene.quantiser(mapped) - scene.seen), scene.noise)


def _lies_along(scene: Scene, one: Tried) -> bool:
    """Say whether the device departs as predicted, under noise that is in both."""
    if one.suspect is None or not scene.same_shape or one.error > CLEAN * scene.noise:
        return False
    expected = scene.expected[:, :, list(scene.rows)]
    predicted, seen = one.suspect.planes - expected, scene.seen - expected
    inside = _inside(scene)
    keep = np.isfinite(predicted) & (True if inside is None else inside)
    if keep.mean() < 0.5:
        return False
    predicted, seen = predicted[keep].astype(np.float64), seen[keep].astype(np.float64)
    power, total = float(np.square(predicted).mean()), float(np.square(seen).mean())
    if power < (VISIBLE * scene.noise) ** 2:
        return False
    common = float((predicted * seen).mean())
    return abs(common / power - 1) <= SLOPE and common**2 / power >= ALONG * total


def _allowed(scene: Scene, own: Tried) -> float:
    """Return the error allowed where a few integers are all that is left, so no map is fitted."""
    inside = _inside(scene)
    if inside is None:
        return 0.0
    collapsed = inside.mean() < 0.5 or scene.seen.std() < FEW * scene.quantiser.scale
    return 0.1 * own.error if collapsed else 0.0


def _affine(scene: Scene, own: Tried, tried: list[Tried]) -> Tried:
    deviation = float(scene.seen.std()) or 1.0
    floor = (scene.noise / deviation) ** 2
    best = min(tried, key=lambda one: (one.left + floor) * (1 + 0.1 * _cost(one)), default=own)
    wins = best.left <= LEFT and (own.left + floor) >= GAIN * (best.left + floor)
    return best if wins else own


def _cost(one: Tried) -> float:
    return one.suspect.cost if one.suspect else 0.0
