"""Pictures of the worst frames: raw data, network inputs, and the departing layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from html import escape
from typing import Final

import numpy as np

from edgebed.errors import EdgebedError
from edgebed.observe.alignment import by_key
from edgebed.observe.layer_error import LayerError
from edgebed.observe.layer_values import layer_values, part_shown
from edgebed.observe.matching import Pair, real_values, reference_values
from edgebed.observe.names import short_names
from edgebed.observe.observed import Observed
from edgebed.observe.svg import Axes, Series, lines
from edgebed.observe.trace import Frame, Tensor
from edgebed.observe.trace_answers import answer_panels, answers_differ
from edgebed.observe.trace_comparison import TraceComparison, paired_frames
from edgebed.observe.trace_pictures import Panel, as_picture, ends_of, heat, layer_panels, panels
from edgebed.observe.trace_reader import TraceReader
from edgebed.program.types import Array

LONGEST: Final = 4096
"""Values of a vector that is drawn as a line."""

SHORTEST: Final = 64
"""Samples of what is taken for a waveform, at least."""
COLUMNS: Final = 400
"""A waveform is drawn as its extremes in so many slices."""

MOST: Final = 4
"""Frames that are shown where only what was made of the outputs differs."""

LONGEST_NAME: Final = 24
"""Letters of a layer's name in a caption."""

FEW: Final = 2
"""Frames of at most so many pictures stand side by side."""


def worst_inputs(comparison: TraceComparison) -> str:
    """Return the worst frames as HTML; empty where there are none or nothing is a picture."""
    ranked = _ranked(comparison)
    wanted = dict(ranked)
    drawn: dict[int, str] = {}
    scores = ("output",) if comparison.agreement is not None else ()
    pairs = [e.pair for e in comparison.errors if e.pair.role in ("raw", "input", *scores)]
    if comparison.departure is not None:
        pair = comparison.errors[comparison.departure.index].pair
        pairs += [pair] if pair.role == "layer" else []
    names = _class_names(comparison)
    with (
        TraceReader(comparison.reference.path) as first,
        TraceReader(comparison.device.path) as second,
    ):
        for a, b in paired_frames(first, second, [0, 0]):
            if not ranked and len(wanted) < MOST and answers_differ(a, b):
                wanted[a.number] = 0.0  # the outputs are equal, what was made of them is not
            if a.number in wanted:
                drawn[a.number] = _frame(a, b, pairs, wanted[a.number], names)
            if len(drawn) == (len(ranked) or MOST):
                break
    shown = "".join(drawn[number] for number in wanted if number in drawn)
    return f'<div class="frames">{shown}</div>' if shown else ""


def layer_in_frame(comparison: TraceComparison, error: LayerError) -> tuple[str, int, str] | None:
    """Return a tensor's values of both sides as HTML, the frame, and a sentence on them.

    None where only statistics were kept.
    """
    try:
        found = layer_values(comparison, error.name)
    except EdgebedError:
        return None
    shown = layer_panels(found.reference, found.device)
    body = panels(shown) if shown else _curves(found.reference, found.device)
    if not body:
        return None
    said = found.signature.text if found.signature is not None else "nothing differs"
    return body, found.frame, f"{said[:1].upper()}{said[1:]}."


def _ranked(comparison: TraceComparison) -> tuple[tuple[int, float], ...]:
    """Return the worst frames; where all outputs are equal, the worst of the departing tensor."""
    if comparison.worst or comparison.departure is None:
        return comparison.worst
    error = comparison.errors[comparison.departure.index]
    return ((error.worst_frame, error.worst),) if error.worst_frame >= 0 else ()


def _class_names(comparison: TraceComparison) -> tuple[str, ...]:
    """Return the reference's names of classes, or else the device's; empty where unknown."""
    for side in (comparison.reference, comparison.device):
        names = Observed.of(side.manifest, ()).classes
        if names:
            return names
    return ()


def _frame(a: Frame, b: Frame, pairs: Sequence[Pair], error: float, names: Sequence[str]) -> str:
    left, right = by_key(a), by_key(b)
    shown: list[Panel] = []
    heard = ""
    words = [f"frame {a.number}", f"nRMSE {error:.3g}" if error else "equal outputs"]
    for pair in pairs:
        x, y = left.get(pair.reference), right.get(pair.device)
        if x is None or y is None or x.values is None or y.values is None:
            continue
        if pair.role == "output":
            words += _classes(x, y, names)
        elif pair.role == "layer":
            shown += _layer(pair, x, y)
        else:
            shown += _compared(pair, x, y)
            heard += _waveforms(x, y) if pair.role == "raw" else ""
    shown += _detections(a, b, pairs, names)
    if not shown and not heard:
        return ""
    wide = ' class="wide"' if len(shown) > FEW or heard else ""
    title = escape(", ".join(words))
    return f"<div{wide}><h3>{title}</h3>{heard}{panels(shown) if shown else ''}</div>"


def _detections(a: Frame, b: Frame, pairs: Sequence[Pair], names: Sequence[str]) -> list[Panel]:
    for pair in pairs:
        x, y = by_key(a).get(pair.reference), by_key(b).get(pair.device)
        if pair.role == "input" and x is not None and y is not None:
            return answer_panels(a, b, (x, y), names)
    return []


def _layer(pair: Pair, x: Tensor, y: Tensor) -> list[Panel]:
    if np.prod(x.shape) != np.prod(y.shape):
        return []
    pair, (x, y), _ = part_shown(pair, (x, y), (None, None))
    found = layer_panels(reference_values(pair, x), real_values(pair, y))
    name = short_names([pair.name], LONGEST_NAME)[pair.name]
    return [replace(one, title=f"{name}, {one.title}") for one in found]


def _compared(pair: Pair, x: Tensor, y: Tensor) -> list[Panel]:
    """Return one picture where both sides hold the same, else both and their difference."""
    what = "raw data" if pair.role == "raw" else "network input"
    own = None if pair.role == "raw" and x.dtype == "uint8" else ends_of(x.real)
    first, second = as_picture(x, own), as_picture(y, own)
    if first is None or second is None:
        return []
    note = "" if own is None else f"{own[0]:.3g} to {own[1]:.3g}"
    gap = _gap(pair, x, y)
    if gap is not None and not gap.any():
        return [Panel(f"{what}, both", first, note)]
    theirs = ends_of(y.real)
    found = [
        Panel(f"{what}, reference", first, note),
        Panel(f"{what}, device", second, f"{theirs[0]:.3g} to {theirs[1]:.3g}"),
    ]
    seen = None if gap is None else as_picture(_tensor_like(x, gap), (0.0, 1.0))
    if gap is not None and seen is not None:
        largest = ends_of(gap)[1]
        shown = as_picture(_tensor_like(x, gap), (0.0, largest or 1.0))
        assert shown is not None  # as `seen`
        note = f"up to {largest:.3g}"
        found.append(Panel(f"{what}, difference", heat(shown.astype(np.float64), 255.0), note))
    return found


def _gap(pair: Pair, x: Tensor, y: Tensor) -> Array | None:
    if np.prod(x.shape) != np.prod(y.shape):
        return None
    gap = np.abs(reference_values(pair, x).astype(np.float64) - real_values(pair, y))
    return gap.reshape(x.shape)


def _tensor_like(x: Tensor, values: Array) -> Tensor:
    return replace(x, values=values, dtype="float32", scale=None, zero_point=0)


def _waveforms(x: Tensor, y: Tensor) -> str:
    """Draw sound, one line where both sides heard the same; empty where it is none."""
    first, second = (one.real.reshape(-1) for one in (x, y))
    if any(sum(n > 1 for n in one.shape) != 1 for one in (x, y)):
        return ""
    if min(first.size, second.size) < SHORTEST:
        return ""
    if np.array_equal(first, second, equal_nan=True):
        drawn = [("both", first, 2)]
    else:
        drawn = [("reference", first, 2), ("device", second, 1)]
    low, high = ends_of(np.concatenate([first, second]))
    last = max(first.size, second.size) - 1
    axes = Axes((0, last), (low, high if high > low else low + 1), "sample", "raw data", 900, 170)
    series = [Series(name, _envelope(values, low), ink) for name, values, ink in drawn]
    return f'<div class="chart">{lines(series, axes)}</div>'


def _envelope(values: Array, other: float) -> list[tuple[float, float]]:
    """Return the least and the largest of each slice in turn; `other` stands for NaN."""
    known = np.nan_to_num(values, nan=other, posinf=other, neginf=other)
    step = -(-known.size // COLUMNS)
    slices = [known[at : at + step] for at in range(0, known.size, step)]
    return [
        (float(at * step), float(end)) for at, part in enumerate(slices)
        for end in ((part.min(), part.max()) if step > 1 else (part[0],))
    ]  # fmt: skip


def _classes(x: Tensor, y: Tensor, names: Sequence[str]) -> list[str]:
    assert x.values is not None and y.values is not None
    vectors = [sum(length > 1 for length in one.shape) == 1 for one in (x, y)]
    if not all(vectors):
        return []
    best = [int(one.real.argmax()) for one in (x, y)]
    words = [names[n] if n < len(names) else f"class {n}" for n in best]
    return [words[0] if best[0] == best[1] else f"{words[0]} becomes {words[1]}"]


def _curves(reference: Array, device: Array) -> str:
    """Draw two vectors over their index; empty where they are no vectors or too long."""
    if reference.ndim != 1 or not 1 < reference.size <= LONGEST:
        return ""
    good = np.concatenate([reference, device])
    low, high = ends_of(good)
    axes = Axes(
        (0, reference.size - 1), (low, high if high > low else low + 1), "index", "value", 900
    )
    shown = [np.nan_to_num(one, nan=low, posinf=high, neginf=low) for one in (reference, device)]
    return lines(
        [
            Series(name, [(float(i), float(v)) for i, v in enumerate(values)], ink)
            for name, values, ink in (("reference", shown[0], 2), ("device", shown[1], 1))
        ],
        axes,
    )
