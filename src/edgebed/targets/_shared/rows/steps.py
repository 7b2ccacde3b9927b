"""From a sum to a byte by any function that never falls, as steps.h computes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgebed.program.types import Op
from edgebed.targets._shared.rows.frame import Frame
from edgebed.targets._shared.rows.requantize import (
    Lines,
    StepRule,
    beginnings,
    find_line,
    output_text,
)
from edgebed.targets._shared.rows.stage import Table

NEVER = "{0, {{0, 0, 0}, {0, 0, 0}}, {0, 0, 0, 0, 0}}"
"""Initialiser of an eb_steps_t that is not used."""


@dataclass(frozen=True)
class Steps:
    """The initialiser of an eb_steps_t, and the tables that it names."""

    text: str
    tables: tuple[Table, ...] = ()


def steps(frame: Frame, op: Op, rule: StepRule, low: int, high: int) -> Steps:
    """Return a function of one sum in its smallest form: a line, one for each sign, thresholds.

    Args:
        frame: of the program.
        op: whose function it is.
        rule: the function, of one channel.
        low: least sum, within int32.
        high: largest sum.
    """
    if (found := _line(rule, low, high)) is not None:
        return Steps(_text("0", found, found))
    above, below = _line(rule, max(low, 0), max(high, 0)), _line(rule, min(low, -1), min(high, -1))
    if above is not None and below is not None and above.fraction == below.fraction:
        return Steps(_text("0", above, below))
    ends = np.array([low]), np.array([high])
    first = np.minimum(beginnings(rule, *ends)[0], (1 << 31) - 1)
    table = frame.table(op, "first", "int32_t", first.astype("<i4").tobytes(), weights=False)
    limits = f"{{{rule.low}, {rule.high}, 0, 0, 0}}"
    return Steps(f"{{{table.name}, {{{{0, 0, 0}}, {{0, 0, 0}}}}, {limits}}}", (table,))


def array_text(found: Sequence[Steps | None]) -> str:
    """Return a C array of eb_steps_t that an initialiser can hold."""
    parts = ", ".join(NEVER if one is None else one.text for one in found)
    return f"(const eb_steps_t[]){{{parts}}}"


def _line(rule: StepRule, low: int, high: int) -> Lines | None:
    return find_line(rule, np.zeros(1, np.int64), np.array([low]), np.array([high]))


def _text(first: str, above: Lines, below: Lines) -> str:
    lines = ", ".join(f"{{{x.bias[0]}, {x.multiplier[0]}, {x.c[0]}}}" for x in (above, below))
    return f"{{{first}, {{{lines}}}, {output_text(above)}}}"
