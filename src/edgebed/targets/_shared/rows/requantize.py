"""Requantisation as one multiplication: exact forms, proven before they are used.

Every rule of a program is a step function of the accumulator that never falls. So it is known by
its beginnings: the least accumulator of every output byte, found by asking the program's own
arithmetic. A line (`eb_line`) with the same beginnings, over all accumulators that can occur,
computes the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from edgebed.errors import EdgebedError
from edgebed.program.arithmetic import Activation, Affine, PowerOfTwo, Requantize

Ints = npt.NDArray[np.int64]
Rule = Literal[0, 1, 2, 3, 4]

LINE: Final = 0
TWICE: Final = 1
ONCE: Final = 2
TWICE_SHORT: Final = 3
FLOAT: Final = 4
"""Values of `eb_output.rule`; runtime/eb.h says what each computes."""

_INT32 = 1 << 31
_MOST_FRACTION = 20  # c holds a byte above these bits, and what the bias moves
_SHORT_SHIFTS = (-24, -1)
_SHORT_REACH = 1 << 30
_NARROWINGS = 64  # each leaves two thirds of at most 2**24 multipliers
_SAMPLE = 4  # channels that are tried first, where none may have a line


@dataclass(frozen=True, eq=False)
class Lines:
    """Requantisation of every channel of a layer, as kernels read it.

    Attributes:
        rule: 0 is the line; see runtime/eb.h for this and the others.
        bias: int64 [O], what a sum of stored inputs times weights starts with.
        multiplier: int64 [O]; the bits of a float32 where rule is 4.
        c: int64 [O]; the shift (positive: to the left) where rule is 1 or 2, the right shift less 1
            where it is 3, 0 where it is 4.
        fraction: bits below the point of rule 0.
        low: least stored byte.
        high: largest stored byte.
        zero_point: stored.
    """

    rule: Rule
    bias: Ints
    multiplier: Ints
    c: Ints
    fraction: int
    low: int
    high: int
    zero_point: int

    @property
    def linear(self) -> bool:
        """Whether every channel has the form of one multiplication."""
        return self.rule == LINE


@dataclass(frozen=True, eq=False)
class StepRule:
    """An exact rule that never falls when the accumulator rises.

    Attributes:
        levels: stored bytes [O, K], as integers, of accumulators int64 [O, K].
        factors: float64 [O], real bytes of one accumulator step; where to look first.
        low: least stored byte.
        high: largest stored byte.
        zero_point: stored.
    """

    levels: Callable[[Ints], Ints]
    factors: npt.NDArray[np.float64]
    low: int
    high: int
    zero_point: int


def lines(
    rule: Requantize | None,
    factors: npt.NDArray[np.int32] | npt.NDArray[np.float32] | None,
    bias: Ints,
    low: Ints,
    high: Ints,
    *,
    activation: Activation = "none",
) -> Lines:
    """Return a layer's requantisation in the cheapest form that gives the same bytes.

    Nothing leaves 32 bits on the way: not the accumulator with its moved bias, not the high word
    plus c. Sums that have not taken all products yet may wrap; the last one brings them back.

    Args:
        rule: of the program.
        factors: of an `Affine` rule, its multiplier constant: int32 (2, O) or (2, 1) for fixed
            point, float32 (O,) or (1,) for `float`.
        bias: int64 [O], what the kernel's sum lacks of the program's accumulator: the bias, less
            input zero point times the sum of the weights where the kernel sums stored bytes.
        low: int64 [O], least accumulator of the program that can occur, its bias included.
        high: int64 [O], largest.
        activation: of a `PowerOfTwo` rule.

    Raises:
        EdgebedError: the output is no byte, or the rule never was monotone (`abs`).
    """
    bias, low, high = (np.asarray(array, np.int64) for array in (bias, low, high))
    # A program that leaves 32 bits is refused when it runs; its accumulators need no proof.
    low, high = np.maximum(low, 1 - _INT32), np.minimum(high, _INT32 - 1)
    step = step_rule(rule, factors, len(bias), activation)
    if _monotone(rule, factors, low, high) and (line := find_line(step, bias, low, high)):
        return line
    return _as_written(rule, factors, step, bias, low, high)


def to_table(found: Lines) -> bytes:
    """Return the C array of `eb_line`, little-endian."""
    return np.stack([found.bias, found.multiplier, found.c], axis=1).astype("<i4").tobytes()


def output_text(found: Lines) -> str:
    """Return the C initialiser of the layer's `eb_output`."""
    return f"{{{found.low}, {found.high}, {found.zero_point}, {found.fraction}, {found.rule}}}"


def step_rule(
    rule: Requantize | None,
    factors: npt.NDArray[np.int32] | npt.NDArray[np.float32] | None,
    channels: int,
    activation: Activation = "none",
) -> StepRule:
    """Return what a weighted layer does with its accumulators; see `lines`."""
    if isinstance(rule, PowerOfTwo):
        if activation == "abs":
            raise _refused("activation 'abs' behind a shift", "it falls before it rises")
        low = 0 if activation == "relu" else -128
        return StepRule(
            lambda acc: np.clip(rule.apply(acc), low, 127),
            np.full(channels, 2.0**-rule.right_shift), low, 127, 0,
        )  # fmt: skip
    if rule is None or rule.dtype not in ("int8", "uint8"):
        found = "int32 accumulators" if rule is None else rule.dtype
        raise _refused(f"an output of {found}", "the kernels write bytes")
    assert factors is not None  # the program saw to it
    offset, table = 128 if rule.dtype == "uint8" else 0, factors
    return StepRule(
        lambda acc: rule.apply(acc.T, table).T.astype(np.int64) - offset,
        np.broadcast_to(_real(rule, factors), (channels,)),
        rule.low - offset, rule.high - offset, rule.zero_point - offset,
    )  # fmt: skip


def find_line(step: StepRule, bias: Ints, low: Ints, high: Ints) -> Lines | None:
    """Return lines with the beginnings of a rule, or None where a channel has none.

    Args:
        step: the rule; it must not fall between `low` and `high`.
        bias: int64 [O], see `lines`.
        low: int64 [O], least accumulator, within int32.
        high: int64 [O], largest accumulator, within int32.
    """
    conditions = _Conditions.of(step, low, high)
    largest = float(step.factors.max(initial=0))
    most = int(np.floor(30.999 - 32 - np.log2(max(largest, 2.0**-60))))
    # Fewer bits below the point make the multipliers coarser: what the most cannot do, none can.
    fraction = min(most, _MOST_FRACTION)
    found = _fit(conditions, step.factors, fraction) if fraction >= 0 else None
    if found is None:
        return None
    multiplier, move, c = found
    ends = [((end + move) * multiplier >> 32) + c for end in (low, high)]
    parts = (c, bias + move, low + move, high + move, *ends)
    if any(np.abs(part).max(initial=0) >= _INT32 for part in parts):
        return None
    return Lines(LINE, bias + move, multiplier, c, fraction, step.low, step.high, step.zero_point)


def beginnings(step: StepRule, low: Ints, high: Ints) -> Ints:
    """Return the least accumulator of every stored byte above the least; int64 [O, bytes].

    Within low..high; high + 1 for bytes that are not reached. Found by bisection, which starts
    from the real factors where they are right.
    """
    target = np.arange(step.low + 1, step.high + 1)[None, :]
    least, most = low[:, None], high[:, None]
    factor = np.maximum(step.factors, 2.0**-60)[:, None]
    guess = (target - step.zero_point - 0.5) / factor
    guess = np.clip(np.rint(guess), least - 1, most + 1).astype(np.int64)
    # The least accumulator lies in (below, above]; below = low - 1 and above = high + 1 are sure.
    below, above = np.maximum(guess - 4, least - 1), np.minimum(guess + 3, most + 1)
    reached = (step.levels(np.clip(below, least, most)) >= target) & (below >= least)
    missed = (step.levels(np.clip(above, least, most)) < target) & (above <= most)
    below, above = np.where(reached, least - 1, below), np.where(missed, most + 1, above)
    while (gap := above - below).max(initial=0) > 1:
        middle = below + gap // 2
        good = step.levels(np.clip(middle, least, most)) >= target
        inside = gap > 1
        above, below = (
            np.where(inside & good, middle, above), np.where(inside & ~good, middle, below),
        )  # fmt: skip
    return above


@dataclass(frozen=True, eq=False)
class _Conditions:
    """Points that a line must reach, and points where it must stay below; int64 [O, K].

    Attributes:
        target: the byte, [1, K].
        reach: the least accumulator that has to give the byte.
        stay: the largest that must not.
        reaches: bool; the first condition counts.
        stays: bool; the second condition counts.
    """

    target: Ints
    reach: Ints
    stay: Ints
    reaches: npt.NDArray[np.bool_]
    stays: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, step: StepRule, low: Ints, high: Ints) -> _Conditions:
        """Return the conditions of a rule over low..high."""
        begin = beginnings(step, low, high)
        target = np.arange(step.low + 1, step.high + 1, dtype=np.int64)[None, :]
        return cls(target, begin, begin - 1, begin <= high[:, None], begin > low[:, None])

    def at(self, channels: npt.NDArray[np.intp]) -> _Conditions:
        """Return the conditions of some channels."""
        reach, stay = self.reach[channels], self.stay[channels]
        return _Conditions(self.target, reach, stay, self.reaches[channels], self.stays[channels])

    def offsets(self, multiplier: Ints, fraction: int) -> tuple[Ints, Ints]:
        """Return [least, end) of C with acc * multiplier + C >= byte << 32 + fraction exactly
        where the byte is reached; int64 [O] each.
        """  # noqa: D205 - the formula is the summary
        goal, slope = self.target << (32 + fraction), multiplier[:, None]
        none = np.int64(1) << 62
        least = np.where(self.reaches, goal - self.reach * slope, -none).max(axis=1, initial=-none)
        end = np.where(self.stays, goal - self.stay * slope, none).min(axis=1, initial=none)
        return least, end


def _fit(
    conditions: _Conditions, factors: npt.NDArray[np.float64], fraction: int
) -> tuple[Ints, Ints, Ints] | None:
    """Return multiplier, move of the bias and c of every channel, or None."""
    multiplier = _even(factors * 2.0 ** (32 + fraction))
    least, end = conditions.offsets(multiplier, fraction)
    open_ = np.flatnonzero(least >= end)
    for some in (open_[:_SAMPLE], open_[_SAMPLE:]):
        part = conditions.at(some)
        multiplier[some] = _widest(part, multiplier[some], fraction)
        least[some], end[some] = part.offsets(multiplier[some], fraction)
        if (least[some] >= end[some]).any():
            return None
    split = _split(least, end, multiplier)
    return None if split is None else (multiplier, *split)


def _even(values: npt.NDArray[np.float64]) -> Ints:
    halves: Ints = np.clip(np.rint(values / 2), 0, (1 << 30) - 1).astype(np.int64)
    return 2 * halves


def _widest(conditions: _Conditions, multiplier: Ints, fraction: int) -> Ints:
    """Return the even multipliers whose offsets have most room.

    The room is a minimum of linear functions of the multiplier, so it has one peak, and a search
    that keeps the better part finds it.
    """

    def room(halves: Ints) -> Ints:
        least, end = conditions.offsets(2 * halves, fraction)
        return end - least

    spread = np.clip(multiplier >> 7, 8, None)
    left = np.maximum(multiplier // 2 - spread, 0)
    right = np.minimum(multiplier // 2 + spread, (1 << 30) - 1)
    for _ in range(_NARROWINGS):
        if (right - left).max(initial=0) <= 2:
            break
        third = (right - left) // 3
        first, second = left + third, right - third
        better = room(first) < room(second)
        left, right = np.where(better, first, left), np.where(better, right, second)
    tries = np.stack([left, left + 1, right])
    best = np.argmax(np.stack([room(one) for one in tries]), axis=0)
    result: Ints = 2 * tries[best, np.arange(len(left))]
    return result


def _split(least: Ints, end: Ints, multiplier: Ints) -> tuple[Ints, Ints] | None:
    """Return small moves, and c, with least <= move * multiplier + (c << 32) < end."""
    move, c = np.zeros_like(least), -((-least) >> 32)
    for i in np.flatnonzero((c << 32) >= end):
        first, last, slope = int(least[i]), int(end[i]) - 1, int(multiplier[i])
        # The low words of moves * multiplier; what is between least and end has no multiple of
        # 2**32, so these do not wrap.
        found = first_in_range(slope, 1 << 32, first % (1 << 32), last % (1 << 32))
        if found is None:
            return None
        move[i], c[i] = found, -((found * slope - first) >> 32)
    return move, c


def first_in_range(factor: int, modulus: int, low: int, high: int) -> int | None:
    """Return the least x >= 0 with low <= factor * x mod modulus <= high, or None.

    0 <= low <= high < modulus. Euclid's algorithm: factor * x - modulus * y lies in the range
    exactly if modulus * y, modulo the factor, lies in the range turned around.
    """
    if low == 0:
        return 0
    factor %= modulus
    if factor == 0:
        return None
    x = -(-low // factor)
    if factor * x <= high:
        return x
    y = first_in_range(modulus % factor, factor, -high % factor, -low % factor)
    return None if y is None else -(-(low + modulus * y) // factor)


def _real(
    rule: Affine, factors: npt.NDArray[np.int32] | npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    if rule.rounding == "float":
        return factors.astype(np.float64)
    result: npt.NDArray[np.float64] = np.ldexp(factors[0].astype(np.float64), factors[1] - 31)
    return result


def _monotone(
    rule: Requantize | None,
    factors: npt.NDArray[np.int32] | npt.NDArray[np.float32] | None,
    low: Ints,
    high: Ints,
) -> bool:
    """Return whether the rule never falls; TensorFlow Lite's left shift may wrap."""
    if not isinstance(rule, Affine) or factors is None:
        return True
    if rule.rounding == "float":
        return bool((factors >= 0).all())
    left = np.maximum(factors[1].astype(np.int64), 0)
    reach = np.maximum(np.abs(low), np.abs(high))
    return bool(((reach << left) < _INT32).all()) or rule.rounding == "fixed_point_single"


def _as_written(
    rule: Requantize | None,
    factors: npt.NDArray[np.int32] | npt.NDArray[np.float32] | None,
    step: StepRule,
    bias: Ints,
    low: Ints,
    high: Ints,
) -> Lines:
    """Return the program's own arithmetic, for a layer in which a channel has no line."""
    reach = int(max(np.abs(low).max(initial=0), np.abs(high).max(initial=0)))
    number, multiplier, shift = _numbers(rule, factors, reach)
    multiplier, shift = (
        np.broadcast_to(np.asarray(one, np.int64), bias.shape) for one in (multiplier, shift)
    )
    return Lines(number, bias, multiplier, shift, 0, step.low, step.high, step.zero_point)


def _numbers(
    rule: Requantize | None,
    factors: npt.NDArray[np.int32] | npt.NDArray[np.float32] | None,
    reach: int,
) -> tuple[Rule, Ints, Ints]:
    """Return rule number, multipliers and shifts."""
    if isinstance(rule, PowerOfTwo):
        return ONCE, np.array([1 << 30]), np.array([1 - rule.right_shift])
    assert rule is not None and factors is not None
    if rule.rounding == "float":
        bits = factors.astype("<f4").view("<i4").astype(np.int64)
        return FLOAT, bits, np.zeros_like(bits)
    multiplier, shift = factors.astype(np.int64)
    if rule.rounding == "fixed_point_single":
        return ONCE, multiplier, shift
    # A dead channel is 0 with any shift.
    shift = np.where(multiplier == 0, -1, shift)
    least, most = _SHORT_SHIFTS
    short = shift.min() >= least and shift.max() <= most and reach < _SHORT_REACH
    return (TWICE_SHORT, multiplier, -shift - 1) if short else (TWICE, multiplier, shift)


def _refused(what: str, why: str) -> EdgebedError:
    return EdgebedError(what, why=why, try_="a target that keeps wider tensors, such as host")
