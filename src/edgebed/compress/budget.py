"""Quantise within a budget: 8 bits everywhere, 16 bits or float32 where a layer needs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from edgebed.compress.calibration import Statistics
from edgebed.compress.quantize import quantise
from edgebed.compress.scheme import Settings
from edgebed.compress.sensitivity import Sensitivity
from edgebed.events import Listener, Note, ignore
from edgebed.program.arithmetic import Wide
from edgebed.program.types import Program

Score = Callable[[Program], float]
Possible = Callable[[Program], bool]
_IN_WORDS = {"int16": "16-bit activations", "float32": "float32"}
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
        floats: layers that stay float32 because 8 bits are not enough.
    """

    program: Program
    settings: Settings
    score: float
    drop: float
    wide: tuple[str, ...] = ()
    floats: tuple[str, ...] = ()


@dataclass(frozen=True)
class Remedy:
    """What may be done where 8 bits are not enough.

    Attributes:
        kind: 16-bit activations, float32, or nothing.
        possible: says whether the target can compute a network in which a layer was changed;
            None where it always can.
    """

    kind: Wide = "int16"
    possible: Possible | None = None

    def settings(self, program: Program, given: Settings, layers: Sequence[str]) -> Settings:
        """Return the settings under which these layers are no longer of 8 bits."""
        if self.kind == "float32":
            return replace(given, floats=given.floats | frozenset(layers))
        return replace(given, wide=_tensors(program, layers))

    def noted(self, choice: Choice, layers: tuple[str, ...]) -> Choice:
        """Return a choice that names the layers that are no longer of 8 bits."""
        if self.kind == "float32":
            return replace(choice, floats=layers)
        return replace(choice, wide=layers)


DEFAULT = Remedy()


def within(
    program: Program,
    statistics: Mapping[str, Statistics],
    settings: Settings,
    order: Callable[[], Sequence[Sensitivity]],
    score: Score,
    reference: float,
    max_drop: float,
    listener: Listener = ignore,
    remedy: Remedy = DEFAULT,
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
        remedy: what may be done where 8 bits are not enough.
    """
    first = _try(program, statistics, settings, score, reference)
    listener(Note("compress", f"8 bits everywhere: {first.score:.4f}, drop {first.drop:.4f}"))
    if first.drop <= max_drop or remedy.kind == "none":
        return first
    best = first
    layers = _candidates(program, statistics, settings, order(), remedy)
    for count in (step for step in _STEPS if step <= len(layers)):
        chosen = tuple(layers[:count])
        changed = remedy.settings(program, settings, chosen)
        found = _try(program, statistics, changed, score, reference)
        found = remedy.noted(found, chosen)
        text = f"{_IN_WORDS[remedy.kind]} in {count} layer{'s' if count > 1 else ''}"
        listener(Note("compress", f"{text}: {found.score:.4f}, drop {found.drop:.4f}"))
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
) -> Choice:
    made = quantise(program, statistics, settings)
    found = score(made)
    return Choice(made, settings, found, reference - found)


def _candidates(
    program: Program,
    statistics: Mapping[str, Statistics],
    settings: Settings,
    order: Sequence[Sensitivity],
    remedy: Remedy,
) -> list[str]:
    """Return the layers that the target can compute after the change, most sensitive first."""
    layers = [one.layer for one in order]
    if remedy.possible is None:
        return layers
    found = []
    for layer in layers:
        changed = remedy.settings(program, settings, (layer,))
        if remedy.possible(quantise(program, statistics, changed)):
            found.append(layer)
    return found


def _tensors(program: Program, layers: Sequence[str]) -> frozenset[str]:
    """Return the float tensors that layers read and write."""
    named = set(layers)
    ops = [op for op in program.ops if op.name in named]
    return frozenset(name for op in ops for name in (*op.inputs, op.output))
