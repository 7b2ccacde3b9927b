"""Sums that a device keeps of its tensors are exact, for every type, length and alignment."""

from __future__ import annotations

import math
import shutil
import struct
from itertools import pairwise

import numpy as np
import pytest

from edgebed.observe.recorders.device_log import statistics_of
from edgebed.observe.statistics import Statistics
from edgebed.program.types import Array
from edgebed.targets._shared.bare_metal import run_c
from edgebed.targets._shared.rows.emit import HERE
from edgebed.targets._shared.rows.log_content import Sums, sums_of

pytest.importorskip("unicorn", reason="unicorn is not installed")
KINDS = {"int8": 1, "uint8": 2, "int16": 3, "float32": 4}
ROOM = 1 << 15
SOURCE = f"""
#define EB_TRACE 2
#define EB_TRACE_NETWORK 0
#define EB_TRACE_REALS 1
#define EB_TRACE_WORDS 1
#include "runtime/eb_trace.h"

uint8_t data[{ROOM}] __attribute__((aligned(8)));
int32_t cases[512], parts;
uint8_t out[{ROOM}];
uint32_t used;

static void keep(void *context, const void *bytes, uint32_t count) {{
    (void)context;
    for (uint32_t i = 0; i < count; i++) out[used++] = ((const uint8_t *)bytes)[i];
}}

/* kind, zero, offset in the data, bytes; a case with the kind 0 continues the one before */
void bench(void) {{
    static eb_trace trace;
    static eb_trace_sums sums;
    eb_traced of = {{0, 0, 0, 0, 0, 0}};
    trace.write = keep;
    for (int32_t i = 0; i < parts; i++) {{
        const int32_t *const one = cases + 4 * i;
        if (one[0]) {{
            sums.count = sums.zeros = sums.at_low = sums.at_high = 0;
            sums.of.i.sum = 0, sums.of.i.squares = 0;
            of.kind = (uint8_t)one[0], of.zero = (int16_t)one[1];
        }}
        eb_trace_add(&sums, &of, data + one[2], (uint32_t)one[3]);
        if (i + 1 == parts || cases[4 * i + 4]) eb_trace_say(&trace, &of, &sums);
    }}
}}
"""


def drawn(seed: int) -> list[tuple[Array, int, list[int]]]:
    """Draw tensors with their zero points, and where they are cut into rows."""
    rng, found = np.random.default_rng(seed), []
    for dtype in ("int8", "uint8") * 9 + ("int16", "float32") * 3:
        size = int(rng.choice([1, 3, 4, 5, 15, 16, 17, 255, 256, 257, 700]))
        if dtype == "float32":
            values = rng.normal(size=size).astype(np.float32)
            values[rng.random(size) < 0.1] = rng.choice([0.0, np.nan, np.inf, -np.inf])
        else:
            info = np.iinfo(dtype)
            low, high = sorted(rng.integers(info.min, info.max + 1, 2))
            values = rng.integers(low, high + 1, size).astype(dtype)
            values[rng.random(size) < 0.1] = rng.choice([info.min, info.max])
        zero = int(rng.choice(values[:3])) if dtype != "float32" else 0
        cuts = sorted({0, size, *rng.integers(0, size + 1, 2).tolist()})
        found.append((values, zero, cuts))
    return found


def counted(core: str, tensors: list[tuple[Array, int, list[int]]]) -> list[Sums]:
    data, cases = b"", []
    for number, (values, zero, cuts) in enumerate(tensors):
        size = values.dtype.itemsize
        data += bytes((number % 4 if size == 1 else 0) + -len(data) % 4)
        kind = KINDS[str(values.dtype)]
        for first, last in pairwise(cuts):
            place = (len(data) + first * size, (last - first) * size)
            cases.append(struct.pack("<4i", kind if not first else 0, zero, *place))
        data += values.tobytes()
    ran = run_c(
        core, {"main.c": SOURCE}, include=[HERE],
        flags=["-Wno-unused-function", f"-I{HERE / 'runtime'}"],
        inputs={"data": data, "cases": b"".join(cases), "parts": struct.pack("<i", len(cases))},
        outputs=["out", "used"],
    )  # fmt: skip
    (end,) = struct.unpack("<I", ran.outputs["used"])
    assert end % 56 == 0  # a record: eight bytes, the sums, a check sum
    return [sums_of(ran.outputs["out"][at + 8 : at + 52])[1] for at in range(0, end, 56)]


def check(found: Sums, values: Array, zero: int) -> None:
    good = values[np.isfinite(values)]
    assert (found.count, found.bad) == (values.size, values.size - good.size)
    assert found.zeros == int((good == zero).sum())
    if values.dtype == np.float32:
        wide = good.astype(np.float64)
        if good.size:
            assert (found.low, found.high) == (good.min(), good.max())
        assert math.isclose(found.sum, wide.sum(), rel_tol=1e-12, abs_tol=1e-12)
        assert math.isclose(found.squares, (wide**2).sum(), rel_tol=1e-12)
        return
    wide, info = values.astype(np.int64), np.iinfo(values.dtype)
    assert (found.low, found.high) == (wide.min(), wide.max())
    assert (found.sum, found.squares) == (wide.sum(), (wide**2).sum())  # every bit
    assert found.at_low == int((values == info.min).sum())
    assert found.at_high == int((values == info.max).sum())


CORES = [
    "m0plus", "m4",
    pytest.param("m55", marks=pytest.mark.skipif(
        shutil.which("qemu-system-arm") is None, reason="qemu-system-arm is missing")),
]  # fmt: skip


@pytest.mark.parametrize("core", CORES)
def test_sums_are_exact(core: str) -> None:
    for seed in range(3):
        tensors = drawn(seed)
        found = counted(core, tensors)
        assert len(found) == len(tensors)
        for one, (values, zero, _) in zip(found, tensors, strict=True):
            check(one, values, zero)


def test_statistics_of_sums_are_those_of_the_values() -> None:
    tensors = [one for one in drawn(9) if one[0].dtype.itemsize == 1]
    for one, (values, zero, _) in zip(counted("m4", tensors), tensors, strict=True):
        found, true = statistics_of(one, 0.25, zero), Statistics.of_bytes(values, 0.25, zero)
        for name in ("count", "bad", "mean", "deviation", "low", "high", "zeros", "at_low"):
            same = math.isclose(
                getattr(found, name), getattr(true, name), rel_tol=1e-9, abs_tol=1e-9
            )
            assert same, name
