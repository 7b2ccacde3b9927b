"""Statistics in C against numpy: for drawn shapes, types and gaps in memory, in every variant."""

from __future__ import annotations

import ctypes
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from variants import build, pointer

from edgebed.observe.statistics import Statistics
from edgebed.observe.trace import Tensor
from edgebed.targets.host import runtime
from edgebed.targets.host.kernels.isa import runnable

HEADERS = Path(runtime.__path__[0])
TEXT = f"""
#pragma GCC diagnostic ignored "-Wunused-function"
#include "{HEADERS}/payload.h"
#include "{HEADERS}/crc.h"

void measure(const char *dtype, double scale, int zero, int flipped, int width, int64_t run,
             int axes, const int32_t *counts, const int64_t *strides, const void *first, int level,
             uint64_t frame, void *moments, void *payload) {{
  eb_tensor tensor = {{"x", dtype, "", "", scale, run, 0, run, {{0}}, {{0}}, axes, 0, 0, zero,
                      (uint8_t)width, (uint8_t)flipped, EB_LAYER, EB_IN_ARENA}};
  for (int i = 0; i < axes; i++) {{
    tensor.count[i] = counts[i], tensor.stride[i] = strides[i];
    tensor.bytes *= counts[i];
  }}
  eb_measure(&tensor, first, level, frame, (eb_moments *)moments);
  eb_payload(&tensor, (const eb_moments *)moments, payload);
}}

uint32_t crc(const void *bytes, uint64_t count) {{
  eb_crc_tables tables;
  eb_crc_prepare(&tables);
  return ~eb_crc_add(&tables, ~0u, bytes, count);
}}
"""
DTYPES = ("int8", "int8", "uint8", "int16", "int32", "int64", "float32", "bool")
LEVELS = sorted({0, *(isa.level for isa in runnable())})


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    text = "#if defined(__x86_64__)\n#include <cpuid.h>\n#endif\n" + TEXT
    (_, found) = next(build(text, tmp_path_factory.mktemp("moments")))
    found.crc.restype = ctypes.c_uint32
    return found


@dataclass(frozen=True, eq=False)
class Case:
    """Values with gaps between them: `memory` has more rows and columns than are looked at."""

    memory: np.ndarray[Any, Any]
    shape: tuple[int, ...]
    zero: int
    scale: float

    @property
    def values(self) -> np.ndarray[Any, Any]:
        return self.memory[tuple(slice(0, size) for size in self.shape)]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = tuple(draw(st.lists(st.integers(1, 40), min_size=1, max_size=3)))
    gaps = [draw(st.sampled_from((0, 0, 3))) for _ in shape]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    room = tuple(size + gap for size, gap in zip(shape, gaps, strict=True))
    if dtype.kind == "f":
        memory = rng.normal(draw(st.sampled_from((0.0, 1000.0))), 1, room).astype(dtype)
        memory[rng.random(room) < draw(st.sampled_from((0.0, 0.1, 1.0)))] = np.nan
    elif dtype.kind == "b":
        memory = rng.random(room) < 0.3
    else:
        info = np.iinfo(dtype)
        low, high = sorted(draw(st.tuples(*[st.integers(info.min, info.max)] * 2)))
        memory = rng.integers(low, high, room, dtype, endpoint=True)
    steps = dtype.kind in "iu" and dtype.itemsize < 8
    zero = draw(st.integers(-128, 127)) + 128 * (dtype == np.uint8) if steps else 0
    return Case(memory, shape, zero, draw(st.floats(1e-4, 10)) if steps else 1.0)


def measured(
    library: ctypes.CDLL, case: Case, level: int, frame: int, flipped: bool
) -> tuple[Statistics, int]:
    """Return the statistics, and how many bytes were sampled."""
    memory = np.ascontiguousarray(case.memory)
    if flipped:
        memory = memory ^ np.int8(-128)
    values = memory[tuple(slice(0, size) for size in case.shape)]
    whole = values.flags.c_contiguous
    run = values.nbytes if whole else values.shape[-1] * values.itemsize
    counts = np.array([] if whole else values.shape[:-1], np.int32)
    strides = np.array([] if whole else values.strides[:-1], np.int64)
    moments, payload = np.zeros(4096 + values.nbytes, np.uint8), np.zeros(208, np.uint8)
    library.measure(
        str(values.dtype).encode(), ctypes.c_double(case.scale), case.zero, int(flipped),
        values.itemsize, ctypes.c_int64(run), len(counts), pointer(counts), pointer(strides),
        pointer(values), level, ctypes.c_uint64(frame), pointer(moments), pointer(payload),
    )  # fmt: skip
    found = Statistics.from_bytes(payload.tobytes())
    return found, sum(found.histogram)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cases(), st.sampled_from(LEVELS), st.integers(0, 1000))
def test_moments_are_numpys(library: ctypes.CDLL, case: Case, level: int, frame: int) -> None:
    values = case.values
    scale = case.scale if values.dtype.kind in "iu" and values.itemsize < 8 else None
    tensor = Tensor("x", "layer", values.shape, str(values.dtype), scale, case.zero, values=values)
    right = Statistics.of(tensor.real, tensor)
    found, _ = measured(library, case, level, frame, values.dtype == np.int8 and frame % 2 == 0)
    assert (found.count, found.bad) == (right.count, right.bad)
    assert (found.low, found.high) == (right.low, right.high)
    assert found.zeros == pytest.approx(right.zeros, rel=1e-12)
    if scale is not None and values.itemsize < 8:
        assert (found.at_low, found.at_high) == pytest.approx((right.at_low, right.at_high))
    span = max(abs(right.low), abs(right.high), 1e-30)
    assert found.mean == pytest.approx(right.mean, rel=1e-6, abs=2e-7 * span)
    assert found.deviation == pytest.approx(right.deviation, rel=1e-5, abs=2e-7 * span)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cases(), st.sampled_from(LEVELS))
def test_after_so_many_frames_the_histogram_has_counted_every_value_once(
    library: ctypes.CDLL, case: Case, level: int
) -> None:
    first, _ = measured(library, case, level, 0, False)
    total = np.zeros(32, np.int64)
    for frame in range(first.every):
        total += measured(library, case, level, frame, False)[0].histogram
    assert total.sum() == first.count - first.bad
    if case.values.dtype in (np.int8, np.uint8):
        tensor = Tensor(
            "x", "layer", case.values.shape, str(case.values.dtype), case.scale, case.zero,
            values=case.values,
        )  # fmt: skip
        assert tuple(total) == Statistics.of(tensor.real, tensor).histogram


@given(st.binary(max_size=400))
def test_checksums_are_zlibs(library: ctypes.CDLL, data: bytes) -> None:
    assert library.crc(data, ctypes.c_uint64(len(data))) == zlib.crc32(data)
