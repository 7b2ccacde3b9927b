"""One trace of a comparison: where it comes from, and the means of its figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgebed.figures import Figure
from edgebed.observe.trace import Frame, Manifest


@dataclass(frozen=True)
class Side:
    """One of the traces.

    Attributes:
        path: of the file.
        manifest: of the trace.
        frames: whole frames read, paired or not.
        cut: why it ends before its end; empty where it does not.
        figures: of a frame by name, means over the paired frames.
        layers: figures by layer and name, means over the paired frames.
    """

    path: Path
    manifest: Manifest
    frames: int
    cut: str
    figures: Mapping[str, Figure]
    layers: Mapping[str, Mapping[str, Figure]]


@dataclass
class Means:
    """Figures of one side, summed over frames."""

    sums: dict[tuple[str, str], tuple[float, int, Figure]] = field(default_factory=dict)

    def add(self, frame: Frame) -> None:
        """Take the figures of a frame in."""
        for layer, figures in {"": frame.figures, **frame.layer_figures}.items():
            for name, figure in figures.items():
                total, count, _ = self.sums.get((layer, name), (0.0, 0, figure))
                self.sums[layer, name] = (total + figure.value, count + 1, figure)

    def of(self, layer: str) -> dict[str, Figure]:
        """Return the mean figures of a layer; of whole frames for the empty name."""
        return {
            name: replace(figure, value=total / count, low=None, high=None)
            for (where, name), (total, count, figure) in self.sums.items()
            if where == layer
        }

    def layers(self) -> dict[str, dict[str, Figure]]:
        """Return the mean figures of every layer."""
        return {layer: self.of(layer) for layer, _ in self.sums if layer}
