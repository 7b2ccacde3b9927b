"""Many single layers in one program for the Cortex-M55, run by qemu once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from c_kernels import INCLUDE
from conv_layers import Case

from edgebed.targets._shared.bare_metal import Ran, run_c
from edgebed.targets._shared.rows.kernels.mve import MVE
from edgebed.targets._shared.rows.kernels.sets import Goal, Packed

GUARD = 32

_START = """
#include "conv_mve.h"
#include "depthwise_mve.h"
#include "depthwise_any_mve.h"
#include "conv_portable.h"
#include "depthwise_portable.h"
typedef struct { eb_kernel *run; const eb_conv *layer; const int8_t *image; const int16_t *rows;
  int32_t image_bytes, steps, row_bytes, in_at, out_at, out_row, scratch_at, all; } job;
int8_t results[%d];
static int64_t aligned[%d];
"""
_RUN = """
__attribute__((noinline)) void one_layer(const job *j, int8_t *arena, const int16_t *at) {
  for (int32_t r = 0; r < j->steps; r++) {
    const int8_t *rows[4 * 4];
    for (int32_t i = 0; i < j->layer->kernel_height; i++, at++)
      rows[i] = *at < 0 ? 0 : arena + j->in_at + *at * j->row_bytes;
    j->run(j->layer, rows, arena + j->out_at + r * j->out_row, arena + j->scratch_at, r);
  }
}
__attribute__((noinline)) void done_layer(void) { __asm__ volatile(""); }
void bench(void) {
  int8_t *result = results, *arena = (int8_t *)aligned;
  for (uint32_t n = 0; n < sizeof jobs / sizeof *jobs; n++) {
    const job *j = &jobs[n];
    eb_mve_fill(arena, 0x5a, j->all);
    eb_mve_copy(arena + j->in_at, j->image, j->image_bytes);
    one_layer(j, arena, j->rows);
    done_layer();
    eb_mve_copy(result, arena, j->all);
    result += j->all;
  }
}
"""


def pack(case: Case, goal: Goal = "balanced") -> Packed:
    """Return the Helium kernel of a case."""
    method = MVE.depthwise if case.depthwise else MVE.conv
    return method(case.shape, case.weights, goal, linear=case.rule == 0)


def layer_text(case: Case, packed: Packed, weights: str, lines: str) -> str:
    """Return the C initialiser of the layer's eb_conv."""
    s = case.shape
    numbers = [
        *(s.in_width, s.in_channels, s.out_width, s.out_channels, packed.depth),
        *(*s.kernel, s.stride[1], s.padding[1], s.dilation[1], case.zero_point),
    ]
    output = ", ".join(map(str, (*case.limits, case.output_zero, case.fraction, case.rule)))
    return f"{{{weights}, {lines}, {', '.join(map(str, numbers))}, {{{output}}}}}"


def window_rows(case: Case, step: int) -> list[int]:
    """Return the input rows below the window of an output row; -1 for absent ones."""
    s = case.shape
    rows = [step * s.stride[0] - s.padding[0] + i * s.dilation[0] for i in range(s.kernel[0])]
    return [row if 0 <= row < s.in_height else -1 for row in rows]


class Places:
    """Where a case's parts lie in the arena: guards between all of them."""

    def __init__(self, case: Case, packed: Packed) -> None:
        s = case.shape
        self.out_row = s.out_width * s.out_channels
        self.out = s.out_height * self.out_row
        self.scratch_at = GUARD
        after = GUARD + -(-packed.scratch_bytes // 8) * 8 + GUARD
        self.out_at = after + case.skew[1]
        self.in_at = self.out_at + self.out + GUARD + case.skew[0]
        if s.in_place:
            self.in_at = self.out_at + case.skew[0]
        self.all = max(self.in_at + case.image.size, self.out_at + self.out) + GUARD


def layer_tables(n: int, case: Case, packed: Packed) -> list[str]:
    """Return the C tables of layer n."""
    s = case.shape
    data = np.frombuffer(packed.weights, packed.c_type.removesuffix("_t"))
    lines = ", ".join("{{{}, {}, {}}}".format(*line) for line in case.lines)
    rows = [row for r in range(s.out_height) for row in window_rows(case, r)]
    return [
        f"static const {packed.c_type} w{n}[] = {{{','.join(map(str, data))}}};",
        f"static const eb_line l{n}[] = {{{lines}}};",
        f"static const eb_conv c{n} = {layer_text(case, packed, f'w{n}', f'l{n}')};",
        f"static const int8_t i{n}[] = {{{','.join(map(str, case.image.ravel()))}}};",
        f"static const int16_t r{n}[] = {{{','.join(map(str, rows))}}};",
    ]


def job(n: int, case: Case, packed: Packed) -> str:
    """Return the C initialiser of layer n's job."""
    at, s = Places(case, packed), case.shape
    numbers = [case.image.size, s.out_height, s.in_width * s.in_channels]
    numbers += [at.in_at, at.out_at, at.out_row, at.scratch_at, at.all]
    return f"{{{packed.function}, &c{n}, i{n}, r{n}, {', '.join(map(str, numbers))}}}"


def run_layers(cases: Sequence[Case], goal: Goal = "balanced", compiler: str = "") -> Ran:
    """Run all cases one after the other."""
    kernels = [pack(case, goal) for case in cases]
    tables = [line for n, case in enumerate(cases) for line in layer_tables(n, case, kernels[n])]
    jobs = ",\n".join(job(n, case, kernels[n]) for n, case in enumerate(cases))
    sizes = [Places(*both).all for both in zip(cases, kernels, strict=True)]
    start = _START % (sum(sizes), max(sizes) // 8 + 1)
    source = "\n".join([start, *tables, f"static const job jobs[] = {{{jobs}}};", _RUN])
    return run_c(
        "m55",
        {"layers.c": source},
        outputs=["results"],
        include=INCLUDE,
        marks=["one_layer", "done_layer"],
        compiler=compiler,
    )


def outputs(
    ran: Ran, cases: Sequence[Case], goal: Goal = "balanced"
) -> Iterator[tuple[np.ndarray, bool]]:
    """Yield each case's output map, and whether nothing else in memory has changed."""
    memory = np.frombuffer(ran.outputs["results"], np.int8)
    for case in cases:
        packed = pack(case, goal)
        at, s = Places(case, packed), case.shape
        arena, memory = memory[: at.all].copy(), memory[at.all :]
        out = slice(at.out_at, at.out_at + at.out)
        image = arena[at.in_at : at.in_at + case.image.size]
        y = arena[out].reshape(s.out_height, s.out_width, s.out_channels).copy()
        kept = s.in_place or np.array_equal(image, case.image.ravel())
        for part in (arena[out], image, arena[GUARD : GUARD + packed.scratch_bytes]):
            part[:] = 0x5A
        yield y, kept and bool(np.all(arena == 0x5A))


def instructions(ran: Ran) -> list[int]:
    """Return the instructions of each layer."""
    starts = [at for name, at in ran.entries if name == "one_layer"]
    ends = [at for name, at in ran.entries if name == "done_layer"]
    return [end - start for start, end in zip(starts, ends, strict=True)]
