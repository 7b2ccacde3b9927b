"""Average over windows, in integers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from edgebed.program.arithmetic import Rounding, divide
from edgebed.program.ops._pool import Pool
from edgebed.program.ops._windows import windows
from edgebed.program.types import Array, Constant


@dataclass(frozen=True, kw_only=True)
class AvgPool(Pool):
    """Sum of each window divided by its size.

    Attributes:
        rounding: `truncate` cuts towards zero, `half_away` rounds half away from zero.
    """

    kind: ClassVar[str] = "avg_pool"
    rounding: Rounding = "truncate"

    def run(self, inputs: Sequence[Array], constants: Mapping[str, Constant]) -> Array:
        """Return the averages in the input's type."""
        x = inputs[0]
        total = windows(x, self.kernel, self.stride).sum(axis=(4, 5), dtype="int64")
        result = divide(total, self.kernel[0] * self.kernel[1], self.rounding)
        return result.astype(x.dtype)
