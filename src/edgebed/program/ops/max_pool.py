"""Maximum over windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgebed.program.ops._pool import Pool
from edgebed.program.ops._windows import windows
from edgebed.program.types import Array, Constant, TensorType


@dataclass(frozen=True, kw_only=True)
class MaxPool(Pool):
    """Maximum of each window; padding never wins.

    A 1 x 1 kernel with a stride takes every n-th value.
    """

    kind: ClassVar[str] = "max_pool"

    def run(
        self,
        inputs: Sequence[Array],
        constants: Mapping[str, Constant],
        types: Sequence[TensorType],
    ) -> Array:
        """Return the maxima; rows first, then columns, which is the same and quicker."""
        kernel, stride = self.kernel, self.stride
        lowest = -np.inf if types[0].is_float else np.iinfo(types[0].dtype).min
        x = self.padded(inputs[0], lowest)
        rows = windows(x, (kernel[0], 1), (stride[0], 1)).max(axis=(4, 5))
        result: Array = windows(rows, (1, kernel[1]), (1, stride[1])).max(axis=(4, 5))
        return result
