"""`edgebed targets`: the devices, from their fact sheets; no device's code is imported."""

from __future__ import annotations

import json as json_format


def targets(*, json: bool = False) -> None:
    """List the devices.

    Args:
        json: print one JSON object, every fact of every device, instead of one line a device.
    """
    from edgebed.targets import describe, names

    found = {name: describe(name) for name in names()}
    if json:
        print(json_format.dumps(found, indent=2, default=str))
        return
    for name, facts in found.items():
        print(f"{name:<12} {facts.get('summary', '')}")
