"""How good a deployment's answers are, with a fault and without: share of right classes, or AP."""

from __future__ import annotations

import numpy as np
from bug_pipeline import Planted

MOST = 320
"""Examples, evenly drawn, that classes are graded on."""


def accuracy(planted: Planted) -> float:
    """Return the share of right classes in percent, or AP@0.5 in percent for boxes."""
    network = planted.network
    session = network.graph.device(planted.edit)
    raws = network.raws if network.graded else network.truth.raws

    def answer(at: int) -> np.ndarray:
        integers = planted.pipeline.integers(raws[at - 1 if planted.stale else at])
        return network.answer(session, integers)

    if not network.graded:
        found = [answer(at) for at in range(len(raws))]
        return float(network.truth.precision(found, planted.names))
    chosen = np.linspace(0, len(raws) - 1, min(MOST, len(raws))).astype(int)
    hits = 0
    for at in chosen:
        scores = answer(int(at)).ravel()
        place = int(np.argmax(scores if planted.order is None else scores[list(planted.order)]))
        hits += planted.names[place] == network.classes[network.labels[at]]
    return 100 * hits / len(chosen)
