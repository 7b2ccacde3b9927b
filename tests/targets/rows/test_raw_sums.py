"""Layers that leave their raw 32-bit sums, here and on virtual cores."""

from __future__ import annotations

import numpy as np
import pytest
from row_programs import check, check_on

from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.ops.dense import Dense
from edgebed.program.types import Constant, Program, TensorType


def held(rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, Constant]:
    weights = rng.integers(-128, 128, shape).astype(np.int8)
    bias = rng.integers(-(2**20), 2**20, shape[0]).astype(np.int32)
    return {"w": Constant(weights, 8), "b": Constant(bias, 32)}


@pytest.mark.parametrize("core", ["", "m0plus", "m4"])
@pytest.mark.parametrize("bias", ["b", None])
@pytest.mark.parametrize(
    ("channels", "outputs", "groups", "kernel", "stride", "padding", "dilation"),
    [
        (16, 8, 1, (1, 1), (1, 1), (0, 0, 0, 0), (1, 1)),
        (3, 5, 1, (3, 2), (2, 1), (1, 1, 0, 1), (1, 1)),
        (4, 8, 4, (3, 3), (1, 1), (2, 2, 2, 2), (2, 2)),
        (6, 4, 2, (1, 1), (1, 1), (0, 0, 0, 0), (1, 1)),
    ],
)
def test_convolutions(
    channels: int, outputs: int, groups: int, kernel: tuple[int, int], stride: tuple[int, int],
    padding: tuple[int, int, int, int], dilation: tuple[int, int], bias: str | None, core: str,
) -> None:  # fmt: skip
    op = Conv2d(
        name="c", inputs=("x",), output="y", weight="w", bias=bias, stride=stride,
        padding=padding, dilation=dilation, groups=groups,
    )  # fmt: skip
    kind = TensorType((channels, 6, 7), "int8", 0.1, -5)
    constants = held(np.random.default_rng(1), (outputs, channels // groups, *kernel))
    program = Program("one", {"x": kind}, (op,), ("y",), constants)
    check_on(core, program) if core else check(program)


@pytest.mark.parametrize("last_axis", [False, True])
def test_dense_layers(last_axis: bool) -> None:
    op = Dense(name="d", inputs=("x",), output="y", weight="w", bias="b", last_axis=last_axis)
    shape = (4, 9) if last_axis else (3, 4, 2)
    constants = held(np.random.default_rng(2), (5, 9 if last_axis else 24))
    kind = TensorType(shape, "int8", 0.1, 7)
    check(Program("one", {"x": kind}, (op,), ("y",), constants))
