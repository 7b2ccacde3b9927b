"""Detections that a contract, or a variation of it, makes of a device's outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final

import numpy as np

from edgebed.data.fixed_decode import decode_fixed
from edgebed.errors import EdgebedError
from edgebed.observe.observed import Observed, Signal
from edgebed.observe.recorders.described import rows_of
from edgebed.program.contract import Contract, Nms
from edgebed.program.types import Array

SCORE: Final = 2e-3
"""Scores of two decoders differ by less: tables of the integer one are good to 1e-4 each."""
PLACE: Final = 0.005
"""Corners of two decoders differ by less, in shares of the picture's side."""
EXACT: Final = 1e-6
"""Scores and corners of one and the same integer decoder."""
ALIKE: Final = 0.98
"""Agreement of two decoders in real numbers: a box in fifty lies at a threshold."""
STEPS: Final = float(1 << 24)
"""Of the largest output, when real outputs are decoded in integers."""
ALL: Final = 4096
"""Most candidates of a frame; firmware keeps some hundred."""

Rows = Array
"""n x 6: class, score, x1, y1, x2, y2 in pixels of the network's input."""
Overlap = Callable[[Rows], Array]
"""From candidates, best first, to the matrix of their overlaps (intersection over union)."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What a device made of its outputs.

    Attributes:
        contract: that the answers shall follow.
        name: of the decoded output.
        outputs: integers of each frame, channels x rows x columns.
        scale: real value of one of their steps.
        given: the device's detections of each frame.
    """

    contract: Contract
    name: str
    outputs: tuple[Array, ...]
    scale: float
    given: tuple[Rows, ...]
    _candidates: dict[float, tuple[Rows, ...]] = field(default_factory=dict, repr=False)

    @cached_property
    def expected(self) -> tuple[Rows, ...]:
        """What the contract makes of the outputs."""
        return self.decoded()

    @cached_property
    def agreement(self) -> float:
        """Share of detections that given and expected ones have in common."""
        return self.agrees(self.expected)

    def hardest(self, most: int) -> Answers:
        """Return at most so many frames that agree the least, those first that tell the most."""
        if len(self.given) <= most:
            return self
        shares = [
            self.agrees_in(one, other) for one, other in zip(self.given, self.expected, strict=True)
        ]
        order = sorted(range(len(shares)), key=lambda at: (shares[at], self.telling(at)))
        return self.at(sorted(order[:most]))

    def telling(self, place: int) -> tuple[int, float]:
        """Return what frames are sorted by: a full list of sure boxes hides a threshold."""
        rows = self.given[place]
        return len(rows), float(rows[:, 1].min(initial=1.0))

    def at(self, places: Sequence[int]) -> Answers:
        """Return the answers of some frames."""
        return replace(
            self,
            outputs=tuple(self.outputs[at] for at in places),
            given=tuple(self.given[at] for at in places),
            _candidates={},
        )

    @cached_property
    def is_exact(self) -> bool:
        """Whether the detections that both have are equal to the last digit."""
        pairs = [paired(a, b, self.reach) for a, b in zip(self.given, self.expected, strict=True)]
        gaps = [
            float(np.abs(a[left, 1:] - b[right, 1:]).max())
            for (left, right), a, b in zip(pairs, self.given, self.expected, strict=True)
            if len(left)
        ]
        return bool(gaps) and max(gaps) <= EXACT

    @property
    def reach(self) -> Array:
        """Tolerance of score and corners."""
        picture = self.contract.input
        sides = [picture.width, picture.height] * 2
        return np.array([SCORE, *(PLACE * side for side in sides)])

    def agrees(self, other: Sequence[Rows]) -> float:
        """Return the share of detections that given and predicted ones have in common."""
        both = zip(self.given, other, strict=True)
        common = sum(2 * len(paired(a, b, self.reach)[0]) for a, b in both)
        total = sum(map(len, self.given)) + sum(map(len, other))
        return common / total if total else 1.0

    def agrees_in(self, left: Rows, right: Rows) -> float:
        """Return the share of detections that two lists of one frame have in common."""
        total = len(left) + len(right)
        return 2 * len(paired(left, right, self.reach)[0]) / total if total else 1.0

    def decoded(
        self, factor: float = 1.0, least_confidence: float | None = None, **nms: Any
    ) -> tuple[Rows, ...]:
        """Return the detections of another decoding.

        Args:
            factor: of the scale.
            least_confidence: raw integer that a box's confidence must reach; None for any.
            nms: fields of the contract's `Nms` with other values.
        """
        changed = replace(self.contract, nms=replace(self.contract.nms, **nms))
        maps = (self._confident(one, least_confidence) for one in self.outputs)
        return tuple(
            rows_of(decode_fixed(one, self.scale * factor, changed), changed) for one in maps
        )

    def candidates(self, factor: float = 1.0) -> tuple[Rows, ...]:
        """Return all pairs of box and class, whatever they score or overlap, best first."""
        if factor not in self._candidates:
            self._candidates[factor] = self.decoded(factor, **EVERYTHING)
        return self._candidates[factor]

    def confidences(self) -> tuple[Array, ...]:
        """Return the raw confidence of every box of each frame."""
        boxes = range(self.contract.decode.boxes)
        return tuple(np.concatenate([one[5 * b + 4] for b in boxes]) for one in self.outputs)

    def _confident(self, output: Array, least: float | None) -> Array:
        """Return the output with the confidence of boxes below `least` at the lowest integer."""
        if least is None:
            return output
        changed = output.astype(np.int64)
        for box in range(self.contract.decode.boxes):
            row = changed[5 * box + 4]
            row[row < least] = np.iinfo(np.int32).min
        return changed


EVERYTHING: Final[Mapping[str, Any]] = {
    "score": 0.0, "iou": 1.0, "maximum": ALL, "candidates": ALL,
}  # fmt: skip


def answers_of(reference: Observed, device: Observed) -> Answers | None:
    """Return a device's answers and outputs; None where they, or the contract, are not known.

    The contract is the reference's, where that has one.
    """
    rows = _rows(device)
    contract = _contract(reference) or _contract(device)
    if rows is None or contract is None:
        return None
    grid = contract.decode
    wanted = (contract.output_channels, grid.grid_height, grid.grid_width)
    for name, signal in device.outputs.items():
        if signal.stored[0].shape == wanted:
            outputs, scale = _integers(signal)
            return Answers(contract, name, outputs, scale, rows)
    return None


def paired(left: Rows, right: Rows, reach: Array) -> tuple[Array, Array]:
    """Return the places of detections that are the same on both sides; each is used once.

    Args:
        left: detections.
        right: detections.
        reach: tolerance of score and corners.
    """
    found: list[tuple[int, int]] = []
    free = np.ones(len(right), bool)
    for place, row in enumerate(left):
        near = (np.abs(right[:, 1:] - row[1:]) <= reach).all(1) & (right[:, 0] == row[0]) & free
        if near.any():
            gaps = np.abs(right[:, 1:] - row[1:]).max(1)
            best = int(np.where(near, gaps, np.inf).argmin())
            free[best] = False
            found.append((place, best))
    places = np.array(found, np.int64).reshape(-1, 2)
    return places[:, 0], places[:, 1]


def suppressed(rows: Rows, nms: Nms, overlap: Overlap, any_class: bool = False) -> Rows:
    """Return what greedy suppression leaves.

    Args:
        rows: candidates, best first.
        nms: its limits.
        overlap: of all pairs.
        any_class: a box also drops those of other classes.
    """
    rows = rows[rows[:, 1] >= nms.score - EXACT][: nms.candidates]
    near = overlap(rows) > nms.iou
    if not any_class:
        near &= rows[:, None, 0] == rows[None, :, 0]
    kept: list[int] = []
    for place in range(len(rows)):
        if len(kept) < nms.maximum and not near[place, kept].any():
            kept.append(place)
    return rows[kept]


def overlap(rows: Rows) -> Array:
    """Return intersection over union of all pairs of boxes."""
    a, b = rows[:, None, 2:], rows[None, :, 2:]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = np.maximum(sides, 0).prod(-1)
    areas = (rows[:, 4:] - rows[:, 2:4]).prod(-1)
    result: Array = shared / np.maximum(areas[:, None] + areas[None] - shared, EXACT)
    return result


def overlap_of_best_size(rows: Rows) -> Array:
    """Return overlaps as they were if every box had the size of the best one."""
    if not len(rows):
        return np.zeros((0, 0))
    middle, size = (rows[:, 2:4] + rows[:, 4:]) / 2, rows[0, 4:] - rows[0, 2:4]
    return overlap(np.column_stack([rows[:, :2], middle - size / 2, middle + size / 2]))


def _rows(device: Observed) -> tuple[Rows, ...] | None:
    for signal in device.answers.values():
        if all(one.ndim == 2 and one.shape[1] == 6 for one in signal.stored):
            return tuple(one.astype(np.float64) for one in signal.stored)
    return None


def _contract(side: Observed) -> Contract | None:
    try:
        return Contract.from_json(side.contract)
    except (EdgebedError, KeyError, TypeError, ValueError):
        return None  # none, or of something that is no detector


def _integers(signal: Signal) -> tuple[tuple[Array, ...], float]:
    """Return outputs as integers, and the real value of a step."""
    if signal.scale is not None:
        return tuple(
            one.astype(np.int64) - signal.zero_point for one in signal.stored
        ), signal.scale
    largest = max((float(np.abs(one).max(initial=0.0)) for one in signal.stored), default=0.0)
    step = (largest or 1.0) / STEPS
    return tuple(np.rint(one / step).astype(np.int64) for one in signal.stored), step
