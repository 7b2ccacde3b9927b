"""A program under construction, to which random ops are added."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st

from edgebed.program.arithmetic import Affine
from edgebed.program.types import Constant, Op, TensorType

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

    def early_rule(self) -> Affine:
        """A rule that adds its zero point before it rounds."""
        rule = self.rule()
        first = self.pick("int8", "uint8")
        return Affine(rule.scale, rule.zero_point, "float", rule.low, rule.high, zero_first=first)

    def scale(self) -> float:
        return float(np.float32(self.draw(st.floats(0.004, 0.3))))


def is_map(kind: TensorType) -> bool:
    return len(kind.shape) == 3
