"""Limits on memory: how they are written, and what is said when one is missed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from edgebed.errors import BudgetMissedError, EdgebedError
from edgebed.targets._shared.rows.emit import Project

_UNITS: Final = {"": 1, "B": 1, "KB": 1024, "K": 1024, "KIB": 1024, "MB": 1 << 20, "MIB": 1 << 20}


def parse_bytes(text: str | int, option: str) -> int:
    """Return a size such as 65536, 64KB or 1.5MB in bytes; a KB has 1024.

    Raises:
        EdgebedError: it is no size.
    """
    if isinstance(text, int):
        return text
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    if found is None or found[2].upper() not in _UNITS or float(found[1]) <= 0:
        raise EdgebedError(f"{option} {text} is no size", try_=f"{option} 64KB, or bytes")
    return int(float(found[1]) * _UNITS[found[2].upper()])


def too_large(
    project: Project, goal: str, limit: int, others: Mapping[str, int]
) -> BudgetMissedError:
    """Return the error for an arena above its limit: where the peak is, and what would help.

    Args:
        project: that was placed.
        goal: it was placed for.
        limit: bytes.
        others: arenas under other goals.
    """
    placement, network = project.placement, project.network
    stage = network.stages[placement.peak_stage]
    alive = sorted(
        {w.tensor for w in stage.inputs} | {stage.output},
        key=lambda name: -network.tensors[name].nbytes,
    )
    held = ", ".join(f"{name} {network.tensors[name].nbytes:,}" for name in alive[:3])
    return BudgetMissedError(
        f"needs {placement.peak:,} bytes of RAM for activations, more than --max-ram {limit:,}",
        where=f"{project.program.name}, layer {stage.name}",
        why=f"the peak is there (bytes of its tensors: {held})",
        try_=_advice(placement.peak, goal, limit, others, stage.name),
    )


def _advice(peak: int, goal: str, limit: int, others: Mapping[str, int], layer: str) -> str:
    fitting = {name: size for name, size in others.items() if size <= limit}
    if fitting:
        name = min(fitting, key=lambda one: fitting[one])
        return f"--{name} needs {fitting[name]:,} bytes"
    least = min([peak, *others.values()])
    share = 100 * limit / least
    return (
        f"the least is {least:,} bytes (--ram): a network whose maps up to {layer} have at most "
        f"{share:.0f} % of their size, by fewer channels or a smaller input"
    )
