"""Ops value by value: of two tensors of bytes, or of one through a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt

from edgebed.program.ops.constant import Constant as ConstantOp
from edgebed.program.ops.lookup import Lookup
from edgebed.program.types import Op
from edgebed.targets._shared.rows import pairs
from edgebed.targets._shared.rows.frame import Frame, Rows, usual_order
from edgebed.targets._shared.rows.pairs import Levels, Pair
from edgebed.targets._shared.rows.stage import Stage, Table, Window

Ints = npt.NDArray[np.int64]
Four = tuple[int, int, int, int]

_FORMS: Final = ("shift", "kink", "line", "steps", "table", "max", "min")
_FAST_SHIFT: Final = 21  # EB_SUM_SHIFT of pairs.h
AXES: Final = 4  # of eb_pair_t
_BYTES: Final = ("int8", "uint8")
REAL: Final = ("add", "subtract", "multiply", "divide", "maximum", "minimum")
"""Kinds that real_pairs.h computes on float32, in its order."""
EMBEDS: Final = frozenset((*REAL, "squared_difference"))
"""Kinds of ops that hold a constant operand in their own tables."""


def add(frame: Frame, op: Op) -> None:
    """Lower a sum of two."""
    _pair(frame, op, lambda levels: pairs.sum_pair(levels, 1, _kinds(frame, op)))


def subtract(frame: Frame, op: Op) -> None:
    """Lower a difference of two."""
    _pair(frame, op, lambda levels: pairs.sum_pair(levels, -1, _kinds(frame, op)))


def multiply(frame: Frame, op: Op) -> None:
    """Lower a product of two."""
    _pair(frame, op, pairs.product_pair)


def maximum(frame: Frame, op: Op) -> None:
    """Lower the larger of two."""
    _pair(frame, op, lambda levels: pairs.extreme_pair(levels, largest=True))


def minimum(frame: Frame, op: Op) -> None:
    """Lower the smaller of two."""
    _pair(frame, op, lambda levels: pairs.extreme_pair(levels, largest=False))


def divide(frame: Frame, op: Op) -> None:
    """Lower a quotient of two: of bytes through a table of all pairs."""
    _pair(frame, op, pairs.table_pair)


def squared_difference(frame: Frame, op: Op) -> None:
    """Lower the square of a difference: a table of all pairs."""
    _pair(frame, op, pairs.table_pair)


def lookup(frame: Frame, op: Op) -> None:
    """Lower a function of one byte."""
    layer = cast(Lookup, op)
    _through(frame, op, frame.program.constants[layer.table].values, layer.axis, weights=True)


def requantize(frame: Frame, op: Op) -> None:
    """Lower a change of scale between bytes: nothing to do where the stored bytes stay."""
    x, out = frame.kind(op.inputs[0]), frame.kind(op.output)
    if x.dtype not in _BYTES or out.dtype not in _BYTES:
        raise frame.refuse(op, f"has no kernel from {x.dtype} to {out.dtype}", "quantise to int8")
    stored = np.arange(-128, 128)
    before, after = (128 if kind.dtype == "uint8" else 0 for kind in (x, out))
    given = (stored + before).astype(x.dtype)
    result = op.run([given[None]], frame.program.constants, [x.with_shape((256,))])[0]
    table = result.astype(np.int64) - after
    if np.array_equal(table, stored):
        frame.alias(op)
    else:
        _through(frame, op, table, None, weights=False)


# ---- one operand ----


def _through(
    frame: Frame, op: Op, table: npt.NDArray[Any], axis: int | None, *, weights: bool
) -> None:
    """Add a stage that looks every byte up, in the table of its index along an axis."""
    rows = frame.as_it_lies(op)
    kind = frame.kind(op.output)
    numbers = _tables_of_row(kind.shape, rows, axis)
    if numbers is None:
        whole = replace(rows.window, whole=True)
        rows = replace(rows, window=whole, steps=1, values=kind.size)
        numbers = _tables_of_row(kind.shape, rows, axis)
    data = np.ascontiguousarray(table, np.int8).tobytes()
    held = frame.table(op, "table", "int8_t", data, weights=weights)
    listed = ", ".join(map(str, numbers or ()))
    same = rows.steps == frame.tensors[op.output].rows
    frame.add(
        Stage(
            name=op.name, kind=op.kind, output=op.output, inputs=(rows.window,), steps=rows.steps,
            function="eb_lookup", header="lookup.h", layer_type="eb_lookup_t",
            layer=f"{{{held.name}, {listed}}}", tables=(held,), in_place=(0,) if same else (),
        )
    )  # fmt: skip


def _tables_of_row(shape: Sequence[int], rows: Rows, axis: int | None) -> Four | None:
    """Return how a row goes through tables; None where rows begin anywhere within them.

    The result is how often, through how many, values of each, and bytes from one row's first table
    to the next row's.
    """
    if axis is None:
        return 1, 1, rows.values, 0
    tables = shape[axis]
    inner = math.prod(shape[a] for a in rows.order[rows.order.index(axis) + 1 :])
    if rows.values % (inner * tables) == 0:
        return rows.values // (inner * tables), tables, inner, 0
    return (1, 1, inner, 256) if (rows.values, rows.steps) == (inner, tables) else None


def one_row(frame: Frame, tensor: str) -> Window:
    """Return the window that is row r of a map at step r, or all of what is one row."""
    return frame.row(tensor) if frame.pixels(tensor)[0] > 1 else frame.whole(tensor)


# ---- two operands ----


@dataclass(frozen=True)
class Operand:
    """One side of a pair: how its values lie, or that it is a constant.

    Attributes:
        steps: from one value to the next along the axes of an output row.
        row: from one row to the next, where it is read whole.
        window: None for a constant.
        data: stored bytes of a constant in the order of memory.
        same: it has the output's shape, so that the output may lie on it.
    """

    steps: Four
    row: int
    window: Window | None
    data: bytes
    same: bool


def _kinds(frame: Frame, op: Op) -> list[Any]:
    return [frame.kind(name) for name in op.inputs]


def _pair(frame: Frame, op: Op, choose: Callable[[Levels], Pair]) -> None:
    kinds, out = _kinds(frame, op), frame.kind(op.output)
    if len(kinds) != 2:
        raise frame.refuse(op, f"{len(kinds)} operands", "pairs of two, one op after the other")
    if out.is_float and all(kind.is_float for kind in kinds):
        _real_pair(frame, op)
        return
    for kind in (*kinds, out):
        if kind.dtype not in _BYTES:
            raise frame.refuse(op, f"has no kernel for {kind.dtype}", "quantise it to int8")
    levels = pairs.levels_of(op, kinds, frame.program.constants, out)
    pair = choose(levels)
    rows, shape, operands = operands_of(frame, op)
    sides = tuple(one for one in operands if one.window is not None)
    fast = _is_fast(pair, levels) and len(sides) == 2 and all(one.same for one in operands)
    tables, text = _text(frame, op, pair, operands, shape)
    frame.add(
        Stage(
            name=op.name, kind=op.kind, output=op.output,
            inputs=tuple(one.window for one in sides if one.window is not None), steps=rows,
            function="eb_sum" if fast else "eb_pair", header="pairs.h", layer_type="eb_pair_t",
            layer=text, tables=tables,
            in_place=tuple(i for i, one in enumerate(sides) if one.same),
        )
    )  # fmt: skip


def _real_pair(frame: Frame, op: Op) -> None:
    """Add the stage of a pair of float32 tensors."""
    if op.kind not in REAL:
        raise frame.refuse(op, "has no kernel for float32", "quantise it to int8")
    rows, shape, operands = operands_of(frame, op)
    tables = [
        frame.table(op, f"operand_{i}", "float", one.data) if one.data else None
        for i, one in enumerate(operands)
    ]
    names = ", ".join("0" if table is None else table.name for table in tables)
    lists = ", ".join(braced(one) for one in (shape, operands[0].steps, operands[1].steps))
    numbers = f"{operands[0].row}, {operands[1].row}, {REAL.index(op.kind)}"
    sides = [one for one in operands if one.window is not None]
    frame.add(
        Stage(
            name=op.name, kind=op.kind, output=op.output,
            inputs=tuple(one.window for one in sides if one.window is not None), steps=rows,
            function="eb_real_pair", header="real_pairs.h", layer_type="eb_real_pair_t",
            layer=f"{{{names}, {lists}, {numbers}}}",
            tables=tuple(table for table in tables if table is not None),
            in_place=tuple(i for i, one in enumerate(sides) if one.same),
        )
    )  # fmt: skip


def _is_fast(pair: Pair, levels: Levels) -> bool:
    """Return whether eb_sum computes the pair: its shift, and the limits of int8."""
    if pair.form != "shift" or pair.shift != _FAST_SHIFT:
        return False
    return np.array_equal(pairs.computed(replace(pair, low=-128, high=127)), levels.out)


def _row_shape(frame: Frame, op: Op) -> tuple[int, Four, list[Four]]:
    """Return rows of the output, the axes of one, sparsest first, and each operand's steps."""
    kind = frame.kind(op.output)
    rows, order = frame.pixels(op.output)[0], usual_order(kind)
    steps = [_strides(frame, name, len(order)) for name in op.inputs]
    groups: list[tuple[int, ...]] = []  # size, and the step of each operand
    for axis in order[1:] if rows > 1 else order:
        one = (kind.shape[axis], *(own[axis] for own in steps))
        if one[0] == 1:
            continue
        if groups and all(
            last == one[0] * step for last, step in zip(groups[-1][1:], one[1:], strict=True)
        ):
            one = (groups.pop()[0] * one[0], *one[1:])
        groups.append(one)
    if len(groups) > AXES:
        raise frame.refuse(
            op, f"operands {[frame.kind(n).shape for n in op.inputs]} repeat along too many axes",
            f"at most {AXES} groups of axes that repeat alike",
        )  # fmt: skip
    groups = [(1,) + (0,) * len(steps)] * (AXES - len(groups)) + groups
    columns = [cast(Four, tuple(column)) for column in zip(*groups, strict=True)]
    return rows, columns[0], columns[1:]


def _strides(frame: Frame, name: str, rank: int) -> list[int]:
    """Return the steps in memory along the output's axes; 0 where the operand repeats."""
    kind = frame.kind(name)
    strides, step = [0] * rank, 1
    for axis in reversed(usual_order(kind)):
        if kind.shape[axis] > 1:
            strides[axis + rank - len(kind.shape)] = step
        step *= kind.shape[axis]
    return strides


def operands_of(frame: Frame, op: Op) -> tuple[int, Four, list[Operand]]:
    """Return rows of an op's output, the axes of one, and the operands."""
    rows, shape, steps = _row_shape(frame, op)
    pairs_ = zip(op.inputs, steps, strict=True)
    return rows, shape, [_operand(frame, op, name, rows, own) for name, own in pairs_]


def _operand(frame: Frame, op: Op, name: str, rows: int, steps: Four) -> Operand:
    kind, out = frame.kind(name), frame.kind(op.output)
    strides = _strides(frame, name, len(out.shape))
    row = strides[1] if rows > 1 else 0
    same = kind.shape == out.shape
    if (data := constant_bytes(frame, name)) is not None:
        return Operand(steps, row, None, data, same=False)
    if rows > 1 and frame.pixels(name)[0] == rows:
        return Operand(steps, 0, frame.row(name), b"", same)
    return Operand(steps, row, frame.whole(name), b"", same and rows == 1)


def constant_bytes(frame: Frame, name: str) -> bytes | None:
    """Return a constant tensor's stored bytes in the order of memory; None for other tensors."""
    writer = frame.program.writer(name)
    if not isinstance(writer, ConstantOp):
        return None
    kind = frame.kind(name)
    values = frame.program.constants[writer.value].values.transpose(usual_order(kind))
    if kind.is_float:
        return np.ascontiguousarray(values, "<f4").tobytes()
    return (values.astype(np.int64) - (128 if kind.dtype == "uint8" else 0)).astype("i1").tobytes()


def _text(
    frame: Frame, op: Op, pair: Pair, operands: Sequence[Operand], shape: Four
) -> tuple[tuple[Table, ...], str]:
    """Return the tables of a pair and the initialiser of its eb_pair_t."""
    tables: list[Table] = []

    def held(suffix: str, c_type: str, data: bytes | None, weights: bool = False) -> str:
        if not data:
            return "0"
        tables.append(frame.table(op, suffix, c_type, data, weights=weights))
        return tables[-1].name

    def words(values: Ints | None) -> bytes | None:
        return None if values is None else values.astype("<i4").tobytes()

    scaled = pair.tables if len(pair.tables) == 2 else (None, None)
    pointers = [
        *(held(f"operand_{i}", "int8_t", one.data, True) for i, one in enumerate(operands)),
        *(held(f"scaled_{i}", "int32_t", words(one)) for i, one in enumerate(scaled)),
        held("first", "int32_t", words(pair.first)),
        held("all", "int8_t", None if pair.all is None else pair.all.astype(np.int8).tobytes()),
    ]
    numbers = (*pair.factors, *pair.addends, pair.start, *pair.c)
    lists = [shape, operands[0].steps, operands[1].steps]
    lines = pair.lines
    line = (0, 0, 0) if lines is None else (lines.bias[0], lines.multiplier[0], lines.c[0])
    output = (
        (pair.low, pair.high, 0, 0, 0)
        if lines is None
        else (pair.low, pair.high, lines.zero_point, lines.fraction, lines.rule)
    )
    parts = [
        *pointers, *map(str, numbers), *(braced(one) for one in lists),
        str(operands[0].row), str(operands[1].row), braced(line), braced(output),
        str(_FORMS.index(pair.form)), str(pair.shift), str(int(pair.product)),
    ]  # fmt: skip
    return tuple(tables), f"{{{', '.join(parts)}}}"


def braced(numbers: Sequence[int]) -> str:
    return f"{{{', '.join(str(int(n)) for n in numbers)}}}"
