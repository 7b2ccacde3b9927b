"""A tensor that does not depend on the input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, cast, get_args

from edgebed.program.types import Array, DType, Op, TensorType
from edgebed.program.types import Constant as Values


@dataclass(frozen=True, kw_only=True)
class Constant(Op):
    """The values of a constant, the same for every sample.

    Attributes:
        value: name of the constant; its shape, type, scale and zero point are the tensor's.
    """

    kind: ClassVar[str] = "constant"
    value: str

    @property
    def constants(self) -> tuple[str, ...]:
        """The values."""
        return (self.value,)

    def infer(self, types: Sequence[TensorType], constants: Mapping[str, Values]) -> TensorType:
        """Return the constant's type."""
        if types:
            raise self.fail(f"has {len(types)} inputs", why="it reads none")
        found = constants[self.value]
        dtype = str(found.values.dtype)
        if dtype not in get_args(DType):
            raise self.fail(f"constant {self.value!r} holds {dtype}")
        return TensorType(found.values.shape, cast(DType, dtype), found.scale, found.zero_point)

    def run(
        self,
        inputs: Sequence[Array],
        constants: Mapping[str, Values],
        types: Sequence[TensorType],
    ) -> Array:
        """Return the values with a batch axis of 1."""
        return constants[self.value].values[None]
