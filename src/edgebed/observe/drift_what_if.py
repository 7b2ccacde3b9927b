"""What pictures would look like turned, mirrored or with other channels: learned from themselves.

No single number tells an upright picture from one upside down, many together do: skies are bright,
light comes from above, legs stand below heads. When a profile is made, every picture of the
reference is also looked at turned and mirrored and with red and blue swapped, and a linear
discriminant (ridge regression, the two kinds as 0 and 1) is fitted for each. What it says of a
frame is one feature more: `like turned by 180 degrees`. Of the reference's own frames it is said
by discriminants that were fitted without them and their neighbours, in FOLDS parts, so it is not
better on them than on new ones.

Forms: how strong edges of each of 8 signed directions are in each of 3 x 3 cells (as histograms of
oriented gradients, Dalal and Triggs, 2005, but with signs), and the cells' brightness. Colours:
contrast, sharpness, grain and differences of the channels, also of dark, middle and bright pixels.
Neither changes with brightness or contrast of the whole picture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from edgebed.program.types import Array

LIKE: Final = "like "
"""Begins the names of these features."""
LEAST: Final = 64
"""Frames to learn from."""
LEAST_SIDE: Final = 16
"""Pixels on either side; sounds in coefficients have fewer and no up and down."""
FOLDS: Final = 10
_CELLS: Final = 3
_DIRECTIONS: Final = 8
_FORMS: Final = _CELLS * _CELLS * (_DIRECTIONS + 1)
_SIDE_OF_FORMS: Final = 64
_SIDE_OF_COLOURS: Final = 128
"""Pixels of a side, about, at most: grain tells colours apart, but no turns."""
_RIDGE: Final = 0.3
_SMALL: Final = 1e-3
_SWAPPED: Final = "channels 2, 1, 0"

Change = Callable[[Array], Array]
TURNS: Final[Mapping[str, Change]] = {
    "turned by 90 degrees to the left": lambda planes: np.rot90(planes, 1, (1, 2)),
    "turned by 180 degrees": lambda planes: np.rot90(planes, 2, (1, 2)),
    "turned by 90 degrees to the right": lambda planes: np.rot90(planes, 3, (1, 2)),
    "mirrored": lambda planes: planes[:, :, ::-1],
}
CHANNELS: Final[Mapping[str, Change]] = {_SWAPPED: lambda planes: planes[::-1]}


@dataclass(frozen=True)
class WhatIf:
    """Discriminants of one tensor.

    Attributes:
        faults: what each tells from the reference.
        weights: of each, for forms or for colours.
        offsets: of each.
        expected: mean of every discriminant over pictures with each fault, faults x faults.
    """

    faults: tuple[str, ...]
    weights: tuple[tuple[float, ...], ...]
    offsets: tuple[float, ...]
    expected: tuple[tuple[float, ...], ...]

    def features(self, view: Array) -> dict[str, float]:
        """Return what the discriminants say of a picture, by its description of `views`."""
        return {
            LIKE + name: float(np.dot(_part(view, name), row)) + offset
            for name, row, offset in zip(self.faults, self.weights, self.offsets, strict=True)
            if _part(view, name).size == len(row)
        }


def views(planes: Array, faults: bool = False) -> dict[str, Array]:
    """Return the description of a picture as it is (""), and what of it each fault changes.

    Args:
        planes: channels x rows x columns; too small ones give nothing.
        faults: those too.
    """
    if min(planes.shape[1:]) < LEAST_SIDE:
        return {}
    small, fine = _small(planes, _SIDE_OF_FORMS), _small(planes, _SIDE_OF_COLOURS)
    found = {"": np.concatenate([forms(small), colours(fine)])}
    if faults:
        found |= {name: forms(change(small)) for name, change in TURNS.items()}
        colourful = CHANNELS if len(planes) == 3 else {}
        found |= {name: colours(change(fine)) for name, change in colourful.items()}
    return found


def learned(seen: Sequence[Mapping[str, Array]]) -> tuple[WhatIf, list[dict[str, float]]] | None:
    """Return discriminants, and what others that never saw it say of each frame.

    Args:
        seen: `views` of the reference's frames in order, with faults; none of them empty.

    Returns:
        None where there are too few frames.
    """
    faults = [name for name in seen[0] if name] if seen else []
    if len(seen) < LEAST or not faults:
        return None
    tables = {name: np.array([one[name] for one in seen]) for name in seen[0]}
    fitted = {name: _fitted(tables, name) for name in faults}
    expected = tuple(
        tuple(_said(tables, fault, (name, fitted[name])) for name in faults) for fault in faults
    )
    rows = {LIKE + name: fitted[name].unseen_of(_part(tables[""], name)) for name in faults}
    scores = [{key: float(row[at]) for key, row in rows.items()} for at in range(len(seen))]
    return WhatIf(
        tuple(faults), tuple(tuple(fitted[name].weights.tolist()) for name in faults),
        tuple(fitted[name].offset for name in faults), expected,
    ), scores  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Fitted:
    """Weights and offset by all frames, and by all but those of each fold."""

    weights: Array
    offset: float
    folds: tuple[tuple[Array, float], ...]

    def unseen_of(self, table: Array) -> Array:
        """Return what is said of each frame by those that never saw it."""
        fold = _folds(len(table))
        result: Array = np.concatenate([
            table[fold == at] @ weights + offset for at, (weights, offset) in enumerate(self.folds)
        ])  # fmt: skip
        return result


def _part(table: Array, fault: str) -> Array:
    return table[..., _FORMS:] if fault in CHANNELS else table[..., :_FORMS]


def _said(tables: Mapping[str, Array], changed: str, by: tuple[str, _Fitted]) -> float:
    """Return the mean that discriminants give pictures with a fault that they never saw."""
    name, fitted = by
    same = (name in CHANNELS) == (changed in CHANNELS)  # a turn changes no colours
    return float(fitted.unseen_of(tables[changed] if same else _part(tables[""], name)).mean())


def _fitted(tables: Mapping[str, Array], fault: str) -> _Fitted:
    one, other = _part(tables[""], fault), tables[fault]
    fold = _folds(len(one))
    folds = tuple(_ridge(one[fold != at], other[fold != at]) for at in range(FOLDS))
    return _Fitted(*_ridge(one, other), folds)


def _folds(count: int) -> Array:
    """Return the part of each frame; neighbours are in one, they may resemble each other."""
    result: Array = np.arange(count) * FOLDS // count
    return result


def _ridge(one: Array, other: Array) -> tuple[Array, float]:
    """Return weights and offset of what is 0 on average for `one` and 1 for `other`."""
    both = np.concatenate([one, other])
    middle, spread = both.mean(0), both.std(0) + 1e-6
    table = (both - middle) / spread
    wanted = np.repeat([-0.5, 0.5], [len(one), len(other)])
    square = table.T @ table + _RIDGE * len(table) * np.eye(table.shape[1])
    weights: Array = np.linalg.solve(square, table.T @ wanted) / spread
    return weights, float(0.5 - middle @ weights)


# ---- descriptions ----


def _small(planes: Array, side: int) -> Array:
    """Return means of squares of pixels, so that no side has over twice as many."""
    by = max(-(-max(planes.shape[1:]) // side), 1)
    by = min(by, max(min(planes.shape[1:]) // LEAST_SIDE, 1))
    if by == 1:
        return planes
    channels, rows, columns = planes.shape[0], planes.shape[1] // by, planes.shape[2] // by
    cut = planes[:, : rows * by, : columns * by].reshape(channels, rows, by, columns, by)
    result: Array = cut.mean((2, 4))
    return result


def forms(planes: Array) -> Array:
    """Return edges by cell and direction, and brightness by cell; float64."""
    grey = planes.mean(0, dtype=np.float64)
    down, right = np.gradient(grey)
    size = np.hypot(down, right)
    turn = np.arctan2(down, right) / (2 * np.pi) * _DIRECTIONS
    direction = np.round(turn).astype(np.int64) % _DIRECTIONS
    rows, columns = (np.arange(n) * _CELLS // n for n in grey.shape)
    cell = rows[:, None] * _CELLS + columns
    count = _CELLS * _CELLS
    edges = np.bincount((cell * _DIRECTIONS + direction).ravel(), size.ravel(), count * _DIRECTIONS)
    edges = np.sqrt(edges / (edges.sum() + 1e-9) * count)
    light = np.bincount(cell.ravel(), grey.ravel(), count) / np.bincount(cell.ravel())
    return np.concatenate([edges, (light - grey.mean()) / _spread(planes)])


def colours(planes: Array) -> Array:
    """Return how the channels differ, float64; nothing for other than three of them."""
    if len(planes) != 3:
        return np.zeros(0)
    spread = _spread(planes)
    real = planes.astype(np.float64) / spread
    grain = [np.log([_steps(one, times) + _SMALL for times in (0, 1, 2)]) for one in real]
    found = [grain[0] - grain[1], grain[1] - grain[2], grain[0] - grain[2]]
    grey = real.mean(0)
    low, high = np.quantile(grey, (1 / 3, 2 / 3))
    tones = grey <= low, (grey > low) & (grey < high), grey >= high
    for one, other in ((0, 1), (1, 2), (0, 2)):
        found.append(_difference(real[one] - real[other], tones))
    return np.concatenate(found)


def _difference(gap: Array, tones: tuple[Array, ...]) -> Array:
    by_tone = [float((gap * mask).sum() / max(mask.sum(), 1)) for mask in tones]
    return np.array([
        gap.mean(), np.log(gap.std() + _SMALL), np.maximum(gap, 0).mean(),
        np.maximum(-gap, 0).mean(), (gap > 0.2).mean(), (gap < -0.2).mean(),
        np.clip(gap**3, -5, 5).mean(), np.log(_steps(gap, 1) + _SMALL), *by_tone,
    ])  # fmt: skip


def _steps(plane: Array, times: int) -> float:
    """Return deviation (0), or mean size of first or second differences."""
    if not times:
        return float(plane.std())
    return float(sum(np.abs(np.diff(plane, times, axis)).mean() for axis in (0, 1)))


def _spread(planes: Array) -> float:
    """Return the deviation of all values, never 0."""
    spread = float(planes.std(dtype=np.float64))
    return spread if spread > 1e-12 else 1.0
