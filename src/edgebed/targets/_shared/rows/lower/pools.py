"""Windows reduced to their largest value or mean, and axes reduced to one value."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, cast

import numpy as np
import numpy.typing as npt

from edgebed.program.arithmetic import divide
from edgebed.program.ops._pool import Pool
from edgebed.program.ops._reduce import fixed_point_total, mean_factor, real_total, sum_factor
from edgebed.program.ops.avg_pool import AvgPool
from edgebed.program.ops.reduce import Reduce
from edgebed.program.types import Op, TensorType
from edgebed.targets._shared.rows.frame import Frame, usual_order
from edgebed.targets._shared.rows.lower import real, real_values
from edgebed.targets._shared.rows.requantize import StepRule
from edgebed.targets._shared.rows.stage import Stage, Window
from edgebed.targets._shared.rows.steps import Steps, array_text, steps

Ints = npt.NDArray[np.int64]
_BYTES: Final = ("int8", "uint8")
_FUNCTIONS: Final = ("sum", "max", "min")
AXES: Final = 3
"""Kept and reduced groups of axes that the kernel of `reduce` has."""


def max_pool(frame: Frame, op: Op) -> None:
    """Lower the maximum of windows."""
    layer = cast(Pool, op)
    if frame.kind(op.inputs[0]).is_float:
        real_values.pool(frame, layer, _window(frame, layer), window_text(frame, layer))
        return
    _check(frame, op)
    frame.add(
        Stage(
            name=op.name, kind=op.kind, output=op.output, inputs=(_window(frame, layer),),
            steps=frame.pixels(op.output)[0], function="eb_max_pool", header="pool.h",
            layer_type="eb_window_t", layer=window_text(frame, layer),
        )
    )  # fmt: skip


def avg_pool(frame: Frame, op: Op) -> None:
    """Lower the mean of windows; of a whole map row by row."""
    layer = cast(AvgPool, op)
    if frame.kind(op.inputs[0]).is_float:
        real_values.pool(frame, layer, _window(frame, layer), window_text(frame, layer))
        return
    _check(frame, op)
    if layer.requantize is not None and layer.requantize.zero_first:
        whole = _is_whole(frame, layer)
        real.mean(frame, layer, _window(frame, layer), window_text(frame, layer), whole=whole)
        return
    height, width, channels = frame.pixels(op.inputs[0])
    if _is_whole(frame, layer):
        count = height * width
        finish = _finish(frame, layer, count)
        sum_rows(frame, op, finish, width, channels)
        return
    counts = sorted({a * b for a in _sizes(layer, height, 0) for b in _sizes(layer, width, 1)})
    found: list[Steps | None] = [None] * counts[-1]
    for count in counts:
        found[count - 1] = _finish(frame, layer, count)
    text = f"{window_text(frame, layer)}, {array_text(found)}"
    frame.add(
        Stage(
            name=op.name, kind=op.kind, output=op.output, inputs=(_window(frame, layer),),
            steps=frame.pixels(op.output)[0], function="eb_mean", header="pool.h",
            layer_type="eb_mean_t",
            layer=f"{{{text}, {height}, {layer.stride[0]}, {layer.padding[0]}}}",
            tables=tuple(table for one in found if one for table in one.tables),
            scratch_bytes=4 * channels,
        )
    )  # fmt: skip


def reduce(frame: Frame, op: Op) -> None:
    """Lower the sum, mean or extreme along axes."""
    layer = cast(Reduce, op)
    if frame.kind(op.inputs[0]).is_float:
        real_values.whole_map(frame, layer)
        return
    _check(frame, op)
    if layer.function not in ("mean", "sum", "max", "min"):
        raise frame.refuse(op, f"has no kernel for {layer.function!r}", "mean, sum, max or min")
    kind = frame.kind(op.inputs[0])
    count = math.prod(kind.shape[axis] for axis in layer.axes)
    rule = _reduced(layer, kind, frame.kind(op.output), count)
    total = layer.function in ("mean", "sum")
    scale = count if total else 1
    finish = steps(frame, op, rule, -128 * scale, 127 * scale)
    _, width, channels = frame.pixels(op.inputs[0])
    if total and len(kind.shape) == 3 and layer.axes == (1, 2):
        sum_rows(frame, op, finish, width, channels)
    else:
        _reduce_whole(frame, layer, finish)


def sum_rows(frame: Frame, op: Op, finish: Steps, width: int, channels: int) -> None:
    """Add the stage that sums a map row by row, and the one that turns sums into bytes."""
    sums = frame.scratch_tensor(f"{op.output}@sums", 1, 4 * channels)
    rows = frame.pixels(op.inputs[0])[0]
    source = frame.row(op.inputs[0]) if rows > 1 else frame.whole(op.inputs[0])
    frame.add(
        Stage(
            name=f"{op.name} sums", kind=op.kind, output=sums, inputs=(source,), steps=rows,
            function="eb_sums", header="pool.h", layer_type="eb_sums_t",
            layer=f"{{{width}, {channels}}}", accumulates=True,
        )
    )  # fmt: skip
    finish_sums(frame, op, sums, finish, channels)


def finish_sums(frame: Frame, op: Op, sums: str, finish: Steps, count: int) -> None:
    """Add the stage that turns one row of int32 sums into the op's output."""
    frame.add(
        Stage(
            name=op.name, kind=op.kind, output=op.output, inputs=(Window(sums, whole=True),),
            steps=1, function="eb_finish", header="pool.h", layer_type="eb_finish_t",
            layer=f"{{{array_text([finish])}, {count}}}", tables=finish.tables,
        )
    )  # fmt: skip


def window_text(frame: Frame, layer: Pool) -> str:
    """Return the initialiser of the eb_window_t of a pool."""
    _, width, channels = frame.pixels(layer.inputs[0])
    out_width = frame.pixels(layer.output)[1]
    numbers = (width, out_width, channels, *layer.kernel, layer.stride[1], layer.padding[1])
    return f"{{{', '.join(map(str, numbers))}}}"


def _window(frame: Frame, layer: Pool) -> Window:
    return frame.window(layer.inputs[0], layer.kernel[0], layer.stride[0], layer.padding[0])


def _check(frame: Frame, op: Op) -> None:
    for name in (*op.inputs, op.output):
        if frame.kind(name).dtype not in _BYTES:
            raise frame.refuse(
                op, f"has no kernel for {frame.kind(name).dtype}", "quantise it to int8"
            )


def _is_whole(frame: Frame, layer: Pool) -> bool:
    """Return whether the one window is the map."""
    height, width, _ = frame.pixels(layer.inputs[0])
    out = frame.pixels(layer.output)
    return layer.kernel == (height, width) and out[:2] == (1, 1) and not any(layer.padding)


def _sizes(layer: Pool, size: int, axis: int) -> set[int]:
    """Return how many values of an axis windows hold."""
    before, after = layer.padding[axis], layer.padding[axis + 2]
    kernel, stride = layer.kernel[axis], layer.stride[axis]
    starts = range(-before, size + after - kernel + 1, stride)
    return {min(start + kernel, size) - max(start, 0) for start in starts}


def _finish(frame: Frame, layer: AvgPool, count: int) -> Steps:
    """Return the function of a sum of `count` stored values of a pool."""
    kind, out = frame.kind(layer.inputs[0]), frame.kind(layer.output)
    values = math.prod(layer.kernel) if layer.include_padding else count
    before, after = (128 if one.dtype == "uint8" else 0 for one in (kind, out))
    fixed = before * count + kind.zero_point * (values - count)
    rule = layer.requantize

    def levels(sums: Ints) -> Ints:
        total = sums + fixed
        if rule is None:
            y = divide(total, values, layer.rounding)
            y = np.clip(y, layer.low, layer.high) if kind.dtype == "int8" else y
            return np.asarray(y - after, np.int64)
        centred = (total - values * kind.zero_point).astype(np.float32)
        mean = centred * np.float32(kind.scale) / np.float32(values)
        return rule.quantise(mean).astype(np.int64) - after

    factor = (1.0 if rule is None else kind.scale / rule.scale) / values
    ends = levels(np.array([[-128 * count, 127 * count]]))[0]
    low, high, zero = int(ends[0]), int(ends[1]), out.zero_point - after
    found = StepRule(levels, np.array([factor]), low, high, zero)
    return steps(frame, layer, found, -128 * count, 127 * count)


def _reduced(layer: Reduce, kind: TensorType, out: TensorType, count: int) -> StepRule:
    """Return the function of a sum or extreme of `count` stored values."""
    rule, mean = layer.requantize, layer.function == "mean"
    before, after = (128 if one.dtype == "uint8" else 0 for one in (kind, out))
    if layer.function in ("max", "min"):
        return _extreme(layer, kind, out)
    assert rule is not None  # a sum of bytes has one
    total: Callable[..., npt.NDArray[np.int64]] = (
        real_total if rule.rounding == "float" else fixed_point_total
    )

    def levels(sums: Ints) -> Ints:
        y = total(sums + before * count, count, kind, rule, mean=mean)
        return y.astype(np.int64) - after

    multiplier, shift = mean_factor(kind, rule, count) if mean else sum_factor(kind, rule)
    factor = np.array([math.ldexp(multiplier, shift - 31)])
    return StepRule(
        levels, factor, rule.low - after, rule.high - after, rule.zero_point - after
    )  # fmt: skip


def _extreme(layer: Reduce, kind: TensorType, out: TensorType) -> StepRule:
    """Return the function of the extreme itself, found by running the op on single values."""
    before, after = (128 if one.dtype == "uint8" else 0 for one in (kind, out))
    stored = np.arange(-128, 128)
    rank = len(kind.shape)
    given = (stored + before).astype(kind.dtype).reshape(256, *(1,) * rank)
    result = layer.run([given], {}, [kind.with_shape((1,) * rank)])
    table = result.reshape(-1).astype(np.int64) - after

    def levels(values: Ints) -> Ints:
        return table[values + 128]

    factor = np.array([kind.scale / out.scale])
    return StepRule(levels, factor, int(table[0]), int(table[-1]), out.zero_point - after)


def _reduce_whole(frame: Frame, layer: Reduce, finish: Steps) -> None:
    """Add the stage that reads all values for every result."""
    kind = frame.kind(layer.inputs[0])
    order = usual_order(kind)
    strides, step = [0] * len(order), 1
    for axis in reversed(order):
        strides[axis], step = step, step * kind.shape[axis]
    kept = [a for a in _result_order(frame, layer) if a not in layer.axes]
    parts = [_groups(frame, layer, axes, kind, strides) for axes in (kept, list(layer.axes))]
    function = _FUNCTIONS.index("sum" if layer.function in ("mean", "sum") else layer.function)
    text = ", ".join(f"{{{', '.join(map(str, part))}}}" for part in parts)
    frame.add(
        Stage(
            name=layer.name, kind=layer.kind, output=layer.output,
            inputs=(frame.whole(layer.inputs[0]),), steps=1, function="eb_reduce",
            header="reduce.h", layer_type="eb_reduce_t",
            layer=f"{{{array_text([finish])}, {text}, {function}}}", tables=finish.tables,
        )
    )  # fmt: skip


def _result_order(frame: Frame, layer: Reduce) -> list[int]:
    """Return the input's axes in the order in which the results lie."""
    order = usual_order(frame.kind(layer.output))
    if layer.keep:
        return list(order)
    kept = [a for a in range(len(frame.kind(layer.inputs[0]).shape)) if a not in layer.axes]
    return [kept[a] for a in order]


def _groups(
    frame: Frame, layer: Reduce, axes: list[int], kind: TensorType, strides: list[int]
) -> list[int]:
    """Return sizes, then steps, of the axes, sparsest first; adjoining ones joined."""
    groups: list[tuple[int, int]] = []
    for axis in sorted(axes, key=lambda a: -strides[a]) if axes == list(layer.axes) else axes:
        n, step = kind.shape[axis], strides[axis]
        if n == 1:
            continue
        if groups and groups[-1][1] == n * step:
            groups[-1] = groups[-1][0] * n, step
        else:
            groups.append((n, step))
    if len(groups) > AXES:
        raise frame.refuse(layer, f"reduces {len(groups)} separate axes", f"at most {AXES}")
    groups = [(1, 0)] * (AXES - len(groups)) + groups
    return [n for n, _ in groups] + [step for _, step in groups]
