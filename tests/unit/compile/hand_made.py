"""Small programs for single passes, written op by op."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgebed.program.arithmetic import Affine, multiplier_table
from edgebed.program.ops import by_kind
from edgebed.program.types import Constant, Op, Program, TensorType

ZERO = -10
INT8 = TensorType((4, 6, 5), "int8", 0.1, ZERO)
REAL = TensorType((4, 6, 5), "float32", 1.0)


class Hand:
    """A program under construction; ops are appended and named by number."""

    def __init__(self, kind: TensorType = INT8, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.types = {"x": kind}
        self.inputs = dict(self.types)
        self.ops: list[Op] = []
        self.constants: dict[str, Constant] = {}

    def op(self, kind: str, *inputs: str, **settings: Any) -> str:
        name = settings.pop("name", f"{kind}{len(self.ops)}")
        made = by_kind(kind)(name=name, inputs=inputs, output=name, **settings)
        self.types[name] = made.infer([self.types[x] for x in inputs], self.constants)
        self.ops.append(made)
        return name

    def constant(self, values: Any, **meaning: Any) -> str:
        values = np.asarray(values)
        name = f"c{len(self.constants)}"
        self.constants[name] = Constant(values, 8 * values.dtype.itemsize, **meaning)
        return name

    def conv(self, x: str, outputs: int, kernel: int = 1, *, padding: int = 0, **more: Any) -> str:
        """An int8 convolution; `weights`, `bias` and `rule` replace what is drawn."""
        groups = more.pop("groups", 1)
        inner = self.types[x].shape[0] // groups
        drawn = self.rng.integers(-127, 128, (outputs, inner, kernel, kernel))
        weights = np.asarray(more.pop("weights", drawn)).astype(np.int8)
        bias = np.asarray(more.pop("bias", self.rng.integers(-500, 500, outputs)))
        factor = 1 / (80 * (inner * kernel**2) ** 0.5)
        return self.op(
            "conv2d",
            x,
            weight=self.constant(weights, scale=0.02),
            bias=self.constant(bias.astype(np.int32)),
            multiplier=self.constant(multiplier_table([factor] * outputs)),
            padding=(padding,) * 4,
            groups=groups,
            requantize=more.pop("rule", Affine(0.1, ZERO)),
            **more,
        )

    def real_conv(self, x: str, outputs: int, kernel: int = 1, **more: Any) -> str:
        inner = self.types[x].shape[0]
        weights = self.rng.normal(0, 1, (outputs, inner, kernel, kernel)).astype(np.float32)
        bias = self.rng.normal(0, 1, outputs).astype(np.float32)
        return self.op("conv2d", x, weight=self.constant(weights), bias=self.constant(bias), **more)

    def real_vector(self, channels: int) -> str:
        values = self.rng.uniform(0.5, 2, (channels, 1, 1)).astype(np.float32)
        return self.op("constant", value=self.constant(values))

    def program(self, *outputs: str) -> Program:
        return Program("hand", self.inputs, tuple(self.ops), outputs, self.constants)


def kinds(program: Program) -> list[str]:
    """The kinds of the ops in order."""
    return [op.kind for op in program.ops]
