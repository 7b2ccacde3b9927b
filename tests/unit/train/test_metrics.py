"""Average precision against hand-made cases and a second, naive implementation."""

from __future__ import annotations

import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgebed.data.decode import Detections
from edgebed.errors import EdgebedError
from edgebed.train.metrics import Curve, Truth, coco_map, score

Box = tuple[float, float, float, float]


def truth(*objects: tuple[Box, int], difficult: tuple[int, ...] = ()) -> Truth:
    flags = np.zeros(len(objects), np.bool_)
    flags[list(difficult)] = True
    boxes = np.array([box for box, _ in objects], np.float32).reshape(-1, 4)
    return Truth(boxes, np.array([label for _, label in objects], np.int64), flags)


def found(*rows: tuple[Box, float, int]) -> Detections:
    boxes = np.array([box for box, _, _ in rows], np.float32).reshape(-1, 4)
    scores = np.array([score for _, score, _ in rows], np.float32)
    return Detections(boxes, scores, np.array([label for _, _, label in rows], np.int64))


A: Box = (0, 0, 10, 10)
B: Box = (20, 20, 30, 30)
NEAR_A: Box = (0, 0, 10, 8)  # IoU 0.8
TOUCHES_A: Box = (8, 0, 18, 10)  # IoU 20 / 180
NOWHERE: Box = (50, 50, 60, 60)


def ap(detections: list[Detections], truths: list[Truth]) -> float:
    return score(detections, truths, ["cell"]).ap50


def test_finding_everything_is_one() -> None:
    assert ap([found((A, 0.9, 0), (B, 0.8, 0))], [truth((A, 0), (B, 0))]) == 1.0


def test_finding_nothing_is_zero() -> None:
    assert ap([found()], [truth((A, 0))]) == 0.0


def test_a_mistake_in_front_halves_the_precision() -> None:
    assert ap([found((NOWHERE, 0.9, 0), (A, 0.8, 0))], [truth((A, 0))]) == 0.5


def test_a_mistake_behind_costs_nothing() -> None:
    assert ap([found((A, 0.9, 0), (NOWHERE, 0.8, 0))], [truth((A, 0))]) == 1.0


def test_a_second_claim_on_an_object_is_a_mistake() -> None:
    rows = found((A, 0.9, 0), (NEAR_A, 0.8, 0), (B, 0.7, 0))
    # right, wrong, right: 1/2 * 1 + 1/2 * 2/3
    assert ap([rows], [truth((A, 0), (B, 0))]) == pytest.approx(5 / 6)


def test_half_an_overlap_is_enough() -> None:
    half: Box = (0, 0, 10, 5)
    assert ap([found((half, 0.9, 0))], [truth((A, 0))]) == 1.0
    less: Box = (0, 0, 10, 4.9)
    assert ap([found((less, 0.9, 0))], [truth((A, 0))]) == 0.0


def test_difficult_objects_are_neither_right_nor_wrong() -> None:
    rows = found((A, 0.9, 0), (B, 0.8, 0))
    assert ap([rows], [truth((A, 0), (B, 0), difficult=(0,))]) == 1.0
    assert ap([found((B, 0.8, 0))], [truth((A, 0), (B, 0), difficult=(0,))]) == 1.0


def test_scores_are_ranked_over_all_pictures() -> None:
    detections = [found((A, 0.5, 0)), found((NOWHERE, 0.9, 0))]
    assert ap(detections, [truth((A, 0)), truth((B, 0))]) == pytest.approx(0.25)


def test_classes_without_objects_are_left_out_of_the_mean() -> None:
    metrics = score([found((A, 0.9, 0), (B, 0.9, 1))], [truth((A, 0))], ["cell", "ghost"])
    assert metrics.ap50_per_class == {"cell": 1.0}
    assert metrics.ap50 == 1.0


def test_the_loose_figure_takes_a_touch_for_a_hit() -> None:
    metrics = score([found((TOUCHES_A, 0.9, 0))], [truth((A, 0))], ["cell"], "test")
    assert (metrics.ap50, metrics.loose_ap) == (0.0, 1.0)
    assert "loose_ap_iou_0.01" in metrics.to_json()


def test_nothing_annotated_is_an_error() -> None:
    with pytest.raises(EdgebedError, match="split test: there is no annotated object"):
        score([found((A, 0.9, 0))], [truth()], ["cell"], "test")


def naive_ap(verdicts: list[bool], objects: int) -> Fraction:
    """Sum over the recall steps the best precision at that recall or beyond."""
    points = []
    for rank in range(1, len(verdicts) + 1):
        right = sum(verdicts[:rank])
        points.append((Fraction(right, objects), Fraction(right, rank)))
    area, before = Fraction(0), Fraction(0)
    for recall in sorted({recall for recall, _ in points}):
        area += (recall - before) * max(p for r, p in points if r >= recall)
        before = recall
    return area


@given(st.lists(st.booleans(), max_size=12), st.integers(0, 5))
def test_area_under_the_curve_equals_the_naive_sum(verdicts: list[bool], missed: int) -> None:
    objects = sum(verdicts) + missed
    if not objects:
        return
    right = np.cumsum(verdicts)
    ranks = np.arange(1, len(verdicts) + 1)
    curve = Curve(tuple(right / objects), tuple(right / ranks), ())
    assert curve.average_precision == pytest.approx(float(naive_ap(verdicts, objects)))


boxes = st.tuples(*[st.integers(0, 30)] * 2, *[st.integers(1, 20)] * 2).map(
    lambda b: (float(b[0]), float(b[1]), float(b[0] + b[2]), float(b[1] + b[3]))
)


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.lists(boxes, min_size=1, max_size=4), min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(0, 2), boxes), max_size=8),
)
def test_order_of_pictures_and_rows_does_not_matter(
    objects: list[list[Box]], rows: list[tuple[int, Box]]
) -> None:
    truths = [truth(*[(box, 0) for box in one]) for one in objects]
    scored = [(i % len(objects), box, 0.9 - 0.05 * n) for n, (i, box) in enumerate(rows)]
    per_picture = [
        [(box, s, 0) for p, box, s in scored if p == picture] for picture in range(len(objects))
    ]
    forward = ap([found(*one) for one in per_picture], truths)
    backward = ap([found(*one[::-1]) for one in per_picture[::-1]], truths[::-1])
    assert forward == pytest.approx(backward)
    assert 0 <= forward <= 1


def test_coco_agrees_on_perfect_and_on_absent_boxes() -> None:
    pytest.importorskip("faster_coco_eval")
    truths = [truth((A, 0), (B, 1))]
    assert coco_map([found((A, 0.9, 0), (B, 0.8, 1))], truths) == pytest.approx(1.0)
    assert coco_map([found()], truths) == 0.0


def test_coco_counts_the_overlap_steps() -> None:
    pytest.importorskip("faster_coco_eval")
    # IoU 0.8 passes the thresholds 0.50 to 0.75 and, up to rounding, 0.80: 6 or 7 of 10.
    value = coco_map([found((NEAR_A, 0.9, 0))], [truth((A, 0))])
    assert 0.6 <= value <= 0.7 + 1e-9


def test_a_missing_coco_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    with pytest.raises(EdgebedError, match=r"edgebed\[eval\]"):
        coco_map([found((A, 0.9, 0))], [truth((A, 0))])
