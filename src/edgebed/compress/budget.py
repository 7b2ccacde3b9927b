"""Quantise within a budget: 8 bits everywhere, 16 bits where a layer needs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from edgebed.compress.calibration import Statistics
from edgebed.compress.quantize import quantise
from edgebed.compress.scheme import Settings
from edgebed.compress.sensitivity import Sensitivity
from edgebed.events import Listener, Note, ignore
from edgebed.program.types import Program

Score = Callable[[Program], float]
_STEPS = (1, 2, 3, 5, 8, 12, 18, 27, 40, 60)


@dataclass(frozen=True)
class Choice:
    """A quantised network and what it scores.

    Attributes:
        program: integers.
        settings: that made it.
        score: of the metric, higher is better.
        drop: of the float network's score minus this one.
        wide: layers with 16-bit activations.
    """

    program: Program
    settings: Settings
    score: float
    drop: float
    wide: tuple[str, ...]


def within(
    program: Program,
    statistics: Mapping[str, Statistics],
    settings: Settings,
    order: Callable[[], Sequence[Sensitivity]],
    score: Score,
    reference: float,
    max_drop: float,
    listener: Listener = ignore,
) -> Choice:
    """Return the first choice whose drop is allowed, or the best one that was found.

    Args:
        program: the float network.
        statistics: of its tensors.
        settings: to begin with.
        order: gives the layers, most sensitive first; called when 8 bits are not enough.
        score: of a program.
        reference: the float network's score.
        max_drop: allowed loss of score.
        listener: hears each try.
    """
    first = _try(program, statistics, settings, score, reference, ())
    listener(Note("compress", f"8 bits everywhere: {first.score:.4f}, drop {first.drop:.4f}"))
    if first.drop <= max_drop:
        return first
    best = first
    layers = [one.layer for one in order()]
    for count in (step for step in _STEPS if step <= len(layers)):
        chosen = tuple(layers[:count])
        wide = replace(settings, wide=_tensors(program, chosen))
        found = _try(program, statistics, wide, score, reference, chosen)
        text = f"16-bit activations in {count} layers: {found.score:.4f}, drop {found.drop:.4f}"
        listener(Note("compress", text))
        if found.drop < best.drop:
            best = found
        if found.drop <= max_drop:
            return found
    return best


def _try(
    program: Program,
    statistics: Mapping[str, Statistics],
    settings: Settings,
    score: Score,
    reference: float,
    wide: tuple[str, ...],
) -> Choice:
    made = quantise(program, statistics, settings)
    found = score(made)
    return Choice(made, settings, found, reference - found, wide)


def _tensors(program: Program, layers: Sequence[str]) -> frozenset[str]:
    """Return the float tensors that layers read and write."""
    named = set(layers)
    ops = [op for op in program.ops if op.name in named]
    return frozenset(name for op in ops for name in (*op.inputs, op.output))
