"""Which tensor of one trace is which of another: by name, else by order, kind, size and values.

Layers of other names are aligned in the order of execution: the alignment that keeps both orders
and has the largest sum of scores wins. A pair scores for its size (needed), the family of its op,
and how well the values correlate under the best permutation of axes. So a defect that destroys a
layer's values does not hide which layer it is: its neighbours hold it in place.

Raw data and network inputs are rearranged only as their shapes and layouts demand. An input whose
rows and columns are swapped is a fault to be shown, not a layout to be undone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from edgebed.observe.alignment import UNLIKE, Key, Samples, align, by_key, family, size_of
from edgebed.observe.axes import Rearrangement, correlation, rearrangements
from edgebed.observe.parts import PART, let_go
from edgebed.observe.trace import Frame, Role, Tensor
from edgebed.program.types import Array

HEALS_BELOW: Final = 0.5
"""A layer of equal shape is rearranged only where it correlates less than this as it lies ..."""
HEALS_ABOVE: Final = 0.98
"""... and more than this rearranged."""
SURE: Final = 0.5
"""Layers paired by order alone that correlate less are marked as doubtful."""
MAPPED: Final = 64_000_000
"""Bytes of a tensor that may be in memory at once while a few of its values are drawn."""
APPENDED: Final = re.compile(
    r"(:\d+|\.q|[._/](de)?quanti[sz](e|ed|elinear)?(_output)?(_\d+)?)+$", re.IGNORECASE
)
"""What converters append to the name of a tensor that they quantise."""

How = Literal["name", "similar name", "order"]


@dataclass(frozen=True)
class Pair:
    """Two tensors that mean the same.

    Attributes:
        reference: role and name in the reference.
        device: role and name in the other trace.
        how: they were paired.
        order: how the device's values lie.
        kind: of the op, where either trace says so.
        same_kind: both traces know the op, and it is the same.
        correlation: of the values in the frames looked at; None where only statistics were kept.
        step: real value of a device step, fitted where the trace gives none; None otherwise.
        zero: real value of the device's integer 0 with a fitted step.
        reference_step: the same of the reference, where it is the one that gives none.
        reference_zero: real value of its integer 0.
        clip: bounds of an activation that the device fused and the reference kept apart.
    """

    reference: Key
    device: Key
    how: How
    order: Rearrangement
    kind: str = ""
    same_kind: bool = False
    correlation: float | None = None
    step: float | None = None
    zero: float = 0.0
    reference_step: float | None = None
    reference_zero: float = 0.0
    clip: tuple[float, float] | None = None

    @property
    def name(self) -> str:
        """The reference's name."""
        return self.reference[1]

    @property
    def role(self) -> Role:
        """The reference's role."""
        return self.reference[0]

    @property
    def unlike(self) -> bool:
        """Paired by order, and the values do not confirm it: a fault, or no pair at all."""
        return self.how == "order" and (self.correlation is None or self.correlation < SURE)

    @property
    def doubtful(self) -> bool:
        """Nothing but order and size speaks for this pair: neither name, op nor values."""
        return self.unlike and not self.same_kind


@dataclass(frozen=True)
class Matching:
    """What of two traces belongs together.

    Attributes:
        pairs: in the reference's order of recording.
        only_reference: tensors without a partner, in order.
        only_device: the same of the other trace.
        unlike: tensors of one name whose sizes differ, as sentences.
    """

    pairs: tuple[Pair, ...]
    only_reference: tuple[Key, ...] = ()
    only_device: tuple[Key, ...] = ()
    unlike: tuple[str, ...] = ()


def match(
    frames: Sequence[tuple[Frame, Frame]],
    layers: tuple[Sequence[str], Sequence[str]] = ((), ()),
) -> Matching:
    """Pair the tensors of two traces.

    Args:
        frames: at least one, of equal numbers; further ones make sure where the first is constant.
        layers: names in the order of execution, of either trace; empty means as recorded.
    """
    left = _in_order(by_key(frames[0][0]), layers[0])
    right = _in_order(by_key(frames[0][1]), layers[1])
    names, unlike = _by_name(left, right)
    found = {key: ("name", other) if key[1] == other[1] else ("similar name", other)
             for key, other in names.items()}  # fmt: skip
    samples = Samples(frames)
    for key, other in _by_order(left, right, names, samples):
        found[key] = ("order", other)
    pairs = [_pair(key, *found[key], samples) for key in left if key in found]  # type: ignore[arg-type]
    taken = {pair.device for pair in pairs}
    return Matching(
        tuple(pairs),
        tuple(key for key in left if key not in found),
        tuple(key for key in right if key not in taken),
        tuple(unlike),
    )


def _in_order(tensors: Mapping[Key, Tensor], layers: Sequence[str]) -> dict[Key, Tensor]:
    """Return raw data, inputs, then layers as executed: runtimes record their outputs first."""
    known = {name: index for index, name in enumerate(layers)}
    place = {"raw": -2, "input": -1}
    last = -1
    ranks: dict[Key, int] = {}
    for key in tensors:
        if key[0] in place:
            ranks[key] = place[key[0]]
            continue
        last = known.get(key[1], len(layers) if key[0] == "output" else last)
        ranks[key] = max(last, 0)
    return {key: tensors[key] for key in sorted(tensors, key=lambda key: ranks[key])}


def reference_values(pair: Pair, reference: Tensor) -> Array:
    """Return the reference's real values as they are compared, float32."""
    return meant_by_reference(pair, reference.real.reshape(pair.order.shape))


def meant_by_reference(pair: Pair, real: Array) -> Array:
    """Return real values of the reference as they are compared: fitted and clipped."""
    if pair.reference_step is not None:
        real = real * np.float32(pair.reference_step) + np.float32(pair.reference_zero)
    return real if pair.clip is None else np.clip(real, *pair.clip)


def real_values(pair: Pair, device: Tensor) -> Array:
    """Return a device's real values in the reference's order, float32."""
    return pair.order.of(meant_by_device(pair, device.real))


def meant_by_device(pair: Pair, real: Array) -> Array:
    """Return real values of a device as they are compared: with the step that was fitted."""
    if pair.step is None:
        return real
    return real * np.float32(pair.step) + np.float32(pair.zero)


def _by_name(
    left: Mapping[Key, Tensor], right: Mapping[Key, Tensor]
) -> tuple[dict[Key, Key], list[str]]:
    found: dict[Key, Key] = {}
    unlike: list[str] = []
    for spelt in (str, _plain):
        free = [key for key in right if key not in set(found.values())]
        index = _unique((_group(key[0]), spelt(key[1]), key) for key in free)
        mine = _unique((_group(k[0]), spelt(k[1]), k) for k in left if k not in found)
        for place, key in mine.items():
            other = index.get(place)
            if other is None:
                continue
            if size_of(left[key]) == size_of(right[other]):
                found[key] = other
            elif spelt is str:
                unlike.append(
                    f"{key[1]}: {_shape(left[key])} in the reference, {_shape(right[other])} here"
                )
    return found, unlike


def _group(role: Role) -> str:
    """Return where names are looked for: the last layer may be recorded as the output."""
    return "layer" if role == "output" else role


def _unique(rows: Iterable[tuple[str, str, Key]]) -> dict[tuple[str, str], Key]:
    """Return keys by group and name; an output also recorded as a layer keeps a place of its own.

    Names that two tensors of a role share say nothing and are left out.
    """
    found: dict[tuple[str, str], Key] = {}
    doubled = set()
    for group, name, key in sorted(rows, key=lambda row: row[2][0]):
        place = (group, name) if (group, name) not in found else (key[0] + "!", name)
        doubled |= {place} & set(found)
        found[place] = key
    return {place: key for place, key in found.items() if place not in doubled}


def _plain(name: str) -> str:
    """Return what converters leave of a name: letters and digits, without what they append."""
    first = APPENDED.sub("", name.split(";")[0].lower())
    return "".join(letter for letter in first if letter.isalnum()) or name


def _by_order(
    left: Mapping[Key, Tensor],
    right: Mapping[Key, Tensor],
    named: Mapping[Key, Key],
    samples: Samples,
) -> list[tuple[Key, Key]]:
    """Pair what names left over, each between the partners of its named neighbours."""
    found: list[tuple[Key, Key]] = []
    places = {key: place for place, key in enumerate(right)}
    bounds = _bounds(list(left), named, places)
    for roles in (("raw",), ("input",), ("output",), ("layer", "output")):
        mine = {*named, *(pair[0] for pair in found)}
        theirs = {*named.values(), *(pair[1] for pair in found)}
        a = [key for key in left if key[0] in roles and key not in mine]
        b = [key for key in right if key[0] in roles and key not in theirs]

        def score(x: Key, y: Key, free: bool = "layer" not in roles) -> float:
            inside = bounds[x][0] < places[y] < bounds[x][1]
            return samples.score(x, y) if free or inside else 0.0

        found += align(a, b, score)
    return found


def _bounds(
    left: Sequence[Key], named: Mapping[Key, Key], places: Mapping[Key, int]
) -> dict[Key, tuple[int, int]]:
    """Return between which places of the other trace each tensor's partner may stand."""
    before, behind = -1, len(places)
    low: list[int] = []
    for key in left:
        before = places[named[key]] if key in named and key[0] == "layer" else before
        low.append(before)
    high: list[int] = []
    for key in reversed(left):
        behind = places[named[key]] if key in named and key[0] == "layer" else behind
        high.append(behind)
    return dict(zip(left, zip(low, reversed(high), strict=True), strict=True))


def _pair(key: Key, how: How, other: Key, samples: Samples) -> Pair:
    a, b = samples.left[key], samples.right[other]
    kind = b.kind if family(a.kind) in ("", "clip", "unary") and b.kind else a.kind
    same = bool(family(a.kind)) and family(a.kind) == family(b.kind)
    if a.values is None or b.values is None or not a.values.size:
        natural = rearrangements(a.shape, b.shape, a.layout, b.layout)[0]
        return Pair(key, other, how, natural, kind, same)
    ways = samples.ways(key, other)
    score, order = ways[0]
    best, other_order = max(ways, key=lambda way: way[0])
    if key[0] in ("layer", "output") and _heals(a, b, score, best):
        score, order = best, other_order
    return _clipped(_fitted(Pair(key, other, how, order, kind, same, score), a, b), a, b)


def _heals(a: Tensor, b: Tensor, as_it_lies: float, rearranged: float) -> bool:
    """Say whether values show that a layer lies otherwise than its shape suggests."""
    if a.shape == b.shape:
        return as_it_lies < HEALS_BELOW and rearranged > HEALS_ABOVE
    return rearranged > as_it_lies + 0.1


def _fitted(pair: Pair, a: Tensor, b: Tensor) -> Pair:
    """Return the pair with the step of the side that recorded bare integers beside real values."""
    bare = [np.dtype(one.dtype).kind in "iu" and one.scale is None for one in (a, b)]
    meant = [one.scale is not None or np.dtype(one.dtype).kind == "f" for one in (a, b)]
    if pair.role == "raw" or (pair.correlation or 0) < SURE:
        return pair
    y, x = _thinned(pair, a, b)
    if bare[1] and meant[0]:
        step, zero = _line(x, y)
        return replace(pair, step=step, zero=zero)
    if bare[0] and meant[1]:
        step, zero = _line(y, x)
        return replace(pair, reference_step=step, reference_zero=zero)
    return pair


def _thinned(pair: Pair, a: Tensor, b: Tensor) -> tuple[Array, Array]:
    """Return real values of both at the same places: all, or so many that they can be copied."""
    assert a.values is not None and b.values is not None  # or there is nothing to fit
    places = np.arange(0, a.values.size, -(-a.values.size // PART))
    drawn: list[tuple[Array, Array]] = []
    for some in np.array_split(places, -(-a.values.nbytes // MAPPED)):
        drawn.append((a.values.reshape(-1)[some], pair.order.sampled(b.values, some)))
        let_go(a.values)
        let_go(b.values)
    one, two = (np.concatenate(side) for side in zip(*drawn, strict=True))
    return replace(a, values=one, shape=one.shape).real, replace(b, values=two).real


def _line(integers: Array, real: Array) -> tuple[float, float]:
    good = np.isfinite(real)
    step, zero = np.polyfit(integers[good].astype(np.float64), real[good].astype(np.float64), 1)
    return float(step), float(zero)


def _clipped(pair: Pair, a: Tensor, b: Tensor) -> Pair:
    """Return the pair with the activation that the device fused into this layer, if it did."""
    if pair.role not in ("layer", "output") or (pair.correlation or 0) > 1 - UNLIKE:
        return pair
    x, y = _thinned(pair, a, b)
    x, y = meant_by_reference(pair, x), meant_by_device(pair, y)
    if not np.isfinite(x).all() or not np.isfinite(y).all() or x.min() >= 0 or y.min() < 0:
        return pair
    for high in (math.inf, 6.0):
        flat = Rearrangement(x.shape, tuple(range(x.ndim)), x.shape)
        score = correlation(np.clip(x, 0, high), y, flat)
        if score > HEALS_ABOVE and score > (pair.correlation or 0) + UNLIKE:
            return replace(pair, clip=(0.0, high), correlation=score)
    return pair


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "one value"
