"""Statistics from counts are those from the values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgebed.observe.statistics import Statistics
from edgebed.observe.trace import Tensor

SHAPES = arrays.array_shapes(min_dims=1, max_dims=3, max_side=9)


@given(
    st.sampled_from((np.int8, np.uint8)).flatmap(lambda kind: arrays.arrays(kind, SHAPES)),
    st.floats(1e-4, 10),
    st.integers(-128, 127),
)
def test_counts_say_what_values_say(values: Any, scale: float, zero: int) -> None:
    zero += 128 if values.dtype == np.uint8 else 0
    tensor = Tensor("t", "layer", values.shape, str(values.dtype), scale, zero, values=values)
    long = Statistics.of(tensor.real, tensor)
    short = Statistics.of_bytes(values, scale, zero)
    assert short.histogram == long.histogram
    assert (short.count, short.bad, short.low, short.high) == (
        long.count, long.bad, long.low, long.high,
    )  # fmt: skip
    for name in ("mean", "deviation", "zeros", "at_low", "at_high"):
        assert getattr(short, name) == pytest.approx(
            getattr(long, name),
            rel=1e-6,
            abs=1e-4 * scale,  # `of` sums numbers in float32
        )


def test_no_values_have_no_statistics() -> None:
    empty = Statistics.of_bytes(np.zeros((0, 4), np.int8), 0.1, 3)
    assert (empty.count, empty.histogram) == (0, ())
