"""From counted instructions to cycles, time and energy, with the source of every factor."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgebed.errors import EdgebedError
from edgebed.figures import Figure

_FACTS: Final = Path(__file__).parent / "device.toml"
Range = tuple[float, float, float]
"""Estimate, low, high."""


@dataclass(frozen=True)
class Chip:
    """A chip that stands for its core; see `device.toml` for sources.

    Attributes:
        board: name of the board.
        clock_hz: it runs at.
        cycles_per_instruction: estimate, low, high.
        cycles_source: where they come from.
        picojoule_per_cycle: likewise; None where nobody published a figure.
        energy_source: board, clock and supply of that figure.
    """

    board: str
    clock_hz: int
    cycles_per_instruction: Range
    cycles_source: str
    picojoule_per_cycle: Range | None = None
    energy_source: str = ""


def chip(core: str) -> Chip:
    """Return the chip that stands for a core.

    Raises:
        EdgebedError: none is known.
    """
    facts: dict[str, Any] = tomllib.loads(_FACTS.read_text(encoding="utf-8"))["cores"]
    if core not in facts:
        raise EdgebedError(f"no facts about the core {core!r}", where=_FACTS.name)
    found = facts[core]
    energy = found.get("picojoule_per_cycle")
    return Chip(
        found["board"],
        found["clock_hz"],
        tuple(found["cycles_per_instruction"]),
        found["cycles_source"],
        tuple(energy) if energy else None,
        found.get("energy_source", ""),
    )


def figures(chip: Chip, instructions: Figure) -> dict[str, Figure]:
    """Return estimates of `cycles`, `time` and, where one is known, `energy`.

    Args:
        chip: whose factors.
        instructions: counted or estimated.
    """
    source = f"instructions times {chip.cycles_per_instruction[0]}: {chip.cycles_source}"
    cycles = [instructions.value * factor for factor in chip.cycles_per_instruction]
    clock = f"{source}; at {chip.clock_hz / 1e6:g} MHz, {chip.board}"
    found = {
        "cycles": _estimate(cycles, 1, "cycles", source),
        "time": _estimate(cycles, 1e3 / chip.clock_hz, "ms", clock),
    }
    if chip.picojoule_per_cycle:
        pairs = zip(cycles, chip.picojoule_per_cycle, strict=True)
        energy = [count * cost for count, cost in pairs]
        per_cycle = f"{chip.picojoule_per_cycle[0]:g} pJ a cycle: {chip.energy_source}"
        found["energy"] = _estimate(energy, 1e-6, "uJ", f"{per_cycle}; {source}")
    return found


def energy(chip: Chip, cycles: Figure) -> dict[str, Figure]:
    """Return the energy of cycles that a device counted; empty where no cost is known."""
    if not chip.picojoule_per_cycle:
        return {}
    values = [cycles.value * cost for cost in chip.picojoule_per_cycle]
    source = f"{chip.picojoule_per_cycle[0]:g} pJ a cycle: {chip.energy_source}; cycles counted"
    return {"energy": _estimate(values, 1e-6, "uJ", source)}


def _estimate(values: list[float], unit: float, name: str, source: str) -> Figure:
    value, low, high = (number * unit for number in values)
    return Figure(value, name, "estimated", source, low, high)
