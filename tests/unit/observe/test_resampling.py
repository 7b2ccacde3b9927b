"""Pictures are resized as the libraries that pipelines use do it, to the byte where they round."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from observations import pair, picture, scaled
from PIL import Image

from edgebed.observe.assertions import examine
from edgebed.observe.resampling import METHODS, Sampler

WAYS = Image.Resampling
PILLOW = {
    "smoothed bilinear": WAYS.BILINEAR, "smoothed bicubic": WAYS.BICUBIC, "box": WAYS.BOX,
    "Lanczos": WAYS.LANCZOS, "nearest by summed steps": WAYS.NEAREST,
}  # fmt: skip
sides = st.integers(3, 90)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(PILLOW)), sides, sides, sides, sides, st.integers(0, 1 << 30))
def test_pillows_ways_give_pillows_bytes(
    method: str, rows: int, columns: int, height: int, width: int, seed: int
) -> None:
    raw = np.random.default_rng(seed).integers(0, 256, (rows, columns, 3), dtype=np.uint8)
    sampler = Sampler(height, width, tuple(range(height)))
    found = sampler.placed(raw.astype(np.float32), "stretch", method)
    # One axis after the other: some versions of Pillow begin with the columns.
    half = Image.fromarray(raw).resize((width, rows), PILLOW[method])
    expected = np.asarray(half.resize((width, height), PILLOW[method]))
    away = np.abs(found - expected)
    assert away.max() <= 1.6 and (away > 0.51).mean() < 0.02


@given(st.sampled_from(sorted(METHODS)), sides, sides)
def test_every_way_keeps_a_plain_colour(method: str, source: int, size: int) -> None:
    assert METHODS[method](source, size).sum(1) == pytest.approx(1.0, abs=1e-5)


@given(sides, sides, st.sets(st.integers(0, 20), min_size=1))
def test_rows_alone_are_the_rows_of_the_whole(height: int, width: int, rows: set[int]) -> None:
    raw = picture(3, 40, 31).astype(np.float32)
    chosen = tuple(sorted(row for row in rows if row < height))
    whole = Sampler(height, width, tuple(range(height))).placed(raw, "stretch", "box")
    part = Sampler(height, width, chosen).placed(raw, "stretch", "box")
    assert part == pytest.approx(whole[list(chosen)], abs=1e-3)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("way", [WAYS.NEAREST, WAYS.BOX, WAYS.BICUBIC, WAYS.LANCZOS])
def test_a_way_is_named_under_noise_of_another_decoder(way: Image.Resampling, seed: int) -> None:
    found = examine(*pair(seed, lambda raw: scaled(raw, way) / 255, noise=1.0))
    assert [one.cause for one in found] == ["resize_method"]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("noise", [1.0, 2.0, 4.0])
def test_noise_alone_is_no_other_way(noise: float, seed: int) -> None:
    assert examine(*pair(seed, lambda raw: scaled(raw) / 255, noise=noise)) == []


def test_the_settings_name_the_reference() -> None:
    (found,) = examine(*pair(1, lambda raw: scaled(raw, WAYS.NEAREST) / 255))
    assert found.settings == {"placing": "stretch", "method": "smoothed bilinear"}
