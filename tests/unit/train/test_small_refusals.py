"""Limits of scoring, priors and decoding that a user can meet."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgebed.data.augment import Cache
from edgebed.data.dataset import Dataset
from edgebed.data.fixed_decode import FixedDetections, parameters
from edgebed.errors import EdgebedError
from edgebed.program.contract import Contract, GridDecode, ImageInput, Nms
from edgebed.train.evaluate import Split
from edgebed.train.networks import network
from edgebed.train.priors import fitted

GRID = GridDecode(4, 4, 1, ((1.0, 1.0),))


def test_an_empty_split_cannot_be_scored() -> None:
    with pytest.raises(EdgebedError, match="split val: the split has no pictures"):
        Split.of("val", (), ImageInput(8, 8))


def test_priors_stay_as_they_are_without_enough_boxes(rectangles: Dataset) -> None:
    described = replace(network("bed-fast", 2), fit_priors=True)
    bare = Cache(224, 224, ())
    assert fitted(described, bare) == described.decode
    assert fitted(replace(described, fit_priors=False), bare) == described.decode
    cache = Cache.of(rectangles.splits["train"], ImageInput(224, 224))
    priors = np.array(fitted(described, cache).priors)
    sides = [28 / 112, 40 / 112]
    assert priors.shape == (described.decode.boxes, 2)
    assert (priors >= sides[0] - 0.01).all() and (priors <= sides[1] + 0.01).all()


@pytest.mark.parametrize("stretch", [-0.5, 3.5])
def test_a_stretch_that_integers_cannot_hold_is_named(stretch: float) -> None:
    contract = Contract(ImageInput(8, 8), ("a",), replace(GRID, stretch=stretch), Nms())
    with pytest.raises(EdgebedError, match=r"contract\.decode\.stretch.*between 0 and 3"):
        parameters(1.0, contract)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf"), 1e9, 1e-30])
def test_an_output_scale_that_integers_cannot_hold_is_named(scale: float) -> None:
    with pytest.raises(EdgebedError, match="output scale"):
        parameters(scale, Contract(ImageInput(8, 8), ("a",), GRID, Nms()))


def test_integer_boxes_round_to_the_nearest_pixel() -> None:
    boxes = np.array([[0, 32768, 65536, 65535]], np.int32)
    found = FixedDetections(np.zeros(1, np.int32), np.full(1, 16384, np.int32), boxes)
    assert found.in_pixels(100, 75).tolist() == [[0, 38, 100, 75]]
    real = found.to_float()
    assert real.scores.tolist() == [0.5] and real.boxes[0, 1] == 0.5
