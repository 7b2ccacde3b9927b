"""Where results go when a placement does not say: where their reader has its processors.

Each placement runs on the virtual accelerator, whose integers must be the interpreter's.
"""

from __future__ import annotations

import numpy as np
import pytest
from image_runner import run_image

from edgebed.program.arithmetic import PowerOfTwo
from edgebed.program.ops.concat import Concat
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.ops.max_pool import MaxPool
from edgebed.program.run import run
from edgebed.program.types import Constant, Op, Program, TensorType
from edgebed.targets.max78000.compiler import compile_program
from edgebed.targets.max78000.hints import LayerHint, Project


def convolution(name: str, tensor: str) -> Conv2d:
    return Conv2d(
        name=name,
        inputs=(tensor,),
        output=f"{name}.out",
        weight=f"{name}.w",
        padding=(1,) * 4,
        requantize=PowerOfTwo(9),
    )


def network(ops: tuple[Op, ...], shapes: dict[str, tuple[int, ...]]) -> Program:
    rng = np.random.default_rng(1)
    constants = {
        f"{name}.w": Constant(rng.integers(-128, 128, shape).astype(np.int8), 8, 1 / 128)
        for name, shape in shapes.items()
    }
    return Program("net", {"x": TensorType((3, 8, 8))}, ops, (ops[-1].output,), constants)


def output_maps(project: Project) -> list[int]:
    """Return the derived output processors, after the placement gave the right integers."""
    compiled = compile_program(project)
    x = np.random.default_rng(2).integers(-128, 128, (3, 8, 8)).astype(np.int8)
    outputs, _ = run_image(compiled.image, x)
    (name,) = project.program.outputs
    np.testing.assert_array_equal(outputs[name], run(project.program, x)[name])
    return [placed.at.output_processors for placed in compiled.chain]


JOINED = network(
    (
        convolution("left", "x"),
        convolution("right", "x"),
        Concat(name="join", inputs=("left.out", "right.out"), output="both"),
        convolution("last", "both"),
    ),
    {"left": (4, 3, 3, 3), "right": (4, 3, 3, 3), "last": (5, 8, 3, 3)},
)


@pytest.mark.parametrize("first", [0, 8, 28])
def test_parts_that_are_joined_lie_side_by_side_on_the_readers_processors(first: int) -> None:
    hints = (
        LayerHint("layer00", ("left",), 0x7, None, 0, 0x1000),
        LayerHint("layer01", ("right",), 0x7, None, 0, 0x1000),
        LayerHint("layer02", ("last",), 0xFF << first, None, 0x1000, 0x2000),
    )
    assert output_maps(Project(JOINED, hints)) == [0xF << first, 0xF0 << first, 0x1F]


@pytest.mark.parametrize("first", [0, 4, 20])
def test_a_layer_without_weights_keeps_its_processors(first: int) -> None:
    window = (2, 2)
    pool = MaxPool(name="pool", inputs=("x",), output="small", kernel=window, stride=window)
    net = network((pool, convolution("last", "small")), {"last": (5, 3, 3, 3)})
    hints = (
        LayerHint("layer00", ("pool",), 0x7 << first, None, 0, 0x1000),
        LayerHint("layer01", ("last",), 0x7 << first, None, 0x1000, 0x2000),
    )
    assert output_maps(Project(net, hints)) == [0x7 << first, 0x1F]
