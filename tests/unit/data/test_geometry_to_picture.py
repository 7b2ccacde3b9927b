"""From a rectangle in a picture through the network's input and the decoder back to its pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgebed.data.decode import decode
from edgebed.data.fixed_decode import decode_fixed
from edgebed.data.preprocess import geometry, to_picture, to_tensor
from edgebed.program.contract import Contract, GridDecode, ImageInput, Nms

GRID = GridDecode(7, 5, 1, ((1.0, 1.0),), stretch=2.0, size="squared", class_score="sigmoid")
SCALE = 2.0**-12
CERTAIN, NEVER = 6.0, -12.0


def marked(width: int, height: int, box: tuple[int, int, int, int]) -> np.ndarray:
    """A grey picture (as grey as the border of a letterbox) with one bright red rectangle."""
    picture = np.full((height, width, 3), 128, np.uint8)
    x1, y1, x2, y2 = box
    picture[y1:y2, x1:x2] = (255, 0, 0)
    return picture


def seen(tensor: np.ndarray, image_input: ImageInput) -> np.ndarray:
    """Edges of the red pixels in the network's input, x1 y1 x2 y2."""
    picture = to_picture(tensor, image_input).astype(int)
    rows, columns = np.nonzero(picture[..., 0] - picture[..., 1] > 127)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], float)


def logit(share: float) -> float:
    return float(np.log(share / (1 - share)))


def answer(box: np.ndarray, image_input: ImageInput) -> np.ndarray:
    """Return the real logits with which the grid says `box` (pixels of the input)."""
    size = np.array([image_input.width, image_input.height] * 2)
    x1, y1, x2, y2 = box / size
    x, y = (x1 + x2) / 2 * GRID.grid_width, (y1 + y2) / 2 * GRID.grid_height
    column, row = min(int(x), GRID.grid_width - 1), min(int(y), GRID.grid_height - 1)
    map_ = np.full((6, GRID.grid_height, GRID.grid_width), NEVER)
    # x = column + 2 s - 1/2; width = (2 s)^2
    centre = [logit((x - column + 0.5) / 2), logit((y - row + 0.5) / 2)]
    sides = [logit(np.sqrt(side) / 2) for side in (x2 - x1, y2 - y1)]
    map_[:, row, column] = [*centre, *sides, CERTAIN, CERTAIN]
    return map_


pictures = st.tuples(st.integers(60, 400), st.integers(60, 300))


@settings(deadline=None, max_examples=60)
@given(st.data(), pictures, st.sampled_from(["letterbox", "crop", "stretch"]),
       st.sampled_from(["area", "bilinear"]), st.sampled_from(["rgb", "bgr"]))  # fmt: skip
def test_a_rectangle_comes_back_to_its_pixels(
    data: st.DataObject, size: tuple[int, int], resize: str, interpolation: str, channels: str
) -> None:
    width, height = size
    image_input = ImageInput(
        96, 64, channels=channels, resize=resize, interpolation=interpolation  # type: ignore[arg-type]
    )  # fmt: skip
    place = geometry(width, height, image_input)
    part = place.source
    w = data.draw(st.integers(part.width // 4, part.width // 2))
    h = data.draw(st.integers(part.height // 4, part.height // 2))
    x = part.x + data.draw(st.integers(0, part.width - w))
    y = part.y + data.draw(st.integers(0, part.height - h))
    box = (x, y, x + w, y + h)
    tensor = to_tensor(marked(width, height, box), image_input)
    contract = Contract(image_input, ("red",), GRID, Nms())
    logits = answer(seen(tensor, image_input), image_input)
    pixel = np.tile(1 / place.scale, 2)  # picture pixels of one input pixel
    (real,) = decode(logits[None], contract)
    integers = decode_fixed(np.floor(logits / SCALE + 0.5).astype(np.int32), SCALE, contract)
    for found in (real, integers.to_float()):
        assert len(found) == 1
        (got,) = found.in_picture(image_input, place).boxes
        assert (np.abs(got - np.array(box)) <= 1.05 * pixel + 0.02).all()


@given(
    st.integers(1, 2000), st.integers(1, 2000), st.sampled_from(["letterbox", "crop", "stretch"])
)
def test_boxes_come_back_through_every_geometry(width: int, height: int, resize: str) -> None:
    image_input = ImageInput(352, 352, resize=resize)  # type: ignore[arg-type]
    place = geometry(width, height, image_input)
    box = np.array([[0, 0, width, height], [width / 4, height / 3, width / 2, height]], np.float32)
    back = place.to_picture(place.to_input(box))
    assert np.abs(back - box).max() <= 1e-3 * max(width, height)
    whole = place.to_input(
        np.array([[place.source.x, place.source.y, place.source.x + place.source.width,
                   place.source.y + place.source.height]], np.float32)
    )  # fmt: skip
    target = place.target
    edges = [target.x, target.y, target.x + target.width, target.y + target.height]
    np.testing.assert_allclose(whole[0], edges, atol=0.05)
    assert target.x >= 0 and target.x + target.width <= 352
    assert place.source.x >= 0 and place.source.x + place.source.width <= width


@pytest.mark.parametrize(("width", "height"), [(200, 100), (100, 200)])
def test_boxes_never_leave_the_part_that_was_seen(width: int, height: int) -> None:
    image_input = ImageInput(64, 64, resize="crop")
    contract = Contract(image_input, ("red",), GRID, Nms())
    place = geometry(width, height, image_input)
    (found,) = decode(answer(np.array([0.5, 0.5, 63.5, 63.5]), image_input)[None], contract)
    (got,) = found.in_picture(image_input, place).boxes
    part = place.source
    assert got[0] >= part.x and got[2] <= part.x + part.width
    assert got[1] >= part.y and got[3] <= part.y + part.height
