"""Decoding and suppression of detections, as TensorFlow Lite's custom op does them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgebed.program.ops._float import Floats

Indices = npt.NDArray[np.intp]


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
    """Return the detections of one sample.

    Args:
        boxes: encodings A x 4: y, x, h, w.
        scores: A x classes, or A x (classes + 1) with the background first.
        anchors: A x 4: y, x, h, w.
        settings: of the suppression.
    """
    corners = decode(boxes, anchors, settings.scales)
    classes = scores[:, scores.shape[1] - settings.num_classes :]
    choose = _per_class if settings.regular else _once_for_all
    pairs = choose(corners, classes, settings)[: settings.max_detections]
    count = len(pairs)
    full = Detections(
        np.zeros((settings.max_detections, 4), np.float32),
        np.zeros(settings.max_detections, np.float32),
        np.zeros(settings.max_detections, np.float32),
        np.array(count, np.float32),
    )
    for row, (box, label) in enumerate(pairs):
        full.boxes[row] = corners[box]
        full.classes[row] = label
        full.scores[row] = classes[box, label]
    return full


def decode(boxes: Floats, anchors: Floats, scales: tuple[float, float, float, float]) -> Floats:
    """Return ymin, xmin, ymax, xmax, A x 4: double precision, rounded to float32 twice.

    center = encoding / scale * anchor size + anchor center; half = exp(encoding / scale) *
    anchor size / 2.
    """
    code, anchor = boxes.astype(np.float64), anchors.astype(np.float64)
    divisor = np.array(scales, np.float32).astype(np.float64)
    size = anchor[:, 2:]
    center = (code[:, :2] / divisor[:2] * size + anchor[:, :2]).astype(np.float32)
    half = (0.5 * np.exp(code[:, 2:] / divisor[2:]) * size).astype(np.float32)
    return np.concatenate([center - half, center + half], axis=1)


def _once_for_all(corners: Floats, classes: Floats, s: Settings) -> list[tuple[int, int]]:
    """Suppress by each box's best class; return its best classes with every box that stays."""
    order = np.argsort(-classes, axis=1, kind="stable")
    kept = suppress(corners, classes.max(axis=1), s, s.max_detections)
    each = min(s.max_classes_per_detection, s.num_classes)
    return [(int(box), int(label)) for box in kept for label in order[box, :each]]


def _per_class(corners: Floats, classes: Floats, s: Settings) -> list[tuple[int, int]]:
    """Suppress within each class; return the best pairs of box and class."""
    best: list[tuple[int, int]] = []
    for label in range(s.num_classes):
        kept = suppress(corners, classes[:, label], s, s.detections_per_class)
        best += [(int(box), label) for box in kept]
        best.sort(key=lambda pair: -classes[pair])
        del best[s.max_detections :]
    return best


def suppress(corners: Floats, scores: Floats, s: Settings, most: int) -> list[int]:
    """Return the boxes that stay, best first: each drops the worse ones that overlap it."""
    above = np.flatnonzero(scores >= np.float32(s.score_threshold))
    order = above[np.argsort(-scores[above], kind="stable")]
    kept: list[int] = []
    while order.size and len(kept) < most:
        first, rest = order[0], order[1:]
        kept.append(int(first))
        order = rest[overlap(corners[first], corners[rest]) <= np.float32(s.iou_threshold)]
    return kept


def overlap(box: Floats, others: Floats) -> Floats:
    """Return intersection over union of a box with others, float32; 0 for empty boxes."""
    areas = (others[:, 2] - others[:, 0]) * (others[:, 3] - others[:, 1])
    area = (box[2] - box[0]) * (box[3] - box[1])
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    common = np.maximum(high - low, np.float32(0)).prod(axis=1)
    with np.errstate(all="ignore"):
        ratio = common / (area + areas - common)
    return np.where((areas <= 0) | (area <= 0), np.float32(0), ratio)
