"""Single layers as static Arm Linux programs, and their meaning in numpy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgebed.targets._shared.rows import kernels
from edgebed.targets._shared.rows.kernels.sets import Packed, WindowShape
from edgebed.targets.arm_linux import compiler, emulation
from edgebed.targets.arm_linux.cores import Core

KERNELS = Path(kernels.__file__).parent
ROWS = KERNELS.parent / "runtime"


@dataclass(frozen=True)
class Layer:
    """shape, weights (O x KH x KW x I, or C x KH x KW depthwise), lines O x 3, output numbers."""

    shape: WindowShape
    weights: np.ndarray
    lines: np.ndarray
    zero_point: int
    fraction: int
    low: int = -128
    high: int = 127
    rule: int = 0
    out_zero: int = 0

    @property
    def macs(self) -> int:
        return self.shape.out_height * self.shape.out_width * self.weights.size


def draw(rng, shape: WindowShape, *, depthwise=False, limit=127, rule=0, **numbers) -> Layer:
    """A layer whose outputs spread over the bytes; `rule` as eb_output has it."""
    kernel = (*shape.kernel,) if depthwise else (*shape.kernel, shape.in_channels)
    size = (shape.out_channels, *kernel)
    weights = rng.integers(-min(limit, 255), limit, size)
    factor = rng.uniform(0.3, 1.0, shape.out_channels) / (limit * np.sqrt(np.prod(kernel)))
    bias = rng.integers(-1000, 1000, shape.out_channels)
    fraction, multiplier, c = _numbers(rng, factor, rule)
    zero = int(rng.integers(-20, 20)) if rule else 0
    lines = np.stack([bias, multiplier, c], 1)
    point = int(rng.integers(-128, 128))
    return Layer(shape, weights, lines, point, fraction, rule=rule, out_zero=zero, **numbers)


def _numbers(rng, factor, rule):
    if rule == 4:
        return 0, factor.astype(np.float32).view(np.int32), np.zeros(len(factor), int)
    if rule:
        mantissa, exponent = np.frexp(factor)
        fixed = np.minimum(np.round(mantissa * 2.0**31), 2**31 - 1).astype(np.int64)
        return 0, fixed, -exponent - 1 if rule == 3 else exponent
    fraction = max(0, int(np.floor(-np.log2(factor.max()) - 1.1)))
    multiplier = (factor * 2.0 ** (32 + fraction)).astype(np.int64) & ~1
    return fraction, multiplier, rng.integers(0, 1 << fraction, len(factor))


def requantized(layer: Layer, acc: np.ndarray) -> np.ndarray:
    """The rules of eb.h, one after the other, in 64 bits."""
    _, m, c = layer.lines.T
    if layer.rule == 0:
        return ((acc * m >> 32) + c) >> layer.fraction
    if layer.rule == 4:
        real = acc.astype(np.float32) * m.astype(np.int32).view(np.float32)
        return np.rint(real).astype(np.int64) + layer.out_zero
    if layer.rule == 2:
        return (acc * m + (1 << (30 - c))) >> (31 - c)
    doubled = (acc * m + (1 << 30)) >> 31
    right = c + 1 if layer.rule == 3 else -c
    mask = (1 << right) - 1
    up = (doubled & mask) > (mask >> 1) + (doubled < 0)
    return (doubled >> right) + up + layer.out_zero


def meaning(layer: Layer, x: np.ndarray, *, depthwise: bool) -> np.ndarray:
    """x: H x W x C int8; the same integers, one output pixel at a time."""
    s = layer.shape
    reach = [(k - 1) * d + 1 for k, d in zip(s.kernel, s.dilation, strict=True)]
    tall = max(s.in_height, (s.out_height - 1) * s.stride[0] + reach[0]) + s.padding[0]
    wide = max(s.in_width, (s.out_width - 1) * s.stride[1] + reach[1]) + s.padding[1]
    padded = np.full((tall + reach[0], wide + reach[1], s.in_channels), layer.zero_point, np.int64)
    top, left = s.padding
    padded[top : top + s.in_height, left : left + s.in_width] = x
    out = np.zeros((s.out_height, s.out_width, s.out_channels), np.int64)
    for r in range(s.out_height):
        for c in range(s.out_width):
            y, z = r * s.stride[0], c * s.stride[1]
            window = padded[y : y + reach[0] : s.dilation[0], z : z + reach[1] : s.dilation[1]]
            if depthwise:
                out[r, c] = np.einsum("hwc,chw->c", window, layer.weights)
            else:
                out[r, c] = np.einsum("hwc,ohwc->o", window, layer.weights)
    y = requantized(layer, out + layer.lines[:, 0])
    if layer.rule == 2:
        y = y + layer.out_zero
    return np.clip(y, layer.low, layer.high).astype(np.int8)


def program(layer: Layer, packed: Packed, lag: int | None = None) -> str:
    """C of a program that reads the input map, runs the layer and writes the output map.

    lag: the output lies in the input's memory, so many bytes before it.
    """
    s = layer.shape
    data = np.frombuffer(packed.weights, packed.c_type.removesuffix("_t"))
    lines = ", ".join(f"{{{b}, {m}, {c}}}" for b, m, c in layer.lines)
    out = "out_memory" if lag is None else f"in_memory + GAP - {lag}"
    numbers = (
        f"weights, lines, {s.in_width}, {s.in_channels}, {s.out_width}, {s.out_channels},"
        f" {packed.depth}, {s.kernel[0]}, {s.kernel[1]}, {s.stride[1]}, {s.padding[1]},"
        f" {s.dilation[1]}, {layer.zero_point},"
        f" {{{layer.low}, {layer.high}, {layer.out_zero}, {layer.fraction}, {layer.rule}}}"
    )
    return f"""
#include "start.h"
#include "{packed.header}"
enum {{ GAP = 4096 }};
static const {packed.c_type} weights[] = {{{", ".join(map(str, data))}}};
static const eb_line lines[] = {{{lines}}};
static const eb_conv layer = {{{numbers}}};
static int8_t in_memory[GAP + {s.in_height * s.in_width * s.in_channels}];
static int8_t __attribute__((unused)) out_memory[{s.out_height * s.out_width * s.out_channels}];
static int64_t scratch[{packed.scratch_bytes // 8 + 1}];
__attribute__((noinline)) void eb_step(const int8_t *in, int8_t *out) {{
  const eb_conv *hidden = &layer;
  __asm__("" : "+r"(hidden)); /* or the compiler makes a kernel for this very layer */
  for (int32_t r = 0; r < {s.out_height}; r++) {{
    const int8_t *rows[{s.kernel[0]}];
    for (int32_t i = 0; i < {s.kernel[0]}; i++) {{
      const int32_t y = r * {s.stride[0]} - {s.padding[0]} + i * {s.dilation[0]};
      rows[i] = y >= 0 && y < {s.in_height} ? in + y * {s.in_width * s.in_channels} : 0;
    }}
    {packed.function}(hidden, rows, out + r * {s.out_width * s.out_channels}, scratch, r);
  }}
}}
__attribute__((noinline)) void eb_ran(void) {{ __asm__ volatile(""); }}
int main(int argc, char **argv) {{
  (void)argc, (void)argv;
  int8_t *in = in_memory + GAP, *out = {out};
  eb_read(0, in, {s.in_height * s.in_width * s.in_channels});
  eb_step(in, out);
  eb_ran();
  eb_write(1, out, {s.out_height * s.out_width * s.out_channels});
  return 0;
}}
"""


def run(core: Core, layer: Layer, packed: Packed, x, folder: Path, lag=None, emulator=None):
    """Return the output map and the instructions that the layer took."""
    source, binary = folder / "layer.c", folder / "layer"
    source.write_text(program(layer, packed, lag))
    compiler.compile_object(core, source, folder / "layer.o", includes=(KERNELS, ROWS))
    compiler.link_program([folder / "layer.o"], binary)
    s = layer.shape
    done = emulation.run(
        core, binary, data=x.astype(np.int8).tobytes(), watched=("eb_step", "eb_ran"),
        emulator=emulator,
    )  # fmt: skip
    y = np.frombuffer(done.output, np.int8).reshape(s.out_height, s.out_width, s.out_channels)
    (_, first), (_, last) = done.entries
    return y, last - first
