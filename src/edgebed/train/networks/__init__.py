"""The networks that `--network` takes, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from edgebed.errors import EdgebedError, did_you_mean
from edgebed.train.networks.bed import bed
from edgebed.train.networks.bed_fast import bed_fast
from edgebed.train.networks.spec import LayerSpec, Network

NETWORKS: Final[dict[str, Callable[[int], Network]]] = {"bed": bed, "bed-fast": bed_fast}


def network(name: str, classes: int) -> Network:
    """Return the description of network `name` with an output layer for `classes` classes.

    Raises:
        EdgebedError: there is no such network, or no class.
    """
    if name not in NETWORKS:
        raise EdgebedError(
            f"unknown network {name!r}", where="--network", try_=did_you_mean(name, NETWORKS)
        )
    if classes < 1:
        raise EdgebedError("a detector needs at least one class", where=f"network {name}")
    return NETWORKS[name](classes)


__all__ = ["NETWORKS", "LayerSpec", "Network", "network"]
