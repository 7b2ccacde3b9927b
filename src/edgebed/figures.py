"""A number with its unit and the way it was obtained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["measured", "emulated", "estimated"]


@dataclass(frozen=True)
class Figure:
    """One reported number.

    Attributes:
        value: the number, in `unit`.
        unit: `ms`, `mJ`, `bytes`, `cycles`, `instructions`, ...
        kind: `measured` by a clock here, `emulated` (counted on a virtual device) or `estimated`
            (computed by a model).
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
        band = f" ({self.low:.4g} to {self.high:.4g})" if self.low is not None and self.high else ""
        return f"{self.value:.4g} {self.unit}{band}, {self.kind}"

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
