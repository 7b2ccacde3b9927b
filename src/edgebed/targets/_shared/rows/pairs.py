"""Rules of two bytes: all 65,536 pairs are computed, then the cheapest form that agrees is taken.

A sum is `(a * a_factor + b * b_factor + c) >> shift` wherever that gives every pair its byte,
with another c for negative sums where ties are rounded away from zero. A product takes the line
of a requantisation. What neither reproduces goes through thresholds of a number that orders the
pairs, or through a table of all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from edgebed.program.arithmetic import Affine, multiplier_table, multiply_by_quantized
from edgebed.program.ops._float import real_values
from edgebed.program.ops._sum import early_sum, sum_factors
from edgebed.program.types import Constant, Op, TensorType
from edgebed.targets._shared.rows.requantize import Lines, lines

Ints = npt.NDArray[np.int64]
Truths = npt.NDArray[np.bool_]
Form = Literal["shift", "kink", "line", "steps", "table", "max", "min"]

_INT32 = 1 << 31
_MOST_SHIFT = 28
_SHIFTS_TRIED = 3
_NEIGHBOURS = (0, 1, -1, 2, -2)
_STORED = np.arange(-128, 128, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Levels:
    """A rule of two stored bytes and what it was made from.

    Attributes:
        out: int64 [256, 256], stored byte for a = row - 128 and b = column - 128.
        kinds: of the operands, as stored: int8 with the stored zero point.
        rule: of the result, or None.
    """

    out: Ints
    kinds: tuple[TensorType, TensorType]
    rule: Affine | None


@dataclass(frozen=True, eq=False)
class Pair:
    """A rule of two bytes as the kernels of pairs.h read it.

    Attributes:
        form: how the result comes from the sum or product; see pairs.h.
        product: of a and b, each with its addend, instead of their sum with factors.
        factors: of a and b, where they are no tables.
        addends: for products: minus the zero points.
        c: added before the shift; second, what is added where the sum is negative.
        start: added to the sum before its sign is looked at.
        shift: to the right.
        tables: int32 [256] each, instead of the operands' factors; empty for none.
        first: int32, the least sum or product of each byte above the least.
        all: int8 [65536], the result itself.
        lines: one channel, the requantisation of a product.
        low: least result.
        high: largest result.
    """

    form: Form
    product: bool = False
    factors: tuple[int, int] = (0, 0)
    addends: tuple[int, int] = (0, 0)
    c: tuple[int, int] = (0, 0)
    start: int = 0
    shift: int = 0
    tables: tuple[Ints, ...] = ()
    first: Ints | None = None
    all: Ints | None = None
    lines: Lines | None = None
    low: int = -128
    high: int = 127


def levels_of(
    op: Op, kinds: Sequence[TensorType], constants: Mapping[str, Constant], out: TensorType
) -> Levels:
    """Run an op of two bytes on all pairs.

    Args:
        op: element-wise, of two int8 or uint8 tensors.
        kinds: of its operands.
        constants: of the program.
        out: type of its result, int8 or uint8.
    """
    offsets = [128 if kind.dtype == "uint8" else 0 for kind in (*kinds, out)]
    a, b = (
        (_STORED + offset).astype(kind.dtype) for kind, offset in zip(kinds, offsets, strict=False)
    )
    types = [
        kind.with_shape(shape) for kind, shape in zip(kinds, ((256, 1), (1, 256)), strict=True)
    ]
    with np.errstate(all="ignore"):
        result = op.run([a[None, :, None], b[None, None, :]], constants, types)[0]
    stored = [
        replace(kind, dtype="int8", zero_point=kind.zero_point - offset)
        for kind, offset in zip(types, offsets, strict=False)
    ]
    rule = cast(Any, op).requantize
    return Levels(result.astype(np.int64) - offsets[2], (stored[0], stored[1]), rule)


def sum_pair(levels: Levels, sign: int = 1, sources: Sequence[TensorType] = ()) -> Pair:
    """Return the cheapest form of a sum (or difference, with `sign` -1).

    Args:
        levels: of all pairs.
        sign: of the second operand.
        sources: the operands' types as the program has them, for thresholds of exact sums.
    """
    out_scale = levels.kinds[0].scale if levels.rule is None else levels.rule.scale
    slopes = [kind.scale / out_scale for kind in levels.kinds]
    for shift in _shifts(slopes):
        for factors in _factors(slopes[0], sign * slopes[1], shift):
            if (found := _linear(levels, factors, shift)) is not None:
                return found
    parts = _operands(levels, sources or levels.kinds, sign)
    stepped = _stepped(levels.out, parts[0][:, None] + parts[1])
    if stepped is not None:
        return replace(stepped, tables=parts)
    return table_pair(levels)


def product_pair(levels: Levels) -> Pair:
    """Return the cheapest form of a product."""
    zeros = [kind.zero_point for kind in levels.kinds]
    product = (_STORED - zeros[0])[:, None] * (_STORED - zeros[1])
    addends = (-zeros[0], -zeros[1])
    rule = levels.rule
    if rule is not None and rule.rounding != "float":
        first, second, out = (
            float(np.float32(s)) for s in (*(kind.scale for kind in levels.kinds), rule.scale)
        )
        table = multiplier_table([first * second / out])
        bounds = np.array([product.min()]), np.array([product.max()])
        found = lines(rule, table, np.zeros(1, np.int64), *bounds)
        # A product needs no start: what a line moves is added to its operands' product.
        return Pair("line", True, addends=addends, lines=found, low=found.low, high=found.high)
    stepped = _stepped(levels.out, product)
    if stepped is not None:
        return replace(stepped, product=True, addends=addends)
    return table_pair(levels)


def extreme_pair(levels: Levels, *, largest: bool) -> Pair:
    """Return the form of a maximum or minimum: each operand through a table, then compared."""
    form: Form = "max" if largest else "min"
    # The other operand at its end never wins, unless it is the same there.
    a = levels.out.min(axis=1) if largest else levels.out.max(axis=1)
    b = levels.out.min(axis=0) if largest else levels.out.max(axis=0)
    pick = np.maximum if largest else np.minimum
    if not np.array_equal(pick(a[:, None], b), levels.out):
        return table_pair(levels)
    if np.array_equal(a, _STORED) and np.array_equal(b, _STORED):
        return Pair(form, factors=(1, 1))
    return Pair(form, tables=(a, b))


def table_pair(levels: Levels) -> Pair:
    """Return the form that looks every pair up: 64 KiB, and always right."""
    return Pair("table", all=levels.out)


def computed(pair: Pair) -> Ints:
    """Return what pairs.h computes for all pairs; int64 [256, 256]. Lines only in C."""
    if pair.all is not None:
        return pair.all
    total = _totals(pair)
    if pair.form in ("max", "min"):
        return total
    if pair.first is not None:
        return pair.low + np.searchsorted(pair.first, total, side="right").astype(np.int64)
    total = total + pair.start
    y = (total + np.where(total < 0, pair.c[1], pair.c[0])) >> pair.shift
    clipped: Ints = np.clip(y, pair.low, pair.high)
    return clipped


def _totals(pair: Pair) -> Ints:
    if pair.product:
        product: Ints = (_STORED + pair.addends[0])[:, None] * (_STORED + pair.addends[1])
        return product
    tables = pair.tables or tuple(_STORED * factor for factor in pair.factors)
    a, b = tables
    if pair.form in ("max", "min"):
        result: Ints = (np.maximum if pair.form == "max" else np.minimum)(a[:, None], b)
        return result
    return a[:, None] + b


def _shifts(slopes: Sequence[float]) -> range:
    """Return shifts, finest first, at which nothing leaves 32 bits."""
    # Both operands at their ends, the zero points' share and a byte of result.
    reach = 256 * sum(slopes) + 256
    most = min(_MOST_SHIFT, int(np.floor(31 - np.log2(reach))))
    return range(most, max(most - _SHIFTS_TRIED, -1), -1)


def _factors(a: float, b: float, shift: int) -> Iterator[tuple[int, int]]:
    """Give the factors nearest to two slopes, then their neighbours."""
    nearest = round(a * 2.0**shift), round(b * 2.0**shift)
    steps = [(i, j) for i in _NEIGHBOURS for j in _NEIGHBOURS]
    for i, j in sorted(steps, key=lambda step: abs(step[0]) + abs(step[1])):
        yield nearest[0] + i, nearest[1] + j


def _linear(levels: Levels, factors: tuple[int, int], shift: int) -> Pair | None:
    """Return the form with these factors, with one c if possible, else with two."""
    total = (_STORED * factors[0])[:, None] + _STORED * factors[1]
    start = -sum(f * kind.zero_point for f, kind in zip(factors, levels.kinds, strict=True))
    every = np.ones(total.shape, np.bool_)
    negative = total + start < 0
    low, high = int(levels.out.min()), int(levels.out.max())
    if (c := _addend(levels.out, total, shift, every)) is not None:
        pair = Pair("shift", factors=factors, c=(c, c), shift=shift, low=low, high=high)
        return pair if _fits(total, c) else None
    ends = [_addend(levels.out, total + start, shift, part) for part in (~negative, negative)]
    if ends[0] is None or ends[1] is None:
        return None
    both = ends[0], ends[1]
    if not all(_fits(total + start, c) for c in (0, *both)):
        return None
    return Pair(
        "kink", factors=factors, c=both, start=start, shift=shift, low=low, high=high
    )  # fmt: skip


def _addend(out: Ints, total: Ints, shift: int, part: Truths) -> int | None:
    """Return a c with clamp((total + c) >> shift) equal to `out`, or None; the middle one."""
    reach = (out << shift) - total
    low, high = out.min(), out.max()
    least = reach.max(where=part & (out > low), initial=-(1 << 40))
    most = (reach + (1 << shift) - 1).min(where=part & (out < high), initial=1 << 40)
    if least > most:
        return None
    if least == -(1 << 40) or most == 1 << 40:
        return int(np.clip(0, least, most))
    return int((least + most) // 2)


def _fits(total: Ints, c: int) -> bool:
    ends = (int(total.min()), int(total.max()), int(total.min()) + c, int(total.max()) + c)
    return max(map(abs, ends)) < _INT32


def _operands(levels: Levels, sources: Sequence[TensorType], sign: int) -> tuple[Ints, Ints]:
    """Return two tables, int64 [256], whose sum orders the pairs as the rule does."""
    rule = levels.rule
    if rule is not None and rule.rounding != "float":
        return _fixed_operands(levels, rule, sign)
    reals: list[npt.NDArray[Any]] = [
        real_values(_STORED, kind).astype(np.float64) for kind in levels.kinds
    ]
    if rule is not None and rule.zero_first:
        constants = early_sum(sources, rule)
        shift = [128 if kind.dtype == "uint8" else 0 for kind in sources]
        reals = [
            (_STORED + moved + offset) * float(ratio)
            for moved, offset, ratio in zip(shift, constants.offsets, constants.ratios, strict=True)
        ]
        reals[1] = (reals[1] + float(constants.fixed)).astype(np.float32).astype(np.float64)
    reach = float(np.abs(reals[0]).max() + np.abs(reals[1]).max())
    unit = 2.0 ** np.floor(30.9 - np.log2(reach))
    a, b = (np.rint(real * unit).astype(np.int64) for real in reals)
    return a, sign * b


def _fixed_operands(levels: Levels, rule: Affine, sign: int) -> tuple[Ints, Ints]:
    """Return the scaled operands of TensorFlow Lite's sum: its result rises with their sum."""
    factors = sum_factors(levels.kinds, rule)
    single = rule.rounding == "fixed_point_single"
    parts = []
    for kind, (multiplier, shift) in zip(levels.kinds, factors.operands, strict=True):
        raised = (_STORED - kind.zero_point) << factors.left_shift
        parts.append(
            multiply_by_quantized(raised, multiplier, shift, single=single).astype(np.int64)
        )
    return parts[0], sign * parts[1]


def _stepped(out: Ints, total: Ints) -> Pair | None:
    """Return the form with thresholds of `total`, or None where it does not order the pairs."""
    low, high = int(out.min()), int(out.max())
    order = np.argsort(total, axis=None, kind="stable")
    sums, levels = total.ravel()[order], out.ravel()[order]
    same = sums[1:] == sums[:-1]
    if (np.diff(levels) < 0).any() or (np.diff(levels)[same] != 0).any():
        return None
    first = sums[np.searchsorted(levels, np.arange(low + 1, high + 1), side="left")]
    return Pair("steps", first=first, low=low, high=high)
