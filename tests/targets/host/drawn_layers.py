"""Random ops with arithmetic: layers with weights, pools, sums and products of two tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
from chain import Chain, is_map

from edgebed.program.arithmetic import Affine, PowerOfTwo, multiplier_table
from edgebed.program.ops.add import Add
from edgebed.program.ops.avg_pool import AvgPool
from edgebed.program.ops.bit_or import BitOr
from edgebed.program.ops.bit_xor import BitXor
from edgebed.program.ops.constant import Constant as ConstantOp
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.ops.conv_transpose2d import ConvTranspose2d
from edgebed.program.ops.dense import Dense
from edgebed.program.ops.max_pool import MaxPool
from edgebed.program.ops.maximum import Maximum
from edgebed.program.ops.minimum import Minimum
from edgebed.program.ops.multiply import Multiply
from edgebed.program.ops.squared_difference import SquaredDifference
from edgebed.program.ops.subtract import Subtract


def fitting_factor(reach: int) -> float:
    """A real factor that brings sums of about `reach` into bytes, now and then too large."""
    return 100.0 / max(reach, 1)


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
        plain = Affine(rule.scale, rule.zero_point, "float", rule.low, rule.high)
        extra["requantize"] = c.pick(plain, c.early_rule())
    elif kind.dtype == "int8":
        extra["rounding"] = c.pick("half_away", "truncate", "half_up")
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
    early = op in (Add, Multiply) and c.types[other].dtype == "int8" and c.pick(False, False, True)
    return c.add(op, pairs, requantize=c.early_rule() if early else c.rule())
