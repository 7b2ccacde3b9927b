"""What is known of every channel before the network runs: its range, or all of its values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt

from edgebed.compile.passes.channel_links import is_layer, links, tracked
from edgebed.program.arithmetic import Affine, PowerOfTwo
from edgebed.program.ops._accumulate import INT32_LIMIT, Weighted
from edgebed.program.ops.add import Add
from edgebed.program.ops.avg_pool import AvgPool
from edgebed.program.ops.concat import Concat
from edgebed.program.ops.constant import Constant as ConstantOp
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.ops.conv_transpose2d import ConvTranspose2d
from edgebed.program.ops.dense import Dense
from edgebed.program.ops.identity import Identity
from edgebed.program.ops.lookup import Lookup
from edgebed.program.ops.max_pool import MaxPool
from edgebed.program.ops.maximum import Maximum
from edgebed.program.ops.minimum import Minimum
from edgebed.program.ops.pad import Pad
from edgebed.program.ops.requantize import Requantize
from edgebed.program.ops.reshape import Reshape
from edgebed.program.ops.slice import Slice
from edgebed.program.ops.space_to_depth import SpaceToDepth
from edgebed.program.ops.strided_slice import StridedSlice
from edgebed.program.types import QUANTISED, Array, Constant, Op, Program, TensorType

Whole = npt.NDArray[np.int64]

RISING: Final = (
    Add, AvgPool, Concat, Identity, MaxPool, Maximum, Minimum, Pad, Requantize, Reshape, Slice,
    SpaceToDepth, StridedSlice,
)  # fmt: skip
"""Ops whose results do not fall where their inputs rise."""


@dataclass(frozen=True, eq=False)
class Facts:
    """Of a tensor whose first axis is the channels.

    Attributes:
        low: least value of each channel, (C,).
        high: largest value of each channel, (C,).
        fixed: which channels do not depend on the network's input, (C,).
        values: all values, of the tensor's shape; they mean something where `fixed` is true.
    """

    low: Whole
    high: Whole
    fixed: npt.NDArray[np.bool_]
    values: Array

    @property
    def flat(self) -> npt.NDArray[np.bool_]:
        """Which fixed channels have one value everywhere."""
        flat: npt.NDArray[np.bool_] = self.fixed & (self.low == self.high)
        return flat


def facts_of(program: Program) -> dict[str, Facts]:
    """Return what is known of the integer tensors of a program."""
    known = {n: unknown(kind) for n, kind in program.inputs.items() if tracked(kind)}
    for op in program.ops:
        out = program.types[op.output]
        types = [program.types[name] for name in op.inputs]
        if not tracked(out):
            continue
        found = None
        if all(name in known for name in op.inputs):
            inputs = [known[name] for name in op.inputs]
            found = _facts(op, inputs, types, out, program.constants)
        known[op.output] = found or unknown(out, op)
    return known


def unknown(kind: TensorType, op: Op | None = None) -> Facts:
    """Return what type and rule alone say."""
    limits, rule = np.iinfo(kind.dtype), getattr(op, "requantize", None)
    low, high = int(limits.min), int(limits.max)
    if isinstance(rule, Affine):
        low, high = max(low, rule.low), min(high, rule.high)
    channels = kind.shape[0]
    none = np.zeros(channels, dtype=np.bool_)
    return Facts(np.full(channels, low), np.full(channels, high), none, _nothing(kind))


def _nothing(kind: TensorType) -> Array:
    return np.broadcast_to(np.zeros((), kind.dtype), kind.shape)


def _facts(
    op: Op,
    inputs: Sequence[Facts],
    types: Sequence[TensorType],
    out: TensorType,
    constants: Mapping[str, Constant],
) -> Facts | None:
    if isinstance(op, ConstantOp):
        return _all_fixed(constants[op.value].values)
    if is_layer(op, types):
        return _layer_facts(cast(Weighted, op), inputs[0], types[0], out, constants)
    fixed = _fixed_outputs(op, inputs, types, out)
    values = _nothing(out)
    if fixed.any():
        values = op.run([one.values[None] for one in inputs], constants, types)[0]
    low, high = _range(op, inputs, types, out, constants)
    return _settled(low, high, fixed, values)


def _all_fixed(values: Array) -> Facts:
    rest = tuple(range(1, values.ndim))
    low, high = (f(values, axis=rest).astype(np.int64) for f in (np.min, np.max))
    return Facts(low, high, np.ones(len(values), dtype=np.bool_), values)


def _settled(low: Whole, high: Whole, fixed: npt.NDArray[np.bool_], values: Array) -> Facts:
    """Return facts whose ranges of fixed channels are those of their values.

    A channel whose range is one number is fixed, too.
    """
    if fixed.any():
        exact = _all_fixed(values)
        low, high = np.where(fixed, exact.low, low), np.where(fixed, exact.high, high)
    single = (low == high) & ~fixed
    if single.any():
        values = np.array(values)
        values[single] = low[single].reshape(-1, *(1,) * (values.ndim - 1))
    return Facts(low, high, fixed | single, values)


def _fixed_outputs(
    op: Op, inputs: Sequence[Facts], types: Sequence[TensorType], out: TensorType
) -> npt.NDArray[np.bool_]:
    """Return which channels are computed from fixed channels only."""
    linked = links(op, types, out)
    fixed = np.ones(out.shape[0], dtype=np.bool_)
    for number, one in enumerate(inputs):
        pair = linked[number] if linked is not None else None
        if pair is None:
            fixed &= bool(one.fixed.all())
            continue
        source, target = pair
        loose = target[~one.fixed[source]]
        fixed[loose] = False
    return fixed


def _range(
    op: Op,
    inputs: Sequence[Facts],
    types: Sequence[TensorType],
    out: TensorType,
    constants: Mapping[str, Constant],
) -> tuple[Whole, Whole]:
    """Return the least and largest value of each channel of an op that is no layer."""
    if isinstance(op, Lookup) and op.axis in (None, 0):
        return _table_range(constants[op.table].values, inputs[0])
    plain = unknown(out, op)
    rising = isinstance(op, RISING) and all(kind.dtype in QUANTISED for kind in types)
    if not rising or _may_wrap(op, types) or (isinstance(op, Pad) and op.mode != "constant"):
        return plain.low, plain.high
    if isinstance(op, Add) and op.requantize is None:
        return plain.low, plain.high
    rest = tuple(range(1, len(out.shape)))
    ends = []
    for side, pick in (("low", np.min), ("high", np.max)):
        maps = [_spread(getattr(one, side), k) for one, k in zip(inputs, types, strict=True)]
        result = op.run([one[None] for one in maps], constants, types)[0]
        ends.append(pick(result, axis=rest).astype(np.int64))
    return np.maximum(ends[0], plain.low), np.minimum(ends[1], plain.high)


def _may_wrap(op: Op, types: Sequence[TensorType]) -> bool:
    """Return whether a rule's left shift could leave 32 bits, where larger inputs come out less.

    Centred values have up to 17 bits; their factor is the ratio of the scales.
    """
    rule = getattr(op, "requantize", None)
    if not isinstance(rule, Affine) or rule.rounding == "float":
        return False
    return any(kind.scale >= rule.scale * (1 << 14) for kind in types)


def _spread(values: Whole, kind: TensorType) -> Array:
    """Return a tensor whose channels hold one value each."""
    column = values.astype(kind.dtype).reshape(-1, *(1,) * (len(kind.shape) - 1))
    return np.broadcast_to(column, kind.shape)


def _table_range(table: Array, x: Facts) -> tuple[Whole, Whole]:
    rows = np.broadcast_to(table.reshape(-1, 256), (len(x.low), 256))
    index = np.arange(-128, 128)
    reached = (x.low[:, None] <= index) & (index <= x.high[:, None])
    low = np.where(reached, rows, 127).min(axis=1).astype(np.int64)
    high = np.where(reached, rows, -128).max(axis=1).astype(np.int64)
    return low, high


def taps(op: Weighted, kind: TensorType, constants: Mapping[str, Constant]) -> Whole:
    """Return the weights less their zero point as O x C/groups x taps."""
    weight = constants[op.weight]
    w = weight.values.astype(np.int64) - weight.zero_point
    if isinstance(op, ConvTranspose2d):
        w = w.swapaxes(0, 1)
    if isinstance(op, Dense):
        return w.reshape(len(w), kind.shape[0], -1)
    return w.reshape(*w.shape[:2], -1)


def sources(op: Weighted, kind: TensorType, shape: tuple[int, ...]) -> Whole:
    """Return which input channel each weight of `taps` reads, O x C/groups."""
    outputs, inner = shape[:2]
    groups = op.groups if isinstance(op, Conv2d) else 1
    return (np.arange(outputs) // (outputs // groups))[:, None] * inner + np.arange(inner)


def raw(op: Weighted) -> Weighted:
    """Return the layer that gives the sums without bias and rule."""
    changes: dict[str, Any] = {"requantize": None, "activation": "none"}
    return replace(op, bias=None, multiplier=None, **changes)


def sums(op: Weighted, values: Array, kind: TensorType, constants: Mapping[str, Constant]) -> Whole:
    """Return the sums of products for one input without its batch axis."""
    result: Whole = raw(op).run([values[None]], constants, [kind])[0].astype(np.int64)
    return result if result.ndim > 1 else result.reshape(-1, 1)


@dataclass(frozen=True, eq=False)
class Sums:
    """The accumulators of a layer, bias included.

    Attributes:
        low: least one of each output channel, (O,).
        high: largest one of each output channel, (O,).
        known: which channels read known channels only, (O,).
        values: all of them where `known` is true, O x the rest of the output's shape, or 1s
            where no channel of the input that is known differs from the zero point.
    """

    low: Whole
    high: Whole
    known: npt.NDArray[np.bool_]
    values: Whole


def sum_range(
    op: Weighted,
    x: Facts,
    kind: TensorType,
    out: TensorType,
    constants: Mapping[str, Constant],
) -> Sums:
    """Return what is known of the accumulators: values for known channels, bounds for others."""
    w = taps(op, kind, constants)
    index = sources(op, kind, w.shape)
    low, high = x.low - kind.zero_point, x.high - kind.zero_point
    if any(getattr(op, "padding", ())) or isinstance(op, ConvTranspose2d):
        low, high = np.minimum(low, 0), np.maximum(high, 0)
    low, high = (np.where(x.fixed, 0, one)[index] for one in (low, high))
    up, down = np.maximum(w, 0).sum(axis=2), np.minimum(w, 0).sum(axis=2)
    values = _known_sums(op, x, kind, out, constants)
    rest = tuple(range(1, values.ndim))
    known = ~np.any((up != down) & ~x.fixed[index], axis=1)
    return Sums(
        (up * low + down * high).sum(axis=1) + values.min(axis=rest),
        (up * high + down * low).sum(axis=1) + values.max(axis=rest),
        known,
        values,
    )


def _known_sums(
    op: Weighted, x: Facts, kind: TensorType, out: TensorType, constants: Mapping[str, Constant]
) -> Whole:
    """Return what bias and known channels give, as if all others were the zero point."""
    ones = (1,) * (len(out.shape) - 1)
    total = np.zeros((out.shape[0], *ones), np.int64)
    if op.bias is not None:
        total = constants[op.bias].values.astype(np.int64).reshape(-1, *ones)
    if x.fixed.any() and np.any(x.values[x.fixed] != kind.zero_point):
        column = x.fixed.reshape(-1, *(1,) * (len(kind.shape) - 1))
        known = np.where(column, x.values, kind.zero_point).astype(kind.dtype)
        total = total + sums(op, known, kind, constants).reshape(out.shape)
    return total


def _layer_facts(
    op: Weighted,
    x: Facts,
    kind: TensorType,
    out: TensorType,
    constants: Mapping[str, Constant],
) -> Facts | None:
    found = sum_range(op, x, kind, out, constants)
    if _overflows(op, found, constants):
        return None
    ones = (-1, *(1,) * (len(out.shape) - 1))
    ends = [_finished(op, end.reshape(ones), kind, constants) for end in (found.low, found.high)]
    low, high = (end.reshape(-1).astype(np.int64) for end in ends)
    if getattr(op, "activation", "none") == "abs":  # it does not rise with the sum
        plain = unknown(out, op)
        low, high = plain.low, plain.high
    values = ends[0]
    if found.known.any() and found.values.size > len(low):
        values = _finished(op, found.values, kind, constants)
    return _settled(low, high, found.known, np.broadcast_to(values, out.shape))


def _finished(
    op: Weighted, acc: Whole, kind: TensorType, constants: Mapping[str, Constant]
) -> Array:
    settings: Any = op
    bare = replace(op, bias=None)  # the sums have it already
    rule, activation = settings.requantize, settings.activation
    result: Array = bare.complete(acc[None], kind, constants, rule, activation)[0]
    return result


def _overflows(op: Weighted, found: Sums, constants: Mapping[str, Constant]) -> bool:
    """Return whether sums may leave 32 bits, also when a rule shifts them to the left."""
    most = np.maximum(np.abs(found.low), np.abs(found.high))
    rule = getattr(op, "requantize", None)
    shift = np.zeros(1, np.int64)
    if isinstance(rule, PowerOfTwo):
        shift = np.array([max(0, -rule.right_shift)])
    if isinstance(rule, Affine) and rule.rounding != "float":
        factors = op.factors(constants)
        assert factors is not None
        shift = np.maximum(factors[1].astype(np.int64), 0)
    moved = most << shift
    return bool((most > INT32_LIMIT).any() or (moved > INT32_LIMIT).any())
