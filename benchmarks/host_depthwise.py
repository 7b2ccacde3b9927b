"""Speed of the host's depthwise layers: nanoseconds a layer and share of the int8 peak.

Usage: python benchmarks/host_depthwise.py [ISA ...] [--layers TEXT]

Each layer is called many times from C; the least and the median time of the batches are printed.
The peak is that of this machine's AVX-512 dot products, as measured beside the layers.
"""

from __future__ import annotations

import argparse
import ctypes
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgebed.targets._shared.toolchain import host_compilers
from edgebed.targets.host.kernels import isa as isas
from edgebed.targets.host.kernels.depthwise import Depthwise, PackedDepthwise, pack
from edgebed.targets.host.kernels.requantize import Clamp
from edgebed.targets.host.kernels.rules import Rescale

KERNELS = Path(isas.__file__).parent

# Name, output height, width, channels, kernel, stride, how often it occurs in its network.
LAYERS = [
    ("kws 25x5x64", 25, 5, 64, 3, 1, 4),
    ("vww 48x48x8", 48, 48, 8, 3, 1, 1),
    ("vww 24x24x16 s2", 24, 24, 16, 3, 2, 1),
    ("vww 24x24x32", 24, 24, 32, 3, 1, 1),
    ("vww 12x12x32 s2", 12, 12, 32, 3, 2, 1),
    ("vww 12x12x64", 12, 12, 64, 3, 1, 1),
    ("vww 6x6x64 s2", 6, 6, 64, 3, 2, 1),
    ("vww 6x6x128", 6, 6, 128, 3, 1, 5),
    ("vww 3x3x128 s2", 3, 3, 128, 3, 2, 1),
    ("vww 3x3x256", 3, 3, 256, 3, 1, 1),
    ("mobilenet 64x64x8", 64, 64, 8, 3, 1, 1),
    ("mobilenet 32x32x32", 32, 32, 32, 3, 1, 1),
    ("5x5 14x14x96", 14, 14, 96, 5, 1, 1),
    ("24x24x24", 24, 24, 24, 3, 1, 1),
]

TIMER = """
#include "depthwise.h"
#include <time.h>
static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}
"""
TIMED = """
void time{i}(const uint8_t *in, const uint8_t *packed, uint8_t *out, int calls, double *ns,
             int batches) {{
  for (int b = 0; b < batches; b++) {{
    const double start = now();
    for (int i = 0; i < calls; i++) {{
      {call}
      __asm__ volatile("" ::: "memory");
    }}
    ns[b] = (now() - start) / calls;
  }}
}}
"""
PEAK = """
double peak(int steps) {
  __m512i acc[16], a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(5);
  for (int i = 0; i < 16; i++) acc[i] = _mm512_setzero_si512();
  const double start = now();
  for (int s = 0; s < steps; s++)
    for (int i = 0; i < 16; i++) {
      acc[i] = _mm512_dpbusd_epi32(acc[i], a, b);
      __asm__ volatile("" : "+v"(acc[i]));
    }
  return 16.0 * 64 * steps / (now() - start);
}
"""


@dataclass(frozen=True)
class Timing:
    """Nanoseconds of one call: the least and the median of the batches."""

    least: float
    median: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("isa", nargs="*", default=["avx512"])
    parser.add_argument("--layers", default="", help="only layers whose name holds this text")
    arguments = parser.parse_args()
    layers = [layer for layer in LAYERS if arguments.layers in layer[0]]
    chosen = [isa for isa in isas.runnable() if isa.name in arguments.isa]
    peak = 0.0
    for isa in chosen:
        packed = [layer_of(*layer[1:6]) for layer in layers]
        library = build(packed, isa)
        if isa.level >= 5:
            library.peak.restype = ctypes.c_double
            peak = max(library.peak(200_000) for _ in range(20))
            print(f"peak {peak:.0f} GMAC/s")
        for layer, constants in zip(layers, packed, strict=True):
            timing = measure(library, packed.index(constants), constants)
            rate = constants.layer.macs / timing.least
            share = f"{100 * rate / peak:5.1f} % of peak" if peak else ""
            print(
                f"{isa.name:8} {layer[0]:20} {timing.least:8.0f} ns (median {timing.median:.0f}) "
                f"{rate:6.1f} GMAC/s {share} line {constants.line}"
            )


def layer_of(
    height: int, width: int, channels: int, kernel: int, stride: int, limit: int = 127
) -> PackedDepthwise:
    in_width = (width - 1) * stride + kernel
    layer = Depthwise(
        height, width, channels, in_width * channels, channels, width * channels, channels,
        (kernel, kernel), (stride, stride),
    )  # fmt: skip
    rng = np.random.default_rng(0)
    weights = np.clip(rng.normal(0, limit / 3, (kernel, kernel, channels)), -127, limit).astype(int)
    # As in trained networks: 256 levels cover 2**14 to 2**16 of the accumulator, after a ReLU.
    real = 256 / 2 ** rng.uniform(14, 16, channels)
    fractions, exponents = np.frexp(real)
    multipliers = np.rint(fractions * 2**31).astype(np.int64)
    rescale = Rescale("fixed", Clamp(-128, -128, 127), multipliers, exponents.astype(np.int64))
    return pack(layer, weights, rng.integers(-3000, 3000, channels), -128, rescale)


def build(packed: list[PackedDepthwise], isa: isas.Isa) -> ctypes.CDLL:
    calls = [TIMED.format(i=i, call=p.call("in", "out", "packed")) for i, p in enumerate(packed)]
    text = TIMER + "".join(calls) + (PEAK if isa.level >= 5 else "")
    compiler = host_compilers()[0]
    command = [part for part in compiler.command if not part.startswith(("-mcpu", "-march"))]
    if compiler.name == "zig":
        command += ["-target", "x86_64-linux-gnu.2.28"]
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder) / "layers.c", Path(folder) / "layers.so"
        source.write_text(text)
        flags = ["-O3", "-std=gnu99", "-shared", "-fPIC", f"-I{KERNELS}", f"-DEB_ISA={isa.level}"]
        subprocess.run([*command, *flags, *isa.flags, str(source), "-o", str(library)], check=True)
        return ctypes.CDLL(str(library))


def measure(library: ctypes.CDLL, number: int, packed: PackedDepthwise) -> Timing:
    layer = packed.layer
    in_height = (layer.out_height - 1) * layer.stride[0] + layer.kernel[0]
    rng = np.random.default_rng(1)
    source = aligned(rng.integers(0, 256, in_height * layer.in_row + 128).astype(np.uint8))
    target = aligned(np.zeros(layer.out_height * layer.out_row + 128, np.uint8))
    constants = aligned(np.frombuffer(packed.data, np.uint8))
    times = np.zeros(40)
    function: Any = library[f"time{number}"]
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in (source, constants, target)]
    batch = ctypes.c_void_p(times.ctypes.data)
    function(*pointers, 10, batch, 2)
    function(*pointers, max(1, int(200_000 / max(times[1], 1))), batch, len(times))
    return Timing(float(times.min()), float(np.median(times)))


def aligned(values: Any) -> Any:
    """Return a copy that starts at a multiple of 64 bytes, as arenas do."""
    room = np.zeros(len(values) + 64, np.uint8)
    start = -room.ctypes.data % 64
    room[start : start + len(values)] = values
    return room[start : start + len(values)]


if __name__ == "__main__":
    main()
