"""Float32 layers in row-wise C against the interpreter."""

from __future__ import annotations

import numpy as np
import pytest
from row_programs import check

from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.ops.dense import Dense
from edgebed.program.types import Constant, Program, TensorType

REAL = "float32"


def constants(rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, Constant]:
    weights = rng.normal(size=shape).astype(np.float32)
    bias = rng.normal(size=shape[0]).astype(np.float32)
    return {"w": Constant(weights, 32), "b": Constant(bias, 32)}


@pytest.mark.parametrize(
    ("channels", "outputs", "groups", "kernel", "stride", "padding", "dilation", "activation"),
    [
        (3, 5, 1, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), "relu"),
        (6, 6, 6, (3, 3), (2, 2), (0, 1, 1, 0), (1, 1), "none"),
        (4, 8, 4, (2, 3), (1, 2), (1, 0, 0, 2), (1, 1), "relu"),
        (4, 6, 2, (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), "abs"),
        (2, 4, 1, (3, 3), (1, 1), (2, 2, 2, 2), (2, 2), "none"),
    ],
)
def test_convolutions(
    channels: int, outputs: int, groups: int, kernel: tuple[int, int], stride: tuple[int, int],
    padding: tuple[int, int, int, int], dilation: tuple[int, int], activation: str,
) -> None:  # fmt: skip
    rng = np.random.default_rng(1)
    op = Conv2d(
        name="c", inputs=("x",), output="y", weight="w", bias="b", stride=stride, padding=padding,
        dilation=dilation, groups=groups, activation=activation,  # type: ignore[arg-type]
    )  # fmt: skip
    kind = TensorType((channels, 7, 8), REAL, 1.0)
    held = constants(rng, (outputs, channels // groups, *kernel))
    for goal in ("time", "ram"):
        program = Program("one", {"x": kind}, (op,), ("y",), held)
        check(program, goal=goal, close=True)  # type: ignore[arg-type]


def test_dense_layers_follow_the_order_of_maps() -> None:
    rng = np.random.default_rng(2)
    first = Conv2d(name="c", inputs=("x",), output="m", weight="w", bias="b")
    second = Dense(name="d", inputs=("m",), output="y", weight="v", bias=None, activation="relu")
    held = constants(rng, (5, 3, 1, 1)) | {
        "v": Constant(rng.normal(size=(7, 5 * 12)).astype(np.float32), 32)
    }
    kind = TensorType((3, 4, 3), REAL, 1.0)
    check(Program("two", {"x": kind}, (first, second), ("y",), held), close=True)


def test_dense_layers_along_the_last_axis() -> None:
    rng = np.random.default_rng(3)
    op = Dense(name="d", inputs=("x",), output="y", weight="w", bias="b", last_axis=True)
    kind = TensorType((4, 6), REAL, 1.0)
    check(Program("rows", {"x": kind}, (op,), ("y",), constants(rng, (3, 6))), close=True)
