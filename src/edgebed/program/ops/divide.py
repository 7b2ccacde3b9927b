"""Quotient of two real tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgebed.program.ops._axes import aligned
from edgebed.program.ops._binary import FloatBinary
from edgebed.program.types import Array, Constant, TensorType


@dataclass(frozen=True, kw_only=True)
class Divide(FloatBinary):
    """left / right in float32, broadcast."""

    kind: ClassVar[str] = "divide"

    def run(
        self,
        inputs: Sequence[Array],
        constants: Mapping[str, Constant],
        types: Sequence[TensorType],
    ) -> Array:
        """Compute left / right."""
        left, right = aligned(inputs)
        with np.errstate(all="ignore"):
            return np.asarray(left / right)
