"""Sums, maxima, means and tables with Helium, of rows of any length."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from c_kernels import INCLUDE

from edgebed.targets._shared.bare_metal import run_c

pytestmark = pytest.mark.skipif(
    shutil.which("qemu-system-arm") is None,
    reason="Helium runs in qemu-system-arm, which is not installed",
)
LENGTHS = (1, 3, 4, 5, 15, 16, 17, 33, 60, 121)
TOTAL = sum(LENGTHS)
SOURCE = """
#include "pairs.h"
#include "pool.h"
#include "lookup.h"
enum { TOTAL = %d, GUARD = 32 };
static const int32_t lengths[] = {%s};
int8_t a[TOTAL], b[TOTAL], table[256];
int8_t sum[TOTAL + GUARD], most[TOTAL + GUARD], found[TOTAL + GUARD];
int32_t sums[TOTAL + GUARD];
void bench(void) {
  for (int32_t i = 0, at = 0; i < (int32_t)(sizeof lengths / 4); at += lengths[i++]) {
    const eb_pair_t layer = {.a_factor = 1500000, .b_factor = -700000, .c = 3000000,
                             .shape = {1, 1, 1, lengths[i]}};
    const int8_t *rows[2] = {a + at, b + at};
    eb_sum(&layer, rows, sum + at, 0, 0);
    eb_copy(most + at, b + at, (uint32_t)lengths[i]);
    eb_pool_max(most + at, a + at, lengths[i]);
    eb_pool_add(sums + at, a + at, lengths[i]);
    eb_pool_add(sums + at, b + at, lengths[i]);
    eb_lookup_run(table + 128, a + at, found + at, lengths[i]);
  }
}
"""


def test_every_length_and_nothing_behind() -> None:
    rng = np.random.default_rng(5)
    a, b = (rng.integers(-128, 128, TOTAL).astype(np.int8) for _ in range(2))
    table = rng.integers(-128, 128, 256).astype(np.int8)
    ran = run_c(
        "m55",
        {"rows.c": SOURCE % (TOTAL, ", ".join(map(str, LENGTHS)))},
        outputs=["sum", "most", "found", "sums"],
        inputs={"a": a.tobytes(), "b": b.tobytes(), "table": table.tobytes()},
        include=INCLUDE,
    )
    wide = a.astype(np.int64), b.astype(np.int64)
    expected = {
        "sum": np.clip((wide[0] * 1500000 - wide[1] * 700000 + 3000000) >> 21, -128, 127),
        "most": np.maximum(a, b),
        "found": table[wide[0] + 128],
        "sums": wide[0] + wide[1],
    }
    for name, values in expected.items():
        got = np.frombuffer(ran.outputs[name], np.int32 if name == "sums" else np.int8)
        np.testing.assert_array_equal(got[:TOTAL], values, err_msg=name)
        assert not got[TOTAL:].any(), name
