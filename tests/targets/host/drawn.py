"""Random programs: chains of ops that fit each other, several of them side by side in one program.

One program of many chains costs one compile, and its tensors crowd the same arena.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st

from edgebed.program.arithmetic import Affine, PowerOfTwo, multiplier_table
from edgebed.program.ops.add import Add
from edgebed.program.ops.argmax import Argmax
from edgebed.program.ops.avg_pool import AvgPool
from edgebed.program.ops.bit_or import BitOr
from edgebed.program.ops.bit_xor import BitXor
from edgebed.program.ops.cast import Cast
from edgebed.program.ops.concat import Concat
from edgebed.program.ops.constant import Constant as ConstantOp
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.ops.conv_transpose2d import ConvTranspose2d
from edgebed.program.ops.dense import Dense
from edgebed.program.ops.depth_to_space import DepthToSpace
from edgebed.program.ops.dequantize import Dequantize
from edgebed.program.ops.gather import Gather
from edgebed.program.ops.identity import Identity
from edgebed.program.ops.lookup import Lookup
from edgebed.program.ops.max_pool import MaxPool
from edgebed.program.ops.maximum import Maximum
from edgebed.program.ops.minimum import Minimum
from edgebed.program.ops.multiply import Multiply
from edgebed.program.ops.pad import Pad
from edgebed.program.ops.quantize import Quantize
from edgebed.program.ops.reduce import Reduce
from edgebed.program.ops.requantize import Requantize
from edgebed.program.ops.reshape import Reshape
from edgebed.program.ops.slice import Slice
from edgebed.program.ops.softmax import Softmax
from edgebed.program.ops.space_to_depth import SpaceToDepth
from edgebed.program.ops.squared_difference import SquaredDifference
from edgebed.program.ops.strided_slice import StridedSlice
from edgebed.program.ops.subtract import Subtract
from edgebed.program.ops.transpose import Transpose
from edgebed.program.ops.unary import Unary
from edgebed.program.types import Constant, Op, Program, TensorType

Draw = Callable[[Any], Any]


@dataclass
class Chain:
    """A program under construction."""

    draw: Draw
    types: dict[str, TensorType] = field(default_factory=dict)
    inputs: dict[str, TensorType] = field(default_factory=dict)
    ops: list[Op] = field(default_factory=list)
    constants: dict[str, Constant] = field(default_factory=dict)
    rng: np.random.Generator = field(default_factory=np.random.default_rng)
    fresh: int = 0

    def name(self) -> str:
        self.fresh += 1
        return f"t{self.fresh}"

    def whole(self, low: int, high: int) -> int:
        return int(self.draw(st.integers(low, high)))

    def pick(self, *choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def input(self, kind: TensorType) -> str:
        name = f"in{len(self.inputs)}"
        self.inputs[name] = self.types[name] = kind
        return name

    def constant(self, name: str, values: Any, bits: int, scale: float = 1.0, zero: int = 0) -> str:
        self.constants[name] = Constant(np.asarray(values), bits, scale, zero)
        return name

    def add(self, op: type[Op], inputs: tuple[str, ...], **attributes: Any) -> str:
        out = self.name()
        made = op(name=f"layer {out}", inputs=inputs, output=out, **attributes)
        self.types[out] = made.infer([self.types[n] for n in inputs], self.constants)
        self.ops.append(made)
        return out

    def rule(self, scale: float | None = None, dtype: str = "int8") -> Affine:
        """Any rule of an int8 (or other) result."""
        off = 128 if dtype == "uint8" else 0
        if dtype == "int16":
            rounding = self.pick("fixed_point", "fixed_point_single", "float")
            return Affine(scale or self.scale(), 0, rounding, -32768, 32767, "int16")
        zero = self.whole(-128, 127) + off
        low = self.pick(-128, -128, self.whole(-128, 0)) + off
        high = self.pick(127, 127, self.whole(1, 127)) + off
        rounding = self.pick("fixed_point", "fixed_point", "fixed_point_single", "float")
        return Affine(scale or self.scale(), zero, rounding, low, high, dtype)

    def scale(self) -> float:
        return float(np.float32(self.draw(st.floats(0.004, 0.3))))


def fitting_factor(reach: int) -> float:
    """A real factor that brings sums of about `reach` into bytes, now and then too large."""
    return 100.0 / max(reach, 1)


# ---- One more op behind a tensor -----------------------------------------------------------


def is_map(kind: TensorType) -> bool:
    return len(kind.shape) == 3


def weights(c: Chain, shape: tuple[int, ...], outputs: int, dtype: str = "int8") -> dict[str, Any]:
    """Constants of a weighted op, and its rule."""
    base = c.name()
    if dtype == "float32":
        c.constant(f"{base}.weight", c.rng.uniform(-1, 1, shape).astype(np.float32), 32)
        c.constant(f"{base}.bias", c.rng.uniform(-1, 1, outputs).astype(np.float32), 32)
        return {"weight": f"{base}.weight", "bias": f"{base}.bias",
                "activation": c.pick("none", "relu", "abs")}  # fmt: skip
    per = int(np.prod(shape)) // outputs
    values = c.rng.integers(-127, 128, shape)
    zero = c.pick(0, 0, 0, c.whole(-3, 3))
    c.constant(f"{base}.weight", values.astype(np.int8), 8, 0.01, zero)
    rule: Any = c.pick("affine", "affine", "affine", "shift", None)
    reach = int(np.sqrt(per)) * 74 * 74 + 200
    if dtype == "int16":
        rule, reach = "affine", 40 * reach
    found: dict[str, Any] = {"weight": f"{base}.weight"}
    if c.pick(True, True, False):
        bias = c.rng.integers(-reach, reach + 1, outputs)
        found["bias"] = c.constant(f"{base}.bias", bias.astype(np.int32), 32)
    if rule == "affine":
        rule = c.rule(dtype=c.pick("int8", "int8", "uint8", "int16"))
        count = c.pick(1, outputs)
        factors = c.rng.uniform(0.3, 3.0, count) * fitting_factor(reach)
        table = (
            factors.astype(np.float32)
            if rule.rounding == "float"
            else multiplier_table(list(factors))
        )
        found["multiplier"] = c.constant(f"{base}.multiplier", table, 32)
    elif rule == "shift":
        rule = PowerOfTwo(max(0, int(np.log2(reach / 100))))
        found["activation"] = c.pick("none", "relu", "abs")
    found["requantize"] = rule
    return found


def conv(c: Chain, x: str) -> str | None:
    kind = c.types[x]
    if not is_map(kind) or kind.dtype not in ("int8", "int16", "float32"):
        return None
    channels, height, width = kind.shape
    kh, kw = c.whole(1, min(4, height)), c.whole(1, min(4, width))
    style = c.pick("full", "point", "depthwise", "depthwise", "groups", "dilated")
    groups, outputs, dilation = 1, c.pick(1, 3, 8, 16, 17, 33, 64), (1, 1)
    if style == "point":
        kh = kw = 1
    if style == "depthwise":
        groups, outputs = channels, channels * c.pick(1, 1, 1, 2)
    if style == "groups" and channels % 2 == 0:
        groups, outputs = 2, 2 * c.whole(1, 20)
    padding = tuple(c.whole(0, k - 1) for k in (kh, kw, kh, kw))
    if style == "dilated" and 2 * (kh - 1) < height and 2 * (kw - 1) < width:
        dilation = (2, 2)
    found = weights(c, (outputs, channels // groups, kh, kw), outputs, kind.dtype)
    if isinstance(found.get("requantize"), PowerOfTwo) and kind.zero_point:
        return None
    return c.add(
        Conv2d, (x,), stride=(c.whole(1, 2), c.whole(1, 2)), padding=padding, groups=groups,
        dilation=dilation, **found,
    )  # fmt: skip


def transposed(c: Chain, x: str) -> str | None:
    kind = c.types[x]
    if not is_map(kind) or kind.dtype not in ("int8", "float32") or kind.size > 2000:
        return None
    kernel, outputs = c.whole(1, 3), c.whole(1, 9)
    found = weights(c, (kind.shape[0], outputs, kernel, kernel), outputs, kind.dtype)
    if isinstance(found.get("requantize"), PowerOfTwo) and kind.zero_point:
        return None
    stride, cut = c.whole(1, 2), c.whole(0, (kernel - 1) // 2)
    return c.add(ConvTranspose2d, (x,), stride=(stride, stride), padding=(cut, cut), **found)


def dense(c: Chain, x: str) -> str | None:
    kind = c.types[x]
    if kind.dtype not in ("int8", "int16", "float32") or kind.size > 4000 or not kind.shape:
        return None
    outputs, last = c.pick(1, 2, 10, 16, 37), c.pick(True, False)
    inner = kind.shape[-1] if last else kind.size
    found = weights(c, (outputs, inner), outputs, kind.dtype)
    if isinstance(found.get("requantize"), PowerOfTwo) and kind.zero_point:
        return None
    return c.add(Dense, (x,), last_axis=last, **found)


def pool(c: Chain, x: str) -> str | None:
    kind = c.types[x]
    if not is_map(kind) or kind.dtype not in ("int8", "float32"):
        return None
    kernel = (c.whole(1, min(3, kind.shape[1])), c.whole(1, min(3, kind.shape[2])))
    whole = c.pick(False, False, True)
    if whole:
        kernel = kind.shape[1:]
    padding = (0, 0, 0, 0) if whole else tuple(c.whole(0, k - 1) for k in kernel * 2)
    place = {"kernel": kernel, "stride": (c.whole(1, 2), c.whole(1, 2)), "padding": padding}
    if c.pick(True, False):
        return c.add(MaxPool, (x,), **place)
    extra: dict[str, Any] = {"include_padding": c.pick(False, True)}
    if kind.dtype == "int8" and c.pick(True, False):
        rule = c.rule()
        extra["requantize"] = Affine(rule.scale, rule.zero_point, "float", rule.low, rule.high)
    elif kind.dtype == "int8":
        extra["rounding"] = c.pick("half_away", "truncate")
    return c.add(AvgPool, (x,), **place, **extra)


def pair(c: Chain, x: str) -> str | None:
    """Combine with an earlier tensor of the same shape, or with a constant that broadcasts."""
    kind = c.types[x]
    if kind.dtype not in ("int8", "float32", "int16"):
        return None
    same = [n for n, t in c.types.items() if t.shape == kind.shape and t.dtype == kind.dtype]
    other = c.pick(*same)
    if c.pick(False, True) and kind.shape:
        shape = tuple(c.pick(1, n) for n in kind.shape)
        name = c.name()
        if kind.dtype == "float32":
            values = c.rng.uniform(-2, 2, shape).astype(np.float32)
            c.constant(name, values, 32)
        else:
            info = np.iinfo(kind.dtype)
            values = c.rng.integers(info.min, info.max + 1, shape).astype(kind.dtype)
            zero = 0 if kind.dtype == "int16" else c.whole(-128, 127)
            c.constant(name, values, 8 * values.itemsize, c.scale(), zero)
        other = c.add(ConstantOp, (), value=name)
    pairs = (x, other) if c.pick(True, False) else (other, x)
    if kind.dtype == "float32":
        return c.add(c.pick(Add, Subtract, Multiply, Maximum, Minimum, SquaredDifference), pairs)
    if kind.dtype == "int16":
        rule = Affine(c.scale(), 0, c.pick("fixed_point", "float"), -32768, 32767, "int16")
        return c.add(c.pick(Add, Subtract, Multiply), pairs, requantize=rule)
    op = c.pick(Add, Add, Subtract, Multiply, Maximum, Minimum, SquaredDifference)
    equal = c.types[pairs[0]] == c.types[pairs[1]]
    if equal and op in (Maximum, Minimum) and c.pick(True, False):
        return c.add(op, pairs)
    if equal and kind.zero_point == 0 and c.pick(True, False):
        return c.add(c.pick(Add, Subtract, BitOr, BitXor), pairs)
    return c.add(op, pairs, requantize=c.rule())


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


GROWERS = (
    conv, conv, conv, dense, pool, pair, pair, concat, shape_op, shape_op, convert, statistic,
    transposed, real_function,
)  # fmt: skip


def grow(c: Chain, length: int) -> None:
    """Put so many ops behind a new input."""
    dtype = c.pick("int8", "int8", "int8", "uint8", "float32")
    shape = c.pick((3, 7, 6), (1, 9, 4), (16, 5, 5), (8, 8), (40,), (20, 3, 9), (64, 4, 4))
    zero = {"int8": c.whole(-128, 127), "uint8": c.whole(0, 255), "float32": 0}[dtype]
    scale = 1.0 if dtype == "float32" else c.scale()
    known = dict(c.types)
    c.types.clear()
    last = c.input(TensorType(shape, dtype, scale, zero))
    for _ in range(length):
        grower = c.pick(*GROWERS)
        made = grower(c, last)
        if made is not None and c.types[made].size <= 20000:
            last = made
        elif made is not None:
            c.ops.pop()
            del c.types[made]
    c.types.update(known)


@st.composite
def programs(draw: Draw, chains: int = 6, length: int = 7) -> Program:
    """Programs of several chains; every tensor that nobody reads is an output, and some others."""
    c = Chain(draw)
    c.rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    for _ in range(chains):
        grow(c, length)
    read = {name for op in c.ops for name in op.inputs}
    loose = [op.output for op in c.ops if op.output not in read]
    more = [op.output for op in c.ops if op.output in read and draw(st.booleans())][:3]
    outputs = tuple(loose + more) or tuple(c.inputs)
    used = {name for op in c.ops for name in op.constants}
    constants = {name: value for name, value in c.constants.items() if name in used}
    return Program("drawn", c.inputs, tuple(c.ops), outputs, constants)
