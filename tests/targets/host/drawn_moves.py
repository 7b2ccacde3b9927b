"""Random ops that move and convert numbers, statistics and functions of one number."""

from __future__ import annotations

import numpy as np
from chain import Chain
from hypothesis import strategies as st

from edgebed.program.arithmetic import Affine
from edgebed.program.ops.argmax import Argmax
from edgebed.program.ops.cast import Cast
from edgebed.program.ops.concat import Concat
from edgebed.program.ops.depth_to_space import DepthToSpace
from edgebed.program.ops.dequantize import Dequantize
from edgebed.program.ops.gather import Gather
from edgebed.program.ops.identity import Identity
from edgebed.program.ops.lookup import Lookup
from edgebed.program.ops.pad import Pad
from edgebed.program.ops.quantize import Quantize
from edgebed.program.ops.reduce import Reduce
from edgebed.program.ops.requantize import Requantize
from edgebed.program.ops.reshape import Reshape
from edgebed.program.ops.slice import Slice
from edgebed.program.ops.softmax import Softmax
from edgebed.program.ops.space_to_depth import SpaceToDepth
from edgebed.program.ops.strided_slice import StridedSlice
from edgebed.program.ops.transpose import Transpose
from edgebed.program.ops.unary import Unary
from edgebed.program.types import TensorType


def concat(c: Chain, x: str) -> str | None:
    kind = c.types[x]
    if not kind.shape:
        return None
    axis = c.whole(0, len(kind.shape) - 1)

    def fits(other: TensorType) -> bool:
        return len(other.shape) == len(kind.shape) and other == kind.with_shape(
            (*kind.shape[:axis], other.shape[axis], *kind.shape[axis + 1 :])
        )

    others = [n for n, t in c.types.items() if fits(t)]
    parts = tuple(c.pick(*others) for _ in range(c.whole(0, 2)))
    if sum(c.types[n].size for n in (x, *parts)) > 20000:
        return None
    return c.add(Concat, c.pick((x, *parts), (*parts, x)), axis=axis)


def shape_op(c: Chain, x: str) -> str | None:
    kind = c.types[x]
    rank, shape = len(kind.shape), kind.shape
    choice = c.whole(0, 8)
    if choice == 0:
        return c.add(Transpose, (x,), perm=tuple(c.draw(st.permutations(range(rank)))))
    if choice == 1 and rank:
        factors = [n for n in range(1, kind.size + 1) if kind.size % n == 0]
        first = c.pick(*factors)
        return c.add(Reshape, (x,), shape=c.pick((first, kind.size // first), (kind.size,),
                     (1, *shape), (*shape, 1), (first, 1, kind.size // first)))  # fmt: skip
    if choice == 2 and rank:
        begin = tuple(c.whole(0, n - 1) for n in shape)
        step = tuple(c.pick(1, 1, 2, -1) for _ in shape)
        end = tuple(None if s < 0 else n for s, n in zip(step, shape, strict=True))
        return c.add(StridedSlice, (x,), begin=begin, end=end, step=step)
    if choice == 3 and rank and kind.size < 4000:
        mode = c.pick("constant", "constant", "edge", "symmetric", "reflect")
        most = [min(2, n - (mode == "reflect")) for n in shape]
        value = None if kind.dtype == "float32" else c.pick(None, c.whole(-5, 5))
        return c.add(
            Pad, (x,), before=tuple(c.whole(0, n) for n in most), mode=mode,
            after=tuple(c.whole(0, n) for n in most),
            value=None if kind.dtype == "uint8" else value,
        )  # fmt: skip
    if choice == 4 and rank == 3:
        start = c.whole(0, shape[0] - 1)
        return c.add(Slice, (x,), start=start, stop=c.whole(start + 1, shape[0]))
    if choice == 5 and rank:
        axis = c.whole(0, rank - 1)
        count = c.pick((), (3,), (2, 2))
        indices = c.rng.integers(0, shape[axis], count)
        return c.add(Gather, (x,), axis=axis, indices=c.constant(c.name(), indices, 64))
    if choice == 6 and rank == 3 and shape[1] % 2 == 0 and shape[2] % 2 == 0:
        return c.add(SpaceToDepth, (x,), block=2)
    if choice == 7 and rank == 3 and shape[0] % 4 == 0:
        return c.add(DepthToSpace, (x,), block=2, order=c.pick("dcr", "crd"))
    return c.add(Identity, (x,))


def convert(c: Chain, x: str) -> str | None:
    kind = c.types[x]
    if kind.dtype == "float32":
        rule = c.rule()
        return c.add(
            Quantize, (x,), scale=rule.scale, zero_point=rule.zero_point,
            rounding=c.pick("half_even", "half_away"),
        )  # fmt: skip
    if kind.dtype == "int8" and c.pick(True, False):
        shape: tuple[int, ...] = (256,)
        axis = None
        if kind.shape and c.pick(True, False):
            axis = c.whole(0, len(kind.shape) - 1)
            shape = (kind.shape[axis], 256)
        values = c.rng.integers(-128, 128, shape).astype(np.int8)
        table = c.constant(c.name(), values, 8)
        return c.add(
            Lookup, (x,), table=table, axis=axis, scale=c.scale(), zero_point=c.whole(-128, 127)
        )
    if c.pick(True, False):
        return c.add(Dequantize, (x,))
    if kind.dtype == "int64":
        return c.add(Cast, (x,), dtype="float32")
    dtype = c.pick("int8", "int8", "int16", "uint8")
    rule = c.rule(dtype=dtype) if dtype != "int16" else Affine(
        c.scale(), 0, c.pick("fixed_point", "float"), -32768, 32767, "int16")  # fmt: skip
    return c.add(Requantize, (x,), requantize=rule)


def statistic(c: Chain, x: str) -> str | None:
    kind = c.types[x]
    if kind.dtype not in ("int8", "float32") or not kind.shape:
        return None
    axis = c.whole(0, len(kind.shape) - 1)
    choice = c.whole(0, 3)
    if choice == 0:
        return c.add(
            Argmax, (x,), axis=axis, keep=c.pick(True, False), last=c.pick(True, False),
            least=c.pick(True, False),
        )  # fmt: skip
    if choice == 1 and kind.dtype == "int8":
        rules = (
            Affine(1 / 256, -128, "fixed_point"),
            Affine(1 / 65536, -32768, "fixed_point", -32768, 32767, "int16"),
        )
        return c.add(Softmax, (x,), axis=axis, beta=c.pick(1.0, 0.5), requantize=c.pick(*rules))
    if choice == 1:
        return c.add(Softmax, (x,), axis=axis, log=c.pick(True, False))
    axes = tuple(a for a in range(len(kind.shape)) if c.pick(True, False)) or (axis,)
    keep = c.pick(True, False)
    if kind.dtype == "float32":
        function = c.pick("mean", "sum", "max", "min")
        return c.add(Reduce, (x,), function=function, axes=axes, keep=keep)
    rule = c.rule()
    function = c.pick("mean", "mean", "sum", "max", "min")
    if rule.rounding == "float" and function in ("mean", "sum"):
        function = "max"  # float sums round differently in another order
    return c.add(Reduce, (x,), function=function, axes=axes, keep=keep, requantize=rule)


def real_function(c: Chain, x: str) -> str | None:
    if c.types[x].dtype != "float32":
        return None
    function = c.pick("relu", "relu6", "sigmoid", "tanh", "hard_swish", "abs", "silu", "erf")
    return c.add(Unary, (x,), function=function)
