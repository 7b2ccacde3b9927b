"""`edgebed targets`: the devices, from their fact sheets; no device's code is imported."""

from __future__ import annotations

import json as json_format
from pathlib import Path


def targets(*, fit: Path | None = None, json: bool = False) -> None:
    """List the devices, or say which of them a network fits and what it costs there.

    Args:
        fit: a .tflite, .onnx or .pt2 file: one row a device and core with RAM, flash, time and
            energy, each figure with its kind.
        json: print one JSON object, every fact of every device, instead of one line a device.
    """
    from edgebed.targets import describe, names

    if fit is not None:
        from edgebed.cli.fit import fits, lines

        rows = fits(fit)
        plain = [one.to_json() for one in rows]
        print(json_format.dumps(plain, indent=2) if json else "\n".join(lines(rows)))
        return
    found = {name: describe(name) for name in names()}
    if json:
        print(json_format.dumps(found, indent=2, default=str))
        return
    for name, facts in found.items():
        cores = f" (--cpu {', '.join(facts['cores'])})" if "cores" in facts else ""
        print(f"{name:<12} {facts.get('summary', '')}{cores}")
