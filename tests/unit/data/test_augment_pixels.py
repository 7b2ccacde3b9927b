"""Boxes after every change of a picture are where the coloured rectangles really are."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgebed.data.augment import (
    Augmentation,
    Cache,
    View,
    mirrored,
    quarter_turned,
    transposed,
)
from edgebed.data.dataset import Sample
from edgebed.program.contract import ImageInput

STILL = Augmentation(
    mosaic=0, flip_horizontal=0, scale=(1, 1), mosaic_scale=(1, 1), aspect=1, translate=0,
    focus=0, hue=0, saturation=(1, 1), brightness=0, contrast=(1, 1), tint=0, noise=0, cutout=0,
)  # fmt: skip
GREY = 60
MARGIN = 4


def picture_of(seed: int, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """One rectangle in one channel on grey, well inside the picture."""
    rng = np.random.default_rng(seed)
    picture = np.full((height, width, 3), GREY, np.uint8)
    w, h = int(rng.integers(width // 6, width // 3)), int(rng.integers(height // 6, height // 3))
    x, y = int(rng.integers(2, width - w - 2)), int(rng.integers(2, height - h - 2))
    picture[y : y + h, x : x + w, seed % 3] = 255
    return picture, np.array([[x, y, x + w, y + h]], np.float32)


def sample(seed: int, width: int, height: int) -> Sample:
    picture, boxes = picture_of(seed, width, height)
    label = np.array([seed % 3], np.int64)
    return Sample(str(seed), lambda: picture, width, height, boxes, label, np.zeros(1, np.bool_))


def found(picture: np.ndarray, channel: int, part: tuple[int, int, int, int]) -> np.ndarray | None:
    """Edges of the coloured pixels of one channel inside a part of the picture (x1 y1 x2 y2)."""
    x1, y1, x2, y2 = part
    seen = picture[y1:y2, x1:x2].astype(int)
    rows, columns = np.nonzero(seen[..., channel] - seen[..., (channel + 1) % 3] > 97)
    if not len(rows):
        return None
    return np.array(
        [columns.min() + x1, rows.min() + y1, columns.max() + 1 + x1, rows.max() + 1 + y1]
    )


CHANGES: dict[str, Callable[[View], View]] = {
    "left to right": lambda view: mirrored(view, horizontal=True),
    "top to bottom": lambda view: mirrored(view, horizontal=False),
    "diagonal": transposed,
    "quarter turn": quarter_turned,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("seed", range(6))
def test_a_rectangle_is_found_where_its_box_says(change: Callable[[View], View], seed: int) -> None:
    picture, boxes = picture_of(seed, 60, 60)
    changed = change(View(picture, boxes, np.array([seed % 3])))
    seen = found(changed.picture, seed % 3, (0, 0, 60, 60))
    assert np.array_equal(changed.boxes[0], seen)


def test_a_quarter_turn_is_a_turn_and_no_mirror_image() -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (20, 20, 3), np.uint8)
    view = View(picture, np.array([[1, 2, 5, 9]], np.float32), np.array([0]))
    assert np.array_equal(quarter_turned(view).picture, np.rot90(picture, -1))
    for _ in range(4):
        view = quarter_turned(view)
    assert np.array_equal(view.picture, picture)
    assert view.boxes.tolist() == [[1, 2, 5, 9]]


def test_what_is_not_square_is_not_turned_by_a_quarter() -> None:
    picture, boxes = picture_of(1, 40, 30)
    view = View(picture, boxes, np.array([1]))
    assert quarter_turned(view) is view


def test_without_mirroring_an_l_stays_an_l() -> None:
    """Quarter turns alone must not make mirror images: letters and left-hand parts differ."""
    picture = np.zeros((32, 32, 3), np.uint8)
    picture[4:28, 4:10] = 255
    picture[22:28, 4:22] = 255
    box = np.array([[4, 4, 22, 28]], np.float32)
    letter = Sample("l", lambda: picture, 32, 32, box, np.zeros(1, np.int64), np.zeros(1, np.bool_))
    turning = dataclasses.replace(STILL, quarter_turns=True)
    cache = Cache.of([letter], ImageInput(32, 32))
    turned = {np.rot90(picture, times).tobytes() for times in range(4)}
    seen = {
        turning.apply(np.random.default_rng(seed), cache, 0).picture.tobytes() for seed in range(40)
    }
    assert seen == turned


@given(st.integers(0, 2**32 - 1), st.sampled_from([(64, 64), (80, 48), (40, 72)]))
@settings(max_examples=60, deadline=None)
def test_every_box_of_a_mosaic_frames_its_rectangle(seed: int, size: tuple[int, int]) -> None:
    width, height = size
    cache = Cache.of([sample(one, 96, 96) for one in range(3)], ImageInput(width, height))
    change = dataclasses.replace(
        STILL, mosaic=1.0, mosaic_scale=(0.6, 1.2), aspect=1.1, focus=0.7, flip_horizontal=0.5
    )
    change = dataclasses.replace(
        change, least_side=0, least_visible=0.01
    )  # boxes for all that shows
    view = change.apply(np.random.default_rng(seed), cache, 0)
    assert view.picture.shape == (height, width, 3)
    for index, (box, label) in enumerate(zip(view.boxes, view.labels, strict=True)):
        around = box + np.array([-MARGIN, -MARGIN, MARGIN, MARGIN])
        alike = (view.labels == label) & (np.arange(len(view.labels)) != index)
        near = (view.boxes[:, :2] < around[2:] + 1) & (view.boxes[:, 2:] > around[:2] - 1)
        if (near.all(1) & alike).any() or (box[2:] - box[:2]).min() < 4:
            continue
        x1, y1 = np.maximum(np.floor(around[:2]).astype(int), 0)
        x2, y2 = np.minimum(np.ceil(around[2:]).astype(int), (width, height))
        seen = found(view.picture, int(label), (x1, y1, x2, y2))
        assert seen is not None, "a box without anything in it"
        np.testing.assert_allclose(box, seen, atol=1.5)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_a_view_laid_over_another_brings_its_boxes(seed: int) -> None:
    cache = Cache.of([sample(one, 96, 96) for one in range(3)], ImageInput(64, 64))
    change = dataclasses.replace(STILL, mixup=1.0)
    view = change.apply(np.random.default_rng(seed), cache, 0)
    assert len(view.boxes) == 2
    # Half the strength of each picture is left: 255 and grey become their mean.
    for box, label in zip(view.boxes, view.labels, strict=True):
        x1, y1, x2, y2 = box.round().astype(int)
        middle = view.picture[(y1 + y2) // 2, (x1 + x2) // 2, label]
        assert middle >= (255 + GREY) // 2 - 2


@given(st.integers(0, 2**32 - 1), st.sampled_from([4, 6, 9, 16]))
@settings(max_examples=80, deadline=None)
def test_windows_nearly_outside_a_tiny_input_still_give_a_picture(seed: int, side: int) -> None:
    change = Augmentation(
        scale=(0.05, 20), mosaic_scale=(0.05, 20), translate=0.9, focus=0, aspect=2
    )
    cache = Cache.of([sample(one, 24, 24) for one in range(2)], ImageInput(side, side))
    picture, boxes, _ = change.apply(np.random.default_rng(seed), cache, 0)
    assert picture.shape == (side, side, 3)
    assert (boxes >= 0).all() and (boxes <= side).all()


def test_a_hole_drops_the_boxes_it_hides_and_no_others() -> None:
    cache = Cache.of([sample(one, 96, 96) for one in range(3)], ImageInput(96, 96))
    whole = dataclasses.replace(STILL, cutout=1.0, cutout_size=(1, 1))
    assert not len(whole.apply(np.random.default_rng(0), cache, 0).boxes)
    grain = dataclasses.replace(STILL, cutout=1.0, cutout_size=(0, 0.01))
    assert len(grain.apply(np.random.default_rng(0), cache, 0).boxes) == 1
