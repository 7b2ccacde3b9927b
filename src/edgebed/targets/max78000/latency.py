"""Cycles of placed layers: the law of `cycles.py` applied to a placement (spec 2.14)."""

from __future__ import annotations

from collections.abc import Sequence

from edgebed.targets.max78000.cycles import LayerShape, layer_cycles
from edgebed.targets.max78000.layers import Placed
from edgebed.targets.max78000.registers import time_slots


def chain_cycles(chain: Sequence[Placed]) -> dict[str, int]:
    """Return the cycles of each layer by name, without the vendor tool's streaming guess."""
    return {placed.layer.name: layer_cycles(law_arguments(placed)).unscaled for placed in chain}


def law_arguments(placed: Placed) -> LayerShape:
    """Return what the law needs to know of a layer."""
    layer, at = placed.layer, placed.at
    rows, columns = layer.pooled
    if layer.operator == "conv_transpose2d":
        rows, columns = 2 * rows, 2 * columns
    kernel_rows, kernel_columns = layer.kernel_shape
    return LayerShape(
        rows=rows,
        columns=columns,
        out_columns=columns if layer.flatten else layer.out_shape[2],
        channels=layer.out_shape[0] if layer.flatten else at.columns,
        passes=at.passes,
        operands=layer.operands,
        pool_rows=layer.pool[0],
        pool_columns=layer.pool[1],
        pad_rows=layer.padding[0],
        pad_columns=layer.padding[1],
        kernel_rows=kernel_rows,
        kernel_columns=kernel_columns,
        pool_last=not layer.pool_first,
        passthrough=layer.passthrough,
        time_slots=time_slots(placed),
        out_passes=at.out_passes,
        kernel_offset=at.kernel_column,
        flatten=layer.flatten and placed.total_passes > 16,
        streaming=layer.streaming,
    )
