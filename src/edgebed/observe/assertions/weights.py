"""Weights and biases on the device that are not the program's.

Each layer is computed again from the input that the device recorded for it, by the program that
the trace names. Where no integer differs, its weights are right. Biases are missing where leaving
them out gives the device's integers, or where another constant for each channel does: what memory
held at power-up. Weights are stale where other ones, fitted to input and output, explain what the
program's do not, up to a factor and an offset of each channel. A kernel that overflows, rounds or
pads otherwise is no sum with any weights, and one whose scale is off keeps the program's direction.

Settings of the verdicts: `layers`, the names of those found so.

Thresholds: SURE of the integers must be equal. Fitted weights must explain WELL of the variance of
values that the fit has not seen, and leave a THIRD of what the program's leave: right ones would
leave rounding to both, half as much again to the fit. Layers of which rounding takes more than FINE
(values that deviate by fewer than six steps) tell nothing.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from edgebed.observe.assertions.explanation import is_clean
from edgebed.observe.observed import Observed
from edgebed.observe.recomputed import Layer, layers_of, program_of
from edgebed.observe.verdict import Verdict
from edgebed.program.types import Array, Program

SURE: Final = 0.999
WELL: Final = 0.95
THIRD: Final = 3.0
FINE: Final = 0.002
LISTED: Final = 4


def weights(reference: Observed, device: Observed) -> list[Verdict]:
    """Say whether the device computes with other biases or weights than its program has."""
    if _same(reference, device) or not is_clean(reference, device):
        return []
    program = program_of(device)
    if program is None and reference.manifest.digest == device.manifest.digest:
        program = program_of(reference)
    return [] if program is None else weights_beside(program, reference, device)


def weights_beside(program: Program, reference: Observed, device: Observed) -> list[Verdict]:
    """Say the same where the program is at hand.

    Args:
        program: that the device runs.
        reference: sample of the trace to trust.
        device: sample of the trace to examine.
    """
    if _same(reference, device) or not is_clean(reference, device):
        return []
    layers = layers_of(program, device)
    wrong = [one for one in layers if one.equal < 1]
    if not wrong:
        return []
    return _missing_biases(layers) or _stale_weights(layers, wrong)


def _same(reference: Observed, device: Observed) -> bool:
    """Say whether no layer differs, so that none has to be computed again."""
    if reference.manifest.digest != device.manifest.digest:
        return False
    left, right = ({**side.layers, **side.outputs} for side in (reference, device))
    return all(
        np.array_equal(one, other)
        for name in right if name in left
        for one, other in zip(left[name].stored, right[name].stored, strict=False)
    )  # fmt: skip


def _missing_biases(layers: tuple[Layer, ...]) -> list[Verdict]:
    biased = [one for one in layers if one.bias is not None and one.equal < 1]
    found = [one for one in biased if one.equal_without_bias >= SURE]
    fix = (
        "Load the biases before the first run: call the routine that writes them, and look into the"
        " linked program whether it is still there."
    )
    settings = {"layers": [one.name for one in found]}
    if found:
        return [
            Verdict(
                "missing_biases", found[0].name, 0.99,
                f"Without its biases {found[0].name} gives the device's integers"
                f" ({found[0].equal_without_bias:.1%} of them, {found[0].equal:.1%} with them);"
                f" the same in {len(found)} of {len(biased)} layers that differ and have biases.",
                fix, settings=settings,
            )
        ]  # fmt: skip
    for one in biased[:1]:
        other = _other_biases(one)
        if other is not None:
            assert one.bias is not None  # as filtered above
            return [
                Verdict(
                    "missing_biases", one.name, 0.95,
                    f"{one.name} gives the device's integers with other biases ({_shown(other)}),"
                    f" not with the program's ({_shown(one.bias)}): memory holds what was never"
                    " written.",
                    fix, settings={"layers": [one.name]},
                )
            ]  # fmt: skip
    return []


def _other_biases(layer: Layer) -> Array | None:
    """Return biases that explain a layer beyond doubt; None where none do."""
    gaps = layer.constant_gaps()
    unit = _unit(layer.bias)
    if gaps is None or unit is None:
        return None
    biases = np.rint(gaps / unit).astype(np.int64) * unit
    return biases if layer.equal_with(biases) >= SURE else None


def _unit(biases: Array | None) -> int | None:
    """Return what all biases are multiples of."""
    return None if biases is None else int(np.gcd.reduce(np.abs(biases.astype(np.int64)))) or None


def _shown(biases: Array) -> str:
    first = ", ".join(str(int(one)) for one in biases[:LISTED])
    return first + (", ..." if len(biases) > LISTED else "")


def _stale_weights(layers: tuple[Layer, ...], wrong: list[Layer]) -> list[Verdict]:
    fitted = [(one, one.fit) for one in wrong]
    tested = [(one, fit) for one, fit in fitted if fit is not None and fit.rounding <= FINE]
    found = [
        (one, fit) for one, fit in tested
        if fit.own >= WELL and 1 - fit.known >= THIRD * (1 - fit.own)
    ]  # fmt: skip
    if not found or found[0] != tested[0] or 2 * len(found) < len(tested):
        return []
    shown = "; ".join(
        f"{one.name} {fit.own:.2%} with fitted weights, {fit.known:.2%} with the program's"
        for one, fit in found[:LISTED]
    )
    return [
        Verdict(
            "stale_weights", wrong[0].name, 0.97,
            f"The device's layers are sums with other weights than the program's. Of the variance"
            f" of values left out of the fit are explained: {shown}. So are {len(found)} of"
            f" {len(tested)} layers with enough values; {len(wrong)} of {len(layers)} differ.",
            "Write the weights of this program to the device again, all of them from one build, and"
            " take known answers from the same build.",
            settings={"layers": [one.name for one, _ in found]},
        )
    ]  # fmt: skip
