"""Decoding and suppression of detections, in float32."""

from __future__ import annotations

from dataclasses import dataclass

from edgebed.program.ops._float import Floats


@dataclass(frozen=True)
class Settings:
    """What decides which boxes stay; see the op `detection_post_process`."""

    max_detections: int
    num_classes: int
    max_classes_per_detection: int
    detections_per_class: int
    regular: bool
    score_threshold: float
    iou_threshold: float
    scales: tuple[float, float, float, float]


@dataclass(frozen=True)
class Detections:
    """What is returned, zero where there is no detection.

    Attributes:
        boxes: max_detections x 4: ymin, xmin, ymax, xmax.
        classes: max_detections.
        scores: max_detections.
        count: of the detections.
    """

    boxes: Floats
    classes: Floats
    scores: Floats
    count: Floats


def detections(boxes: Floats, scores: Floats, anchors: Floats, settings: Settings) -> Detections:
    """Return the detections of one sample."""
    raise NotImplementedError
