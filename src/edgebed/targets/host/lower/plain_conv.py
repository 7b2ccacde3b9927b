"""Weighted layers of any element type as plain loops: float32, 16 bits, odd rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt

from edgebed.program.arithmetic import Affine, PowerOfTwo
from edgebed.program.ops._accumulate import Weighted
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.ops.conv_transpose2d import ConvTranspose2d
from edgebed.program.ops.dense import Dense
from edgebed.program.types import Op
from edgebed.targets.host.frame import Frame, pitches
from edgebed.targets.host.layout import C_TYPES, Stored, View
from edgebed.targets.host.loops import place, wrap
from edgebed.targets.host.lower.expressions import clamped, ends
from edgebed.targets.host.steps import Call, Operand, Packed
from edgebed.targets.host.wishes import padding_margins

HEADER: Final = "plain_conv.h"
_NUMBERS: Final[dict[Stored, tuple[str, str]]] = {
    "u8": ("int16", "int32"), "i16": ("int16", "int64"), "f32": ("float32", "float32"),
}  # fmt: skip
"""By input: numpy types of weights and sums."""
_C: Final = {"int16": "int16_t", "int32": "int32_t", "int64": "int64_t", "float32": "float"}


@dataclass(frozen=True)
class Sums:
    """Packed constants of a layer and how one sum becomes an output.

    Attributes:
        function: of plain_conv.h.
        number: C type of a sum.
        packed: weights and bias, then factors of the rule.
        finish: the C expression of the stored output for a sum and its channel.
    """

    function: str
    number: str
    packed: tuple[Packed, ...]
    finish: Callable[[str, str], str]


def sums_of(
    frame: Frame, op: Weighted, weights: npt.NDArray[Any], stored: Stored, groups: int = 1
) -> Sums:
    """Pack a layer.

    Args:
        frame: where constants go.
        op: the layer.
        weights: centred, ... x O; the zero point of the input is folded into the bias.
        stored: element type of the input.
        groups: each group's weights lie together.
    """
    weight_type, number = _NUMBERS[stored]
    channels = weights.shape[-1]
    bias = np.zeros(channels, np.float64) if op.bias is None else frame.values(op.bias)
    kind = frame.kind(op.inputs[0])
    if stored != "f32":
        zero = kind.zero_point + (128 if stored == "u8" else 0)
        taps = weights.reshape(-1, channels).astype(np.int64).sum(axis=0)
        bias = bias.astype(np.int64) - zero * taps
    weights = np.moveaxis(weights.reshape(*weights.shape[:-1], groups, -1), -2, 0)
    packed = (
        frame.pack("weights", weights.astype(weight_type), _C[weight_type]),
        frame.pack("bias", bias.astype(number), _C[number]),
    )
    factors, finish = finishing(frame, op, channels, wide=stored == "i16")
    return Sums(f"eb_sums_{stored}", _C[number], (*packed, *factors), finish)


def finishing(
    frame: Frame, op: Weighted, channels: int, *, wide: bool
) -> tuple[tuple[Packed, ...], Callable[[str, str], str]]:
    """Return the factors of a rule and the expression of an output for (sum, channel)."""
    rule, activation = cast(Any, op).requantize, cast(Any, op).activation
    if frame.kind(op.output).is_float:
        return (), lambda total, _: _activated(total, activation)
    if rule is None:
        return (), lambda total, _: f"(int32_t){total}"
    if isinstance(rule, PowerOfTwo):
        return (), lambda total, _: _shifted(total, rule, activation)
    assert isinstance(rule, Affine)
    values = op.factors(frame.program.constants)
    assert values is not None
    if rule.rounding == "float":
        scales = frame.pack("scales", np.broadcast_to(values, (channels,)).copy(), "float")
        return (
            scales,
        ), lambda total, o: f"eb_to_integer((float){total} * scales[{o}], {ends(rule)})"
    table = np.broadcast_to(values, (2, channels)).astype(np.int32)
    factors = (
        frame.pack("multipliers", table[0].copy(), "int32_t"),
        frame.pack("shifts", table[1].copy(), "int32_t"),
    )
    single = "eb_fixed_single" if rule.rounding == "fixed_point_single" else "eb_fixed"
    function = "eb_fixed_wide" if wide else single
    return factors, lambda total, o: clamped(
        f"{function}({total}, multipliers[{o}], shifts[{o}])", rule
    )


def _activated(total: str, activation: str) -> str:
    if activation == "relu":
        return f"{total} > 0 ? {total} : 0"
    return f"fabsf({total})" if activation == "abs" else total


def _shifted(total: str, rule: PowerOfTwo, activation: str) -> str:
    low = 0 if activation == "relu" else -128
    value = f"eb_clamp(eb_shift({total}, {rule.right_shift}), {low}, 127)"
    if activation == "abs":
        value = f"eb_magnitude({value})"
    return f"{value} + 128"


def conv2d(frame: Frame, op: Conv2d) -> None:
    """Lower a convolution."""
    x = frame.map(op.inputs[0], padding_margins(op))
    out = frame.output(op)
    weight = frame.program.constants[op.weight]
    values = weight.values if weight.values.dtype.kind == "f" else (
        weight.values.astype(np.int64) - weight.zero_point
    )  # fmt: skip
    outputs, inner, *kernel = values.shape
    each = op.groups == outputs == x.shape[0] and inner == 1
    groups = 1 if each else op.groups
    moved = values.transpose(2, 3, 1, 0)
    sums = sums_of(frame, op, moved, x.stored, groups)
    row, pixel = pitches(x)
    window = (*kernel, inner, outputs // groups, op.dilation[0] * row, op.dilation[1] * pixel)
    suffix = "_each" if each else ""
    literal = f"(eb_plain_window){{{', '.join(map(str, window))}}}"
    step = inner * (outputs // groups) * kernel[0] * kernel[1]
    calls = [
        f"{sums.function}{suffix}(at + {g * inner}, weights + {g * step}, "
        f"bias + {g * (outputs // groups)}, sums + {g * (outputs // groups)}, {literal});"
        for g in range(groups)
    ]
    down, across = op.stride[0] * row, op.stride[1] * pixel
    at = f"const {C_TYPES[x.stored]} *at = x + y * {down} + c * {across};"
    origin = op.padding[0] * row + op.padding[1] * pixel
    text = _pixels(out, outputs, sums, [at, *calls])
    frame.emit(
        Call(text, (Operand("x", x, origin),), (Operand("out", out),), sums.packed, (HEADER,),
             rows=out.shape[1], macs=_macs(frame, op))
    )  # fmt: skip


def _macs(frame: Frame, op: Weighted) -> int:
    return op.macs(frame.kind(op.output), frame.program.constants)


def _pixels(out: View, outputs: int, sums: Sums, body: list[str]) -> str:
    """Return loops over the output's pixels that compute all channels of one and store them."""
    dense, row, pixel = out.strides
    index = place([row, pixel, dense]).replace("i0", "y").replace("i1", "c").replace("i2", "o")
    stored = _typed(out, sums.finish("sums[o]", "o"))
    lines = [
        f"{sums.number} sums[{outputs}];",
        *body,
        f"for (int o = 0; o < {outputs}; o++) out[{index}] = {stored};",
    ]
    inner = "\n".join("    " + line for line in lines)
    return (
        "for (int y = y0; y < y1; y++)\n"
        f"  for (int c = 0; c < {out.shape[2]}; c++) {{\n{inner}\n  }}"
    )


def _typed(out: View, value: str) -> str:
    return value if out.stored == "f32" else f"({C_TYPES[out.stored]})({value})"


def dense(frame: Frame, op: Dense) -> None:
    """Lower a dense layer."""
    from edgebed.targets.host.lower.weighted import flattened

    weight = frame.program.constants[op.weight]
    values: npt.NDArray[Any] = weight.values
    if values.dtype.kind != "f":
        values = values.astype(np.int64) - weight.zero_point
    if op.last_axis:
        x = frame.flat(op.inputs[0])
    else:
        x, values = flattened(frame, op.inputs[0], values)
    out = frame.output(op)
    target = out if out.is_row_major else frame.scratch(out.stored, out.shape)
    outputs, inner = values.shape
    sums = sums_of(frame, op, values.T, x.stored)
    rows = out.size // outputs
    literal = f"(eb_plain_window){{1, 1, {inner}, {outputs}, 0, 0}}"
    call = f"{sums.function}(x + y * {inner}, weights, bias, sums, {literal});"
    store = _typed(target, sums.finish("sums[o]", "o"))
    text = wrap(
        [rows],
        f"{sums.number} sums[{outputs}];\n{call}\n"
        f"for (int o = 0; o < {outputs}; o++) out[i0 * {outputs} + o] = {store};",
    ).replace("x + y *", "x + i0 *")
    frame.emit(Call(text, (Operand("x", x),), (Operand("out", target),), sums.packed, (HEADER,)))
    frame.copy(target, out)


def conv_transpose2d(frame: Frame, op: Op) -> None:
    """Lower a transposed convolution: every output pixel gathers the inputs that reach it."""
    layer = cast(ConvTranspose2d, op)
    x, out = frame.map(op.inputs[0]), frame.output(op)
    weight = frame.program.constants[layer.weight]
    values: npt.NDArray[Any] = weight.values
    if values.dtype.kind != "f":
        values = values.astype(np.int64) - weight.zero_point
    inner, outputs, kh, kw = values.shape
    sums = sums_of(frame, layer, values.transpose(2, 3, 0, 1), x.stored)
    zero = 0 if x.stored == "f32" else frame.kind(op.inputs[0]).zero_point
    zero += 128 if x.stored == "u8" else 0
    body = _gathering(layer, x, outputs, (kh, kw), inner, zero)
    frame.emit(
        Call(_pixels(out, outputs, sums, body), (Operand("x", x),), (Operand("out", out),),
             sums.packed, (HEADER,), rows=out.shape[1], macs=_macs(frame, layer))
    )  # fmt: skip


def _gathering(
    op: ConvTranspose2d, x: View, outputs: int, kernel: tuple[int, int], inner: int, zero: int
) -> list[str]:
    """Return the statements that sum up one output pixel; the folded bias counts absent inputs."""
    (kh, kw), (sy, sx), (py, px) = kernel, op.stride, op.padding
    row, pixel = pitches(x)
    value = f"there ? x[r / {sy} * {row} + q / {sx} * {pixel} + i] : {zero}"
    return [
        f"for (int o = 0; o < {outputs}; o++) sums[o] = bias[o];",
        f"for (int ky = 0; ky < {kh}; ky++)",
        f"  for (int kx = 0; kx < {kw}; kx++) {{",
        f"    const int r = y + {py} - ky, q = c + {px} - kx;",
        f"    const int there = r >= 0 && r % {sy} == 0 && r < {x.shape[1] * sy} && q >= 0 && "
        f"q % {sx} == 0 && q < {x.shape[2] * sx};",
        *(["    if (!there) continue;"] if zero == 0 else []),
        f"    for (int i = 0; i < {inner}; i++)",
        f"      for (int o = 0; o < {outputs}; o++)",
        f"        sums[o] += ({value}) * "
        f"weights[((ky * {kw} + kx) * {inner} + i) * {outputs} + o];",
        "  }",
    ]
