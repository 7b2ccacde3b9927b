"""Small float networks to quantise."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgebed.program.ops import by_kind
from edgebed.program.types import Array, Constant, Op, Program, TensorType


def op(kind: str, output: str, *inputs: str, **attributes: Any) -> Op:
    return by_kind(kind)(name=output, inputs=inputs, output=output, **attributes)  # type: ignore[arg-type]


def floats(values: Array) -> Constant:
    return Constant(np.ascontiguousarray(values, np.float32), 32)


def mobile(seed: int = 0, *, uneven: float = 1.0) -> Program:
    """Conv, depthwise, pointwise, residual, concat, pool, dense, softmax: a small mobile network.

    Args:
        seed: of the weights.
        uneven: ratio by which the channels of the depthwise layer differ; the function of the
            network does not depend on it, because the next layer takes it back.
    """
    rng = np.random.default_rng(seed)

    def weight(*shape: int) -> Array:
        fan = int(np.prod(shape[1:]))
        return rng.normal(size=shape) * np.sqrt(2 / fan)

    scale = np.geomspace(1, uneven, 8)[rng.permutation(8)]
    constants = {
        "w1": floats(weight(8, 3, 3, 3)), "b1": floats(rng.normal(size=8) * 0.1),
        "w2": floats(weight(8, 1, 3, 3) * scale[:, None, None, None]),
        "b2": floats(rng.normal(size=8) * 0.1 * scale),
        "w3": floats(weight(8, 8, 1, 1) / scale[:, None, None]),
        "b3": floats(rng.normal(size=8) * 0.1),
        "w4": floats(weight(5, 16)), "b4": floats(rng.normal(size=5) * 0.1),
    }  # fmt: skip
    pad = (1, 1, 1, 1)
    ops = (
        op("conv2d", "c1", "x", weight="w1", bias="b1", padding=pad, stride=(2, 2)),
        op("unary", "r1", "c1", function="relu"),
        op("conv2d", "c2", "r1", weight="w2", bias="b2", padding=pad, groups=8),
        op("unary", "r2", "c2", function="relu"),
        op("conv2d", "c3", "r2", weight="w3", bias="b3"),
        op("add", "sum", "c3", "r1"),
        op("unary", "swish", "sum", function="hard_swish"),
        op("concat", "both", "swish", "r1"),
        op("reduce", "mean", "both", function="mean", axes=(1, 2), keep=False),
        op("dense", "scores", "mean", weight="w4", bias="b4", last_axis=True),
        op("softmax", "classes", "scores", axis=0),
    )
    image = {"x": TensorType((3, 16, 16), "float32", 1.0)}
    return Program("mobile", image, ops, ("classes", "scores"), constants)


def pictures(count: int, seed: int = 1) -> list[dict[str, Array]]:
    """Smooth random pictures, float32 in 0..1."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        coarse = rng.random((3, 4, 4)).astype(np.float32)
        found.append({"x": coarse.repeat(4, axis=1).repeat(4, axis=2)})
    return found
