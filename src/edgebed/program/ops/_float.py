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


def fused_multiply_add(x: npt.ArrayLike, a: npt.ArrayLike, b: npt.ArrayLike) -> Floats:
    """Return float32 x * a + b rounded once, as the processor's fused multiply-add does.

    All three are float32 and broadcast against each other.
    """
    product = np.asarray(x, np.float64) * np.asarray(a, np.float64)  # exact: 24 + 24 bits
    product, addend = np.broadcast_arrays(product, np.asarray(b, np.float64))
    total = np.array(product + addend)
    back = total - product
    rest = (product - (total - back)) + (addend - back)
    # Round to odd, so that the second rounding (to float32) cannot meet a false tie.
    inexact = (rest != 0) & ((total.view(np.int64) & 1) == 0)
    if inexact.any():
        towards = np.where(rest[inexact] > 0, np.inf, -np.inf)
        total[inexact] = np.nextafter(total[inexact], towards)
    result: Floats = total.astype(np.float32)
    return result


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
