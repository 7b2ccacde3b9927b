"""Another way to bring a picture to size: recomputed from the raw picture, each way in turn.

Settings of the verdicts: `placing` and `method` of the reference, names of `resampling`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from edgebed.observe.assertions.explanation import Suspect, explain
from edgebed.observe.assertions.normalisation import is_sound
from edgebed.observe.assertions.scene import REPRODUCED, Scene
from edgebed.observe.observed import Observed
from edgebed.observe.resampling import METHODS, PLACINGS, Placing
from edgebed.observe.verdict import Verdict
from edgebed.program.types import Array

WORDS: Final[dict[Placing, str]] = {
    "stretch": "stretches the whole picture",
    "letterbox": "keeps the aspect ratio with borders (letterbox)",
    "crop": "cuts the longer side (centre crop)",
    "crop_corner": "cuts out the upper left corner",
    "crop_central": "cuts off an eighth (central crop)",
}


def resize_method(reference: Observed, device: Observed) -> list[Verdict]:
    """Name the interpolation that reproduces the device's input from the raw picture."""
    found = explain(reference, device)
    return found.verdicts("resize_method") if found else []


def aspect(reference: Observed, device: Observed) -> list[Verdict]:
    """Name stretching for letterboxing, or the reverse."""
    found = explain(reference, device)
    return found.verdicts("aspect") if found else []


def crop(reference: Observed, device: Observed) -> list[Verdict]:
    """Name a crop that the reference does not make, or makes elsewhere."""
    found = explain(reference, device)
    return found.verdicts("crop") if found else []


def suspects(scene: Scene) -> Iterator[Suspect]:
    """Give every way of bringing the raw picture to size, but the reference's own."""
    if not scene.same_shape or is_sound(scene) or scene.pictures(of_device=True) is None:
        return
    own = scene.own_placing
    known = own is not None and own[2] <= REPRODUCED
    own_placing: Placing = own[0] if own and known else "stretch"
    own_method = own[1] if own and known else ""
    for placing in _different(scene, own_placing):
        for method in _methods(placing, own_placing, own_method):
            if known and (placing, method) == (own_placing, own_method):
                continue
            planes = scene.placed(placing, method, of_device=True)
            if planes is not None:
                yield _suspect(scene, placing, method, own_placing, own_method, planes)


def _methods(placing: Placing, own_placing: Placing, own_method: str) -> tuple[str, ...]:
    if placing == own_placing:
        return tuple(METHODS)
    return tuple(dict.fromkeys((own_method or "area", "bilinear", "area", "nearest")))


def _different(scene: Scene, own: Placing) -> tuple[Placing, ...]:
    """Leave out what pictures of the network's own aspect ratio cannot tell apart."""
    pictures = scene.pictures(of_device=True) or ()
    height, width = scene.given.shape[2:]
    ratios = [one.shape[1] * height / (one.shape[0] * width) for one in pictures]
    if all(abs(ratio - 1) < 0.01 for ratio in ratios):
        return tuple(dict.fromkeys((own, "stretch", "crop_central")))
    return PLACINGS


def _suspect(
    scene: Scene, placing: Placing, method: str, own: Placing, own_method: str, planes: Array
) -> Suspect:
    encoded = scene.encoded(planes)
    if placing == "letterbox":
        encoded = _with_borders(scene, encoded)
    known = f" where the reference resizes by {own_method}" if own_method else ""
    settings = {"placing": own, **({"method": own_method} if own_method else {})}
    if placing == own:
        return Suspect(
            "resize_method",
            f"resizes by {method}{known}",
            f"Resize by {own_method or 'the method the network was trained with'}.", encoded, 2.0,
            settings=settings,
        )  # fmt: skip
    cause = "crop" if "crop" in placing or "crop" in own else "aspect"
    return Suspect(
        cause, f"{WORDS[placing]} where the reference {WORDS[own]}",
        f"Do as the reference, which {WORDS[own]}.", encoded, 2.0, settings=settings,
    )  # fmt: skip


def _with_borders(scene: Scene, planes: Array) -> Array:
    """Fill borders with what the device most often has there."""
    border = np.isnan(planes)
    for channel in range(planes.shape[1]):
        here = border[:, channel]
        if here.any():
            planes[:, channel][here] = np.median(scene.seen[:, channel][here])
    return planes
