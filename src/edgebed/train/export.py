"""From the trained module to the program: the same integers, written down once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast

import numpy as np
import torch

from edgebed.program.arithmetic import PowerOfTwo
from edgebed.program.contract import Contract
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.ops.max_pool import MaxPool
from edgebed.program.ops.space_to_depth import SpaceToDepth
from edgebed.program.types import Constant, Op, Program, TensorType
from edgebed.train.qat import (
    ACTIVATION_STEPS,
    BIAS_UNIT,
    QuantisedDetector,
    QuantisedLayer,
)

BIAS_BITS: Final = 32


def to_program(
    model: QuantisedDetector,
    contract: Contract,
    notes: Mapping[str, str] | None = None,
) -> Program:
    """Return the program that computes what `model` computes in evaluation mode.

    Args:
        model: the quantised detector.
        contract: what happens before and after it.
        notes: origin, training settings, licence: never changes a result.
    """
    network = model.network
    shape = (network.channels, network.height, network.width)
    ops: list[Op] = []
    constants: dict[str, Constant] = {}
    tensor = "image"
    if network.fold > 1:
        ops.append(SpaceToDepth(name="fold", inputs=(tensor,), output="folded", block=network.fold))
        tensor = "folded"
    for module in model.layers:
        layer = cast(QuantisedLayer, module)
        constants |= _constants(layer)
        ops += _ops(layer, tensor)
        tensor = ops[-1].output
    return Program(
        name=network.name,
        inputs={"image": TensorType(shape, "int8", 1 / ACTIVATION_STEPS)},
        ops=tuple(ops),
        outputs=(tensor,),
        constants=constants,
        contract=contract,
        notes=dict(notes or {}),
    )


def _ops(layer: QuantisedLayer, tensor: str) -> list[Op]:
    spec = layer.spec
    ops: list[Op] = []
    if spec.pool > 1:
        side = (spec.pool, spec.pool)
        pooled = f"{spec.name}.pooled"
        ops.append(
            MaxPool(
                name=f"{spec.name}.pool", inputs=(tensor,), output=pooled, kernel=side, stride=side
            )
        )
        tensor = pooled
    convolution = Conv2d(
        name=spec.name,
        inputs=(tensor,),
        output=f"{spec.name}.out",
        weight=f"{spec.name}.weight",
        bias=f"{spec.name}.bias" if spec.bias else None,
        padding=(spec.pad,) * 4,
        requantize=None if spec.wide else PowerOfTwo(7 - layer.post_shift),
        activation=spec.activation,
    )
    return [*ops, convolution]


@torch.no_grad()
def _constants(layer: QuantisedLayer) -> dict[str, Constant]:
    spec, step = layer.spec, 1 / layer.steps
    weight = layer.integer_weight().numpy().astype(np.int8)
    constants = {f"{spec.name}.weight": Constant(weight, spec.weight_bits, step)}
    bias = layer.integer_bias()
    if bias is not None:
        values = BIAS_UNIT * bias.numpy().astype(np.int32)
        constants[f"{spec.name}.bias"] = Constant(values, BIAS_BITS, step / ACTIVATION_STEPS)
    return constants
