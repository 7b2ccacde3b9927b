"""Channels of a picture in another order.

Settings of the verdict: `order`, which of the reference's channels lies at each place.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Final

from edgebed.observe.assertions.explanation import Suspect, explain
from edgebed.observe.assertions.scene import Scene
from edgebed.observe.observed import Observed
from edgebed.observe.verdict import Verdict

MOST: Final = 4
"""Channels whose permutations are all tried: 4! = 24."""


def channel_order(reference: Observed, device: Observed) -> list[Verdict]:
    """Name the permutation of channels under which the device's input is the reference's."""
    found = explain(reference, device)
    return found.verdicts("channel_order") if found else []


def suspects(scene: Scene) -> Iterator[Suspect]:
    """Give every permutation but the one that changes nothing."""
    count = scene.expected.shape[1]
    if not scene.same_shape or not 2 <= count <= MOST:
        return
    names = {3: "RGB", 4: "RGBA"}.get(count, "".join(map(str, range(count))))
    contract = scene.reference.contract.get("input")
    if count == 3 and isinstance(contract, dict) and contract.get("channels") == "bgr":
        names = "BGR"
    seen = scene.expected[:, :, list(scene.rows)]
    for order in itertools.permutations(range(count)):
        if order == tuple(range(count)):
            continue
        given = "".join(names[at] for at in order)
        yield Suspect(
            "channel_order",
            f"feeds channels in the order {given} where the reference feeds {names}",
            f"Reorder the channels to {names} before the network (channels {list(order)} of the"
            " reference are what the device has now).",
            seen[:, list(order)],
            settings={"order": list(order)},
        )
