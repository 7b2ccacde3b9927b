"""What the ops share that compute with real numbers: real operands, one rounding at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from edgebed.program.arithmetic import Affine
from edgebed.program.types import QUANTISED, Array, Op, TensorType

Floats = npt.NDArray[np.float32]


def real_values(x: Array, kind: TensorType) -> Floats:
    """Return float32 values: (q - zero_point) * scale for integers, with one float32 product.

    They lie in row-major order: numpy adds in the order of memory, and a float32 sum shall not
    depend on how its operands came to lie there.
    """
    if kind.is_float:
        return np.ascontiguousarray(x, np.float32)
    centred = np.subtract(x, np.int64(kind.zero_point), dtype=np.int64, order="C")
    return centred.astype(np.float32) * np.float32(kind.scale)


def through_floats(
    rule: Affine | None,
    function: Callable[..., Floats],
    inputs: Sequence[Array],
    types: Sequence[TensorType],
) -> Array:
    """Return function(real values of the inputs), as integers where there is a rule."""
    real = [real_values(x, kind) for x, kind in zip(inputs, types, strict=True)]
    result = function(*real)
    return result.astype(np.float32, copy=False) if rule is None else rule.quantise(result)


def ruled_type(op: Op, x: TensorType, shape: tuple[int, ...], rule: Affine | None) -> TensorType:
    """Return the type of an op that needs float32 without a rule and integers with one.

    Raises:
        EdgebedError: the input is neither.
    """
    if rule is None:
        if not x.is_float:
            raise op.fail(f"its input is {x.dtype}", why="without a rule float32 is needed")
        return TensorType(shape, "float32", 1.0)
    if x.dtype not in (*QUANTISED, "int32"):
        raise op.fail(f"its input is {x.dtype}", why="a rule needs int8, uint8, int16 or int32")
    return TensorType(shape, rule.dtype, rule.scale, rule.zero_point)
