"""Any permutation, flattening or batch axis is found again by the values."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgebed.observe.axes import correlation, rearrangements

SHAPES = st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple)


@given(SHAPES, st.data())
def test_permuted_values_are_brought_back(shape: tuple[int, ...], data: st.DataObject) -> None:
    values = np.random.default_rng(len(shape)).normal(size=shape)
    order = data.draw(st.permutations(range(len(shape))))
    moved = np.ascontiguousarray(values.transpose(order))
    if data.draw(st.booleans()):
        moved = moved.reshape(-1)
    if data.draw(st.booleans()):
        moved = moved[None]
    ways = rearrangements(shape, moved.shape)
    if values.size < 2:
        return
    best = max(ways, key=lambda way: correlation(values, moved, way))
    np.testing.assert_array_equal(best.of(moved).ravel(), values.ravel())


@given(SHAPES, SHAPES)
def test_only_equal_sizes_belong_together(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    assert bool(rearrangements(a, b)) == (math.prod(a) == math.prod(b))


def test_channels_move_before_rows_and_columns_are_swapped() -> None:
    values = np.arange(8 * 8 * 3).reshape(8, 8, 3)
    first = rearrangements((3, 8, 8), (8, 8, 3))[0]
    np.testing.assert_array_equal(first.of(values), values.transpose(2, 0, 1))


def test_layouts_that_name_the_same_axes_come_first() -> None:
    values = np.arange(5 * 5 * 5).reshape(5, 5, 5)
    for shape, layout in (((5, 5, 5), "HWC"), ((1, 5, 5, 5), "NHWC")):
        ways = rearrangements((5, 5, 5), shape, "CHW", layout)
        assert len(ways) == len(set(ways)) == 6
        np.testing.assert_array_equal(ways[0].of(values), values.transpose(2, 0, 1))


def test_constant_tensors_correlate_with_nothing() -> None:
    (way,) = rearrangements((4,), (4,))
    assert correlation(np.ones(4), np.arange(4.0), way) == 0
    assert correlation(np.full(4, np.nan), np.arange(4.0), way) == 0
