"""Views say where numpy would find the values."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgebed.targets.host.layout import View, no_margins, row_major
from edgebed.targets.host.loops import joined


def read(memory: np.ndarray[Any, Any], view: View) -> np.ndarray[Any, Any]:
    """Return the values of a view of int64 numbers."""
    strides = tuple(8 * stride for stride in view.strides)
    return np.lib.stride_tricks.as_strided(memory[view.offset :], view.shape, strides)


@st.composite
def views(draw: Any) -> tuple[np.ndarray[Any, Any], View]:
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    memory = np.arange(int(np.prod(shape)))
    view = View(0, "i64", shape, row_major(shape), 0, no_margins(len(shape)))
    for _ in range(draw(st.integers(0, 3))):
        axis = draw(st.integers(0, len(view.shape) - 1))
        if draw(st.booleans()):
            view = view.permuted(draw(st.permutations(range(len(view.shape)))))
        else:
            start = draw(st.integers(0, view.shape[axis] - 1))
            stop = draw(st.integers(start + 1, view.shape[axis]))
            view = view.taken(axis, range(start, stop, draw(st.integers(1, 2))))
    return memory, view


@given(views(), st.data())
def test_a_view_that_can_be_reshaped_holds_the_values_in_order(
    drawn: tuple[np.ndarray[Any, Any], View], data: st.DataObject
) -> None:
    memory, view = drawn
    values = read(memory, view)
    first = data.draw(st.sampled_from([n for n in range(1, view.size + 1) if view.size % n == 0]))
    shape = data.draw(
        st.sampled_from([(first, view.size // first), (view.size,), (1, *view.shape, 1)])
    )
    reshaped = view.reshaped(shape)
    if reshaped is not None:
        np.testing.assert_array_equal(read(memory, reshaped), values.reshape(shape))
    if view.is_row_major:
        assert reshaped is not None


@given(views())
def test_joined_loops_visit_every_value_once(drawn: tuple[np.ndarray[Any, Any], View]) -> None:
    memory, view = drawn
    axes = joined(view.shape, [view.strides])
    places = [0]
    for axis in axes:
        places = [p + i * axis.strides[0] for p in places for i in range(axis.size)]
    found = sorted(int(memory[view.offset + p]) for p in places)
    assert found == sorted(read(memory, view).ravel().tolist())


def test_a_border_stays_where_a_slice_does_not_cut_it() -> None:
    view = View(0, "u8", (4, 5, 6), (1, 64, 8), 72, ((0, 0), (1, 1), (1, 2)))
    assert view.taken(0, range(1, 3)).margins == ((0, 0), (1, 1), (1, 2))
    assert view.taken(1, range(3)).margins == ((0, 0), (1, 0), (1, 2))
    assert view.taken(2, range(2, 6)).margins == ((0, 0), (1, 1), (0, 2))
