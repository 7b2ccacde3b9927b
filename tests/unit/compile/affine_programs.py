"""Random programs as importers write them: integers with zero points, maps transposed to and fro.

Structure is drawn by hypothesis, so failures shrink; numbers come from a drawn seed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st

from edgebed.program.arithmetic import Affine, multiplier_table
from edgebed.program.ops import by_kind
from edgebed.program.run import run
from edgebed.program.types import Constant, Op, Program, TensorType

SCALE = 0.05
IN, OUT = (2, 0, 1), (1, 2, 0)  # rows, columns, channels to channels first and back


@dataclass
class Draw:
    """A program under construction; tensors are rows x columns x channels."""

    draw: Any
    rng: np.random.Generator
    rounding: str = "fixed_point"
    real: bool = False
    types: dict[str, TensorType] = field(default_factory=dict)
    ops: list[Op] = field(default_factory=list)
    constants: dict[str, Constant] = field(default_factory=dict)

    def pick(self, *values: Any) -> Any:
        return self.draw(st.sampled_from(values))

    def constant(self, values: Any, **meaning: Any) -> str:
        name = f"c{len(self.constants)}"
        values = np.asarray(values)
        self.constants[name] = Constant(values, 8 * values.dtype.itemsize, **meaning)
        return name

    def op(self, kind: str, *inputs: str, **settings: Any) -> str:
        name = f"{kind}{len(self.ops)}"
        op = by_kind(kind)(name=name, inputs=inputs, output=name, **settings)
        self.types[name] = op.infer([self.types[x] for x in inputs], self.constants)
        self.ops.append(op)
        return name

    def rule(self) -> Affine:
        zero = self.pick(-128, -20, 0, 7)
        low, high = self.pick((-128, 127), (zero, 127), (max(zero, -100), 90))
        return Affine(self.pick(SCALE, 2 * SCALE), zero, self.rounding, low, high)  # type: ignore[arg-type]

    def tensor(self, shape: tuple[int, ...]) -> str:
        """A tensor that does not depend on the input."""
        if self.real:
            values = self.rng.uniform(0.5, 1.5, shape).astype(np.float32)
            return self.op("constant", value=self.constant(values))
        values = self.rng.integers(-128, 128, shape).astype(np.int8)
        return self.op("constant", value=self.constant(values, scale=SCALE, zero_point=3))

    def layer(self, shape: tuple[int, ...], outputs: int, inner: int) -> dict[str, Any]:
        """Weights with dead filters and unread channels, bias, and rule or activation."""
        if self.real:
            w = self.rng.normal(0, inner**-0.5, shape).astype(np.float32)
            b = self.rng.normal(0, 1, outputs).astype(np.float32)
            return {"weight": self.constant(w), "bias": self.constant(b)}
        w = self.rng.integers(-127, 128, shape).astype(np.int8)
        w[self.rng.random(len(w)) < self.pick(0.0, 0.5)] = 0
        w[:, self.rng.random(w.shape[1]) < self.pick(0.0, 0.4)] = 0
        reach = self.pick(1000, 200_000)
        b = self.rng.integers(-reach, reach, outputs).astype(np.int32)
        factors = self.rng.uniform(0.3, 1.5, self.pick(1, outputs)) / (70 * inner**0.5 + 1)
        table = multiplier_table(factors.tolist())
        if self.rounding == "float":
            table = factors.astype(np.float32)  # type: ignore[assignment]
        rule = self.rule()
        return {
            "weight": self.constant(w, scale=0.01),
            "bias": self.constant(b) if self.pick(True, True, False) else None,
            "multiplier": self.constant(table),
            "requantize": rule,
        }

    def spatial(self, kind: str, x: str, **settings: Any) -> str:
        """An op on channels, rows, columns between two transposes."""
        first = self.op("transpose", x, perm=IN)
        return self.op("transpose", self.op(kind, first, **settings), perm=OUT)


def conv(d: Draw, x: str) -> str:
    rows, columns, channels = d.types[x].shape
    kernel = d.pick(1, 1, 3) if min(rows, columns) > 2 else 1
    pad = d.pick(0, 1) if kernel == 3 else 0
    groups = d.pick(1, 1, channels, channels, 2)
    groups = groups if channels % groups == 0 else 1
    outputs = groups * d.pick(1, 2) if groups > 1 else d.pick(1, 3, 8)
    inner = channels // groups
    settings = d.layer((outputs, inner, kernel, kernel), outputs, inner * kernel**2)
    stride = d.pick(1, 2)
    sides = (pad, pad, pad, d.pick(0, pad))
    return d.spatial("conv2d", x, stride=(stride,) * 2, padding=sides, groups=groups, **settings)


def conv_up(d: Draw, x: str) -> str:
    channels, outputs = d.types[x].shape[2], d.pick(1, 4)
    settings = d.layer((channels, outputs, 2, 2), outputs, channels)
    return d.spatial("conv_transpose2d", x, **settings)


def pad(d: Draw, x: str) -> str:
    value = d.pick(None, None, 0 if d.real else -128, 5)
    ends = {"before": (d.pick(0, 1), 1, 0), "after": (1, d.pick(0, 1), 0)}
    padded = d.op("pad", x, value=value, **ends)
    return d.pick(conv, pool)(d, padded)


def pool(d: Draw, x: str) -> str:
    size = 2 if min(d.types[x].shape[:2]) > 1 else 1
    kind = d.pick("max_pool", "avg_pool")
    more = {"rounding": "half_away"} if kind == "avg_pool" else {}
    side = d.pick(0, size - 1)
    return d.spatial(kind, x, kernel=(size, size), stride=(size, 1), padding=(side,) * 4, **more)


def mean(d: Draw, x: str) -> str:
    rule = None if d.real else d.rule()
    keep = d.op("reduce", x, function="mean", axes=(0, 1), keep=True, requantize=rule)
    return d.op("multiply", x, keep, requantize=rule) if d.pick(True, False) else keep


def combine(d: Draw, x: str) -> str:
    shape = d.types[x].shape
    kind = d.pick("add", "multiply", "subtract")
    rule = None if d.real else d.rule()
    other = d.pick(
        lambda: d.tensor((shape[2],)),
        lambda: d.tensor((1, 1, shape[2])),
        lambda: single(d, x),
        lambda: _same_size(d, x),
    )()
    pair = (x, other) if d.pick(True, False) else (other, x)
    return d.op(kind, *pair, requantize=rule)


def _same_size(d: Draw, x: str) -> str:
    channels = d.types[x].shape[2]
    return d.spatial("conv2d", x, **d.layer((channels, channels, 1, 1), channels, channels))


def single(d: Draw, x: str) -> str:
    """A function of single values."""
    if d.real:
        return d.op("unary", x, function=d.pick("relu", "tanh", "abs"))
    if d.pick(True, False):
        return d.op("requantize", x, requantize=d.rule())
    kind = d.types[x]
    clamp = np.clip(np.arange(-128, 128), d.pick(-128, kind.zero_point), 100).astype(np.int8)
    free = d.rng.integers(-128, 128, 256).astype(np.int8)
    by_channel = d.rng.integers(-128, 128, (kind.shape[-1], 256)).astype(np.int8)
    table, axis = d.pick((clamp, None), (free, None), (by_channel, len(kind.shape) - 1))
    meaning = {"scale": kind.scale, "zero_point": kind.zero_point}
    return d.op("lookup", x, table=d.constant(table), axis=axis, **meaning)


def parts(d: Draw, x: str) -> str:
    """Cut along an axis and join, with something done to a part on the way."""
    shape = d.types[x].shape
    axis = d.pick(0, 1, 2)
    if shape[axis] < 2:
        return x
    cut = d.pick(1, shape[axis] - 1)
    whole = {"begin": [0, 0, 0], "end": list(shape), "step": (1, 1, 1)}
    ends = ({**whole, "end": [*shape]}, {**whole, "begin": [0, 0, 0]})
    ends[0]["end"][axis], ends[1]["begin"][axis] = cut, cut
    pieces = [
        d.op("strided_slice", x, begin=tuple(e["begin"]), end=tuple(e["end"]), step=e["step"])
        for e in ends
    ]
    if d.pick(True, False):
        return d.op("concat", *pieces, axis=axis)
    piece = d.op("identity", pieces[0])
    return d.op("concat", piece, pieces[1], piece, axis=axis)


def turn(d: Draw, x: str) -> str:
    """Order the axes anew, or cut the same values into another shape."""
    rows, columns, channels = d.types[x].shape
    if d.pick(True, False):
        return d.op("transpose", x, perm=d.pick((1, 0, 2), (2, 1, 0), (0, 2, 1)))
    flat = d.op("reshape", x, shape=(rows * columns, channels))
    flat = d.op("transpose", flat, perm=(1, 0)) if d.pick(True, False) else flat
    return d.op(
        "reshape", flat, shape=d.pick((rows, columns, channels), (columns, 1, rows * channels))
    )


def resize(d: Draw, x: str) -> str:
    rows, columns, _ = d.types[x].shape
    return d.spatial(
        "resize", x, mode="nearest", size=(rows * 2, columns), coordinates="asymmetric"
    )


def blocks(d: Draw, x: str) -> str:
    rows, columns, channels = d.types[x].shape
    if rows % 2 == 0 and columns % 2 == 0:
        return d.spatial("space_to_depth", x, block=2)
    order = d.pick("dcr", "crd")
    return d.spatial("depth_to_space", x, block=2, order=order) if channels % 4 == 0 else x


def twice(d: Draw, x: str) -> str:
    """The same op twice, and one that nobody reads."""
    first, second = (d.op("transpose", x, perm=(1, 0, 2)) for _ in range(2))
    d.op("identity", x)
    rule = None if d.real else d.rule()
    return d.op("add", first, second, requantize=rule)


STEPS = (
    conv,
    conv,
    conv,
    conv_up,
    pad,
    pool,
    mean,
    combine,
    single,
    parts,
    turn,
    resize,
    blocks,
    twice,
)


def head(d: Draw, x: str) -> str:
    """Perhaps a fully connected layer on everything, and perhaps shares."""
    size = d.types[x].size
    kind = d.pick("none", "flat", "flat", "rows")
    if kind == "none":
        return x
    if kind == "flat":
        x = d.op("reshape", x, shape=(size,))
        x = single(d, x) if d.pick(True, False) else x
    inner = d.types[x].shape[-1]
    x = d.op("dense", x, last_axis=True, **d.layer((5, inner), 5, inner))
    rule = None if d.real else Affine(2.0**-8, -128, d.rounding)  # type: ignore[arg-type]
    return d.op("softmax", x, axis=len(d.types[x].shape) - 1, requantize=rule)


def _begin(d: Draw, shape: tuple[int, ...]) -> str:
    """Draw the inputs: real numbers, int8, or unsigned bytes; sometimes two."""
    if d.real:
        d.types["input"] = TensorType(shape, "float32", 1.0)
        return "input"
    unsigned = d.pick(True, False)
    kind = TensorType(shape, "uint8" if unsigned else "int8", SCALE, 131 if unsigned else 3)
    d.types["input"] = kind
    second = d.pick(True, False)
    if second:
        d.types["other"] = TensorType(shape, "int8", 2 * SCALE, -7)
    signed = Affine(SCALE, 3, d.rounding)  # type: ignore[arg-type]
    x = d.op("requantize", "input", requantize=signed) if unsigned else "input"
    return d.op("add", x, "other", requantize=d.rule()) if second else x


@st.composite
def programs(draw: Any, *, real: bool = False, largest: int = 6) -> Program:
    """Draw a program of int8 with zero points, or of float32."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    d = Draw(draw, rng, draw(st.sampled_from(("fixed_point", "fixed_point_single", "float"))), real)
    shape = (*(draw(st.integers(1, 5)) for _ in range(2)), draw(st.sampled_from((1, 2, 4, 6))))
    x = _begin(d, shape)
    inputs = dict(list(d.types.items())[: 2 if "other" in d.types else 1])
    for _ in range(draw(st.integers(1, largest))):
        after = draw(st.sampled_from(STEPS))(d, x)
        x = after if d.types[after].size < 2000 else x
    x = head(d, x)
    seen = [name for name in d.types if name != x]
    outputs = (x, draw(st.sampled_from(seen))) if seen and draw(st.booleans()) else (x,)
    return Program("random", inputs, tuple(d.ops), outputs, d.constants)


def inputs_of(program: Program, seed: int = 0, batch: int = 2) -> dict[str, np.ndarray[Any, Any]]:
    """Random inputs over the whole range."""
    rng = np.random.default_rng(seed)
    return {name: _values(rng, (batch, *kind.shape), kind) for name, kind in program.inputs.items()}


def _values(rng: np.random.Generator, shape: tuple[int, ...], kind: TensorType) -> Any:
    if kind.is_float:
        return rng.normal(0, 1, shape).astype(np.float32)
    limits = np.iinfo(kind.dtype)
    return rng.integers(limits.min, int(limits.max) + 1, shape).astype(kind.dtype)


def assert_same(before: Program, after: Program) -> None:
    """Two programs give the same outputs: integers bit for bit, reals up to rounding."""
    assert after.inputs == before.inputs
    assert after.outputs == before.outputs
    assert {n: after.types[n] for n in after.outputs} == {
        n: before.types[n] for n in before.outputs
    }
    x = inputs_of(before)
    wanted, found = run(before, x), run(after, x)
    for name in before.outputs:
        if wanted[name].dtype.kind == "f":
            size = max(1.0, float(np.abs(wanted[name]).max()))
            np.testing.assert_allclose(found[name], wanted[name], rtol=0, atol=1e-4 * size)
        else:
            np.testing.assert_array_equal(found[name], wanted[name])
