"""How good the boxes are: VOC average precision, COCO mAP, and the paper's loose figure."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgebed.data.decode import Detections, overlap
from edgebed.errors import EdgebedError
from edgebed.program.contract import Nms

SCORING_NMS: Final = Nms(score=0.005, iou=0.5, maximum=100, candidates=1000)
"""Average precision looks at the whole ranking, so nearly every score is kept for it."""

VOC_IOU: Final = 0.5
LOOSE_IOU: Final = 0.01

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Truth:
    """The annotated objects of one picture.

    Attributes:
        boxes: n x 4, x1 y1 x2 y2 in the same unit as the detections.
        labels: n class indices.
        difficult: n bool; finding such an object is neither right nor wrong.
    """

    boxes: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    difficult: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Curve:
    """Precision and recall of one class by falling score.

    Attributes:
        recall: recall after each detection, non-decreasing.
        precision: precision after each detection.
        scores: score of each detection, non-increasing.
    """

    recall: tuple[float, ...]
    precision: tuple[float, ...]
    scores: tuple[float, ...]

    @property
    def average_precision(self) -> float:
        """Area under the curve, each precision raised to the best at that recall or above.

        This is the all-point interpolation of VOC since 2010.
        """
        recall = np.concatenate([[0.0], self.recall])
        best = np.maximum.accumulate(np.array(self.precision)[::-1])[::-1]
        return float(np.sum(np.diff(recall) * best))


@dataclass(frozen=True)
class DetectionMetrics:
    """Accuracy on one split.

    Attributes:
        split: the split that was scored.
        pictures: how many pictures it has.
        ap50: mean over the classes of VOC average precision at IoU 0.5 (0 to 1).
        ap50_per_class: the same by class name; classes without objects are left out.
        loose_ap: the same where any IoU > 0.01 counts, the paper repository's figure. Not
            comparable with VOC AP: a box that barely touches the object counts.
        coco_map: COCO mAP@[.5:.95], or None where it was not asked for.
        curves: precision-recall curve by class name, at IoU 0.5.
    """

    split: str
    pictures: int
    ap50: float
    ap50_per_class: dict[str, float]
    loose_ap: float
    coco_map: float | None
    curves: dict[str, Curve]

    def to_json(self) -> dict[str, Any]:
        """Return the plain form for `metrics.json`, without the curves."""
        return {
            "split": self.split,
            "pictures": self.pictures,
            "ap50": self.ap50,
            "ap50_per_class": dict(self.ap50_per_class),
            "loose_ap_iou_0.01": self.loose_ap,
            "coco_map": self.coco_map,
        }


def score(
    found: Sequence[Detections], truth: Sequence[Truth], classes: Sequence[str], split: str = ""
) -> DetectionMetrics:
    """Score the detections of a split by VOC's rules; `coco_map` is left empty.

    Args:
        found: one entry per picture.
        truth: the annotations of the same pictures, in the same unit.
        classes: class names.
        split: name for the report.

    Raises:
        EdgebedError: there is no object to find at all.
    """
    curves = _curves(found, truth, classes, VOC_IOU)
    if not curves:
        raise EdgebedError("there is no annotated object to score against", where=f"split {split}")
    loose = _curves(found, truth, classes, LOOSE_IOU)
    per_class = {name: curve.average_precision for name, curve in curves.items()}
    return DetectionMetrics(
        split=split,
        pictures=len(truth),
        ap50=float(np.mean(list(per_class.values()))),
        ap50_per_class=per_class,
        loose_ap=float(np.mean([curve.average_precision for curve in loose.values()])),
        coco_map=None,
        curves=curves,
    )


def with_coco(
    metrics: DetectionMetrics, found: Sequence[Detections], truth: Sequence[Truth]
) -> DetectionMetrics:
    """Return the metrics with COCO's figure added; boxes must be in pixels."""
    return replace(metrics, coco_map=coco_map(found, truth))


def _curves(
    found: Sequence[Detections], truth: Sequence[Truth], classes: Sequence[str], iou: float
) -> dict[str, Curve]:
    """Return the curve of every class that has an object which counts."""
    curves = {}
    for label, name in enumerate(classes):
        objects = sum(int(np.sum((t.labels == label) & ~t.difficult)) for t in truth)
        if objects:
            curves[name] = precision_recall(found, truth, label, objects, iou)
    return curves


def precision_recall(
    found: Sequence[Detections], truth: Sequence[Truth], label: int, objects: int, iou: float
) -> Curve:
    """Return the curve of one class at one overlap.

    Args:
        found: detections by picture.
        truth: annotations by picture.
        label: the class.
        objects: its objects that count.
        iou: a detection is right when it overlaps an unclaimed object by more than this
            (VOC_IOU: at least).
    """
    scores, verdicts = [], []
    for one, annotated in zip(found, truth, strict=True):
        mine = one.labels == label
        scores.append(one.scores[mine])
        verdicts.append(_verdicts(one.boxes[mine], one.scores[mine], annotated, label, iou))
    all_scores = np.concatenate([*scores, np.zeros(0)])
    all_verdicts = np.concatenate([*verdicts, np.zeros(0, np.int64)])
    order = np.argsort(-all_scores, kind="stable")
    order = order[all_verdicts[order] != IGNORED]
    right = np.cumsum(all_verdicts[order] == RIGHT)
    precision = right / np.arange(1, len(order) + 1)
    return Curve(
        recall=tuple((right / objects).tolist()),
        precision=tuple(precision.tolist()),
        scores=tuple(all_scores[order].tolist()),
    )


WRONG: Final = 0
RIGHT: Final = 1
IGNORED: Final = 2


def _verdicts(
    boxes: npt.NDArray[np.float32],
    scores: npt.NDArray[np.float32],
    truth: Truth,
    label: int,
    iou: float,
) -> npt.NDArray[np.int64]:
    """Judge one picture's detections of one class, best score first, as VOC's toolkit does.

    Each detection looks only at the object it overlaps most; a second claim on it is wrong.
    """
    here = truth.labels == label
    difficult = truth.difficult[here]
    claimed = np.zeros(len(difficult), np.bool_)
    verdicts = np.full(len(boxes), WRONG, np.int64)
    if not len(difficult):
        return verdicts
    overlaps = overlap(boxes, truth.boxes[here])
    for index in np.argsort(-scores, kind="stable"):
        best = int(np.argmax(overlaps[index]))
        if not _matches(overlaps[index, best], iou):
            continue
        if difficult[best]:
            verdicts[index] = IGNORED
        elif not claimed[best]:
            verdicts[index] = RIGHT
            claimed[best] = True
    return verdicts


def _matches(value: float, iou: float) -> bool:
    # VOC asks for at least one half, the paper repository for more than 0.01.
    return bool(value >= iou if iou == VOC_IOU else value > iou)


def coco_map(found: Sequence[Detections], truth: Sequence[Truth]) -> float:
    """Return COCO mAP@[.5:.95] over all classes with objects; boxes in pixels.

    Raises:
        EdgebedError: faster-coco-eval is not installed.
    """
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ImportError as error:
        raise EdgebedError(
            "COCO mAP needs the package faster-coco-eval",
            where="metrics",
            try_="pip install 'edgebed[eval]'",
        ) from error
    results = [row for i, one in enumerate(found) for row in _coco_results(i, one)]
    if not results:
        return 0.0
    with contextlib.redirect_stdout(io.StringIO()):
        reference = COCO(_coco_truth(truth))
        judge = COCOeval_faster(reference, reference.loadRes(results), iouType="bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return float(judge.stats[0])


def _coco_truth(truth: Sequence[Truth]) -> dict[str, Any]:
    annotations: list[dict[str, Any]] = []
    for picture, one in enumerate(truth):
        for box, label, difficult in zip(one.boxes, one.labels, one.difficult, strict=True):
            x, y, width, height = _coco_box(box)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": picture,
                    "category_id": int(label),
                    "bbox": [x, y, width, height],
                    "area": width * height,
                    # The evaluation overwrites `ignore`; only a crowd is neither right nor wrong.
                    "iscrowd": int(difficult),
                }
            )
    labels = sorted({int(label) for one in truth for label in one.labels})
    return {
        "images": [{"id": i} for i in range(len(truth))],
        "annotations": annotations,
        "categories": [{"id": label, "name": str(label)} for label in labels],
    }


def _coco_results(picture: int, found: Detections) -> list[dict[str, Any]]:
    return [
        {
            "image_id": picture,
            "category_id": int(label),
            "bbox": list(_coco_box(box)),
            "score": float(score),
        }
        for box, score, label in zip(found.boxes, found.scores, found.labels, strict=True)
    ]


def _coco_box(box: npt.NDArray[np.float32]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (float(v) for v in box)
    return x1, y1, x2 - x1, y2 - y1
