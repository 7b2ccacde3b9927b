"""`edgebed targets --fit MODEL`: which devices a network fits, and what it costs there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from edgebed.cli.text import table
from edgebed.errors import EdgebedError
from edgebed.figures import Figure, number
from edgebed.program.types import Program

COLUMNS: Final[Mapping[str, Sequence[str]]] = {
    "RAM": ("ram", "data"),
    "flash": ("flash", "weights"),
    "time": ("time",),
    "energy": ("energy",),
}
"""Column of the table: names of the figure, the first that a target has."""


@dataclass(frozen=True)
class Fit:
    """How a network fits a device.

    Attributes:
        target: the device.
        cpu: its core; empty where it has one only.
        problems: why it does not fit; empty when it does.
        figures: its cost by the figure's name.
    """

    target: str
    cpu: str
    problems: tuple[str, ...] = ()
    figures: Mapping[str, Figure] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "target": self.target,
            "cpu": self.cpu,
            "fits": not self.problems,
            "problems": list(self.problems),
            "figures": {name: figure.to_json() for name, figure in self.figures.items()},
        }


def fits(model: Path) -> list[Fit]:
    """Return how a model fits every device and core.

    Raises:
        EdgebedError: the model cannot be read.
    """
    from edgebed.compile.passes import optimise
    from edgebed.program.read import read_model
    from edgebed.targets import describe, names

    program, _ = optimise(read_model(model))
    found = []
    for name in names():
        cores = describe(name).get("cores") or {"": {}}
        found += [_fit(program, name, cpu) for cpu in cores]
    return found


def _fit(program: Program, name: str, cpu: str) -> Fit:
    from edgebed.targets import load

    try:
        device: Any = load(name)
        if cpu:
            device = device.with_options({"cpu": cpu})
        problems = [one for one in device.check(program) if not one.warning]
        if problems:
            return Fit(name, cpu, tuple(str(one) for one in problems))
        return Fit(name, cpu, (), device.cost(program).total)
    except EdgebedError as error:
        return Fit(name, cpu, (str(error),))


def lines(found: Sequence[Fit]) -> Iterator[str]:
    """Give the table: a row a device; every figure with its kind."""
    yield from table([_row(one) for one in found])
    for one in found:
        if one.problems:
            more = len(one.problems) - 1
            rest = f" (and {more} more)" if more else ""
            yield f"{' '.join([one.target, one.cpu]).strip()}: {one.problems[0]}{rest}"


def _row(fit: Fit) -> dict[str, str]:
    cells = {
        title: next((_cell(fit.figures[n]) for n in names if n in fit.figures), "-")
        for title, names in COLUMNS.items()
    }
    return {
        "target": fit.target,
        "core": fit.cpu or "-",
        "fits": "no" if fit.problems else "yes",
        **cells,
    }


def _cell(figure: Figure) -> str:
    return f"{number(figure.value)} {figure.unit} {figure.kind}"
