"""A function of one 8-bit value, as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgebed.program.ops._axes import check_axis
from edgebed.program.types import Array, Constant, Op, TensorType


@dataclass(frozen=True, kw_only=True)
class Lookup(Op):
    """y = table[q + 128] for every int8 value q.

    Attributes:
        table: constant of 256 int8 values, or C x 256 with one row an index of `axis`.
        axis: whose indices choose the row; None for one table.
        scale: of the output.
        zero_point: of the output.
    """

    kind: ClassVar[str] = "lookup"
    table: str
    axis: int | None = None
    scale: float
    zero_point: int = 0

    @property
    def constants(self) -> tuple[str, ...]:
        """The table."""
        return (self.table,)

    def infer(self, types: Sequence[TensorType], constants: Mapping[str, Constant]) -> TensorType:
        """Return int8 of the input's shape with the output's meaning."""
        (x,), table = types, constants[self.table].values
        if x.dtype != "int8" or table.dtype != np.int8:
            raise self.fail(f"a table of {table.dtype} on {x.dtype}", why="both must be int8")
        needed: tuple[int, ...] = (256,)
        if self.axis is not None:
            needed = (x.shape[check_axis(self, self.axis, x.shape)], 256)
        if table.shape != needed:
            raise self.fail(f"its table has shape {table.shape}", why=f"{needed} is needed")
        return TensorType(x.shape, "int8", self.scale, self.zero_point)

    def run(
        self,
        inputs: Sequence[Array],
        constants: Mapping[str, Constant],
        types: Sequence[TensorType],
    ) -> Array:
        """Look every value up."""
        table, index = constants[self.table].values, inputs[0].astype(np.intp) + 128
        if self.axis is None:
            result: Array = table[index]
            return result
        rows = np.arange(len(table)).reshape(-1, *(1,) * (len(types[0].shape) - self.axis - 1))
        picked: Array = table[rows, index]
        return picked
