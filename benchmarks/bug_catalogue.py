"""The kinds of fault that `deployment_bugs.py` plants into a network's deployment."""

from __future__ import annotations

import numpy as np
from bug_inputs import integers, pictures, sounds
from bug_layers import inside
from bug_networks import Network
from bug_pipeline import Bug, Pipeline, Planted

Random = np.random.Generator


def bugs_of(network: Network) -> list[Bug]:
    """Return the kinds of fault that a network can have."""
    first = sounds() if network.raw_layout == "T" else pictures()
    found = [*first, *integers(), *inside(), *_around()]
    # A detector's scores lie among its boxes' sizes: two of them swapped are another fault.
    return [one for one in found if network.graded or one.name != "two scores swapped"]


def _around() -> list[Bug]:
    def listed(network: Network, rng: Random) -> Planted:
        order = rng.permutation(len(network.classes))
        while (order == np.arange(len(order))).all():
            order = rng.permutation(len(order))
        classes = tuple(network.classes[at] for at in order)
        return Planted(Pipeline(network), classes=classes)

    def old(network: Network, rng: Random) -> Planted:
        at = int(rng.integers(len(network.classes)))
        classes = (*network.classes[:at], "background", *network.classes[at:])
        return Planted(Pipeline(network), classes=classes[: len(network.classes)])

    def scores(network: Network, rng: Random) -> Planted:
        one, two = rng.choice(len(network.classes), 2, replace=False)
        order = list(range(len(network.classes)))
        order[one], order[two] = order[two], order[one]
        return Planted(Pipeline(network), order=tuple(order))

    def slow(network: Network, rng: Random) -> Planted:
        convolutions = [one.name for one in network.graph.layers if one.kind == "Conv"]
        factor = float(rng.uniform(6, 40))
        return Planted(Pipeline(network), layer=str(rng.choice(convolutions)), slow=factor)

    return [
        Bug("list of names in another order", ("class_names",), listed),
        Bug("list of names of an older network", ("class_names",), old),
        Bug("two scores swapped", ("class_names",), scores),
        Bug("slow kernel", ("slow_layer",), slow),
    ]
