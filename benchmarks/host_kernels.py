"""Speed of the host's convolution, pointwise and dense kernels, layer by layer.

Prints for each layer its time, G multiply-accumulates a second, and the share of the peak that
dot-product instructions without any memory traffic reach in the same run on the same core. Below
avx512 that peak comes out too high (compilers combine its products): compare G MAC/s there.

    python benchmarks/host_kernels.py [--isa avx512] [--only resnet8] [--search 8]

--search N times the N best tiles of the model instead of the first and shows the best.
"""

from __future__ import annotations

import argparse
import ctypes
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from edgebed.targets._shared.toolchain import host_compilers
from edgebed.targets.host.kernels import conv, conv_tiles, isa, requantize, rules, snapped

KERNELS = Path(isa.__file__).parent


@dataclass(frozen=True)
class Layer:
    network: str
    name: str
    shape: conv.ConvShape
    clamp: requantize.Clamp


def convolution(
    network: str, size: tuple[int, int], cin: int, cout: int, kernel: tuple[int, int],
    stride: int = 1, relu: bool = True, border: int = 0,
) -> Layer:  # fmt: skip
    """A layer with `size` output pixels that writes into a map with `border` pixels around it."""
    height, width = size
    columns = (width - 1) * stride + kernel[1]
    pitch = (width + 2 * border) * cout
    shape = conv.ConvShape(
        columns * cin, cin, cin, height, width, cout, pitch, cout, kernel, (stride, stride)
    )
    label = f"{height}x{width} {cin}->{cout} {kernel[0]}x{kernel[1]}/{stride}"
    return Layer(network, label, shape, requantize.Clamp(-128 if relu else 3))


def dense(network: str, inputs: int, outputs: int) -> Layer:
    shape = conv.ConvShape.dense(inputs, outputs)
    return Layer(network, f"dense {inputs}->{outputs}", shape, requantize.Clamp(-128))


def resnet8() -> list[Layer]:
    def layer(
        n: int, cin: int, cout: int, k: int, s: int = 1, relu: bool = True, border: int = 1
    ) -> Layer:
        return convolution("resnet8", (n, n), cin, cout, (k, k), s, relu, border)

    return [
        layer(32, 3, 16, 3),
        layer(32, 16, 16, 3),
        layer(32, 16, 16, 3, relu=False, border=0),
        layer(16, 16, 32, 3, 2),
        layer(16, 32, 32, 3, relu=False, border=0),
        layer(16, 16, 32, 1, 2, relu=False, border=0),
        layer(8, 32, 64, 3, 2),
        layer(8, 64, 64, 3, relu=False, border=0),
        layer(8, 32, 64, 1, 2, relu=False, border=0),
    ]


def keywords() -> list[Layer]:
    first = convolution("kws", (25, 5), 1, 64, (10, 4), 2, border=1)
    return [first] + [convolution("kws", (25, 5), 64, 64, (1, 1), border=1)] * 4


def wake_words() -> list[Layer]:
    sizes = [(48, 8, 16), (24, 16, 32), (24, 32, 32), (12, 32, 64), (12, 64, 64), (6, 64, 128)]
    sizes += [(6, 128, 128)] * 5 + [(3, 128, 256), (3, 256, 256)]
    first = convolution("vww", (48, 48), 3, 8, (3, 3), 2, border=1)
    rest = [convolution("vww", (n, n), i, o, (1, 1), border=int(n > 3)) for n, i, o in sizes]
    return [first, *rest]


def autoencoder() -> list[Layer]:
    widths = [640, 128, 128, 128, 128, 8, 128, 128, 128, 128, 640]
    return [dense("autoencoder", i, o) for i, o in pairwise(widths)]


PEAK = """
/* Twelve independent sums hide the latency. Returns nanoseconds of `rounds` x 12 x 64 MACs. */
long long peak(int rounds) {
  volatile uint8_t zero[4] = {1, 2, 3, 4};
  uint8_t x[4]; for (int i = 0; i < 4; i++) x[i] = zero[i];
  int8_t w[64]; for (int i = 0; i < 64; i++) w[i] = (int8_t)(i * zero[0]);
  eb_quad quad = eb_quad_at(x); eb_filter filter = eb_filter_at(w);
  eb_dots sum[N];
  for (int i = 0; i < N; i++) sum[i] = eb_dots_zero();
  const long long start = now();
  for (int r = 0; r < rounds; r++) {
    EB_UNROLL for (int i = 0; i < N; i++) { /* or one product would serve all sums */
      __asm__ volatile("" : "+x"(quad));
      sum[i] = eb_dots_add(sum[i], quad, filter);
    }
  }
  const long long taken = now() - start;
  int32_t out[16];
  for (int i = 0; i < N; i++) { eb_store_i32x16(out, eb_dots_total(sum[i])); sink += out[3]; }
  return taken * 12 / N;
}
"""
HEAD = """
#define _POSIX_C_SOURCE 199309L
#include <time.h>
#include "conv.h"
static volatile int sink;
static long long now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ll + t.tv_nsec;
}
"""
SUMS = {"portable": 1, "avx2": 3, "avxvnni": 6, "avx512": 12}
TIMED = """
long long layer{number}(int rounds, const uint8_t *x, const int8_t *w, const int32_t *b,
                        const int32_t *t, uint8_t *y) {{
  const long long start = now();
  for (int i = 0; i < rounds; i++) {{
    {call}
    __asm__ volatile("" ::: "memory");
  }}
  return now() - start;
}}
"""


@dataclass(frozen=True)
class Prepared:
    layer: Layer
    rule: requantize.Requantization
    buffers: tuple[np.ndarray, ...]


def prepared(layer: Layer) -> Prepared:
    s = layer.shape
    draw = np.random.default_rng(1)
    w = draw.integers(-127, 128, (s.out_channels, *s.kernel, s.in_channels)).astype(np.int8)
    folded = conv.fold_bias(None, w, s, 0)
    total = np.abs(w.astype(int)).reshape(len(w), -1).sum(axis=1)
    fraction, shift = np.frexp(200 / (total * 20.0))
    bounds = conv.accumulator_bounds(folded, w, s)
    rescale = rules.Rescale(
        "fixed",
        layer.clamp,
        conv.per_channel(np.rint(fraction * 2**31).astype(np.int64), s),
        conv.per_channel(shift, s),
    )
    spread = requantize.Bounds(conv.per_channel(bounds.low, s), conv.per_channel(bounds.high, s))
    rule = snapped.snapped(rescale, spread)
    if rule is None:
        rule = rescale.requantization(spread, movable_bias=True)
    rows = (s.out_height - 1) * s.stride[0] + s.kernel[0]
    arrays = [draw.integers(0, 256, rows * s.in_row_pitch).astype(np.uint8)]
    arrays += [conv.pack_weights(w, s), conv.pack_bias(folded, s, rule), rule.table]
    arrays.append(np.zeros(s.out_height * s.out_row_pitch, np.uint8))
    return Prepared(layer, rule, tuple(aligned(a) for a in arrays))


def aligned(array: np.ndarray) -> np.ndarray:
    """A copy that starts at a cache line and has 64 readable bytes behind it."""
    data = array.tobytes()
    room = np.zeros(len(data) + 192, np.uint8)
    start = -room.ctypes.data % 64
    room[start : start + len(data)] = np.frombuffer(data, np.uint8)
    return room[start:]


def library(text: str, variant: isa.Isa, folder: Path) -> ctypes.CDLL:
    compiler = host_compilers()[0]
    command = [part for part in compiler.command if not part.startswith("-mcpu")]
    if compiler.name == "zig":
        command += ["-target", "x86_64-linux-gnu.2.28"]
    source, built = folder / "bench.c", folder / "bench.so"
    source.write_text(text)
    flags = ["-std=c99", "-O3", f"-DEB_ISA={variant.level}", *variant.flags, f"-I{KERNELS}"]
    subprocess.run([*command, *flags, "-shared", "-fPIC", source, "-o", built], check=True)
    return ctypes.CDLL(str(built))


def best_ns(function: ctypes._CFuncPtr, arguments: Sequence[object], target_ns: float) -> float:
    """Least and typical time of one round; other programs disturb upwards only."""
    function.restype = ctypes.c_longlong
    rounds = 20
    rounds = max(1, int(20 * target_ns / max(1, function(rounds, *arguments))))
    return min(function(rounds, *arguments) / rounds for _ in range(25))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--isa", default=isa.runnable()[-1].name)
    options.add_argument("--only", default="")
    options.add_argument("--search", type=int, default=1)
    options.add_argument("--tile", default="", help="rows,columns,vectors,splits for every layer")
    chosen = options.parse_args()
    variant = next(i for i in isa.ISAS if i.name == chosen.isa)
    every = [*resnet8(), *keywords(), *wake_words(), *autoencoder()]
    todo = [prepared(x) for x in every if chosen.only in x.network]
    tiles = [
        [conv.Tile(*map(int, chosen.tile.split(",")))]
        if chosen.tile
        else conv_tiles.tiles(p.layer.shape, variant)[: chosen.search]
        for p in todo
    ]
    n = SUMS[variant.name]
    text = HEAD + PEAK.replace("N;", f"{n};").replace("[N]", f"[{n}]").replace("/ N", f"/ {n}")
    names = conv.Names("x", "w", "b", "t", "y")
    for number, (p, some) in enumerate(zip(todo, tiles, strict=True)):
        for k, tile in enumerate(some):
            body = conv.call(p.layer.shape, p.rule, names, tile)
            text += TIMED.format(number=f"{number}_{k}", call=body)
    for network in dict.fromkeys(p.layer.network for p in todo):
        text += in_turn(network, todo, tiles)
    with tempfile.TemporaryDirectory() as folder:
        built = library(text, variant, Path(folder))
        report(built, todo, tiles)


def in_turn(network: str, todo: list[Prepared], tiles: list[list[conv.Tile]]) -> str:
    """C function that runs a network's layers one after another, each on its own buffers."""
    body = ""
    for number, (p, some) in enumerate(zip(todo, tiles, strict=True)):
        names = conv.Names(*(f"{n}({number}, {i})" for i, n in enumerate("XWBTY")))
        if p.layer.network == network:
            body += f"    {conv.call(p.layer.shape, p.rule, names, some[0])}\n"
    return f"""
#define X(l, i) (const uint8_t *)at[5 * l + i]
#define W(l, i) (const int8_t *)at[5 * l + i]
#define B(l, i) (const int32_t *)at[5 * l + i]
#define T B
#define Y(l, i) at[5 * l + i]
long long all_of_{network}(int rounds, uint8_t **at) {{
  const long long start = now();
  for (int i = 0; i < rounds; i++) {{
{body}    __asm__ volatile("" ::: "memory");
  }}
  return now() - start;
}}
#undef X
#undef W
#undef B
#undef T
#undef Y
"""


def report(built: ctypes.CDLL, todo: list[Prepared], tiles: list[list[conv.Tile]]) -> None:
    peak = 12 * 64 / best_ns(built.peak, (), 2e6)
    print(f"peak {peak:.0f} G MAC/s")
    totals: dict[str, list[float]] = {}
    for number, (p, some) in enumerate(zip(todo, tiles, strict=True)):
        pointers = [ctypes.c_void_p(a.ctypes.data) for a in p.buffers]
        times = [best_ns(built[f"layer{number}_{k}"], pointers, 4e5) for k in range(len(some))]
        best = int(np.argmin(times))
        rate = p.layer.shape.macs / times[best]
        first = f" (model's first: {times[0] / times[best]:.2f}x)" if len(some) > 1 else ""
        tile = f"{some[best].rows}x{some[best].columns}x{some[best].vectors}"
        tile += f"/{some[best].splits}" * (some[best].splits > 1)
        print(
            f"{p.layer.network:12} {p.layer.name:24} {times[best] / 1000:8.2f} us {rate:7.1f} "
            f"G/s {rate / peak:5.0%}  {p.rule.rule} {tile}{first}"
        )
        total = totals.setdefault(p.layer.network, [0, 0])
        total[0] += p.layer.shape.macs
        total[1] += times[best]
    places = (ctypes.c_void_p * (5 * len(todo)))(*(a.ctypes.data for p in todo for a in p.buffers))
    for network, (macs, ns) in totals.items():
        turn = best_ns(built[f"all_of_{network}"], [places], 4e5)
        print(f"{network:12} layers in turn {turn / 1000:8.2f} us {macs / turn / peak:5.0%}")
        print(f"{network:12} {ns / 1000:8.2f} us {macs / ns:7.1f} G/s {macs / ns / peak:5.0%}")


if __name__ == "__main__":
    main()
