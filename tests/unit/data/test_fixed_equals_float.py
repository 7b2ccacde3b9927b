"""The integer decoder finds what the real-number decoder finds, to a fraction of a pixel."""

from __future__ import annotations

import numpy as np
import pytest

from edgebed.data.decode import Detections, decode
from edgebed.data.fixed_decode import decode_fixed
from edgebed.program.contract import Contract, GridDecode, ImageInput, Nms

THIN = 2e-3
"""Sides below this fraction of the input are less than a pixel; integers may drop them."""
CLOSE = 2e-3


def drawn(rng: np.random.Generator) -> tuple[Contract, np.ndarray, float]:
    columns, rows, boxes, classes = (int(rng.integers(1, most)) for most in (12, 12, 4, 6))
    grid = GridDecode(
        columns, rows, boxes,
        tuple((float(w), float(h)) for w, h in rng.uniform(0.05, 1, (boxes, 2))),
        size=str(rng.choice(["sigmoid", "squared"])),  # type: ignore[arg-type]
        stretch=float(rng.uniform(0, 3)),
        class_score=str(rng.choice(["softmax", "sigmoid"])),  # type: ignore[arg-type]
    )  # fmt: skip
    # No suppression: it turns a rounding of an overlap into a whole box.
    nms = Nms(score=float(rng.uniform(0.05, 0.6)), iou=1.0, maximum=10_000, candidates=10_000)
    scale = 2.0 ** -int(rng.integers(5, 14))
    reach = int(8 / scale)
    output = rng.integers(-reach, reach, (5 * boxes + classes, rows, columns)).astype(np.int32)
    contract = Contract(ImageInput(64, 48), tuple("abcdef"[:classes]), grid, nms)
    return contract, output, scale


def assert_all_in(some: Detections, others: Detections, least: float) -> int:
    """Each clear box of `some` must be among `others` with nearly the same score."""
    compared = 0
    for box, score, label in zip(some.boxes, some.scores, some.labels, strict=True):
        if score < least + CLOSE or (box[2:] - box[:2]).min() < THIN:
            continue
        same = others.labels == label
        assert same.any()
        apart = np.abs(others.boxes[same] - box).max(1) + np.abs(others.scores[same] - score)
        assert apart.min() < CLOSE
        compared += 1
    return compared


@pytest.mark.parametrize("seed", range(8))
def test_both_decoders_find_the_same_boxes(seed: int) -> None:
    rng, compared = np.random.default_rng(seed), 0
    for _ in range(25):
        contract, output, scale = drawn(rng)
        (real,) = decode((output * scale)[None], contract)
        integers = decode_fixed(output, scale, contract).to_float()
        compared += assert_all_in(real, integers, contract.nms.score)
        compared += assert_all_in(integers, real, contract.nms.score)
        assert (np.diff(integers.scores) <= 0).all()
    assert compared > 200
