"""A number with its unit and the way it was obtained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgebed.errors import EdgebedError

Kind = Literal["measured", "emulated", "estimated"]


@dataclass(frozen=True)
class Figure:
    """One reported number.

    Attributes:
        value: the number, in `unit`.
        unit: `ms`, `mJ`, `bytes`, `cycles`, `instructions`, ...
        kind: `measured` by a clock or a count here, `emulated` (counted on a virtual device) or
            `estimated` (computed by a model).
        source: where the number or its model comes from.
        low: lower end of the error band, in `unit`, where one is known.
        high: upper end.
    """

    value: float
    unit: str
    kind: Kind
    source: str
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        return f"{number(self.value)} {self.unit}{self.band}, {self.kind}"

    @property
    def band(self) -> str:
        """The error band as ` (7.8 to 8.95)`; empty where none is known."""
        if self.low is None or self.high is None:
            return ""
        return f" ({number(self.low)} to {number(self.high)})"

    def to_json(self) -> dict[str, float | str | None]:
        """Return the plain form that `metrics.json` stores."""
        return {
            "value": self.value,
            "unit": self.unit,
            "kind": self.kind,
            "source": self.source,
            "low": self.low,
            "high": self.high,
        }


def number(value: float) -> str:
    """Return a number for people: whole from 1,000 on, else four digits."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def parse_share(text: str) -> float:
    """Read `1%` or `0.01` as 0.01.

    Raises:
        EdgebedError: not a number from 0 to 1.
    """
    try:
        value = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise EdgebedError(f"{text!r} is not a share", where="--max-drop", try_="1% or 0.01")
    return value
