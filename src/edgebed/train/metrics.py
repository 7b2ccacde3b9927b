"""How good the boxes are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Curve:
    """Precision and recall of one class by falling score.

    Attributes:
        recall: recall after each detection, non-decreasing.
        precision: precision after each detection.
        scores: score of each detection.
    """

    recall: tuple[float, ...]
    precision: tuple[float, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True)
class DetectionMetrics:
    """Accuracy on one split.

    Attributes:
        split: the split that was scored.
        pictures: how many pictures it has.
        ap50: mean over the classes of VOC average precision at IoU 0.5 (0 to 1).
        ap50_per_class: the same by class name; classes without objects are left out.
        loose_ap: the same at IoU > 0.01, the paper repository's figure. Not comparable with
            VOC AP: a box that barely touches the object counts.
        coco_map: COCO mAP@[.5:.95], or None without the extra `eval`.
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
