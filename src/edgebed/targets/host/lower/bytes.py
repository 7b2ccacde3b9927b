"""Element-wise ops on bytes: every case is computed by the op itself, then the cheapest form used.

A function of one byte has 256 cases and becomes a table; one of two bytes has 65536, on which
the kernel's multiply-adds are proved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

import numpy as np
import numpy.typing as npt

from edgebed.program.arithmetic import Affine
from edgebed.program.types import Op, TensorType
from edgebed.targets.host.frame import Frame
from edgebed.targets.host.kernels import elementwise, pairs
from edgebed.targets.host.kernels.elementwise import MapShape, PairShape
from edgebed.targets.host.kernels.requantize import Clamp
from edgebed.targets.host.layout import View, stored_bias
from edgebed.targets.host.loops import Axis, joined
from edgebed.targets.host.steps import Call, Operand, Packed

BYTES: Final = ("int8", "uint8")
Product = Literal["sum", "difference", "product"]


@dataclass(frozen=True)
class Walk:
    """A tensor as rows x pixels x neighbouring bytes; pitches by operand, the written first."""

    height: int
    width: int
    channels: int
    rows: tuple[int, ...]
    pixels: tuple[int, ...]
    steps: tuple[int, ...]


def walk(views: Sequence[View]) -> Walk | None:
    """Return how to walk views of one shape, the written one first; None where bytes lie apart."""
    axes = list(joined(views[0].shape, [view.strides for view in views]))
    none = (0,) * len(views)
    if not axes or axes[-1].strides[0] != 1:
        axes.append(Axis(1, (1,) * len(views)))
    if len(axes) > 3 or any(step < 0 for axis in axes for step in axis.strides):
        return None
    while len(axes) < 3:
        axes.insert(0, Axis(1, none))
    (height, rows), (width, pixels), (channels, steps) = (
        (axis.size, axis.strides) for axis in axes
    )
    return Walk(height, width, channels, rows, pixels, steps)


def table(frame: Frame, op: Op) -> bool:
    """Write a function of one byte as a table; return whether that was possible."""
    x, out = frame.kind(op.inputs[0]), frame.kind(op.output)
    if len(op.inputs) != 1 or x.dtype not in BYTES or out.dtype not in BYTES:
        return False
    source = frame.view(op.inputs[0])
    target = frame.output(op)
    found = walk([target, source])
    if found is None or found.steps != (1, 1):
        return False
    values = op.run([_every(x)[None]], frame.program.constants, [x.with_shape((256,))])[0]
    stored = values.astype(np.int16) + stored_bias(out)
    packed = frame.pack("table", stored.astype(np.uint8), "uint8_t")
    shape = MapShape(
        found.height, found.width, found.channels, found.rows[1], found.pixels[1],
        found.rows[0], found.pixels[0],
    )  # fmt: skip
    text = elementwise.table_call(shape, "x", "out", "table", "y0", "y1")
    _emit(frame, text, [("x", source)], target, found.height, (packed,))
    return True


def _every(kind: TensorType) -> npt.NDArray[Any]:
    """Return all values of an 8-bit type in the order of the stored bytes."""
    return (np.arange(256) - stored_bias(kind)).astype(kind.dtype)


def pair(frame: Frame, op: Op, product: Product) -> bool:
    """Write a sum, difference or product of two bytes; return whether that was possible."""
    rule = cast(Any, op).requantize
    types = [frame.kind(name) for name in op.inputs]
    out = frame.kind(op.output)
    if len(types) != 2 or any(kind.dtype not in BYTES for kind in (*types, out)):
        return False
    sources = [frame.view(name) for name in op.inputs]
    target = frame.output(op)
    views = [target, *(view.broadcast(target.shape) for view in sources)]
    order = (0, 1)
    found = walk(views)
    if found is not None and _repeats(found, 1) and not _repeats(found, 2):
        order, views = (1, 0), [views[0], views[2], views[1]]
        found = walk(views)
    if not _dense(found):
        return False
    assert found is not None
    rule_of = _pair_rule(op, types, out, rule, product, order, frame.program.constants)
    packed = pairs.fit(rule_of)
    constants: tuple[Packed, ...] = ()
    if packed.table:
        constants = (frame.pack("table", packed.table, "uint8_t"),)
    text = elementwise.pair_call(
        _pair_shape(found), packed, "a", "b", "out", "table" if constants else "0", "y0", "y1"
    )
    named = [("a", views[1]), ("b", views[2])]
    _emit(frame, text, named, target, found.height, constants)
    return True


def _dense(found: Walk | None) -> bool:
    """Return whether the kernel takes this walk: only the second operand may repeat."""
    if found is None or _repeats(found, 1):
        return False
    return found.steps in ((1, 1, 0), (1, 1, 1))


def _repeats(found: Walk, operand: int) -> bool:
    sizes = ((found.height, found.rows), (found.width, found.pixels), (found.channels, found.steps))
    return any(size > 1 and strides[operand] == 0 for size, strides in sizes)


def _pair_shape(found: Walk) -> PairShape:
    return PairShape(
        height=found.height, width=found.width, channels=found.channels,
        a_row=found.rows[1], a_pixel=found.pixels[1], b_row=found.rows[2], b_pixel=found.pixels[2],
        out_row=found.rows[0], out_pixel=found.pixels[0], b_channel=found.steps[2],
    )  # fmt: skip


def _pair_rule(
    op: Op,
    types: Sequence[TensorType],
    out: TensorType,
    rule: Affine | None,
    product: Product,
    order: tuple[int, ...],
    constants: Mapping[str, Any],
) -> pairs.Pair:
    """Return the op's answer for every pair of bytes, and the real factors it comes close to."""
    grid = [_every(types[0])[None, :, None], _every(types[1])[None, None, :]]
    whole = [np.broadcast_to(values, (1, 256, 256)) for values in grid]
    shaped = [kind.with_shape((256, 256)) for kind in types]
    values = op.run(whole, constants, shaped)[0]
    levels = values.astype(np.int64) + stored_bias(out) - 128
    if order == (1, 0):
        levels = levels.T.copy()
    first, second = (types[n] for n in order)
    a, b = first.scale / out.scale, second.scale / out.scale
    if product == "product":
        a, b = first.scale * second.scale / out.scale, 0.0
    elif product == "difference":
        a, b = (a, -b) if order == (0, 1) else (-a, b)
    off = 128 - stored_bias(out)
    ends = (out.zero_point, -128 + off, 127 + off) if rule is None else (
        rule.zero_point, rule.low, rule.high)  # fmt: skip
    clamp = Clamp(*(end - off for end in ends))
    zero_a, zero_b = (kind.zero_point + stored_bias(kind) - 128 for kind in (first, second))
    return pairs.Pair(levels, product == "product", a, b, zero_a, zero_b, clamp)


def _emit(
    frame: Frame,
    text: str,
    sources: Sequence[tuple[str, View]],
    target: View,
    height: int,
    packed: tuple[Packed, ...],
) -> None:
    reads = tuple(Operand(name, view) for name, view in sources)
    if height == 1:
        text = text.replace("y0, y1)", "0, 1)")
    frame.emit(
        Call(text, reads, (Operand("out", target),), packed, (elementwise.HEADER,),
             rows=height if height > 1 else 0, in_place=True)
    )  # fmt: skip


def extreme(frame: Frame, op: Op, which: Literal["maximum", "minimum"]) -> bool:
    """Write the larger or smaller of two maps of one type; return whether that was possible."""
    types = [frame.kind(name) for name in op.inputs]
    if cast(Any, op).requantize is not None or types[0].dtype not in BYTES:
        return False
    sources = [frame.view(name) for name in op.inputs]
    target = frame.output(op)
    views = [view.broadcast(target.shape) for view in sources]
    found = walk([target, *views])
    if found is not None and _repeats(found, 1):
        views.reverse()
        found = walk([target, *views])
    if not _dense(found):
        return False
    assert found is not None
    text = elementwise.extreme_call(_pair_shape(found), which, "a", "b", "out", "y0", "y1")
    _emit(frame, text, [("a", views[0]), ("b", views[1])], target, found.height, ())
    return True
