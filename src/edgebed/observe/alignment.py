"""Aligning two orders of execution by size, kind of op and values."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from edgebed.observe.axes import Rearrangement, pearson, rearrangements, sample_positions
from edgebed.observe.parts import let_go
from edgebed.observe.trace import Frame, Role, Tensor
from edgebed.program.types import Array

UNLIKE: Final = 1e-4
"""Correlations of 1 - UNLIKE and more are as good as 1: clean quantisation reaches it."""
FAMILIES: Final = (
    ("depthwise", ("depthwise",)), ("conv", ("conv",)), ("pool", ("pool", "reducemean", "mean")),
    ("dense", ("dense", "gemm", "matmul", "fullyconnected", "linear")), ("add", ("add",)),
    ("multiply", ("mul",)), ("softmax", ("softmax",)), ("concat", ("concat",)),
    ("norm", ("norm",)), ("resize", ("resize", "upsample")), ("pad", ("pad",)),
    ("clip", ("relu", "clip", "hardswish", "silu")),
    ("move", ("reshape", "flatten", "transpose", "squeeze", "identity")),
)  # fmt: skip

BAND: Final = 32
"""Layers further apart than this, beyond the difference in number, are not looked at."""

Key = tuple[Role, str]


def by_key(frame: Frame) -> dict[Key, Tensor]:
    """Return a frame's tensors by role and name; of several with one name, the first.

    Answers are left out: their rows differ in number and order, so no place has a partner.
    """
    found: dict[Key, Tensor] = {}
    for one in frame.tensors:
        if one.role != "answer":
            found.setdefault((one.role, one.name), one)
    return found


class Samples:
    """A few values of every tensor of some frames, and how well tensors of two traces fit.

    Args:
        frames: at least one pair; what is not in the first is not looked at.

    Attributes:
        left: tensors of the first frame, by role and name.
        right: the same of the other trace.
    """

    def __init__(self, frames: Sequence[tuple[Frame, Frame]]) -> None:
        self._frames = [(by_key(a), by_key(b)) for a, b in frames]
        self.left, self.right = self._frames[0]
        self._flat: dict[Key, list[Array | None]] = {}
        self._moved: dict[tuple[Key, Rearrangement], list[Array | None]] = {}

    def score(self, left: Key, right: Key) -> float:
        """Return how well two tensors fit; 0 where their sizes differ."""
        a, b = self.left[left], self.right[right]
        if size_of(a) != size_of(b):
            return 0.0
        kinds = family(a.kind), family(b.kind)
        score = 0.6 if not all(kinds) else 0.8 if kinds[0] == kinds[1] else 0.4
        unlike = 1 - max(self._likeness(left, right), 0.0)
        return score - math.log10(unlike + UNLIKE)

    def ways(
        self, left: Key, right: Key, most: int | None = None
    ) -> list[tuple[float, Rearrangement]]:
        """Return every way the values may lie with its mean correlation, natural ones first.

        Args:
            left: of the reference.
            right: of the other trace.
            most: frames to look at; None for all.
        """
        a, b = self.left[left], self.right[right]
        found = []
        for order in rearrangements(a.shape, b.shape, a.layout, b.layout):
            pairs = list(zip(self._reference(left), self._device(right, order), strict=True))
            scores = [pearson(x, y) for x, y in pairs[:most] if x is not None and y is not None]
            found.append((float(np.mean(scores)) if scores else 0.0, order))
        return found

    def _likeness(self, left: Key, right: Key) -> float:
        """Return the best correlation; of statistics, how close mean and deviation are."""
        a, b = self.left[left], self.right[right]
        if a.values is not None and b.values is not None:
            first = max(score for score, _ in self.ways(left, right, 1))
            return first or max(score for score, _ in self.ways(left, right))
        if a.statistics is None or b.statistics is None:
            return 0.0
        x, y = a.statistics, b.statistics
        unit = max(x.high - x.low, y.high - y.low) or 1.0
        gap = abs(x.mean - y.mean) + abs(x.deviation - y.deviation)
        return max(0.0, 1 - 5 * gap / unit)

    def _reference(self, key: Key) -> list[Array | None]:
        if key not in self._flat:
            shape = self.left[key].shape
            where = sample_positions(math.prod(shape))
            self._flat[key] = [
                None
                if (one := _whole(frame, key, shape)) is None
                else _real(one[0], one[1].reshape(-1)[where])
                for frame, _ in self._frames
            ]
            let_all_go(self._frames, key, 0)
        return self._flat[key]

    def _device(self, key: Key, order: Rearrangement) -> list[Array | None]:
        if (key, order) not in self._moved:
            shape = self.right[key].shape
            where = sample_positions(math.prod(shape))
            self._moved[key, order] = [
                None
                if (one := _whole(frame, key, shape)) is None
                else _real(one[0], order.sampled(one[1], where))
                for _, frame in self._frames
            ]
            let_all_go(self._frames, key, 1)
        return self._moved[key, order]


def let_all_go(frames: Sequence[tuple[dict[Key, Tensor], ...]], key: Key, side: int) -> None:
    """Give back the memory of a tensor of which a few values were looked at."""
    for pair in frames:
        one = pair[side].get(key)
        if one is not None and one.values is not None:
            let_go(one.values)


def align(
    left: Sequence[Key], right: Sequence[Key], score: Callable[[Key, Key], float]
) -> list[tuple[Key, Key]]:
    """Return the pairs, ascending in both orders, whose scores have the largest sum.

    Args:
        left: of the reference, in order.
        right: of the other trace, in order.
        score: of a pair; 0 where it cannot be one.
    """
    if not left or not right:
        return []
    scores = _scores(left, right, score)
    best = np.zeros((len(left) + 1, len(right) + 1))
    for i in range(len(left)):
        for j in range(len(right)):
            both = best[i, j] + scores[i, j] if scores[i, j] > 0 else -1.0
            best[i + 1, j + 1] = max(best[i, j + 1], best[i + 1, j], both)
    found = []
    i, j = len(left), len(right)
    while i and j:
        if best[i, j] == best[i - 1, j]:
            i -= 1
        elif best[i, j] == best[i, j - 1]:
            j -= 1
        else:
            i, j = i - 1, j - 1
            found.append((left[i], right[j]))
    return found[::-1]


def _scores(left: Sequence[Key], right: Sequence[Key], score: Callable[[Key, Key], float]) -> Array:
    band = abs(len(left) - len(right)) + BAND
    scores = np.zeros((len(left), len(right)))
    for i, key in enumerate(left):
        for j in range(max(0, i - band), min(len(right), i + band + 1)):
            scores[i, j] = score(key, right[j])
    return scores


def family(kind: str) -> str:
    """Return the family of an op's kind, whatever runtime named it; empty where unknown."""
    plain = "".join(letter for letter in kind.lower() if letter.isalnum())
    return next((name for name, stems in FAMILIES if any(s in plain for s in stems)), plain)


def size_of(tensor: Tensor) -> int:
    """Return the number of values."""
    return math.prod(tensor.shape)


def _whole(
    frame: dict[Key, Tensor], key: Key, shape: tuple[int, ...]
) -> tuple[Tensor, Array] | None:
    """Return a frame's tensor and its values, if it has them in this shape."""
    one = frame.get(key)
    if one is None or one.values is None or one.shape != shape:
        return None
    return one, one.values


def _real(tensor: Tensor, values: Array) -> Array:
    """Return some of a tensor's values as real numbers; the others need no conversion."""
    real = values.astype(np.float64)
    return real if tensor.scale is None else (real - tensor.zero_point) * tensor.scale
