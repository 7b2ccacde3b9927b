"""Pixels brought to another range than the network was trained with.

Settings of the verdicts: by channel the `factor` and `offset` that make the device's input of the
reference's.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgebed.observe.assertions.explanation import Explanation, Suspect, explain
from edgebed.observe.assertions.scene import RANGES, Scene, imagenet, named
from edgebed.observe.observed import Observed
from edgebed.observe.verdict import Verdict
from edgebed.program.types import Array

FACTORS = {np.log10(np.e): "base 10 for the natural logarithm", 10 * np.log10(np.e): "decibels"}


def normalisation(reference: Observed, device: Observed) -> list[Verdict]:
    """Name another factor or offset between pixels and the network's input."""
    found = explain(reference, device)
    if found is None:
        return []
    return found.verdicts("normalisation") or _fitted(found, "normalisation")


def double_normalisation(reference: Observed, device: Observed) -> list[Verdict]:
    """Say that pixels are normalised a second time."""
    found = explain(reference, device)
    if found is None:
        return []
    return found.verdicts("double_normalisation") or _fitted(found, "double_normalisation")


def suspects(scene: Scene) -> Iterator[Suspect]:
    """Give the usual ranges, and the reference's own applied twice."""
    if not scene.same_shape or scene.expected.shape[1] not in (1, 3) or is_sound(scene):
        return
    pixels = scene.bytes_[:, :, list(scene.rows)]
    factor, offset, own = scene.encoding
    for name, a, b in _known(scene.expected.shape[1]):
        if name == own or named(a, b, [(own, factor, offset)]):
            continue  # nearly the same: rounding, no fault
        yield Suspect(
            "normalisation",
            f"feeds pixels as {name} where the reference feeds {own}",
            f"Normalise pixels to {own}.",
            pixels * a[None, :, None, None] + b[None, :, None, None],
            affine=False,
            settings=_settings(a / factor, b - a / factor * offset),
        )
    if not np.allclose(factor, 1):
        yield Suspect(
            "double_normalisation",
            f"normalises to {own} twice",
            "Normalise once: either the pipeline or the network does it.",
            scene.encoded(scene.encoded(pixels)),
            affine=False,
            settings=_settings(factor, offset),
        )
    yield from _taken_for_shares(scene)


def _taken_for_shares(scene: Scene) -> Iterator[Suspect]:
    """Give the reference's own applied to its own result as if that were pixels of 0 to 1."""
    factor, offset, own = scene.encoding
    nominal = next((one for one in _known(len(factor)) if one[0] == own), None)
    whole, start = 255 * factor, offset
    if nominal is not None:
        whole, start = 255 * nominal[1], nominal[2]
    if np.allclose(whole, 1, atol=0.02):
        return
    shown = ", ".join(f"{x:.4g} x {y:+.4g}" for x, y in zip(whole, start, strict=True))
    yield Suspect(
        "double_normalisation",
        f"normalises to {own} twice, the second time as if what it has were pixels of 0 to 1"
        f" (by channel {shown} of the reference's)",
        "Normalise once: either the pipeline or the network does it.",
        scene.expected[:, :, list(scene.rows)] * whole[None, :, None, None]
        + start[None, :, None, None],
        affine=False,
        settings=_settings(whole, start),
    )


def _settings(factor: Array, offset: Array) -> dict[str, list[float]]:
    return {"factor": [float(x) for x in factor], "offset": [float(x) for x in offset]}


def is_sound(scene: Scene) -> bool:
    """Say whether inputs are made from sound."""
    sides = (scene.reference, scene.device)
    return any(one.waveform is not None or "features" in one.contract for one in sides)


def _known(channels: int) -> list[tuple[str, Array, Array]]:
    known = [(name, np.full(channels, a), np.full(channels, b)) for name, a, b in RANGES
             if name != "/ 256"]  # fmt: skip
    return [*known, imagenet()] if channels == 3 else known


def _fitted(found: Explanation, cause: str) -> list[Verdict]:
    """Return a verdict on the affine map that is left over when everything else is explained."""
    scene, best = found.scene, found.best
    if found.kind != "affine" or not found.deviates:
        return []
    a, b = best.factor, best.offset
    own_a, own_b, own = scene.encoding
    twice = np.allclose(a, own_a, rtol=0.05) and not np.allclose(own_a, 1, atol=0.05)
    if ("double_normalisation" if twice and not is_sound(scene) else "normalisation") != cause:
        return []
    name = "" if is_sound(scene) else named(a * own_a, a * own_b + b, _known(len(a)))
    words = f"pixels as {name} where the reference feeds {own}" if name else "its input otherwise"
    if len(a) == 1 and is_sound(scene):
        close = [text for value, text in FACTORS.items() if np.isclose(a[0], value, rtol=0.02)]
        words = f"features in {close[0]}" if close else words
    shown = ", ".join(f"{x:.4g} x {y:+.4g}" for x, y in zip(a, b, strict=True))
    return [
        Verdict(
            cause,
            scene.device.input.name if scene.device.input else "",
            float(np.clip(1 - best.left, 0.5, 0.99)),
            f"The device feeds {words}: by channel it is {shown} of the reference's"
            f" ({1 - best.left:.1%} of the variance explained).",
            "Normalise once." if twice else f"Normalise pixels to {own}." if name
            else "Use the reference's factor and offset.",
            settings=_settings(a, b),
        )
    ]  # fmt: skip
