"""Average precision against a naive scorer and against COCO's own evaluation."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest

from edgebed.data.decode import Detections
from edgebed.train.metrics import Curve, Truth, coco_map, score

CELL = 40


def scene(seed: int, *, difficult: bool) -> tuple[list[Detections], list[Truth]]:
    """Random pictures: objects on a coarse grid never overlap, detections miss by some pixels."""
    rng = np.random.default_rng(seed)
    found, truth, ranks = [], [], iter(rng.permutation(1000))
    for _ in range(int(rng.integers(1, 5))):
        cells = rng.permutation(9)[: int(rng.integers(0, 7))]
        corner = np.stack([cells % 3, cells // 3], 1) * CELL + rng.integers(0, 8, (len(cells), 2))
        boxes = np.concatenate([corner, corner + rng.integers(12, 28, (len(cells), 2))], 1)
        labels = rng.integers(0, 3, len(cells))
        hard = (rng.random(len(cells)) < 0.3) & difficult
        truth.append(Truth(boxes.astype(np.float32), labels, hard))
        again = np.repeat(np.arange(len(cells)), rng.integers(0, 4, len(cells)))
        moved = boxes[again] + rng.integers(-5, 6, (len(again), 4))
        stray = rng.integers(0, 60, (int(rng.integers(0, 4)), 2))
        moved = np.concatenate([moved, np.concatenate([stray, stray + 20], 1)])
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 1)
        scores = np.array([next(ranks) / 1000 for _ in moved], np.float32)
        same = rng.random(len(again)) < 0.85
        classes = np.concatenate(
            [np.where(same, labels[again], rng.integers(0, 3, len(again))),
             rng.integers(0, 3, len(stray))]
        )  # fmt: skip
        order = np.argsort(-scores)
        found.append(
            Detections(moved[order].astype(np.float32), scores[order], classes[order].astype(int))
        )
    return found, truth


def iou(a: np.ndarray, b: np.ndarray) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(one[2] - one[0]) * (one[3] - one[1]) for one in (a, b)]
    return float(width * height / (sum(areas) - width * height))


def naive(found: list[Detections], truth: list[Truth], label: int) -> float | None:
    """VOC's rules, one detection after the other, in plain loops."""
    objects = sum(int(((t.labels == label) & ~t.difficult).sum()) for t in truth)
    if not objects:
        return None
    rows = [
        (float(s), picture, box)
        for picture, one in enumerate(found)
        for box, s, k in zip(one.boxes, one.scores, one.labels, strict=True)
        if k == label
    ]
    claimed: set[tuple[int, int]] = set()
    verdicts: list[bool] = []
    for _, picture, box in sorted(rows, key=lambda row: -row[0]):
        one = truth[picture]
        overlaps = [
            (iou(box, one.boxes[i]), i) for i in range(len(one.labels)) if one.labels[i] == label
        ]
        best, index = max(overlaps, default=(0.0, -1), key=lambda pair: pair[0])
        if best < 0.5:
            verdicts.append(False)
        elif not one.difficult[index]:
            verdicts.append((picture, index) not in claimed)
            claimed.add((picture, index))
    area, right = 0.0, [sum(verdicts[: n + 1]) for n in range(len(verdicts))]
    for n, verdict in enumerate(verdicts):
        if verdict:
            area += max(right[m] / (m + 1) for m in range(n, len(verdicts))) / objects
    return area


@pytest.mark.parametrize("seed", range(30))
def test_every_class_equals_the_naive_scorer(seed: int) -> None:
    found, truth = scene(seed, difficult=True)
    expected = {str(k): ap for k in range(3) if (ap := naive(found, truth, k)) is not None}
    if not expected:
        pytest.skip("no object in this draw")
    metrics = score(found, truth, ["0", "1", "2"])
    assert metrics.ap50_per_class == pytest.approx(expected)
    assert metrics.ap50 == pytest.approx(np.mean(list(expected.values())))


def coco_ap50(found: list[Detections], truth: list[Truth]) -> float:
    """AP at overlap 0.5 by faster-coco-eval itself, from plain dictionaries."""
    module = pytest.importorskip("faster_coco_eval")
    objects = [
        {"image_id": i, "category_id": int(k), "bbox": [*b[:2], *(b[2:] - b[:2])],
         "area": float(np.prod(b[2:] - b[:2])), "iscrowd": 0}
        for i, one in enumerate(truth)
        for b, k in zip(one.boxes.astype(float), one.labels, strict=True)
    ]  # fmt: skip
    results = [
        {"image_id": i, "category_id": int(k), "bbox": [*b[:2], *(b[2:] - b[:2])],
         "score": float(s)}
        for i, one in enumerate(found)
        for b, s, k in zip(one.boxes.astype(float), one.scores, one.labels, strict=True)
    ]  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        reference = module.COCO(
            {
                "images": [{"id": i} for i in range(len(truth))],
                "annotations": [{"id": n + 1, **one} for n, one in enumerate(objects)],
                "categories": [{"id": k, "name": str(k)} for k in range(3)],
            }
        )
        judge = module.COCOeval_faster(reference, reference.loadRes(results), iouType="bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return float(judge.stats[1])


def at_101_recalls(curve: Curve) -> float:
    """COCO reads the same curve at 101 recalls."""
    recall, precision = np.array(curve.recall), np.array(curve.precision)
    points = [precision[recall >= r - 1e-12] for r in np.linspace(0, 1, 101)]
    return float(np.mean([one.max(initial=0.0) for one in points]))


@pytest.mark.parametrize("seed", range(12))
def test_the_curves_equal_those_of_coco(seed: int) -> None:
    found, truth = scene(100 + seed, difficult=False)
    if not any(len(one.labels) for one in truth) or not any(len(one) for one in found):
        pytest.skip("nothing to compare in this draw")
    curves = score(found, truth, ["0", "1", "2"]).curves
    ours = np.mean([at_101_recalls(curve) for curve in curves.values()])
    assert ours == pytest.approx(coco_ap50(found, truth), abs=1e-6)


TWO = np.array([[10, 10, 30, 30], [50, 50, 90, 90]], np.float32)


def one_found(*indices: int) -> list[Detections]:
    scores = np.linspace(0.9, 0.5, len(indices), dtype=np.float32)
    return [Detections(TWO[list(indices)], scores, np.zeros(len(indices), np.int64))]


@pytest.mark.parametrize("indices", [(0,), (0, 1), (1, 0)])
def test_coco_neither_rewards_nor_punishes_difficult_objects(indices: tuple[int, ...]) -> None:
    pytest.importorskip("faster_coco_eval")
    truth = [Truth(TWO, np.zeros(2, np.int64), np.array([False, True]))]
    assert coco_map(one_found(*indices), truth) == pytest.approx(1.0)


def test_coco_leaves_out_a_class_with_difficult_objects_only() -> None:
    pytest.importorskip("faster_coco_eval")
    truth = [Truth(TWO, np.array([0, 1]), np.array([False, True]))]
    assert coco_map(one_found(0), truth) == pytest.approx(1.0)


def test_equal_scores_keep_the_order_of_the_pictures() -> None:
    box = TWO[:1]
    hit = Detections(box, np.array([0.5], np.float32), np.zeros(1, np.int64))
    miss = Detections(box + 200, np.array([0.5], np.float32), np.zeros(1, np.int64))
    truth = [Truth(box, np.zeros(1, np.int64), np.zeros(1, np.bool_)) for _ in range(2)]
    assert score([hit, miss], truth, ["a"]).ap50 == 0.5
    assert score([miss, hit], truth, ["a"]).ap50 == 0.25
