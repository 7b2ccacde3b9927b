"""Drawn int8 networks of the kinds of layers that have kernels of their own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from edgebed.program.arithmetic import Affine, multiplier_table
from edgebed.program.ops.add import Add
from edgebed.program.ops.avg_pool import AvgPool
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.ops.dense import Dense
from edgebed.program.ops.max_pool import MaxPool
from edgebed.program.types import Constant, Op, Program, TensorType

SCALE = 0.05
KINDS = ("full", "full", "point", "depthwise", "depthwise", "residual", "max", "mean")
Rounding = Literal["fixed_point", "fixed_point_single", "float"]


@dataclass
class Network:
    """A network under construction; `last` is what the next layer reads."""

    rng: np.random.Generator
    rounding: Rounding
    types: dict[str, TensorType] = field(default_factory=dict)
    ops: list[Op] = field(default_factory=list)
    constants: dict[str, Constant] = field(default_factory=dict)
    last: str = "x"

    def pick(self, *values: Any) -> Any:
        return values[self.rng.integers(len(values))]

    def add(self, kind: type[Op], inputs: tuple[str, ...], **attributes: Any) -> None:
        name = f"{kind.__name__.lower()}{len(self.ops)}"
        op = kind(name=name, inputs=inputs, output=name, **attributes)
        self.types[name] = op.infer([self.types[one] for one in inputs], self.constants)
        self.ops.append(op)
        self.last = name

    def rule(self) -> Affine:
        """An int8 result, with or without a ReLU."""
        zero = int(self.rng.integers(-40, 40))
        relu = self.rng.random() < 0.5
        return Affine(SCALE, -128 if relu else zero, self.rounding, -128, 127)

    def weighted(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """Constants of a layer of so many outputs; sums come to about +-60 steps."""
        name, outputs = f"w{len(self.ops)}", shape[0]
        per = int(np.prod(shape[1:]))
        reach = np.sqrt(per) * 74 * 50
        values = self.rng.integers(-127, 128, shape).astype(np.int8)
        bias = self.rng.normal(0, reach / 3, outputs).astype(np.int32)
        factors = self.rng.uniform(0.3, 1.7, outputs) * 60 / reach
        table: Any = factors.astype(np.float32)
        if self.rounding != "float":
            table = multiplier_table(list(factors))
        self.constants |= {f"{name}.weight": Constant(values, 8, 0.01),
                           f"{name}.bias": Constant(bias, 32),
                           f"{name}.multiplier": Constant(table, 32)}  # fmt: skip
        return {"weight": f"{name}.weight", "bias": f"{name}.bias",
                "multiplier": f"{name}.multiplier", "requantize": self.rule()}  # fmt: skip

    def conv(self, outputs: int, kernel: int, stride: int, groups: int = 1) -> None:
        channels = self.types[self.last].shape[0]
        found = self.weighted((outputs, channels // groups, kernel, kernel))
        pad = (kernel // 2,) * 4
        self.add(Conv2d, (self.last,), stride=(stride, stride), padding=pad, groups=groups, **found)

    def residual(self) -> None:
        before, channels = self.last, self.types[self.last].shape[0]
        self.conv(channels, self.pick(1, 3), 1)
        self.add(Add, (self.last, before), requantize=self.rule())


def drawn(seed: int, wide: bool = False) -> Program:
    """Return a network of four to eight layers.

    Args:
        seed: of everything.
        wide: more channels, as large processors' kernels need them.
    """
    rng = np.random.default_rng(seed)
    rounding: tuple[Rounding, ...] = ("fixed_point", "fixed_point_single", "float")
    net = Network(rng, rounding[rng.integers(3)])
    side = int(rng.integers(6, 21))
    kind = TensorType(
        (int(net.pick(1, 3, 8)), side, side), "int8", SCALE, int(rng.integers(-20, 20))
    )
    net.types["x"] = kind
    net.conv(_width(net, wide), int(net.pick(3, 5)), int(net.pick(1, 2)))
    for _ in range(int(rng.integers(2, 6))):
        _grow(net, str(net.pick(*KINDS)), wide)
    outputs = int(net.pick(5, 10, 12))
    inner = net.types[net.last].size
    net.add(Dense, (net.last,), last_axis=False, **net.weighted((outputs, inner)))
    return Program(f"drawn{seed}", {"x": kind}, tuple(net.ops), (net.last,), net.constants)


def _width(net: Network, wide: bool) -> int:
    return int(net.pick(16, 24, 32, 64, 96) if wide else net.pick(4, 6, 8, 9, 16, 21))


def _grow(net: Network, kind: str, wide: bool) -> None:
    channels, side = net.types[net.last].shape[:2]
    stride = int(net.pick(1, 1, 2)) if side > 5 else 1
    if kind == "full":
        net.conv(_width(net, wide), int(net.pick(3, 3, 5)), stride)
    elif kind == "point":
        net.conv(_width(net, wide), 1, 1)
    elif kind == "depthwise":
        net.conv(channels, int(net.pick(3, 3, 5)), stride, groups=channels)
    elif kind == "residual":
        net.residual()
    elif side > 5:
        made: type[Op] = MaxPool if kind == "max" else AvgPool
        net.add(made, (net.last,), kernel=(2, 2), stride=(2, 2))
