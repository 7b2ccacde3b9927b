"""What the larger and the smaller of two values share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgebed.program.ops._axes import aligned
from edgebed.program.ops._binary import Binary
from edgebed.program.ops._rescale import rescale
from edgebed.program.types import Array, Constant, TensorType


@dataclass(frozen=True, kw_only=True)
class Extreme(Binary):
    """Picks one of two operands, broadcast.

    Operands of equal type need no rule: their numbers are compared as they are. With a rule
    each is brought to the output's scale first, as the op `requantize` does.
    """

    pick: ClassVar[np.ufunc]

    def run(
        self,
        inputs: Sequence[Array],
        constants: Mapping[str, Constant],
        types: Sequence[TensorType],
    ) -> Array:
        """Pick value by value."""
        operands = aligned(inputs)
        if (rule := self.requantize) is not None:
            pairs = zip(operands, types, strict=True)
            operands = [rescale(x, kind, rule) for x, kind in pairs]
        return np.asarray(self.pick(*operands))
