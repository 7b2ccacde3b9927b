"""Limits on memory: how they are written, and what is said when one is missed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Limit:
    """Bytes that must suffice, and whose they are.

    Attributes:
        nbytes: of them.
        owner: of the limit, in words: `the virtual Cortex-M4 board`; empty for the user's option.
        option: the user's option.
    """

    nbytes: int
    owner: str = ""
    option: str = "--max-ram"

    def missed(self, needs: str, where: str, why: str, try_: str) -> EdgebedError:
        """Return the error: a missed budget where the limit is the user's."""
        if self.owner:
            text = f"{needs}, more than the {self.nbytes:,} of {self.owner}"
            return EdgebedError(text, where=where, why=why, try_=try_)
        text = f"{needs}, more than {self.option} {self.nbytes:,}"
        return BudgetMissedError(text, where=where, why=why, try_=try_)


def too_large(project: Project, goal: str, limit: Limit, others: Mapping[str, int]) -> EdgebedError:
    """Return the error for an arena above its limit: where the peak is, and what would help.

    Args:
        project: that was placed.
        goal: it was placed for.
        limit: that was missed.
        others: arenas under other goals.
    """
    placement, network = project.placement, project.network
    stage = network.stages[placement.peak_stage]
    alive = sorted(
        {w.tensor for w in stage.inputs} | {stage.output},
        key=lambda name: -network.tensors[name].nbytes,
    )
    held = ", ".join(f"{name} {network.tensors[name].nbytes:,}" for name in alive[:3])
    return limit.missed(
        f"needs {placement.peak:,} bytes of RAM for activations",
        f"{project.program.name}, layer {stage.name}",
        f"the peak is at this layer; bytes of its tensors: {held}",
        _advice(placement.peak, goal, limit.nbytes, others, stage.name),
    )


def too_heavy(project: Project, goal: str, limit: Limit) -> EdgebedError:
    """Return the error for weights above their limit: the layer with most, and what would help."""
    by_layer = sorted(
        (sum(len(t.data) for t in stage.tables if t.weights), stage.name)
        for stage in project.network.stages
    )
    most, layer = by_layer[-1]
    total = sum(size for size, _ in by_layer)
    share = 100 * limit.nbytes // total
    fewer = f"at most {share} % of the weights" if share else "far fewer weights"
    advice = f"a network with {fewer}, first of all in {layer}"
    if goal == "time":
        advice = f"--balanced, which keeps weights in bytes, or {advice}"
    return limit.missed(
        f"needs {total:,} bytes of flash for weights",
        f"{project.program.name}, layer {layer}",
        f"this layer holds most, {most:,}",
        advice,
    )


def _advice(peak: int, goal: str, limit: int, others: Mapping[str, int], layer: str) -> str:
    fitting = {name: size for name, size in others.items() if size <= limit}
    if fitting:
        name = min(fitting, key=lambda one: fitting[one])
        return f"--{name} needs {fitting[name]:,} bytes"
    least = min([peak, *others.values()])
    share = max(1, 100 * limit // least)
    return (
        f"the least is {least:,} bytes (--ram), so a network whose maps at {layer} have at most "
        f"{share} % of their size, by fewer channels or a smaller input"
    )
