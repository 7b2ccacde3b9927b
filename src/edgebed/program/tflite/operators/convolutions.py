"""CONV_2D, DEPTHWISE_CONV_2D and TRANSPOSE_CONV."""

from __future__ import annotations

import numpy as np

from edgebed.program.tflite.layer import Layer
from edgebed.program.tflite.network import Value
from edgebed.program.tflite.operators.weights import parameters

EXPLICIT_PADDING = "explicit_padding"
"""Name of an option (top, left, bottom, right) that takes the place of SAME and VALID."""


_MAX_PIXELS = 1 << 26


def same_padding(size: int, kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """Return how many zeros SAME puts before and after an axis: the odd one after."""
    reach = (kernel - 1) * dilation + 1
    total = max((-(-size // stride) - 1) * stride + reach - size, 0)
    return total // 2, total - total // 2


def window_padding(
    layer: Layer,
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int] = (1, 1),
) -> tuple[int, int, int, int]:
    """Return the padding of a window as top, left, bottom, right."""
    code = layer.integer("Padding", default=0)
    if code not in (0, 1):
        raise layer.fail(f"its padding is {code}", why="0 (SAME) and 1 (VALID) are known")
    explicit = layer.list(EXPLICIT_PADDING)
    if explicit:
        top, left, bottom, right = explicit
        return top, left, bottom, right
    if code == 1:
        return 0, 0, 0, 0
    (top, bottom), (left, right) = (
        same_padding(n, k, s, d) for n, k, s, d in zip(size, kernel, stride, dilation, strict=True)
    )
    if (size[0] + top + bottom) * (size[1] + left + right) > _MAX_PIXELS:
        raise layer.fail(
            f"a window of {list(kernel)} with dilation {list(dilation)} on {list(size)} pixels",
            why=f"with its padding the picture would exceed {_MAX_PIXELS} pixels",
        )
    return top, left, bottom, right


def strides(layer: Layer) -> tuple[int, int]:
    """Return the stride of a window, rows and columns."""
    return layer.integer("StrideH", least=1), layer.integer("StrideW", least=1)


def _dilations(layer: Layer) -> tuple[int, int]:
    rows = layer.integer("DilationHFactor", least=1, default=1)
    return rows, layer.integer("DilationWFactor", least=1, default=1)


def weight_shape(layer: Layer, place: int, rank: int) -> tuple[int, ...]:
    """Return the shape of constant weights.

    Raises:
        EdgebedError: the rank differs, or an axis is empty.
    """
    shape = layer.constant(place, "weight").shape
    if len(shape) != rank or 0 in shape:
        raise layer.fail(f"its weights have shape {list(shape)}", why=f"{rank} axes are needed")
    return shape


def conv_2d(layer: Layer) -> None:
    """Convert CONV_2D; fewer weight channels than the input's mean groups."""
    x = layer.value(0)
    _, _, _, inner = weight_shape(layer, 1, 4)
    channels = x.shape[-1] if x.shape else 0
    if channels % inner:
        raise layer.fail(f"its weights take {inner} channels", why=f"its input has {channels}")
    fields = parameters(layer, x, place=1, bias=2, output_axis=0, order=(0, 3, 1, 2))
    _convolve(layer, x, channels // inner, fields)


def depthwise_conv_2d(layer: Layer) -> None:
    """Convert DEPTHWISE_CONV_2D: one group a channel, several outputs of each possible."""
    x = layer.value(0)
    one, _, _, outputs = weight_shape(layer, 1, 4)
    channels = x.shape[-1] if x.shape else 0
    if one != 1 or not channels or outputs % channels:
        raise layer.fail(
            f"its weights have shape {list(layer.tensor(1).shape)}",
            why=f"its input has {channels} channels",
        )
    fields = parameters(layer, x, place=1, bias=2, output_axis=3, order=(3, 0, 1, 2))
    _convolve(layer, x, channels, fields)


def _convolve(layer: Layer, x: Value, groups: int, fields: dict[str, str]) -> None:
    planes = layer.planes(x)
    weight = layer.network.constants[fields["weight"]].values
    kernel = (weight.shape[2], weight.shape[3])
    stride, dilation = strides(layer), _dilations(layer)
    padding = window_padding(layer, (x.shape[1], x.shape[2]), kernel, stride, dilation)
    result = layer.emit(
        "conv2d", [planes], groups=groups, stride=stride, dilation=dilation, padding=padding,
        **fields,
    )  # fmt: skip
    if layer.type(x).is_float:
        result = layer.activated(result, layer.activation())
    layer.give_planes(result)


def transpose_conv(layer: Layer) -> None:
    """Convert TRANSPOSE_CONV: the whole spread, then the part that the output shape names."""
    x = layer.value(2)
    wanted = layer.integers(0, "output shape", least=1)
    _, kh, kw, inner = weight_shape(layer, 1, 4)
    if len(wanted) != 4 or len(x.shape) != 4 or x.shape[3] != inner:
        raise layer.fail(f"an input {list(x.shape)} and {inner} weight channels to {list(wanted)}")
    stride = strides(layer)
    fields = parameters(
        layer, x, place=1, bias=3, output_axis=0, order=(0, 3, 1, 2), inputs_first=True
    )
    top, left, *_ = window_padding(layer, (wanted[1], wanted[2]), (kh, kw), stride)
    if layer.integer("Padding") == 0:
        top, left = (
            max((n - 1) * s + k - size, 0) // 2
            for n, s, k, size in zip(x.shape[1:3], stride, (kh, kw), wanted[1:3], strict=True)
        )
    _lengthen(layer, fields["weight"], x, stride, (wanted[1] + top, wanted[2] + left))
    spread = layer.emit("conv_transpose2d", [layer.planes(x)], stride=stride, **fields)
    result = _cut(layer, spread, (top, left), (wanted[1], wanted[2]))
    if layer.type(x).is_float:
        result = layer.activated(result, layer.activation())
    layer.give_planes(result)


def _lengthen(
    layer: Layer, weight: str, x: Value, stride: tuple[int, int], needed: tuple[int, int]
) -> None:
    """Add zero weights at the kernel's end where the spread would not reach the whole output."""
    constant = layer.network.constants[weight]
    kernel = constant.values.shape[2:]
    more = [
        max(size - (n - 1) * s - k, 0)
        for size, n, s, k in zip(needed, x.shape[1:3], stride, kernel, strict=True)
    ]
    if any(extra > 2 * s for extra, s in zip(more, stride, strict=True)):
        raise layer.fail(f"its output has {list(needed)} rows and columns, too many for its input")
    if any(more):
        pads = ((0, 0), (0, 0), (0, more[0]), (0, more[1]))
        values = np.pad(constant.values, pads, constant_values=constant.zero_point)
        layer.network.constants[weight] = type(constant)(
            values, constant.bits, constant.scale, constant.zero_point, constant.scales
        )


def _cut(layer: Layer, tensor: str, start: tuple[int, int], size: tuple[int, int]) -> str:
    channels, rows, columns = layer.network.types[tensor].shape
    if start == (0, 0) and size == (rows, columns):
        return tensor
    return layer.emit(
        "strided_slice", [tensor], suffix="cut", begin=(0, *start),
        end=(channels, start[0] + size[0], start[1] + size[1]), step=(1, 1, 1),
    )  # fmt: skip
