"""Maps of another number of rows and columns."""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt

from edgebed.program.ops._resize import nearest_indices, taps, whole_positions
from edgebed.program.ops.resize import Resize
from edgebed.program.types import Op
from edgebed.targets._shared.rows.frame import Frame
from edgebed.targets._shared.rows.lower import parts
from edgebed.targets._shared.rows.lower.real import literal, rule_text
from edgebed.targets._shared.rows.stage import Stage, Table

Array = npt.NDArray[np.generic]
_NO_RULE = "{1.0f, 0.0f, 0, 0, 0, 0}"


def resize(frame: Frame, op: Op) -> None:
    """Lower nearest and bilinear interpolation."""
    layer = cast(Resize, op)
    kind = frame.kind(op.inputs[0])
    sizes = kind.shape[1:]
    if layer.mode == "nearest":
        rows, columns = (nearest_indices(layer, n, axis) for axis, n in enumerate(sizes))
        parts.nearest(frame, op, rows, columns)
    elif layer.mode != "bilinear":
        raise frame.refuse(op, f"has no kernel for {layer.mode}", "bilinear or nearest")
    elif kind.dtype not in ("int8", "uint8", "float32"):
        raise frame.refuse(op, f"has no kernel for {kind.dtype}", "int8 or float32")
    elif layer.requantize is not None and layer.requantize.rounding != "float":
        _fixed(frame, layer)
    else:
        _real(frame, layer)


def _fixed(frame: Frame, layer: Resize) -> None:
    kind = frame.kind(layer.inputs[0])
    tables = [
        _table(frame, layer, name, "int16_t", np.stack(whole_positions(layer, n, axis), axis=1))
        for axis, (name, n) in enumerate(zip(("rows", "columns"), kind.shape[1:], strict=True))
    ]
    offset = 128 if kind.dtype == "uint8" else 0
    names = ", ".join(table.name for table in tables)
    text = f"{{{names}, {_geometry(frame, layer)}, {offset}}}"
    _add(frame, layer, "eb_resize", text, tables)


def _real(frame: Frame, layer: Resize) -> None:
    kind, out, rule = frame.kind(layer.inputs[0]), frame.kind(layer.output), layer.requantize
    if not out.is_float and out.dtype not in ("int8", "uint8"):
        raise frame.refuse(layer, f"has no kernel to {out.dtype}", "int8 or float32")
    indices, weights = [], []
    for axis, (name, n) in enumerate(zip(("rows", "columns"), kind.shape[1:], strict=True)):
        found = taps(layer, n, axis)
        index, weight = (np.stack([one[i] for one in found], axis=1) for i in (0, 1))
        indices.append(_table(frame, layer, name, "uint16_t", index))
        weights.append(_table(frame, layer, f"{name}_weights", "float", weight))
    tables = [*indices, *weights]
    names = ", ".join(table.name for table in tables)
    numbers = f"{literal(kind.scale)}, {0 if kind.is_float else frame.zero(layer.inputs[0])}"
    to = _NO_RULE if rule is None else rule_text(rule)
    sides = f"{int(kind.is_float)}, {int(out.is_float)}"
    text = f"{{{names}, {_geometry(frame, layer)}, {numbers}, {to}, {sides}}}"
    _add(frame, layer, "eb_resize_real", text, tables)


def _geometry(frame: Frame, layer: Resize) -> str:
    _, width, channels = frame.pixels(layer.inputs[0])
    return f"{width}, {channels}, {frame.pixels(layer.output)[1]}"


def _table(frame: Frame, layer: Resize, name: str, c_type: str, values: Array) -> Table:
    dtype = {"int16_t": "<i2", "uint16_t": "<u2", "float": "<f4"}[c_type]
    return frame.table(layer, name, c_type, values.astype(dtype).tobytes(), weights=False)


def _add(frame: Frame, layer: Resize, function: str, text: str, tables: list[Table]) -> None:
    frame.add(
        Stage(
            name=layer.name, kind=layer.kind, output=layer.output,
            inputs=(frame.whole(layer.inputs[0]),), steps=frame.pixels(layer.output)[0],
            function=function, header="resize.h", layer_type=f"{function}_t", layer=text,
            tables=tuple(tables),
        )
    )  # fmt: skip
