"""Small networks as a user has them: float32, and quantised by edgebed."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgebed.compress.calibration import calibrate
from edgebed.compress.quantize import quantise
from edgebed.compress.scheme import Settings
from edgebed.program.ops import by_kind
from edgebed.program.types import Constant, Op, Program, TensorType

Array = npt.NDArray[Any]


def op(kind: str, output: str, *inputs: str, **attributes: Any) -> Op:
    return by_kind(kind)(name=output, inputs=inputs, output=output, **attributes)  # type: ignore[arg-type]


def mobile(name: str = "mobile", side: int = 12, channels: int = 8, seed: int = 0) -> Program:
    """Convolution, depthwise, 1x1, residual, table, mean, dense, softmax; float32."""
    rng = np.random.default_rng(seed)

    def held(*shape: int) -> Constant:
        scale = np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.1
        return Constant((rng.normal(size=shape) * scale).astype(np.float32), 32)

    n = channels
    constants = {
        "w1": held(n, 3, 3, 3), "b1": held(n), "w2": held(n, 1, 3, 3), "b2": held(n),
        "w3": held(n, n, 1, 1), "b3": held(n), "w4": held(5, n), "b4": held(5),
    }  # fmt: skip
    pad = (1, 1, 1, 1)
    ops = (
        op("conv2d", "first", "x", weight="w1", bias="b1", padding=pad, stride=(2, 2)),
        op("unary", "relu", "first", function="relu"),
        op("conv2d", "depth", "relu", weight="w2", bias="b2", padding=pad, groups=n),
        op("unary", "relu2", "depth", function="relu"),
        op("conv2d", "point", "relu2", weight="w3", bias="b3"),
        op("add", "sum", "point", "relu"),
        op("unary", "swish", "sum", function="hard_swish"),
        op("reduce", "mean", "swish", function="mean", axes=(1, 2), keep=False),
        op("dense", "scores", "mean", weight="w4", bias="b4", last_axis=True),
        op("softmax", "classes", "scores", axis=0),
    )
    kind = TensorType((3, side, side), "float32", 1.0)
    return Program(name, {"x": kind}, ops, ("classes",), constants)


def pictures(program: Program, count: int = 8) -> list[dict[str, Array]]:
    rng = np.random.default_rng(1)
    shape = program.inputs["x"].shape
    return [{"x": rng.random(shape).astype(np.float32)} for _ in range(count)]


def quantised(program: Program, floats: tuple[str, ...] = ()) -> Program:
    """Return the integer program; named layers stay float32."""
    found = calibrate(program, pictures(program))
    return quantise(program, found, Settings(floats=frozenset(floats)))
