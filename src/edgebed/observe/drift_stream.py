"""A trace as numbers a frame: features, counts, and how much a frame repeats the one before."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from edgebed.observe.drift_features import features, likeness, picture
from edgebed.observe.drift_what_if import views
from edgebed.observe.parts import parts
from edgebed.observe.sketch import BINS, counts
from edgebed.observe.trace import Frame, Tensor
from edgebed.program.types import Array

WATCHED: Final = ("input", "layer", "output")
MOVING: Final = frozenset({"transpose", "reshape", "pad", "slice", "concat", "flatten"})
"""Ops, lower case, that only move values: what they give tells nothing new."""
COUNTED: Final = frozenset({"int8", "uint8", "int16", "uint16"})
"""Types whose integers are counted in groups of neighbours; others need edges between bins."""
FAR: Final = 16
"""Frames between two that are compared to know how alike unrelated ones are."""

Edges = Mapping[str, Array]


@dataclass(frozen=True, eq=False)
class Observation:
    """One frame.

    Attributes:
        number: of the frame.
        features: by `tensor/feature`.
        counts: BINS counts by tensor.
        alike: correlation of its first input with that of the frame before; None where unknown.
        far_alike: the same with a frame at least FAR before.
        still: whether every input equals that of the frame before in each value.
        bad: NaN and infinite values by tensor; those without any are left out.
        views: descriptions of input pictures, by tensor; see `drift_what_if.views`.
    """

    number: int
    features: Mapping[str, float]
    counts: Mapping[str, Array] = field(default_factory=dict)
    alike: float | None = None
    far_alike: float | None = None
    still: bool = False
    bad: Mapping[str, int] = field(default_factory=dict)
    views: Mapping[str, Mapping[str, Array]] = field(default_factory=dict)


def key_of(tensor: Tensor) -> str:
    """Return the tensor's name, with its role where that is no layer: `input x`."""
    return tensor.name if tensor.role == "layer" else f"{tensor.role} {tensor.name}"


def observations(
    frames: Iterable[Frame],
    edges: Edges | None = None,
    roles: Collection[str] = WATCHED,
    *,
    what_if: bool | None = False,
) -> Iterator[Observation]:
    """Give every frame as numbers.

    Args:
        frames: of a trace, in order.
        edges: between bins of tensors of real numbers; those without get no counts.
        roles: whose features and counts are wanted.
        what_if: describe pictures also with each fault; None describes none.
    """
    before: dict[str, Array] = {}
    far: Array | None = None
    for place, frame in enumerate(frames):
        inputs = {t.name: t.values for t in frame.of("input") if t.values is not None}
        first = _centred(frame)
        last = before.pop("", None)
        still = bool(inputs) and inputs.keys() == before.keys() and all(
            np.array_equal(values, before[name]) for name, values in inputs.items()
        )  # fmt: skip
        yield Observation(
            frame.number,
            _features(frame, roles), _counts(frame, edges or {}, roles),
            likeness(first, last) if first is not None and last is not None else None,
            likeness(first, far) if first is not None and far is not None and not place % FAR
            else None,
            still, _bad(frame), {} if what_if is None else _views(frame, what_if),
        )  # fmt: skip
        if not place % FAR:
            far = first
        before = dict(inputs)
        if first is not None:
            before[""] = first


def _features(frame: Frame, roles: Collection[str]) -> dict[str, float]:
    found = {}
    for tensor in frame.tensors:
        if tensor.role in roles and is_watched(tensor):
            key = key_of(tensor)
            known = features(tensor)
            if math.prod(tensor.shape) == 1:
                known.pop("deviation", None)  # one value is never flat
            found.update({f"{key}/{name}": value for name, value in known.items()})
    return found


def _views(frame: Frame, faults: bool) -> dict[str, Mapping[str, Array]]:
    found = dict[str, Mapping[str, Array]]()
    for tensor in frame.of("input"):
        if tensor.values is None or len(tensor.shape) < 3:
            continue
        planes = picture(tensor, tensor.real)
        if planes is not None and np.isfinite(planes).all():
            seen = views(planes, faults)
            if seen:
                found[key_of(tensor)] = seen
    return found


def _counts(frame: Frame, edges: Edges, roles: Collection[str]) -> dict[str, Array]:
    found = {}
    for tensor in frame.tensors:
        if tensor.role not in roles or not is_watched(tensor):
            continue
        if tensor.values is not None and tensor.values.size:
            key = key_of(tensor)
            if is_integer(tensor):
                found[key] = counts(tensor.values)
            elif key in edges:
                found[key] = counts(tensor.real, edges[key])
    return found


def is_watched(tensor: Tensor) -> bool:
    """Whether drift of a tensor is looked for."""
    return tensor.role in WATCHED and (tensor.role != "layer" or tensor.kind.lower() not in MOVING)


def is_integer(tensor: Tensor) -> bool:
    """Whether a tensor's stored integers are steps of a real number, of 8 or 16 bits."""
    return tensor.scale is not None and np.dtype(tensor.dtype).name in COUNTED


def _bad(frame: Frame) -> dict[str, int]:
    found = {}
    for tensor in frame.tensors:
        number = tensor.statistics.bad if tensor.statistics is not None else 0
        if tensor.values is not None and tensor.values.dtype.kind == "f":
            number = sum(int(one.size - np.isfinite(one).sum()) for one in parts(tensor.values))
        if number:
            found[key_of(tensor)] = number
    return found


def _centred(frame: Frame) -> Array | None:
    """Return the first input, each channel of a picture around its own mean."""
    tensor = next((t for t in frame.of("input") if t.values is not None), None)
    if tensor is None:
        return None
    real = tensor.real
    planes = picture(tensor, real)
    if planes is None:
        return real
    result: Array = planes - planes.mean((1, 2), keepdims=True)
    return result


def edges_of(frames: Iterable[Frame]) -> dict[str, Array]:
    """Return the edges of BINS bins over the range of every tensor of real numbers.

    The outer two bins take what a later trace has beyond the range.
    """
    ranges: dict[str, tuple[float, float]] = {}
    for frame in frames:
        for tensor in frame.tensors:
            if is_watched(tensor) and tensor.values is not None and not is_integer(tensor):
                good = tensor.real[np.isfinite(tensor.real)]
                if good.size:
                    low, high = ranges.get(key_of(tensor), (np.inf, -np.inf))
                    low, high = min(low, float(good.min())), max(high, float(good.max()))
                    ranges[key_of(tensor)] = low, high
    return {
        key: np.linspace(low, high, BINS - 1)
        for key, (low, high) in ranges.items()
        if high > low
    }  # fmt: skip
