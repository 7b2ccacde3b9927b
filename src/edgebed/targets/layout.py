"""How a program lies on a device: a table of device layers and maps of its memories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any


@dataclass(frozen=True)
class Region:
    """A part of a memory.

    Attributes:
        name: what it holds.
        layer: number of the device layer that it belongs to; -1 for the network's input.
        x: half-open range across.
        y: half-open range up.
    """

    name: str
    layer: int
    x: tuple[float, float]
    y: tuple[float, float]


@dataclass(frozen=True)
class MemoryMap:
    """Which part of a memory belongs to what.

    Attributes:
        title: the memory.
        x_label: what runs across (processor, layer).
        y_label: what runs up, with its unit.
        x: range across.
        y: range up: the memory's size.
        regions: the parts in use.
    """

    title: str
    x_label: str
    y_label: str
    x: tuple[float, float]
    y: tuple[float, float]
    regions: tuple[Region, ...]

    @property
    def used(self) -> float:
        """Share of the map's area that is in use, 0 to 1; what overlaps counts once."""
        edges = sorted({edge for region in self.regions for edge in region.x})
        area = 0.0
        for left, right in pairwise(edges):
            spans = [r.y for r in self.regions if r.x[0] <= left and right <= r.x[1]]
            area += (right - left) * _covered(spans)
        return area / ((self.x[1] - self.x[0]) * (self.y[1] - self.y[0]))


def _covered(spans: Sequence[tuple[float, float]]) -> float:
    """Return the length that half-open spans cover together."""
    total, end = 0.0, float("-inf")
    for low, high in sorted(spans):
        total += max(0.0, high - max(low, end))
        end = max(end, high)
    return total


@dataclass(frozen=True)
class Layout:
    """A placed program.

    Attributes:
        layers: one row of named cells a device layer, every row with the same names.
        maps: the memories.
    """

    layers: tuple[Mapping[str, str], ...]
    maps: tuple[MemoryMap, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the plain form that `plan.json` stores."""
        return {
            "layers": [dict(row) for row in self.layers],
            "maps": [asdict(m) for m in self.maps],
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Layout:
        """Read what `to_json` wrote."""
        return Layout(tuple(data["layers"]), tuple(_map(one) for one in data["maps"]))


def _map(data: Mapping[str, Any]) -> MemoryMap:
    regions = tuple(
        Region(one["name"], one["layer"], _pair(one["x"]), _pair(one["y"]))
        for one in data["regions"]
    )
    return MemoryMap(
        title=data["title"],
        x_label=data["x_label"],
        y_label=data["y_label"],
        x=_pair(data["x"]),
        y=_pair(data["y"]),
        regions=regions,
    )


def _pair(values: Any) -> tuple[float, float]:
    low, high = values
    return low, high
