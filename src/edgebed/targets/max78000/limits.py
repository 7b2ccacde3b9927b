"""What the device cannot do, op by op and layer by layer (spec 2.9, 2.10, 2.16)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgebed.program.arithmetic import Affine
from edgebed.program.ops.avg_pool import AvgPool
from edgebed.program.ops.concat import Concat
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.ops.conv_transpose2d import ConvTranspose2d
from edgebed.program.ops.crop import Crop
from edgebed.program.ops.dense import Dense
from edgebed.program.ops.identity import Identity
from edgebed.program.ops.reshape import Reshape
from edgebed.program.ops.slice import Slice
from edgebed.program.ops.space_to_depth import SpaceToDepth
from edgebed.program.types import Op, Program
from edgebed.targets.contract import Problem
from edgebed.targets.max78000.dilation import LONGEST
from edgebed.targets.max78000.layers import Layer, passes_of
from edgebed.targets.max78000.lowering import (
    BIAS_UNIT,
    COMBINES,
    PADDING,
    POOLS,
    WEIGHTED,
    Pool,
    Weighted,
    common_stride,
    one_dimensional,
)
from edgebed.targets.max78000.views import VIEWS, device_inputs

CHANNELS = 1024
SIZE = 1023
LAYERS = 32
WINDOW = 16
OPERANDS = 16
MAP_RANK = 3
FLATTENED = 16384
FLATTENED_PIXELS = 256
SHIFTS = (-15, 15)

KNOWN = (*WEIGHTED, *POOLS, *COMBINES, *VIEWS, Identity)
DEVICE_OPS = "conv2d, conv_transpose2d, dense, pools, element-wise, concat, slice, crop, reshape"


def op_problems(program: Program) -> list[Problem]:
    """Return every op or setting that no device layer has."""
    found: list[Problem] = []
    if len(program.inputs) != 1:
        found.append(
            Problem(
                program.name,
                f"{len(program.inputs)} inputs",
                "1 input tensor",
                "one input with all channels, and a slice for each part",
            )
        )
    for op in program.ops:
        found += _named(op, _op(program, op))
    return [*found, *_roundings(program)]


Finding = tuple[str, str, str]  # what, limit, try


def _named(op: Op, findings: Iterator[Finding]) -> Iterator[Problem]:
    for what, limit, try_ in findings:
        yield Problem(op.name, what, limit, try_)


def _op(program: Program, op: Op) -> Iterator[Finding]:
    if type(op) not in KNOWN:
        yield f"op {op.kind!r}", f"the device has {DEVICE_OPS}", "one of these ops"
        return
    general = [*_tensors(program, op), *_general(program, op)]
    yield from general
    if general or any([*_foreign(program, name)] for name in op.inputs):
        return
    yield from _inputs(program, op)
    if isinstance(op, Conv2d):
        yield from _conv2d(program, op)
    if isinstance(op, ConvTranspose2d):
        yield from _transposed(op, program.constants[op.weight].values.shape[2:])
    if isinstance(op, Dense):
        yield from _dense(program.types[op.inputs[0]].chw)
    if isinstance(op, WEIGHTED):
        yield from _weights(program, op)
    if isinstance(op, POOLS):
        yield from _pool(program, op)
    if type(op) in COMBINES and len(op.inputs) > OPERANDS:
        what = f"{len(op.inputs)} operands"
        yield what, f"{OPERANDS} operands", f"two layers of at most {OPERANDS} operands"


def _tensors(program: Program, op: Op) -> Iterator[Finding]:
    """Yield what is wrong with the tensor that an op writes, or is the first to read."""
    for tensor in dict.fromkeys((*op.inputs, op.output)):
        if tensor == op.output or _first_known_reader(program, tensor) is op:
            yield from _foreign(program, tensor)


def _first_known_reader(program: Program, tensor: str) -> Op | None:
    """Return the first reader of a tensor that no op of the device writes."""
    writer = program.writer(tensor)
    if writer is not None and type(writer) in KNOWN:
        return None
    return next(op for op in program.readers(tensor) if type(op) in KNOWN)


def _foreign(program: Program, tensor: str) -> Iterator[Finding]:
    """Yield other ranks, types and zero points than those of the device's maps."""
    kind = program.types[tensor]
    if len(kind.shape) != MAP_RANK:
        yield f"tensor {tensor!r} has shape {kind.shape}", "maps of C x H x W", "such maps"
    if kind.dtype not in ("int8", "int32") or kind.zero_point:
        what = f"tensor {tensor!r} is {kind}"
        yield what, "int8 with zero point 0", "a network that was trained for this device"


def _general(program: Program, op: Op) -> Iterator[Finding]:
    """Yield what no device layer does: axes, padded pools, operands of several scales."""
    if isinstance(op, Concat) and op.axis != 0:
        yield f"joins axis {op.axis}", "channels are joined", "axis 0"
    if isinstance(op, Reshape) and op.shape[0] != program.types[op.inputs[0]].shape[0]:
        yield f"makes {op.shape[0]} channels", "channels stay", "rows and columns only"
    if isinstance(op, POOLS) and any(op.padding):
        yield f"pads by {op.padding}", "pools have no padding", "a larger map"
    if isinstance(op, Dense) and op.last_axis:
        yield "works on the last axis only", "the whole map is one vector", "a flattened input"
    if getattr(op, "requantize", None) is not None and not isinstance(op, WEIGHTED):
        yield "rescales its operands", "operands of one scale", "equal scales"


def _inputs(program: Program, op: Op) -> Iterator[Finding]:
    for tensor in dict.fromkeys(op.inputs):
        if program.types[tensor].dtype != "int8" and not isinstance(op, Concat | Crop | Reshape):
            yield f"reads 32-bit values of {tensor!r}", "layers read 8 bits", "requantise them"
    if isinstance(op, SpaceToDepth) and op.inputs[0] not in program.inputs:
        yield (
            "folds an inner map",
            "pixels are folded by the CPU while it loads the network's input",
            "folding as the first op, or a pooling layer here",
        )
    inner = isinstance(op, Slice) and op.inputs[0] not in device_inputs(program)
    if inner and any(
        not isinstance(reader, (Conv2d, *COMBINES)) for reader in program.readers(op.output)
    ):
        yield (
            "takes channels out of an inner map for a layer without weights",
            "only convolutions can leave channels out",
            "a 1x1 convolution that selects them",
        )


def _conv2d(program: Program, op: Conv2d) -> Iterator[Finding]:
    kernel = program.constants[op.weight].values.shape[2:]
    if op.groups != 1:
        yield f"{op.groups} groups", "1 group", "a convolution without groups"
    if op.stride != (1, 1):
        pools = "stride 1 and a pooling op in front of the layer"
        yield f"stride {op.stride[0]}x{op.stride[1]}", "stride 1", pools
    top, left, bottom, right = op.padding
    if (top, left) != (bottom, right):
        yield f"padding {op.padding}", "equal on opposite sides", f"padding {max(op.padding)}"
    if max(op.padding) > PADDING:
        yield f"padding {max(op.padding)}", "0, 1 or 2", "padding 2 and a larger map"
    if one_dimensional(program, op):
        yield from _conv1d(op, kernel[0])
        return
    if tuple(kernel) not in ((1, 1), (3, 3)):
        near = "1x1" if max(kernel) < 2 else "3x3"
        yield (
            f"kernel {kernel[0]}x{kernel[1]}",
            "1x1 or 3x3, or kx1 with k up to 9 on maps of width 1",
            f"{near}; two 3x3 in a row see 5x5",
        )
    if op.dilation != (1, 1):
        yield f"dilation {op.dilation}", "1, except on maps of width 1", "dilation 1"


def _conv1d(op: Conv2d, length: int) -> Iterator[Finding]:
    dilation = op.dilation[0]
    span = (length - 1) * dilation + 1
    if op.padding[1]:
        yield f"{op.padding[1]} columns of padding", "none on a map of width 1", "padding of rows"
    if span <= LONGEST:
        return
    if length > LONGEST or length > 3:
        yield (
            f"kernel of length {length} with dilation {dilation}",
            f"length {LONGEST}, or length 3 when dilated beyond",
            f"length {min(length, LONGEST)} with dilation 1",
        )
    if op.padding[0]:
        yield (
            f"padding {op.padding[0]} with a kernel that spans {span}",
            f"padding 0 where the span is above {LONGEST}",
            "padding 0",
        )
    if dilation > SIZE:
        yield f"dilation {dilation}", f"{SIZE}", f"dilation {SIZE}"


def _transposed(op: ConvTranspose2d, kernel: tuple[int, ...]) -> Iterator[Finding]:
    for what, value, only in (
        ("kernel", tuple(kernel), (3, 3)),
        ("stride", op.stride, (2, 2)),
        ("output padding", op.output_padding, (1, 1)),
    ):
        if value != only:
            yield f"{what} {value[0]}x{value[1]}", f"{only[0]}x{only[1]}", f"{what} {only[0]}"
    if not all(0 <= pad <= 2 for pad in op.padding):
        yield f"padding {op.padding}", "0, 1 or 2", "padding 1"


def _dense(shape: tuple[int, int, int]) -> Iterator[Finding]:
    channels, rows, columns = shape
    passes = rows * columns * passes_of(channels)
    if passes > FLATTENED_PIXELS:
        yield (
            f"flattens {rows} x {columns} pixels of {channels} channels in {passes} passes",
            f"{FLATTENED_PIXELS} passes",
            f"pooling first, to {FLATTENED_PIXELS // passes_of(channels)} pixels or fewer",
        )
    if channels * rows * columns > FLATTENED:
        most = FLATTENED // (rows * columns)
        inner = channels * rows * columns
        yield f"{inner} inputs", f"{FLATTENED} inputs", f"{most} channels of this size"


def _weights(program: Program, op: Weighted) -> Iterator[Finding]:
    weight = program.constants[op.weight]
    channels = program.types[op.inputs[0]].shape[0], program.types[op.output].shape[0]
    for side, count in zip(("input", "output"), channels, strict=True):
        if count > CHANNELS:
            yield f"{count} {side} channels", f"{CHANNELS} channels", f"{CHANNELS} channels"
    if weight.bits > 8:
        yield f"weights of {weight.bits} bits", "1, 2, 4 or 8 bits", "8 bits"
    yield from _shift(op)
    if op.bias is not None:
        yield from _bias(program, op.bias)


def _shift(op: Weighted) -> Iterator[Finding]:
    if isinstance(op.requantize, Affine):
        what = f"requantises to scale {op.requantize.scale:g} by a multiplier"
        yield what, "shifts only, by powers of two", "a power-of-two scale"
        return
    if op.requantize is None:
        return
    shift = 7 - op.requantize.right_shift
    low, high = SHIFTS
    if not low <= shift <= high:
        near = 7 - max(low, min(high, shift))
        yield (
            f"right shift {op.requantize.right_shift}",
            f"right shift {7 - high} to {7 - low}",
            f"right shift {near}",
        )


def _bias(program: Program, name: str) -> Iterator[Finding]:
    values = program.constants[name].values
    ragged = int((values % BIAS_UNIT != 0).sum())
    if ragged:
        limit = f"multiples of {BIAS_UNIT} of the accumulator"
        yield f"{ragged} biases are no multiples of {BIAS_UNIT}", limit, "rounded biases"
    steps = values // BIAS_UNIT
    if values.size and (steps.min() < -128 or steps.max() > 127):
        yield f"bias of {int(values.max())}", f"{-128 * BIAS_UNIT} to {127 * BIAS_UNIT}", "clip it"


def _pool(program: Program, op: Pool) -> Iterator[Finding]:
    shape = program.types[op.inputs[0]].shape
    if max(op.kernel) > WINDOW:
        both = f"{op.kernel[0]}x{op.kernel[1]}"
        yield f"window {both}", f"{WINDOW}x{WINDOW}", "two pools in a row"
    if max(op.stride) > WINDOW and common_stride(op, shape) is None:
        yield f"stride {max(op.stride)}", f"{WINDOW}", "two pools in a row"
    elif common_stride(op, shape) is None:
        yield (
            f"strides {op.stride[0]} and {op.stride[1]}",
            "one stride for both axes",
            f"stride {min(op.stride)} on both",
        )


def _roundings(program: Program) -> Iterator[Problem]:
    """One bit decides for all averages of the network, except those in front of a conv1d."""
    pools = [op for op in program.ops if isinstance(op, AvgPool) and max(op.kernel) > 1]
    for op in pools:
        if op.rounding == "half_up":
            yield Problem(
                op.name,
                "rounds averages half up, as those of uint8 networks",
                "cut towards zero or half away from it",
                "rounding 'half_away'",
            )
    pools = [op for op in pools if op.rounding != "half_up"]
    if len({op.rounding for op in pools}) < 2:
        return
    rounded = next(op for op in pools if op.rounding == "half_away")
    for op in pools:
        readers = program.readers(op.output)
        narrow = bool(readers) and all(one_dimensional(program, reader) for reader in readers)
        if op.rounding == "truncate" and not narrow:
            yield Problem(
                op.name,
                f"truncates averages while {rounded.name} rounds them",
                "one rule for all averages of a network",
                f"rounding {rounded.rounding!r} here too",
            )


def layer_problems(layers: Sequence[Layer]) -> list[Problem]:
    """Return every device layer that breaks a limit of its size or combination."""
    found: list[Problem] = []
    if len(layers) > LAYERS:
        found.append(
            Problem(
                layers[-1].ops[-1] if layers[-1].ops else layers[-1].name,
                f"{len(layers)} device layers",
                f"{LAYERS} layers",
                f"{len(layers) - LAYERS} layers less",
            )
        )
    for layer in layers:
        name = layer.ops[-1] if layer.ops else layer.name
        found += [Problem(name, *finding) for finding in _layer(layer)]
    return found


def _layer(layer: Layer) -> Iterator[Finding]:
    for axis, size in zip(("rows", "columns"), layer.in_shape[1:], strict=True):
        most = SIZE // 2 if layer.operator == "conv_transpose2d" else SIZE
        if size > most and not layer.flatten:
            yield f"{size} {axis}", f"{most}", f"at most {most} {axis}, by cutting or folding"
    passes = passes_of(layer.in_shape[0])
    if layer.flatten and (layer.pooling or layer.pool_stride > 1):
        yield "pools what it flattens", "flattening without pooling", "two layers"
    if layer.passthrough and passes > 1 and layer.pooling and layer.pooled != (1, 1):
        yield (
            f"pools {layer.in_shape[0]} channels without a convolution",
            "64 channels, unless the result is 1 x 1",
            "pooling in front of the next convolution, or a 1x1 convolution here",
        )
    if layer.combine is not None:
        yield from _combining(layer, passes)
    if layer.operator == "conv1d" and layer.in_shape[2] != 1:
        yield f"conv1d on {layer.in_shape[2]} columns", "1 column", "pooling in its own layer"
    if layer.skipped and (layer.pooling or layer.pool_stride > 1):
        yield "pools before a dilated convolution", "no pooling there", "pooling in its own layer"


def _combining(layer: Layer, passes: int) -> Iterator[Finding]:
    several = passes > 1 and not (passes == 2 and layer.operands == 2)
    if layer.operator == "conv1d":
        yield "combines tensors for a conv1d", "element-wise before conv2d only", "two layers"
    if several and not layer.passthrough:
        yield (
            f"combines {layer.operands} operands of {layer.in_shape[0]} channels in a convolution",
            "64 channels, or 2 operands of 128",
            "a layer of its own for the combination",
        )
    one_pixel = passes == layer.operands == 2 and layer.pooled == (1, 1)
    if passes > 1 and layer.pooling and layer.passthrough and not one_pixel:
        yield (
            f"pools and combines {layer.in_shape[0]} channels",
            "64 channels, or 2 operands of 128 with a result of 1 x 1",
            "pooling and combining in two layers",
        )
    if not layer.pool_first and layer.operands > 2:
        yield f"pools the sum of {layer.operands} operands", "2 operands", "two layers"
