"""A network that takes blue first: its reference is right, and its faults keep their names."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from observations import Array, pair, scaled, usual
from PIL import Image
from test_assertions_pictures import FAULTS

from edgebed.observe.assertions import examine
from edgebed.observe.assertions.raw_order import raw_order


def blue_first(prepare: Callable[[Array], Array]) -> Callable[[Array], Array]:
    return lambda raw: prepare(raw)[::-1]


PLACED = (
    "nearest",
    "bicubic",
    "box",
    "letterbox",
    "crop",
    "shift",
    "quarter",
    "flip",
    "transposed",
)


@pytest.mark.parametrize("name", [*PLACED, "twice", "0..255", "negative", "grey", "limited"])
def test_faults_keep_their_names(name: str) -> None:
    cause, change = FAULTS[name]
    found = examine(*pair(3, blue_first(change), prepare=blue_first(usual)))
    assert [one.cause for one in found] == [cause]


def test_a_clean_pair_raises_nothing() -> None:
    assert not examine(*pair(4, blue_first(usual), prepare=blue_first(usual), noise=1.0))


def test_the_wrong_order_is_still_the_devices_fault() -> None:
    (found,) = examine(*pair(5, usual, prepare=blue_first(usual)))
    assert found.cause == "channel_order"


@given(st.permutations(range(3)), st.integers(0, 50))
def test_any_order_is_found(order: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    coarse = [rng.integers(0, 256, (5, 6, 3)).astype(np.uint8) for _ in range(2)]
    large = [
        np.asarray(Image.fromarray(one).resize((120, 90), Image.Resampling.BICUBIC), np.float32)
        for one in coarse
    ]
    fed = np.stack([scaled(one.astype(np.uint8)) for one in large])[:, order]
    normalised = fed * rng.uniform(0.002, 2, (3, 1, 1)) - 0.5
    assert raw_order(large, normalised) == tuple(order)


def test_grey_pictures_have_no_order() -> None:
    grey = np.repeat(np.random.default_rng(0).random((40, 40, 1)), 3, 2)
    assert raw_order([grey], np.moveaxis(grey, -1, 0)[None, :, ::4, ::4]) == (0, 1, 2)
    flat = np.full((40, 40, 3), 7.0)
    assert raw_order([flat], np.zeros((1, 3, 8, 8))) == (0, 1, 2)
