"""An input that differs, and no known fault says why."""

from __future__ import annotations

from edgebed.observe.assertions.explanation import explain
from edgebed.observe.observed import Observed
from edgebed.observe.verdict import Verdict


def unexplained(reference: Observed, device: Observed) -> list[Verdict]:
    """Say that the inputs differ beyond every known fault, so that nobody looks at the layers."""
    found = explain(reference, device)
    if found is None or found.kind != "unknown":
        return []
    scene = found.scene
    shapes = (
        " x ".join(map(str, scene.expected.shape[1:])),
        " x ".join(map(str, scene.given.shape[1:])),
    )
    what = (
        f"are of shape {shapes[1]} where the reference's are {shapes[0]}" if not scene.same_shape
        else f"share {1 - found.own.left:.0%} of their variance with the reference's"
    )  # fmt: skip
    return [
        Verdict(
            "input_unexplained", scene.device.input.name if scene.device.input else "", 0.5,
            f"The device's inputs {what}, and no known fault turns one into the other.",
            "Check that both traces saw the same raw data; record it (role raw) on both sides.",
        )
    ]  # fmt: skip
