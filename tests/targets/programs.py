"""Random programs for conformance tests, within a target's arithmetic and abilities.

Structure is drawn by hypothesis, so failures shrink; weights come from a drawn seed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st

from edgebed.program.arithmetic import Arithmetic, PowerOfTwo, weight_range
from edgebed.program.ops.add import Add
from edgebed.program.ops.avg_pool import AvgPool
from edgebed.program.ops.bit_or import BitOr
from edgebed.program.ops.bit_xor import BitXor
from edgebed.program.ops.concat import Concat
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.ops.conv_transpose2d import ConvTranspose2d
from edgebed.program.ops.dense import Dense
from edgebed.program.ops.identity import Identity
from edgebed.program.ops.max_pool import MaxPool
from edgebed.program.ops.subtract import Subtract
from edgebed.program.types import Constant, Op, Program, TensorType

SCALE = 1 / 128  # of every int8 tensor, so that any two can be added or joined


@dataclass(frozen=True)
class Abilities:
    """What a target's programs may contain.

    Attributes:
        steps: kinds of steps to draw from; see `Builder`.
        channels: channel counts to draw from.
        kernels: square kernels of convolutions.
        pads: zero rows and columns on every side.
        lengths: kernel lengths on maps of width 1.
        dilations: of kernels on maps of width 1.
        narrow: inputs are always one column wide.
        windows: pooling windows and strides.
        largest: rows or columns of an input.
        depth: steps in a program.
    """

    steps: tuple[str, ...]
    channels: tuple[int, ...] = (1, 2, 3, 4, 7, 12, 16, 33, 64)
    kernels: tuple[int, ...] = (1, 3)
    pads: tuple[int, ...] = (0, 1, 2)
    lengths: tuple[int, ...] = (1, 2, 3, 5, 9)
    dilations: tuple[int, ...] = (1,)
    narrow: bool = False
    windows: tuple[int, ...] = (1, 2, 3)
    largest: int = 12
    depth: int = 5


@dataclass
class Builder:
    """A program under construction: `new` is the tensor that the next step reads."""

    arithmetic: Arithmetic
    draw: Any
    rng: np.random.Generator
    types: dict[str, TensorType] = field(default_factory=dict)
    ops: list[Op] = field(default_factory=list)
    constants: dict[str, Constant] = field(default_factory=dict)

    def append(self, op: Op) -> str:
        self.types[op.output] = op.infer([self.types[x] for x in op.inputs], self.constants)
        self.ops.append(op)
        return op.output

    def fresh(self, kind: str) -> str:
        return f"{kind}{len(self.ops)}"

    def pick(self, *values: Any) -> Any:
        return self.draw(st.sampled_from(values))

    def weights(self, name: str, shape: tuple[int, ...], fan_in: int, wide: bool) -> dict[str, Any]:
        """Add weights and biases; return the op's arguments for them."""
        bits = self.pick(*self.arithmetic.weight_bits)
        low, high = weight_range(bits)
        spread = int(np.log2(max(fan_in, 1)) / 2) + bits - 1
        lowest, highest = self.arithmetic.shift_range
        shift = int(np.clip(spread + self.pick(-2, 0, 1, 3), lowest, highest))
        values = self.rng.integers(low, high + 1, shape).astype(np.int8)
        self.constants[f"{name}.w"] = Constant(values, bits, 2.0**-shift)
        settings: dict[str, Any] = {"weight": f"{name}.w"}
        if self.pick(True, False):
            limit = 1 << (self.arithmetic.bias_bits - 1)
            out = shape[1] if name.startswith("up") else shape[0]
            steps = self.rng.integers(-limit, limit, out) * self.arithmetic.bias_unit
            self.constants[f"{name}.b"] = Constant(steps.astype(np.int32), 32, SCALE * 2.0**-shift)
            settings["bias"] = f"{name}.b"
        if not wide:
            settings["requantize"] = PowerOfTwo(shift)
            settings["activation"] = self.pick("none", "relu", "abs")
        return settings

    def conv(
        self,
        x: str,
        out: int,
        kernel: tuple[int, int],
        pad: tuple[int, int],
        wide: bool,
        dilation: int = 1,
    ) -> str:
        channels = self.types[x].shape[0]
        name = self.fresh("conv")
        fan_in = channels * kernel[0] * kernel[1]
        settings = self.weights(name, (out, channels, *kernel), fan_in, wide)
        return self.append(
            Conv2d(
                name=name,
                inputs=(x,),
                output=name,
                padding=(*pad, *pad),
                dilation=(dilation, 1),
                **settings,
            )
        )

    def pool(self, x: str, kernel: tuple[int, int], stride: tuple[int, int], kind: str) -> str:
        name = self.fresh(kind)
        shape: dict[str, Any] = {"kernel": kernel, "stride": stride}
        made = MaxPool if kind == "max" else AvgPool
        return self.append(made(name=name, inputs=(x,), output=name, **shape))


def _conv(b: Builder, x: str, can: Abilities, wide: bool) -> str:
    _, rows, columns = b.types[x].shape
    out = b.pick(*can.channels)
    if columns == 1 and rows > 1:
        return _conv1d(b, x, can, out, wide)
    kernel = b.pick(*can.kernels)
    pad = (
        b.pick(*(p for p in can.pads if p + min(rows, columns) >= kernel - p)) if kernel > 1 else 0
    )
    return b.conv(x, out, (kernel, kernel), (pad, pad), wide)


def _conv1d(b: Builder, x: str, can: Abilities, out: int, wide: bool) -> str:
    rows = b.types[x].shape[1]
    pad = b.pick(*can.pads)
    length = b.pick(*(k for k in can.lengths if k <= rows + 2 * pad))
    fitting = [d for d in can.dilations if (length - 1) * d < rows + 2 * pad]
    return b.conv(x, out, (length, 1), (pad, 0), wide, b.pick(*fitting))


def _pool(b: Builder, x: str, can: Abilities, wide: bool) -> str:
    _, rows, columns = b.types[x].shape
    kernel = (
        b.pick(*(k for k in can.windows if k <= rows)),
        b.pick(*(k for k in can.windows if k <= columns)),
    )
    stride = b.pick(*can.windows)
    return b.pool(x, kernel, (stride, stride), b.pick("max", "avg"))


def _pool_conv(b: Builder, x: str, can: Abilities, wide: bool) -> str:
    _, rows, columns = b.types[x].shape
    kernel = (
        b.pick(*(k for k in can.windows if k <= rows)),
        b.pick(*(k for k in can.windows if k <= columns)),
    )
    stride = b.pick(*can.windows)
    return _conv(b, b.pool(x, kernel, (stride, stride), b.pick("max", "avg")), can, wide)


def _combine(b: Builder, x: str, can: Abilities, wide: bool) -> str:
    """A residual: the input and one to three convolutions of it."""
    shape = b.types[x].shape
    kind = b.pick(Add, Subtract, BitOr, BitXor)
    others = [_same_size(b, x, shape[0]) for _ in range(b.pick(1, 1, 2, 3))]
    operands = [x, *others] if b.pick(True, False) or len(others) < 2 else others
    name = b.fresh("mix")
    return b.append(kind(name=name, inputs=tuple(operands), output=name))


def _same_size(b: Builder, x: str, out: int) -> str:
    _, rows, columns = b.types[x].shape
    if columns == 1 and rows > 1:
        length = b.pick(1, 3)
        return b.conv(x, out, (length, 1), (length // 2, 0), False)
    kernel = b.pick(1, 3)
    return b.conv(x, out, (kernel, kernel), (kernel // 2, kernel // 2), False)


def _concat(b: Builder, x: str, can: Abilities, wide: bool) -> str:
    """The input (or not) and one or two convolutions of it, side by side."""
    parts = [_same_size(b, x, b.pick(*can.channels)) for _ in range(b.pick(1, 2))]
    whole = [x, *parts] if len(parts) < 2 or b.pick(True, False) else parts
    name = b.fresh("join")
    joined = b.append(Concat(name=name, inputs=tuple(whole), output=name))
    return _conv(b, joined, can, wide)


def _up(b: Builder, x: str, can: Abilities, wide: bool) -> str:
    channels, _, _ = b.types[x].shape
    out = b.pick(*can.channels)
    name = b.fresh("up")
    settings = b.weights(name, (channels, out, 3, 3), channels * 3, wide)
    pad = b.pick(0, 1, 2)
    rows, columns = b.types[x].shape[1:]
    pad = pad if min(rows, columns) > 1 else min(pad, 1)
    return b.append(
        ConvTranspose2d(
            name=name,
            inputs=(x,),
            output=name,
            padding=(pad, pad),
            output_padding=(1, 1),
            **settings,
        )
    )


def _dense(b: Builder, x: str, can: Abilities, wide: bool) -> str:
    inner = int(np.prod(b.types[x].shape))
    name = b.fresh("dense")
    settings = b.weights(name, (b.pick(1, 5, 10, 70), inner), inner, wide)
    return b.append(Dense(name=name, inputs=(x,), output=name, **settings))


def _copy(b: Builder, x: str, can: Abilities, wide: bool) -> str:
    name = b.fresh("copy")
    return b.append(Identity(name=name, inputs=(x,), output=name))


STEPS = {
    "conv": _conv,
    "pool": _pool,
    "pool_conv": _pool_conv,
    "combine": _combine,
    "concat": _concat,
    "up": _up,
    "dense": _dense,
    "copy": _copy,
}
LAST = ("conv", "pool_conv", "up", "dense")


@st.composite
def programs(draw: Any, arithmetic: Arithmetic, can: Abilities) -> Program:
    """Draw a program whose result may be raw accumulators."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    b = Builder(arithmetic, draw, rng)
    rows = draw(st.integers(1, can.largest))
    widths = (1,) if can.narrow else (1, rows, *range(1, can.largest + 1))
    columns = draw(st.sampled_from(widths))
    x = "input"
    b.types[x] = TensorType((b.pick(*can.channels), rows, columns), scale=SCALE)
    inputs = dict(b.types)
    depth = draw(st.integers(1, can.depth))
    for number in range(depth):
        last = number == depth - 1
        kind = b.pick(*can.steps)
        wide = last and kind in LAST and b.pick(True, False)
        x = STEPS[kind](b, x, can, wide)
    return Program("random", inputs, tuple(b.ops), (x,), b.constants)


def inputs_of(program: Program, seed: int) -> dict[str, np.ndarray[Any, Any]]:
    """Return random int8 inputs over the whole range."""
    rng = np.random.default_rng(seed)
    return {
        name: rng.integers(-128, 128, kind.shape).astype(np.int8)
        for name, kind in program.inputs.items()
    }
