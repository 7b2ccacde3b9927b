"""The first layer that departs from its reference, and what the errors behind it do.

Three rules, from the strictest:

* Exact. Both traces are of one program, and a layer's integers mean the same on both sides: any
  integer that differs is a departure. With a runtime that has kernels of its own, whose integers
  nobody promised, the third rule applies.
* Real. Nothing in either network is quantised: kernels differ in the order of their sums, so a
  departure is more than REAL_LIMIT, or a jump by JUMP beyond REAL_JUMP.
* Steps. Either side is quantised. Whole networks of clean int8 stay at or below CLEAN, planted
  kernel faults begin at PLANTED; a departure is more than LIMIT (twice CLEAN), or a jump by JUMP
  from all layers before, to more than JUMP_LIMIT.

Network inputs have no layers before them that could have added to their error, so less is allowed:
INPUT_LIMIT, a third of what another resize method does to photographs. Of traces that hold
statistics only, the errors are lower bounds and the same limits hold.

The pattern says what kind of fault it is. A kernel that computes something else *steps* and the
error persists, because every later layer works on wrong values. Quantisation *grows* from layer to
layer without a step. One op with an unlucky range *spikes* and its successors heal.

Anchors, nRMSE per layer of published runs: MobileNetV2 in int8 with reference kernels stays at or
below 0.075; with a defective depth-wise kernel it jumps to 0.508 and stays between 0.15 and 0.73.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from edgebed.observe.layer_error import LayerError

CLEAN: Final = 0.08
PLANTED: Final = 0.4
LIMIT: Final = 2 * CLEAN
JUMP: Final = 8.0
JUMP_FLOOR: Final = 0.005
JUMP_LIMIT: Final = JUMP * JUMP_FLOOR
STEP: Final = 3.0
"""A departure below this many times the errors before it has grown and not stepped."""
HEALS: Final = 5.0
"""Errors behind a departure that are smaller by this factor have healed ..."""
USUAL: Final = 1.5
"""... and so have errors up to this many times the largest before it."""
NEXT: Final = 3
"""So many layers behind one that resembles nothing say whether it is at fault."""
REAL_LIMIT: Final = 0.01
REAL_FLOOR: Final = 5e-4
REAL_JUMP: Final = JUMP * REAL_FLOOR
INPUT_LIMIT: Final = 0.01
SELDOM: Final = 10.0
"""A frame beyond PLANTED and this many times the mean is a fault of some frames."""

Pattern = Literal["step", "grows", "spike", "not finite", "seldom"]
Rule = Literal["exact", "real", "steps"]


@dataclass(frozen=True)
class Departure:
    """Where two traces part.

    Attributes:
        layer: name, in the reference.
        device_layer: name, in the other trace.
        index: in the list of compared tensors.
        pattern: of the errors from there on.
        rule: by which it departs.
        error: nRMSE there.
        before: the largest nRMSE before it; 0 for the first.
        after: the median nRMSE behind it; equal to `error` for the last.
        previous: name of the last tensor before it; empty for the first.
        unseen: layers of the reference between `previous` and it that the other trace lacks.
    """

    layer: str
    device_layer: str
    index: int
    pattern: Pattern
    rule: Rule
    error: float
    before: float
    after: float
    previous: str = ""
    unseen: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        plain = asdict(self)
        infinite = {k: None for k, v in plain.items() if v == float("inf")}
        return {**plain, **infinite}


def first_departure(errors: Sequence[LayerError], exact: bool) -> Departure | None:
    """Return where a comparison departs, or None.

    Args:
        errors: in the order of execution: raw data, inputs, layers, outputs.
        exact: whether integers that mean the same have to be equal.
    """
    before = 0.0
    quantised = any(one.quantised for one in errors if one.pair.role in ("layer", "output"))
    for index, one in enumerate(errors):
        rule = rule_of(one, exact, quantised)
        if one.frames and departs(one, before, rule):
            if one.pair.unlike and not _persists(errors[index + 1 :], before, exact, quantised):
                continue  # what stands before sound layers and resembles nothing is no pair
            return _departure(errors, index, before, rule)
        if one.pair.role != "raw":
            before = max(before, one.nrmse)
    return None


def _persists(later: Sequence[LayerError], before: float, exact: bool, quantised: bool) -> bool:
    """Say whether any of the next layers departs too, or none is left to tell."""
    known = [one for one in later if one.frames and not one.pair.unlike][:NEXT]
    return not known or any(departs(o, before, rule_of(o, exact, quantised)) for o in known)


def rule_of(error: LayerError, exact: bool, quantised: bool) -> Rule:
    """Return the rule that a layer is judged by.

    Args:
        error: of the layer.
        exact: whether integers that mean the same have to be equal.
        quantised: whether any layer of either network is.
    """
    if error.same_steps and exact:
        return "exact"
    return "steps" if quantised else "real"


def departs(error: LayerError, before: float, rule: Rule) -> bool:
    """Say whether a layer departs, given the largest error before it."""
    if error.device_bad:
        return True
    if rule == "exact":
        return error.differing > 0
    if error.pair.role in ("raw", "input"):
        return error.nrmse > INPUT_LIMIT
    if _seldom(error):
        return True
    limit, jump, floor = (
        (REAL_LIMIT, REAL_JUMP, REAL_FLOOR) if rule == "real" else (LIMIT, JUMP_LIMIT, JUMP_FLOOR)
    )
    return error.nrmse > limit or error.nrmse > max(jump, JUMP * max(before, floor))


def _seldom(error: LayerError) -> bool:
    return error.frames > 1 and error.worst > PLANTED and error.worst > SELDOM * error.nrmse


def _departure(errors: Sequence[LayerError], index: int, before: float, rule: Rule) -> Departure:
    one = errors[index]
    rest = [later.nrmse for later in errors[index + 1 :] if later.frames]
    after = statistics.median(rest) if rest else one.nrmse
    return Departure(
        one.name, one.pair.device[1], index, _pattern(one, before, after, rule), rule,
        one.nrmse, before, after, errors[index - 1].name if index else "",
    )  # fmt: skip


def _pattern(error: LayerError, before: float, after: float, rule: Rule) -> Pattern:
    if error.device_bad:
        return "not finite"
    if rule != "exact" and _seldom(error):
        return "seldom"
    if rule != "exact" and 0 < error.nrmse < STEP * before:
        return "grows"
    return "spike" if after <= max(error.nrmse / HEALS, USUAL * before) else "step"
