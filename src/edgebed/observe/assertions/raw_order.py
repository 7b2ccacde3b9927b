"""In which order a reference feeds the channels of its raw pictures.

Networks trained with OpenCV take blue first. Who predicts what a device feeds from raw pictures has
to know that, or every prediction is of the wrong colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Final

import numpy as np

from edgebed.program.types import Array

AS_IT_IS: Final = (0, 1, 2)
BETTER: Final = 0.5
"""Of what is unlike, another order leaves this share at most."""


def raw_order(pictures: Sequence[Array], expected: Array) -> tuple[int, ...]:
    """Return which raw channel the reference feeds as its first, second and third.

    Args:
        pictures: raw, rows x columns x 3 or more.
        expected: the reference's input for each of them, N x 3 x H x W, real values.

    Returns:
        The order in which raw channels correlate most with the input's; (0, 1, 2) where no other
        is clearly better, as with grey pictures or crops that lie elsewhere.
    """
    size = expected.shape[2:]
    seen = np.concatenate([_sampled(one, size) for one in pictures])
    fed = np.moveaxis(expected[: len(pictures)], 1, -1).reshape(-1, 3)
    if not (seen.std(0).all() and fed.std(0).all()):
        return AS_IT_IS
    alike = np.corrcoef(seen.T, fed.T)[:3, 3:]
    unlike = {
        order: 3 - sum(float(alike[channel, place]) for place, channel in enumerate(order))
        for order in permutations(AS_IT_IS)
    }
    best = min(unlike, key=lambda order: unlike[order])
    return best if unlike[best] < BETTER * unlike[AS_IT_IS] else AS_IT_IS


def _sampled(picture: Array, size: tuple[int, ...]) -> Array:
    """Return the pixels nearest to a grid's places, one a row."""
    y, x = (
        ((np.arange(wanted) + 0.5) * own / wanted).astype(int)
        for wanted, own in zip(size, picture.shape, strict=False)
    )
    return np.asarray(picture[y][:, x, :3].reshape(-1, 3), np.float64)
