import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgebed.data.augment import Augmentation, Cache, View, mirrored, transposed
from edgebed.data.dataset import Sample
from edgebed.errors import EdgebedError
from edgebed.program.contract import ImageInput

STILL = Augmentation(
    mosaic=0,
    flip_horizontal=0,
    scale=(1, 1),
    aspect=1,
    translate=0,
    focus=0,
    hue=0,
    saturation=(1, 1),
    brightness=0,
    contrast=(1, 1),
    tint=0,
    noise=0,
    cutout=0,
)
TURNS = dataclasses.replace(STILL, flip_horizontal=0.5, flip_vertical=0.5, quarter_turns=True)


def squares(seed: int, count: int = 3, size: int = 96) -> Sample:
    """A black picture with bright squares, each in a colour channel of its own."""
    rng = np.random.default_rng(seed)
    picture, boxes = np.zeros((size, size, 3), np.uint8), []
    for channel in range(count):
        side = int(rng.integers(16, 40))
        x, y = (int(v) for v in rng.integers(0, size - side, 2))
        picture[y : y + side, x : x + side, channel] = 255
        boxes.append([x, y, x + side, y + side])
    return Sample(
        f"s{seed}",
        lambda: picture,
        size,
        size,
        np.array(boxes, np.float32),
        np.arange(count, dtype=np.int64),
        np.zeros(count, np.bool_),
    )


@pytest.fixture(scope="module")
def cache() -> Cache:
    return Cache.of([squares(seed) for seed in range(6)], ImageInput(64, 64))


def assert_boxes_frame_squares(view: View, tolerance: float) -> None:
    for box, label in zip(view.boxes, view.labels, strict=True):
        rows, columns = np.nonzero(view.picture[..., label] > 110)
        seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(box, seen, atol=tolerance)


@given(st.integers(0, 2**32 - 1), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_boxes_follow_windows_flips_and_turns(seed, index):
    moving = dataclasses.replace(TURNS, scale=(0.6, 1.6), aspect=1.2, translate=0.1, focus=0.5)
    cache = Cache.of([squares(index)], ImageInput(64, 64))
    view = moving.apply(np.random.default_rng(seed), cache, 0)
    assert view.picture.shape == (64, 64, 3) and view.picture.dtype == np.uint8
    # A box that was cut may frame less than the square that shows; whole ones must fit.
    outside = view.picture[[0, -1]].max(), view.picture[:, [0, -1]].max()
    if max(outside) < 60:
        assert_boxes_frame_squares(view, 2)


def test_nothing_changes_when_all_is_off(cache):
    view = STILL.apply(np.random.default_rng(0), cache, 2)
    assert_boxes_frame_squares(view, 1.5)
    np.testing.assert_allclose(view.boxes, squares(2).boxes * 64 / 96, atol=0.01)


def test_the_generator_is_the_only_chance(cache):
    change = Augmentation(mixup=0.5, cutout=0.5, quarter_turns=True)
    first = [change.apply(np.random.default_rng(9), cache, 1) for _ in range(2)]
    for a, b in zip(*first, strict=True):
        np.testing.assert_array_equal(a, b)
    other = change.apply(np.random.default_rng(10), cache, 1)
    assert (other.picture != first[0].picture).any()


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_full_augmentation_keeps_boxes_inside(seed):
    cache = Cache.of([squares(seed % 7), squares(seed % 5)], ImageInput(48, 64))
    change = Augmentation(mosaic=0.7, mixup=0.3, flip_vertical=0.5, cutout=0.5)
    picture, boxes, labels = change.apply(np.random.default_rng(seed), cache, seed % 2)
    assert picture.shape == (64, 48, 3) and len(boxes) == len(labels)
    assert boxes.dtype == np.float32 and labels.dtype == np.int64
    assert (boxes >= 0).all() and (boxes[:, 2] <= 48).all() and (boxes[:, 3] <= 64).all()
    assert (boxes[:, 2:] - boxes[:, :2] >= change.least_side).all()


def test_a_mosaic_shows_four_pictures(cache):
    tones = [
        dataclasses.replace(squares(0), load=lambda v=v: np.full((96, 96, 3), v, np.uint8))
        for v in (20, 80, 140, 200)
    ]
    plain = dataclasses.replace(STILL, mosaic=1.0, mosaic_scale=(1.0, 1.0))
    rng = np.random.default_rng(4)
    grey = Cache.of(tones, ImageInput(64, 64))
    corners = [
        plain.apply(rng, grey, 0).picture[[0, 0, -1, -1], [0, -1, 0, -1], 0] for _ in range(40)
    ]
    assert max(len(set(values.tolist())) for values in corners) >= 3


def test_boxes_cut_to_less_than_the_least_are_dropped():
    sample = dataclasses.replace(
        squares(0),
        boxes=np.array([[90, 40, 96, 46], [-20, 30, 20, 50]], np.float32),
        labels=np.array([0, 1]),
    )
    sample = dataclasses.replace(sample, difficult=np.zeros(2, np.bool_))
    view = View(np.zeros((96, 96, 3), np.uint8), sample.boxes, sample.labels)
    kept = dataclasses.replace(STILL, least_visible=0.6, least_side=3.0)._cut(view)
    assert kept.labels.tolist() == [0]
    assert dataclasses.replace(STILL, least_visible=0.4)._cut(view).labels.tolist() == [0, 1]


def test_difficult_boxes_are_not_trained_on():
    sample = dataclasses.replace(squares(1), difficult=np.array([False, True, False]))
    cache = Cache.of([sample], ImageInput(64, 64))
    assert STILL.apply(np.random.default_rng(0), cache, 0).labels.tolist() == [0, 2]


def test_letterboxed_cache_keeps_the_aspect():
    picture = np.full((50, 100, 3), 255, np.uint8)
    box = np.array([[0, 0, 100, 50]], np.float32)
    sample = Sample(
        "a", lambda: picture, 100, 50, box, np.zeros(1, np.int64), np.zeros(1, np.bool_)
    )
    cache = Cache.of([sample], ImageInput(64, 64, resize="letterbox", fill=0), factor=1.0)
    np.testing.assert_allclose(cache.views[0].boxes, [[0, 16, 64, 48]])


@pytest.mark.parametrize(
    "change", [lambda v: mirrored(v, True), lambda v: mirrored(v, False), transposed]
)
def test_mirrors_and_transposition_undo_themselves(change):
    view = View(
        np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8),
        np.array([[1, 2, 5, 7]], np.float32),
        np.array([3]),
    )
    once, twice = change(view), change(change(view))
    assert (once.boxes != view.boxes).any()
    for a, b in zip(view, twice, strict=True):
        np.testing.assert_array_equal(a, b)


def test_grey_pictures_stay_grey_under_hue_and_saturation():
    grey = np.repeat(np.random.default_rng(0).integers(0, 256, (32, 32, 1), np.uint8), 3, 2)
    change = dataclasses.replace(STILL, hue=90, saturation=(0.2, 2.0))
    result = change._coloured(np.random.default_rng(1), grey).astype(int)
    assert np.ptp(result, axis=-1).max() <= 2
    assert np.abs(result - grey).max() <= 2


def test_small_pictures_are_not_blown_up():
    views = Cache.of([squares(0, size=64), squares(0, size=200)], ImageInput(64, 64)).views
    assert [view.picture.shape[0] for view in views] == [64, 96]


@pytest.mark.parametrize(
    "values",
    [
        {"mosaic": 1.5},
        {"flip_vertical": -0.1},
        {"scale": (0.0, 1.0)},
        {"scale": (1.4, 0.7)},
        {"translate": 0.95},
        {"noise": 200},
        {"cutout_size": (0.1, 2.0)},
        {"aspect": 0.5},
    ],
)
def test_impossible_settings_are_named(values):
    with pytest.raises(EdgebedError, match=rf"augmentation\.{next(iter(values))}"):
        Augmentation(**values)


@pytest.mark.parametrize("translate", [0.0, 0.9])
def test_far_windows_still_give_a_picture(cache, translate):
    change = Augmentation(scale=(0.1, 5.0), mosaic_scale=(0.1, 5.0), translate=translate, focus=0)
    rng = np.random.default_rng(0)
    for index in range(60):
        assert change.apply(rng, cache, index % 6).picture.shape == (64, 64, 3)
