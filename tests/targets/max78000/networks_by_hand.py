"""Networks written down for tests, with random weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgebed.program.arithmetic import PowerOfTwo
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.ops.max_pool import MaxPool
from edgebed.program.types import Constant, Op, Program, TensorType


@dataclass(frozen=True)
class Row:
    out: int
    kernel: int = 3
    pool: int = 1
    bias: bool = True
    wide: bool = False


# arXiv 2202.07503 and its public repository: 24 layers, no bias in the first three
BED = (
    Row(64, bias=False),
    Row(24, pool=2, bias=False),
    Row(16, 1, pool=2, bias=False),
    Row(32),
    Row(32, 1),
    Row(64),
    Row(32, 1, pool=2),
    Row(64),
    Row(32, 1),
    Row(64),
    Row(32, 1),
    Row(64),
    Row(32, 1, pool=2),
    Row(64),
    Row(32, 1),
    Row(64),
    Row(64),
    Row(64),
    Row(64, pool=2),
    Row(64),
    Row(64, 1),
    Row(16, 1),
    Row(16, 1),
    Row(15, 1, wide=True),
)


def chain(name: str, shape: tuple[int, int, int], rows: tuple[Row, ...], seed: int = 0) -> Program:
    """Return convolutions one after the other, each with a max pool in front where it says so."""
    rng = np.random.default_rng(seed)
    constants: dict[str, Constant] = {}
    ops: list[Op] = []
    tensor, channels = "input", shape[0]
    for number, row in enumerate(rows):
        if row.pool > 1:
            window = (row.pool, row.pool)
            made = f"pool{number}"
            ops.append(
                MaxPool(name=made, inputs=(tensor,), output=made, kernel=window, stride=window)
            )
            tensor = made
        conv = f"conv{number}"
        size = (row.out, channels, row.kernel, row.kernel)
        constants[f"{conv}.w"] = Constant(rng.integers(-128, 128, size).astype(np.int8), 8, 1 / 128)
        if row.bias:
            steps = 128 * rng.integers(-128, 128, row.out)
            constants[f"{conv}.b"] = Constant(steps.astype(np.int32), 32, 2.0**-14)
        ops.append(
            Conv2d(
                name=conv,
                inputs=(tensor,),
                output=conv,
                weight=f"{conv}.w",
                bias=f"{conv}.b" if row.bias else None,
                padding=(row.kernel // 2,) * 4,
                requantize=None if row.wide else PowerOfTwo(10),
                activation="none" if row.wide else "relu",
            )
        )
        tensor, channels = conv, row.out
    return Program(name, {"input": TensorType(shape)}, tuple(ops), (tensor,), constants)


def bed(seed: int = 0) -> Program:
    """Return the published detector with random weights."""
    return chain("bed", (3, 224, 224), BED, seed)
