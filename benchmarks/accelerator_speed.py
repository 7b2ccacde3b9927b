"""How fast the MAX78000 accelerator model runs BED's 24 layers (421 M MAC) on one core.

Registers are written here for the public layer table of BED; weights and pixels are random, which
does not change the work. Prints one JSON object. Run with `taskset -c 0` for one core.
"""

from __future__ import annotations

import json
import statistics
import time

import numpy as np

from edgebed.targets.max78000 import Accelerator
from edgebed.targets.max78000.accelerator.arithmetic import PlainArithmetic

Q = 0x400000
# input channels, output channels, un-pooled size, pool, kernel
LAYERS = [
    (3, 64, 224, 1, 3), (64, 24, 224, 2, 3), (24, 16, 112, 2, 3), (16, 32, 56, 1, 3),
    (32, 32, 56, 1, 1), (32, 64, 56, 1, 3), (64, 32, 56, 2, 1), (32, 64, 28, 1, 3),
    (64, 32, 28, 1, 1), (32, 64, 28, 1, 3), (64, 32, 28, 1, 1), (32, 64, 28, 1, 3),
    (64, 32, 28, 2, 1), (32, 64, 14, 1, 3), (64, 32, 14, 1, 1), (32, 64, 14, 1, 3),
    (64, 64, 14, 1, 3), (64, 64, 14, 1, 3), (64, 64, 14, 2, 3), (64, 64, 7, 1, 3),
    (64, 64, 7, 1, 1), (64, 16, 7, 1, 1), (16, 16, 7, 1, 1), (16, 15, 7, 1, 1),
]  # fmt: skip


def registers(index: int, quadrant: int) -> dict[int, int]:
    """Return one layer's registers in one quadrant; inputs alternate between two halves."""
    inputs, outputs, size, pool, kernel = LAYERS[index]
    pad = kernel // 2
    enabled = ((1 << inputs) - 1) >> 16 * quadrant & 0xFFFF
    sources = sum(1 << 12 + q for q in (1, 2, 3) if inputs > 16 * q) if quadrant == 0 else 0
    wide, relu = index == 23, index != 23
    return {
        0: size - 1 + 2 * pad | pad << 16,
        1: size - 1 + 2 * pad | pad << 16,
        2: (kernel == 1) << 8,
        3: pool - 1,
        4: pool - 1,
        5: pool - 1,
        6: 0x1000 * (1 - index % 2),
        7: int(kernel == 1),
        8: 0x2000,
        10: 0x1000 * (index % 2),
        11: 0x920 | (pool > 1) << 7 | relu << 9 | wide << 16 | sources,
        12: (outputs - 1) * 8,
        14: enabled << 16 | enabled,
        15: 0x24000,
        16: int(index < 3),
        20: (outputs - 1) * 8 << 8,
    }


def configure(accelerator: Accelerator) -> None:
    """Write kernels and registers of all layers."""
    random = np.random.default_rng(1)
    for quadrant in range(4):
        accelerator.write32(0x50100000 + quadrant * Q, 0x00108008)
        accelerator.write32(0x50100004 + quadrant * Q, 0x40E)
        accelerator.write32(0x50100008 + quadrant * Q, len(LAYERS) - 1)
        accelerator.write32(0x50100990 + quadrant * Q, 224 * 224)
        for processor in range(16):
            address = 0x50180000 + quadrant * Q + processor * 0x4000
            accelerator.write8(address | 1, 1)
            accelerator.load_words(address, random.integers(0, 2**32, 1728, np.uint32))
        for index in range(len(LAYERS)):
            for register, value in registers(index, quadrant).items():
                address = 0x50100010 + quadrant * Q + register * 0x80 + index * 4
                accelerator.write32(address, value)
    accelerator.write32(0x50000000, 0x1908)


def frame_ms(accelerator: Accelerator, pixels: np.ndarray) -> float:
    """Start, push one frame, run; return the time of `run` in milliseconds."""
    for value in (0x0018C808, 0x0018C809):
        for quadrant in (1, 2, 3, 0):
            accelerator.write32(0x50100000 + quadrant * Q, value)
    accelerator.push_fifo(0, pixels)
    begin = time.perf_counter()
    result = accelerator.run()
    assert result.finished, "the model waits for input"
    assert sum(layer.macs for layer in result.layers) > 420e6, "not BED's work"
    return (time.perf_counter() - begin) * 1e3


def main() -> None:
    pixels = np.random.default_rng(2).integers(0, 1 << 24, 224 * 224, np.uint32)
    compiled = Accelerator()
    plain = Accelerator(arithmetic=PlainArithmetic())
    for accelerator in (compiled, plain):
        configure(accelerator)
    first = frame_ms(compiled, pixels)
    times = [frame_ms(compiled, pixels) for _ in range(30)]
    slow = [frame_ms(plain, pixels) for _ in range(3)]
    pairs = zip(compiled.layer_outputs(), plain.layer_outputs(), strict=True)
    print(
        json.dumps(
            {
                "what": "BED's 24 layers, 421 M MAC, Accelerator.run()",
                "first_frame_ms": round(first, 1),
                "median_ms": round(statistics.median(times), 1),
                "best_ms": round(min(times), 1),
                "plain_numpy_median_ms": round(statistics.median(slow), 1),
                "compiled_equals_plain": all(np.array_equal(a, b) for a, b in pairs),
                "notes": compiled.events,
            }
        )
    )


if __name__ == "__main__":
    main()
