"""A data set small enough to train on within a test: coloured rectangles on grey."""

from __future__ import annotations

import numpy as np
import pytest

from edgebed.data.dataset import Dataset, Sample

COLOURS = ((220, 40, 40), (40, 60, 220))


def _sample(index: int) -> Sample:
    rng = np.random.default_rng(index)
    picture = np.full((112, 112, 3), 120, np.uint8)
    boxes, labels = [], []
    for label, left in enumerate((4, 60)):
        x, y = left + int(rng.integers(8)), int(rng.integers(60))
        w, h = (int(side) for side in rng.integers(28, 40, 2))
        picture[y : y + h, x : x + w] = COLOURS[label]
        boxes.append((x, y, x + w, y + h))
        labels.append(label)
    return Sample(
        name=f"picture{index}",
        load=lambda: picture,
        width=112,
        height=112,
        boxes=np.array(boxes, np.float32),
        labels=np.array(labels, np.int64),
        difficult=np.zeros(2, np.bool_),
    )


@pytest.fixture(scope="session")
def rectangles() -> Dataset:
    samples = tuple(_sample(index) for index in range(6))
    return Dataset("rectangles", ("red", "blue"), {"train": samples[:4], "test": samples[4:]})
