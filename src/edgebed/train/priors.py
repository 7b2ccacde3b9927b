"""Box sizes that a grid starts from, taken from the training boxes."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from edgebed.data.augment import Cache
from edgebed.program.contract import GridDecode
from edgebed.train.networks import Network

REACH: Final = 3.6
"""A `squared` size reaches 4 priors only at infinity; up to here the sigmoid still learns."""


def fitted(network: Network, cache: Cache) -> GridDecode:
    """Return the network's decoding with priors that suit the boxes of `cache`.

    The boxes are sorted by area and cut into as many groups as a cell has boxes; a prior is the
    median size of its group, and large enough that the group's largest box can be expressed.
    """
    grid = network.decode
    sides = [
        (view.boxes[:, 2:] - view.boxes[:, :2]) / view.picture.shape[1::-1] for view in cache.views
    ]
    sizes = np.concatenate([np.zeros((0, 2)), *sides])
    if not network.fit_priors or len(sizes) < grid.boxes:
        return grid
    groups = np.array_split(sizes[np.argsort(sizes.prod(1), kind="stable")], grid.boxes)
    priors = [np.maximum(np.median(group, 0), group.max(0) / REACH) for group in groups]
    return replace(grid, priors=tuple((float(w), float(h)) for w, h in priors))
