"""From a network description and integer weights to a program, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgebed.program.arithmetic import Activation, PowerOfTwo, Rounding
from edgebed.program.ops.add import Add
from edgebed.program.ops.avg_pool import AvgPool
from edgebed.program.ops.bit_or import BitOr
from edgebed.program.ops.bit_xor import BitXor
from edgebed.program.ops.concat import Concat
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.ops.conv_transpose2d import ConvTranspose2d
from edgebed.program.ops.crop import Crop
from edgebed.program.ops.dense import Dense
from edgebed.program.ops.identity import Identity
from edgebed.program.ops.max_pool import MaxPool
from edgebed.program.ops.reshape import Reshape
from edgebed.program.ops.slice import Slice
from edgebed.program.ops.subtract import Subtract
from edgebed.program.types import Constant, Op, Program, TensorType
from edgebed.targets.max78000.ai8x.kernels import check_range, kernel_of
from edgebed.targets.max78000.ai8x.network import INPUT, Layer, Network
from edgebed.targets.max78000.ai8x.settings import LayerSettings, Shape
from edgebed.targets.max78000.ai8x.weights import Weights
from edgebed.targets.max78000.layers import passes_of, per_pass

ELEMENTWISE: Mapping[str, type[Op]] = {
    "add": Add,
    "subtract": Subtract,
    "bit_or": BitOr,
    "bit_xor": BitXor,
}
INPUT_TENSOR = "input"
BIAS_UNIT = 128
BIAS_BITS = 32
VIEWS = (Concat, Crop, Reshape, Slice)
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


@dataclass
class _Tape:
    """The program so far; `groups` holds the op names of each layer."""

    types: dict[str, TensorType]
    ops: list[Op] = field(default_factory=list)
    constants: dict[str, Constant] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=dict)

    def add(self, layer: Layer, op: Op) -> str:
        """Append an op and return its output."""
        kinds = [self.types[name] for name in op.inputs]
        self.types[op.output] = op.infer(kinds, self.constants)
        self.ops.append(op)
        self.groups.setdefault(layer.name, []).append(op.name)
        return op.output

    def shape(self, tensor: str) -> Shape:
        return self.types[tensor].shape

    def rename_last(self, layer: Layer) -> None:
        """Give the last op and its result the layer's name."""
        old = self.ops.pop()
        fields = {**old.__dict__, "name": layer.name, "output": layer.name}
        self.types[layer.name] = self.types.pop(old.output)
        self.ops.append(type(old)(**fields))
        self.groups[layer.name][-1] = layer.name


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
    tape = _Tape({INPUT_TENSOR: TensorType(shape, "int8", ACTIVATION_STEP)})
    for layer in network.layers:
        tensors = _front(tape, layer, choices)
        _check_processors(tape, layer, tensors[0])
        tensor = _combined(tape, layer, tensors, _averages(layer, choices))
        _core(tape, layer, tensor, weights, settings)
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


def _front(tape: _Tape, layer: Layer, choices: Choices) -> list[str]:
    """Return the tensor of each operand: joined, split and viewed as the layer reads it."""
    sources = [INPUT_TENSOR if n == INPUT else f"layer{n:02d}" for n in layer.inputs]
    wide = [name for name in sources if tape.types[name].dtype != "int8"]
    if wide:
        raise layer.place.fail(
            f"layer {layer.number} reads the 32-bit result of {wide[0]}",
            try_="output_width: 8 in that layer",
        )
    operands = _operands(tape, layer, sources)
    if choices.drop_channels:
        operands = [_dropped(tape, layer, n, tensor) for n, tensor in enumerate(operands)]
    return [_viewed(tape, layer, n, tensor) for n, tensor in enumerate(operands)]


def _operands(tape: _Tape, layer: Layer, sources: Sequence[str]) -> list[str]:
    shapes = {tape.shape(name)[1:] for name in sources}
    if len(shapes) > 1:
        sizes = ", ".join(f"{name} {tape.shape(name)}" for name in sources)
        raise layer.place.fail(f"layer {layer.number} reads maps of different sizes", why=sizes)
    channels = {tape.shape(name)[0] for name in sources}
    if len(sources) == layer.operands and len(channels) == 1:
        return list(sources)
    whole = sources[0]
    if len(sources) > 1:
        whole = tape.add(layer, _op(Concat, layer, "concat", tuple(sources)))
    if layer.operands == 1:
        return [whole]
    count = tape.shape(whole)[0]
    if count % layer.operands:
        raise layer.place.fail(
            f"layer {layer.number} has {layer.operands} operands in {count} channels",
            why=f"{count} is not a multiple of {layer.operands}",
        )
    size = count // layer.operands
    return [
        tape.add(
            layer,
            _op(Slice, layer, f"operand{n}", (whole,), start=n * size, stop=(n + 1) * size),
        )
        for n in range(layer.operands)
    ]


def _op(kind: type[Op], layer: Layer, suffix: str, inputs: tuple[str, ...], **fields: Any) -> Any:
    name = f"{layer.name}.{suffix}"
    return kind(name=name, inputs=inputs, output=name, **fields)


def _dropped(tape: _Tape, layer: Layer, number: int, tensor: str) -> str:
    """Leave out the channels that the layer does not read (`--reshape-inputs`)."""
    channels = tape.shape(tensor)[0]
    start = layer.in_channel_skip
    wanted = layer.in_channels or min(layer.processors.bit_count(), channels - start)
    if wanted == channels:
        return tensor
    if start + wanted > channels:
        raise layer.place.fail(
            f"layer {layer.number} reads channels {start}:{start + wanted} of {channels}"
        )
    suffix = f"channels{number}"
    return tape.add(layer, _op(Slice, layer, suffix, (tensor,), start=start, stop=start + wanted))


def _viewed(tape: _Tape, layer: Layer, number: int, tensor: str) -> str:
    channels, rows, columns = tape.shape(tensor)
    if layer.in_channels not in (None, channels) and not layer.flatten:
        raise layer.place.fail(
            f"layer {layer.number} gets {channels} channels",
            why=f"`in_channels` says {layer.in_channels}",
            try_="--reshape-inputs, which leaves channels out",
        )
    if layer.in_crop != (0, 0):
        tensor = _cropped(tape, layer, number, tensor)
        _, rows, columns = tape.shape(tensor)
    if layer.in_dim in (None, (rows, columns)):
        return _one_column(layer, tensor, columns)
    wanted = layer.in_dim
    _one_column(layer, tensor, wanted[1])
    if wanted[0] * wanted[1] != rows * columns:
        raise layer.place.fail(
            f"layer {layer.number} gets maps of {rows} x {columns}",
            why=f"`in_dim` says {wanted[0]} x {wanted[1]}, another number of values",
        )
    return tape.add(layer, _op(Reshape, layer, f"reshape{number}", (tensor,), size=wanted))


def _one_column(layer: Layer, tensor: str, columns: int) -> str:
    if layer.op == "conv1d" and columns != 1:
        raise layer.place.fail(
            f"layer {layer.number} (conv1d) gets maps of {columns} columns",
            why="one-dimensional data has one column",
            try_="`in_dim` with the length",
        )
    return tensor


def _cropped(tape: _Tape, layer: Layer, number: int, tensor: str) -> str:
    """Leave out rows at the beginning and end (`in_crop`)."""
    _, rows, _ = tape.shape(tensor)
    before, after = layer.in_crop
    if INPUT in layer.inputs:
        raise layer.place.fail("`in_crop` of the network's input", try_="a smaller input")
    if before + after >= rows:
        raise layer.place.fail(f"`in_crop` leaves none of {rows} rows")
    suffix = f"crop{number}"
    return tape.add(layer, _op(Crop, layer, suffix, (tensor,), start=before, stop=rows - after))


def _check_processors(tape: _Tape, layer: Layer, tensor: str) -> None:
    """Refuse a map with another number of processors than the layer has channels in a pass."""
    channels = tape.shape(tensor)[0]
    needed, found = per_pass(channels), layer.processors.bit_count()
    if found != needed:
        passes = passes_of(channels)
        raise layer.place.fail(
            f"layer {layer.number} enables {found} processors",
            why=f"{channels} channels in {passes} pass{'es' if passes > 1 else ''} need {needed}",
        )


def _combined(tape: _Tape, layer: Layer, tensors: Sequence[str], averages: Rounding) -> str:
    """Append pooling and the element-wise operation in their order."""
    if layer.eltwise is None:
        return _pooled(tape, layer, tensors[0], "pool", averages)
    if layer.pool_first:
        tensors = [
            _pooled(tape, layer, tensor, f"pool{n}", averages) for n, tensor in enumerate(tensors)
        ]
    kind = ELEMENTWISE[layer.eltwise]
    result = tape.add(layer, _op(kind, layer, kind.kind, tuple(tensors)))
    return result if layer.pool_first else _pooled(tape, layer, result, "pool", averages)


def _pooled(tape: _Tape, layer: Layer, tensor: str, suffix: str, averages: Rounding) -> str:
    _, _, columns = tape.shape(tensor)
    kernel, stride = layer.pool, layer.pool_stride
    if columns == 1:
        kernel, stride = (kernel[0], 1), (stride[0], 1)
    if kernel == (1, 1) and stride == (1, 1):
        return tensor
    fields: dict[str, Any] = {"kernel": kernel, "stride": stride}
    if layer.pool_average and kernel != (1, 1):
        return tape.add(layer, _op(AvgPool, layer, suffix, (tensor,), rounding=averages, **fields))
    return tape.add(layer, _op(MaxPool, layer, suffix, (tensor,), **fields))


def _core(
    tape: _Tape,
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
            f"layer {layer.number} ({layer.op}) has no weights", why="the weights file has none"
        )
    return found


def _weighted(
    tape: _Tape, layer: Layer, tensor: str, weights: Weights, settings: LayerSettings
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


def _bias(tape: _Tape, layer: Layer, weights: Weights, count: int, step: float) -> str | None:
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
