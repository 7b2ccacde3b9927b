"""A data set's digest changes with everything that training and scoring read from annotations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgebed.data.dataset import Dataset, Sample
from edgebed.data.synthetic import scenes


def sample(name: str = "a", **changes: object) -> Sample:
    one = Sample(
        name, lambda: np.zeros((20, 30, 3), np.uint8), 30, 20,
        np.array([[1, 2, 10, 12]], np.float32), np.array([0]), np.array([False]),
    )  # fmt: skip
    return replace(one, **changes)  # type: ignore[arg-type]


def digest(*samples: Sample, classes: tuple[str, ...] = ("x", "y"), split: str = "train") -> str:
    return Dataset("any", classes, {split: samples}).digest


def test_the_same_content_has_the_same_digest() -> None:
    assert digest(sample(), sample("b")) == digest(sample(), sample("b"))
    assert scenes(3, 1, 1, seed=4).digest == scenes(3, 1, 1, seed=4).digest
    assert scenes(3, 1, 1, seed=4).digest != scenes(3, 1, 1, seed=5).digest


@pytest.mark.parametrize(
    "changed",
    [
        digest(sample("b")),
        digest(sample(width=31)),
        digest(sample(boxes=np.array([[1, 2, 10, 13]], np.float32))),
        digest(sample(labels=np.array([1]))),
        digest(sample(difficult=np.array([True]))),
        digest(sample(), sample("b")),
        digest(sample(), classes=("y", "x")),
        digest(sample(), split="test"),
    ],
)
def test_every_difference_shows(changed: str) -> None:
    assert changed != digest(sample())


def test_the_order_of_the_splits_does_not_matter() -> None:
    one, two = {"train": (sample(),)}, {"test": (sample("b"),)}
    assert Dataset("n", ("x",), one | two).digest == Dataset("n", ("x",), two | one).digest
