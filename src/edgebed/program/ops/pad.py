"""Values put around a tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from edgebed.program.types import Array, Constant, Op, TensorType


@dataclass(frozen=True, kw_only=True)
class Pad(Op):
    """Lengthens axes at both ends.

    Attributes:
        before: values put before each axis.
        after: values put behind each axis.
        value: the number stored there in `constant` mode, in the tensor's own units (an integer
            for integers); None stands for 0.0, which is the zero point of integers.
        mode: `constant`, `reflect` (mirrored, the edge not repeated), `symmetric` (mirrored, the
            edge repeated) or `edge` (the edge repeated), as in numpy.
    """

    kind: ClassVar[str] = "pad"
    before: tuple[int, ...]
    after: tuple[int, ...]
    value: int | float | None = None
    mode: Literal["constant", "reflect", "symmetric", "edge"] = "constant"

    def infer(self, types: Sequence[TensorType], constants: Mapping[str, Constant]) -> TensorType:
        """Return the type of the larger tensor."""
        (x,) = types
        if not len(self.before) == len(self.after) == len(x.shape):
            raise self.fail(f"before and after need {len(x.shape)} entries each")
        if min((*self.before, *self.after), default=0) < 0:
            raise self.fail("a negative padding", try_="strided_slice to shorten an axis")
        self._check_mirror(x)
        if self.value is not None and not x.is_float:
            self._check_value(x, self.value)
        sizes = zip(x.shape, self.before, self.after, strict=True)
        return x.with_shape(tuple(size + a + b for size, a, b in sizes))

    def _check_mirror(self, x: TensorType) -> None:
        reach = {"reflect": 1, "symmetric": 0}.get(self.mode)
        if reach is None:
            return
        for size, *pads in zip(x.shape, self.before, self.after, strict=True):
            if max(pads) > size - reach:
                raise self.fail(f"{self.mode} of {max(pads)} values on an axis of {size}")

    def _check_value(self, x: TensorType, value: float) -> None:
        limits = (0, 1) if x.dtype == "bool" else (np.iinfo(x.dtype).min, np.iinfo(x.dtype).max)
        if value != int(value) or not limits[0] <= value <= limits[1]:
            raise self.fail(f"value {value} in {x.dtype}", why="it is stored as it is")

    def run(
        self,
        inputs: Sequence[Array],
        constants: Mapping[str, Constant],
        types: Sequence[TensorType],
    ) -> Array:
        """Return the larger tensor."""
        x = inputs[0]
        widths = ((0, 0), *zip(self.before, self.after, strict=True))
        if self.mode == "constant":
            value = types[0].zero_point if self.value is None else self.value
            return np.pad(x, widths, constant_values=value)
        return np.pad(x, widths, mode=self.mode)
