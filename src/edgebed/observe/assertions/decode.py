"""Answers that do not follow from the device's own outputs as the contract decodes them.

Whatever the network computed: the contract's decoding of the outputs that the device recorded is
compared with the detections that it reported. Where they differ, decodings with other parameters
are tried, and the one that gives the device's detections is named: another least score or number
of boxes (`threshold`), another real value of the outputs' integers (`output_scale`), another way to
drop overlapping boxes (`suppression`), other sizes (`box_size`) or places (`box_place`) of the same
boxes, classes in another order (`class_order`); `decoding` where none of them does.

Settings of the verdicts: the device's parameters and the contract's, by name.

Thresholds: a decoder that gives equal scores and corners is the same integer decoder, and then one
detection more or less is a fault; another decoder may differ in a detection out of fifty. A
variation is named when it explains NAMED of the detections and half of what differs; sizes and
places when MOST of the detections have the class and score of a candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

import numpy as np

from edgebed.observe.answers import (
    ALIKE,
    EXACT,
    SCORE,
    Answers,
    Overlap,
    Rows,
    answers_of,
    overlap,
    overlap_of_best_size,
    paired,
    suppressed,
)
from edgebed.observe.observed import Observed
from edgebed.observe.verdict import Verdict
from edgebed.program.contract import Nms
from edgebed.program.types import Array

NAMED: Final = 0.9
MOST: Final = 0.8
SEARCHED: Final = 24
"""Frames in which variations are tried, those that agree the least; all judge the best one."""
FITTED: Final = 6
"""Frames in which a raw threshold is searched for."""
FEW: Final = 4
"""Boxes of one kind needed before a size or a place is measured."""
SHIFTS: Final = tuple(sorted((k for k in range(-10, 11) if k), key=abs))
"""Powers of two that a forgotten or doubled shift of the output makes of its scale."""
IOUS: Final = (1.0, *(round(0.05 * step, 2) for step in range(20)))


CAUSES: Final = frozenset({
    "threshold", "output_scale", "suppression", "box_size", "box_place", "class_order", "decoding",
})  # fmt: skip


@dataclass(frozen=True, eq=False)
class Variation:
    """Another decoding, and what the device would report with it.

    Attributes:
        cause: of the verdict.
        text: what the device does, as the end of `The device ...`.
        fix: what to change.
        rows: from answers to the detections of each frame.
        settings: of the verdict.
        cost: how far-fetched it is; decides between equal evidence.
    """

    cause: str
    text: str
    fix: str
    rows: Callable[[Answers], Sequence[Rows]]
    settings: Mapping[str, Any] = field(default_factory=dict)
    cost: int = 0


def decode(reference: Observed, device: Observed) -> list[Verdict]:
    """Say which parameter of the decoding makes the device's answers of its outputs."""
    found = answers_of(reference, device)
    if found is None or found.agreement == 1 or (found.agreement >= ALIKE and not found.is_exact):
        return []
    if not any(map(len, found.given)):
        return [_nothing(found)]
    best = _best(found)
    if best is not None:
        share = found.agrees(best.rows(found))
        if share >= max(NAMED, (1 + found.agreement) / 2):
            return [_verdict(found, best, share)]
    return [_other_boxes(found) or _other_classes(found) or _other_choice(found)]


def _best(found: Answers) -> Variation | None:
    """Return the variation that explains the most of the frames that agree the least."""
    hard = found.hardest(SEARCHED)
    best: tuple[float, int] = (0.0, 0)
    chosen = None
    for family in (_limits, _shifted, _dropping, _shifted_limits):
        for one in family(hard):
            share = hard.agrees(one.rows(hard)), -one.cost
            if share > best:
                best, chosen = share, one
        if best[0] == 1:
            break
    return chosen


def _verdict(found: Answers, one: Variation, share: float) -> Verdict:
    count = sum(map(len, found.given))
    frames = f"{len(found.given)} frame{'' if len(found.given) == 1 else 's'}"
    return Verdict(
        one.cause, found.name, float(np.clip(share, 0, 0.99)),
        f"The device {one.text}: decoding its own outputs so gives {share:.1%} of its {count:,}"
        f" detections in {frames}, the contract's decoding gives {found.agreement:.1%}.",
        one.fix, settings=one.settings,
    )  # fmt: skip


def _nothing(found: Answers) -> Verdict:
    count = sum(map(len, found.expected))
    return Verdict(
        "decoding", found.name, 0.8,
        f"The device reports nothing; by the contract its own outputs hold {count:,} detections in"
        f" {len(found.given)} frames.",
        "Check threshold and scale of the decoding: no detection is there to tell them apart.",
    )  # fmt: skip


def _limits(found: Answers) -> Iterator[Variation]:
    """Give other least scores and numbers of boxes."""
    yield from _scores(found, 1.0)
    nms, most = found.contract.nms, max(map(len, found.given))
    if most < nms.maximum:
        yield Variation(
            "threshold", f"keeps at most {most} boxes of a picture, not {nms.maximum}",
            f"Keep {nms.maximum} boxes, as the contract says.",
            lambda one: one.decoded(maximum=most),
            {"maximum": {"device": most, "contract": nms.maximum}}, 1,
        )  # fmt: skip


def _scores(found: Answers, factor: float) -> Iterator[Variation]:
    """Give thresholds of the score and of the raw confidence under a scale."""
    least = min(float(one[:, 1].min()) for one in found.given if len(one))
    wanted = found.contract.nms.score
    fix = f"Keep boxes whose score, confidence times class share, is {wanted:g} or more."
    if abs(least - wanted) > SCORE / 2:
        yield Variation(
            "threshold", f"keeps boxes from a score of {least:.3g} on, not from {wanted:g} on",
            fix, lambda one: one.decoded(factor, score=least),
            {"score": {"device": least, "contract": wanted}},
        )  # fmt: skip
    raw = _least_confidence(found, factor)
    yield Variation(
        "threshold",
        f"keeps boxes whose raw confidence is about {raw:,} or more, whatever their score, and not"
        f" those that score {wanted:g} or more",
        fix, lambda one: one.decoded(factor, raw, score=0.0),
        {"confidence": {"device": raw}, "score": {"contract": wanted}}, 2,
    )  # fmt: skip


def _least_confidence(found: Answers, factor: float) -> int:
    """Return the raw threshold of confidences that explains the most."""
    part = found.at(sorted(sorted(range(len(found.given)), key=found.telling)[:FITTED]))
    values = np.unique(np.concatenate(part.confidences()))
    low, high = 0, len(values) - 1

    def agreement(place: int) -> float:
        return part.agrees(part.decoded(factor, int(values[place]), score=0.0))

    while high - low > 2:  # too low a threshold gives ever more boxes, too high a one ever fewer
        left, right = low + (high - low) // 3, high - (high - low) // 3
        below, above = agreement(left), agreement(right)
        if below < above or below == above > 0:  # lists full of boxes agree alike, as empty ones do
            low = left
        else:
            high = right
    return int(values[max(range(low, high + 1), key=agreement)])


def _shifted(found: Answers) -> Iterator[Variation]:
    """Give the scales of a shift left out or done twice."""
    return (_of_scale(found, shift) for shift in SHIFTS)


def _of_scale(found: Answers, shift: int) -> Variation:
    factor = 2.0**shift
    taken, right = found.scale * factor, found.scale
    bits = f"{abs(shift)} bit{'' if abs(shift) == 1 else 's'}"
    text = (
        f"takes a step of {found.name} for {taken:.4g} where it is {right:.4g}, {factor:g} times as"
        f" much (an output shift of {bits} is left out or done twice)"
    )
    settings = {"scale": {"device": taken, "contract": right}}
    fix = f"Multiply the integers of {found.name} by {right:.6g} before the sigmoid."
    return Variation("output_scale", text, fix, lambda one: one.decoded(factor), settings, 1)


def _shifted_limits(found: Answers) -> Iterator[Variation]:
    """Give the scale under which the boxes lie right, with another threshold."""
    share, _, shift = max((_placed(found, 2.0**shift), -abs(shift), shift) for shift in SHIFTS)
    if share < MOST:
        return
    scale = _of_scale(found, shift)
    for one in _scores(found, 2.0**shift):
        yield replace(
            one, cause=scale.cause, text=f"{scale.text}, and {one.text}",
            fix=f"{scale.fix} {one.fix}", settings={**scale.settings, **one.settings},
            cost=one.cost + 2,
        )  # fmt: skip


def _placed(found: Answers, factor: float = 1.0) -> float:
    """Return the share of the device's detections that are candidates under a scale."""
    both = zip(found.given, found.candidates(factor), strict=True)
    common = sum(len(paired(a, b, found.reach)[0]) for a, b in both)
    return common / max(sum(map(len, found.given)), 1)


def _dropping(found: Answers) -> Iterator[Variation]:
    """Give other ways to drop overlapping boxes."""
    if _placed(found) < MOST:
        return
    nms = found.contract.nms
    fix = (
        f"Drop a box where its overlap with a better one of its class, intersection over union of"
        f" both boxes' own corners, is above {nms.iou:g}."
    )
    ways: list[tuple[str, Overlap, float, bool]] = [
        ("drops boxes of other classes too", overlap, nms.iou, True),
        ("computes overlaps as if every box had the size of the picture's best one",
         overlap_of_best_size, nms.iou, False),
    ]  # fmt: skip
    for iou in IOUS:
        if iou != nms.iou:
            what = f"from an overlap of {iou:g} on, not from {nms.iou:g} on" if iou < 1 else "never"
            ways.append((f"drops overlapping boxes {what}", overlap, iou, False))
    for text, measure, iou, any_class in ways:
        limits = replace(nms, iou=iou)
        yield Variation(
            "suppression", text, fix,
            partial(_kept, nms=limits, measure=measure, any_class=any_class),
            {"iou": {"device": iou, "contract": nms.iou}}, 1 + (iou != nms.iou),
        )  # fmt: skip


def _kept(found: Answers, nms: Nms, measure: Overlap, any_class: bool) -> Sequence[Rows]:
    return [suppressed(one, nms, measure, any_class) for one in found.candidates()]


def _other_boxes(found: Answers) -> Verdict | None:
    """Compare sizes and places of detections with the candidates of their class and score."""
    pairs = _by_score(found, lambda row, rows: rows[:, 0] == row[0])
    if pairs is None:
        return None
    given, expected = pairs
    size, wanted = given[:, 4:] - given[:, 2:4], expected[:, 4:] - expected[:, 2:4]
    ratio = np.median(size / np.maximum(wanted, EXACT), axis=0)
    moved = np.median((given[:, 2:4] + given[:, 4:] - expected[:, 2:4] - expected[:, 4:]) / 2, 0)
    shown = " x ".join(f"{value:.3g}" for value in ratio)
    if np.abs(ratio - 1).max() > 0.02:
        return Verdict(
            "box_size", found.name, 0.9,
            f"Detections have class and score of the contract's, but boxes {shown} times as wide"
            f" and high (median of {len(given):,}).",
            "Check the prior sizes and the form of width and height against the contract.",
            settings={"ratio": ratio.tolist()},
        )  # fmt: skip
    return Verdict(
        "box_place", found.name, 0.9,
        f"Detections have class and score of the contract's, but lie elsewhere: by {moved[0]:+.3g}"
        f" pixels across and {moved[1]:+.3g} down (median of {len(given):,}).",
        "Check the order of rows and columns, the cell's size and the stretch of centres.",
        settings={"moved": moved.tolist()},
    )  # fmt: skip


def _by_score(found: Answers, alike: Callable[[Array, Rows], Array]) -> tuple[Rows, Rows] | None:
    """Return detections beside the one candidate of their score; None where most have none.

    Args:
        found: the answers.
        alike: which candidates may be a detection's.
    """
    left, right = [], []
    for rows, candidates in zip(found.given, found.candidates(), strict=True):
        for row in rows:
            near = alike(row, candidates) & (np.abs(candidates[:, 1] - row[1]) <= EXACT)
            if near.sum() == 1:
                left.append(row)
                right.append(candidates[near][0])
    if len(left) < max(FEW, MOST * sum(map(len, found.given))):
        return None
    a, b = np.stack(left), np.stack(right)
    return (a, b) if (np.abs(a - b)[:, 2:] > found.reach[1:]).any(1).mean() > 0.5 else None


def _other_classes(found: Answers) -> Verdict | None:
    """Look for a permutation of classes."""
    counts = np.zeros((len(found.contract.classes),) * 2, np.int64)
    for rows, candidates in zip(found.given, found.candidates(), strict=True):
        for row in rows:
            near = (np.abs(candidates[:, 1:] - row[1:]) <= found.reach).all(1)
            if near.any() and 0 <= row[0] < len(counts):
                counts[int(candidates[near][0, 0]), int(row[0])] += 1
    order = counts.argmax(1)
    told = counts.max(1) > 0
    sure = counts.max(1).sum() >= MOST * sum(map(len, found.given))
    if not sure or (order == np.arange(len(order)))[told].all():
        return None
    names = found.contract.classes
    shown = ", ".join(
        f"{names[at]!r} is reported as {names[order[at]]!r}"
        for at in np.flatnonzero(told) if order[at] != at
    )  # fmt: skip
    return Verdict(
        "class_order", found.name, 0.95,
        f"Detections have score and box of the contract's, but another class: {shown}.",
        f"Number the classes as the contract does: {', '.join(names[:12])}.",
    )  # fmt: skip


def _other_choice(found: Answers) -> Verdict:
    """Say that the right boxes are chosen otherwise, or that they are none of the outputs'."""
    share, count = _placed(found), sum(map(len, found.given))
    expected = sum(map(len, found.expected))
    if share >= NAMED:
        return Verdict(
            "suppression", found.name, 0.7,
            f"All but {1 - share:.0%} of the device's {count:,} detections are boxes of its outputs"
            f" with the right class and score, but it chooses others: {expected:,} remain by the"
            f" contract, and {found.agreement:.0%} agree.",
            "Compare the suppression of overlapping boxes with the contract's.",
        )  # fmt: skip
    return Verdict(
        "decoding", found.name, 0.6,
        f"Of the device's {count:,} detections {share:.0%} follow from its own outputs, and no"
        " other scale, threshold, suppression, size or order explains them.",
        "Compare the decoding on the device with the contract, step by step.",
    )  # fmt: skip
