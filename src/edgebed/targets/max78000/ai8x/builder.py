"""From a network description and integer weights to a program, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgebed.program.arithmetic import Activation, PowerOfTwo, Rounding
from edgebed.program.ops.add import Add
from edgebed.program.ops.avg_pool import AvgPool
from edgebed.program.ops.bit_or import BitOr
from edgebed.program.ops.bit_xor import BitXor
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.ops.conv_transpose2d import ConvTranspose2d
from edgebed.program.ops.dense import Dense
from edgebed.program.ops.identity import Identity
from edgebed.program.ops.max_pool import MaxPool
from edgebed.program.ops.subtract import Subtract
from edgebed.program.types import Constant, Op, Program, TensorType
from edgebed.targets.max78000.ai8x.front import VIEWS, check_processors, operands_of
from edgebed.targets.max78000.ai8x.kernels import check_range, kernel_of
from edgebed.targets.max78000.ai8x.network import Layer, Network
from edgebed.targets.max78000.ai8x.settings import LayerSettings, Shape
from edgebed.targets.max78000.ai8x.tape import INPUT_TENSOR, Tape, make_op
from edgebed.targets.max78000.ai8x.weights import Weights

ELEMENTWISE: Mapping[str, type[Op]] = {
    "add": Add,
    "subtract": Subtract,
    "bit_or": BitOr,
    "bit_xor": BitXor,
}
BIAS_UNIT = 128
BIAS_BITS = 32
WEIGHT_WIDTHS = (1, 2, 4, 8)
ACTIVATION_STEP = 1 / 128


@dataclass(frozen=True)
class Choices:
    """What the command line decides about the program.

    Attributes:
        averages: how averages are rounded.
        drop_channels: channels that a layer does not read are left out.
    """

    averages: Rounding = "truncate"
    drop_channels: bool = False


def build_program(
    network: Network,
    weights: Mapping[int, Weights],
    settings: LayerSettings,
    shape: Shape,
    choices: Choices,
) -> tuple[Program, dict[str, tuple[str, ...]]]:
    """Return the program and the names of each device layer's ops.

    Args:
        network: the description.
        weights: by layer number.
        settings: shifts and bits where neither description nor weights say them.
        shape: of the input.
        choices: see `Choices`.

    Raises:
        EdgebedError: the layers do not fit together, or the weights do not fit the layers.
    """
    tape = Tape({INPUT_TENSOR: TensorType(shape, "int8", ACTIVATION_STEP)})
    tape.offsets[INPUT_TENSOR] = network.layers[0].in_offset or 0
    for layer in network.layers:
        tensors = operands_of(tape, layer, drop_channels=choices.drop_channels)
        check_processors(tape, layer, tensors[0])
        tensor = _combined(tape, layer, tensors, _averages(layer, choices))
        _core(tape, layer, tensor, weights, settings)
        tape.offsets[layer.name] = layer.out_offset
    program = Program(
        name=network.arch,
        inputs={INPUT_TENSOR: tape.types[INPUT_TENSOR]},
        ops=tuple(tape.ops),
        outputs=_outputs(network),
        constants=tape.constants,
        notes={"origin": "ai8x network description", "data set": network.dataset},
    )
    return program, {name: tuple(ops) for name, ops in tape.groups.items()}


def _outputs(network: Network) -> tuple[str, ...]:
    """Return the last layer first, then the others that are marked, in order."""
    *others, last = network.layers
    return (last.name, *(layer.name for layer in others if layer.output))


def _averages(layer: Layer, choices: Choices) -> Rounding:
    """Return how a layer's averages are rounded; conv1d layers always truncate (spec 2.9)."""
    return "truncate" if layer.op == "conv1d" else choices.averages


def _combined(tape: Tape, layer: Layer, tensors: Sequence[str], averages: Rounding) -> str:
    """Append pooling and the element-wise operation in their order."""
    if layer.eltwise is None:
        return _pooled(tape, layer, tensors[0], "pool", averages)
    if layer.pool_first:
        tensors = [
            _pooled(tape, layer, tensor, f"pool{n}", averages) for n, tensor in enumerate(tensors)
        ]
    kind = ELEMENTWISE[layer.eltwise]
    result = tape.add(layer, make_op(kind, layer, kind.kind, tuple(tensors)))
    return result if layer.pool_first else _pooled(tape, layer, result, "pool", averages)


def _pooled(tape: Tape, layer: Layer, tensor: str, suffix: str, averages: Rounding) -> str:
    _, _, columns = tape.shape(tensor)
    kernel, stride = layer.pool, layer.pool_stride
    if columns == 1:
        kernel, stride = (kernel[0], 1), (stride[0], 1)
    elif stride[0] != stride[1]:
        raise layer.place.fail(
            f"layer {layer.number} pools every {stride[0]} rows and {stride[1]} columns",
            why="both have to be equal",
        )
    if kernel == (1, 1) and stride == (1, 1):
        return tensor
    fields: dict[str, Any] = {"kernel": kernel, "stride": stride}
    if layer.pool_average and kernel != (1, 1):
        return tape.add(
            layer, make_op(AvgPool, layer, suffix, (tensor,), rounding=averages, **fields)
        )
    return tape.add(layer, make_op(MaxPool, layer, suffix, (tensor,), **fields))


def _core(
    tape: Tape,
    layer: Layer,
    tensor: str,
    weights: Mapping[int, Weights],
    settings: LayerSettings,
) -> None:
    """Append the convolution, or end the layer with what came before it."""
    if layer.weighted:
        _weighted(tape, layer, tensor, _weights_of(layer, weights), settings)
        return
    if layer.wide:
        raise layer.place.fail(
            f"layer {layer.number} has no convolution and a 32-bit result", try_="output_width: 8"
        )
    own = tape.groups.get(layer.name, [])
    if own and tape.ops[-1].output == tensor and not isinstance(tape.ops[-1], VIEWS):
        tape.rename_last(layer)
        return
    tape.add(layer, Identity(name=layer.name, inputs=(tensor,), output=layer.name))


def _weights_of(layer: Layer, weights: Mapping[int, Weights]) -> Weights:
    found = weights.get(layer.number)
    if found is None and layer.weight_source is not None:
        found = weights.get(layer.weight_source)
    if found is None:
        raise layer.place.fail(
            f"layer {layer.number} ({layer.op}) has no weights",
            why="the weights file has none" if weights else "no weights were given",
            try_=None if weights else "--weights FILE, a quantised .pth.tar or weights_int.npz",
        )
    return found


def _weighted(
    tape: Tape, layer: Layer, tensor: str, weights: Weights, settings: LayerSettings
) -> None:
    channels, rows, columns = tape.shape(tensor)
    dense = layer.flatten or (layer.op == "linear" and rows * columns == 1)
    kernel = kernel_of(layer, weights, channels * rows * columns if dense else channels, dense)
    bits, shift = quantisation(layer, weights, settings)
    check_range(layer, weights, bits)
    step = 2.0 ** (shift - 7)  # spec 2.17: real weight = integer * 2**nominal shift / 2**(bits-1)
    name = f"{layer.name}.weight"
    tape.constants[name] = Constant(kernel.astype(np.int8), bits, step)
    rule = None if layer.wide else PowerOfTwo(7 - shift)
    bias = _bias(tape, layer, weights, len_out(kernel, layer), step)
    tape.add(layer, _convolution(layer, tensor, name, bias, dense, rule))


def len_out(kernel: Any, layer: Layer) -> int:
    """Return the output channels of a kernel as `kernel_of` returns it."""
    return int(kernel.shape[1 if layer.op == "convtranspose2d" else 0])


def quantisation(layer: Layer, weights: Weights, settings: LayerSettings) -> tuple[int, int]:
    """Return weight bits and effective shift (nominal + 8 - bits) of a layer.

    The description decides, then the weights file, then the settings; without any, 8 bits and a
    nominal shift of 0.
    """
    known_bits, known_shift = settings.of(layer.number)
    bits = layer.bits or weights.bits or known_bits or 8
    if bits not in WEIGHT_WIDTHS:
        raise layer.place.fail(
            f"layer {layer.number} has weights of {bits} bits", why="1, 2, 4 or 8 are possible"
        )
    nominal = weights.shift if layer.shift is None else layer.shift
    if nominal is not None:
        return bits, nominal + 8 - bits
    return bits, 8 - bits if known_shift is None else known_shift


def _bias(tape: Tape, layer: Layer, weights: Weights, count: int, step: float) -> str | None:
    if weights.bias is None:
        return None
    if weights.bias.shape != (count,):
        raise layer.place.fail(
            f"layer {layer.number} has {count} output channels and {weights.bias.size} biases",
            why=weights.source,
        )
    name = f"{layer.name}.bias"
    values = (weights.bias * BIAS_UNIT).astype(np.int32)
    tape.constants[name] = Constant(values, BIAS_BITS, ACTIVATION_STEP * step)
    return name


def _convolution(
    layer: Layer, tensor: str, weight: str, bias: str | None, dense: bool, rule: PowerOfTwo | None
) -> Op:
    activation: Activation = layer.activation
    common: dict[str, Any] = {
        "name": layer.name,
        "inputs": (tensor,),
        "output": layer.name,
        "weight": weight,
        "bias": bias,
        "requantize": rule,
        "activation": activation,
    }
    if dense:
        return Dense(**common)
    if layer.op == "convtranspose2d":
        return ConvTranspose2d(
            **common,
            stride=(layer.stride, layer.stride),
            padding=(layer.pad, layer.pad),
            output_padding=(layer.output_pad, layer.output_pad),
        )
    across = 0 if layer.op == "conv1d" else layer.pad
    return Conv2d(
        **common,
        stride=(layer.stride, 1 if layer.op == "conv1d" else layer.stride),
        padding=(layer.pad, across, layer.pad, across),
        dilation=layer.dilation,
        groups=layer.groups,
    )
