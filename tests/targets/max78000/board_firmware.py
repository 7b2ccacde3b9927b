"""A detector with random weights as a built firmware project, for tests of the whole board."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from edgebed.program.arithmetic import PowerOfTwo
from edgebed.program.contract import Contract, ImageInput, Nms
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.ops.max_pool import MaxPool
from edgebed.program.ops.space_to_depth import SpaceToDepth
from edgebed.program.types import Constant, Op, Program, TensorType
from edgebed.targets._shared.toolchain import find_zig
from edgebed.targets.max78000.build import build
from edgebed.targets.max78000.compiler import compile_program
from edgebed.targets.max78000.emit import emit
from edgebed.train.networks import network

CLASSES = ("person", "car", "cat")


@cache
def detector(name: str, seed: int = 0) -> Program:
    """Return `bed` or `bed-fast` with random weights; its scores are spread, so boxes appear."""
    spec, rng = network(name, len(CLASSES)), np.random.default_rng(seed)
    ops: list[Op] = []
    constants: dict[str, Constant] = {}
    tensor = "image"
    if spec.fold > 1:
        ops.append(SpaceToDepth(name="fold", inputs=(tensor,), output="folded", block=spec.fold))
        tensor = "folded"
    for layer in spec.layers:
        shape = (layer.out_channels, layer.in_channels, layer.kernel, layer.kernel)
        weights = rng.integers(-128, 128, shape).astype(np.int8)
        shift = 7 + round(np.log2(layer.in_channels * layer.kernel**2) / 2)
        constants[f"{layer.name}.w"] = Constant(weights, 8, 2.0**-shift)
        if layer.pool > 1:
            side = (layer.pool, layer.pool)
            pooled = f"{layer.name}.pooled"
            ops.append(MaxPool(name=f"{layer.name}.pool", inputs=(tensor,), output=pooled,
                               kernel=side, stride=side))  # fmt: skip
            tensor = pooled
        bias = None
        if layer.bias:
            bias = f"{layer.name}.b"
            values = 128 * rng.integers(-64, 64, layer.out_channels)
            constants[bias] = Constant(values.astype(np.int32), 32, 2.0**-shift / 128)
        ops.append(Conv2d(name=layer.name, inputs=(tensor,), output=f"{layer.name}.out",
                          weight=f"{layer.name}.w", bias=bias, padding=(layer.pad,) * 4,
                          requantize=None if layer.wide else PowerOfTwo(shift),
                          activation=layer.activation))  # fmt: skip
        tensor = ops[-1].output
    nms = Nms(score=0.02, iou=0.3, maximum=8)
    contract = Contract(ImageInput(spec.width, spec.height), CLASSES, spec.decode, nms)
    shape = (spec.channels, spec.height, spec.width)
    inputs = {"image": TensorType(shape, "int8", 1 / 128)}
    return Program(name=name, inputs=inputs, ops=tuple(ops), outputs=(tensor,),
                   constants=constants, contract=contract)  # fmt: skip


def built(folder: Path, program: Program) -> Path:
    """Compile the program's firmware into `folder`; skip when something is missing."""
    pytest.importorskip("unicorn", reason="the virtual board needs unicorn")
    pytest.importorskip("elftools", reason="the virtual board needs pyelftools")
    if find_zig() is None:
        pytest.skip("no zig to compile the firmware with")
    for path, data in emit(compile_program(program).image, program, vectors=1).items():
        (folder / path).write_bytes(data)
    return build(folder)
