"""Boxes, classes and scores of detections from a network's anchors (a TensorFlow Lite op)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from edgebed.program.ops._detections import Settings, detections
from edgebed.program.ops._float import real_values
from edgebed.program.types import Array, Constant, Op, TensorType


@dataclass(frozen=True, kw_only=True)
class DetectionPostProcess(Op):
    """One of the four outputs of `TFLite_Detection_PostProcess`; inputs are box encodings A x 4
    (y, x, h, w) and class scores A x (classes, or classes + 1 with the background first).

    Quantised inputs are dequantised; everything else is float32. Places without a detection hold 0.

    Attributes:
        part: `boxes` max_detections x 4 (ymin, xmin, ymax, xmax), `classes` max_detections,
            `scores` max_detections, `count` a single number; all float32.
        anchors: float32 constant A x 4: y, x, h, w of the centres.
        max_detections: at most so many are returned.
        num_classes: without the background.
        max_classes_per_detection: classes that one box may be returned with (fast suppression).
        detections_per_class: at most so many of a class (regular suppression).
        regular: suppress within each class instead of once for all.
        score_threshold: least score.
        iou_threshold: boxes that overlap more are suppressed.
        scales: divisors of the encodings: y, x, h, w.
    """  # noqa: D205 - the layout of the inputs belongs to the summary

    kind: ClassVar[str] = "detection_post_process"
    part: Literal["boxes", "classes", "scores", "count"]
    anchors: str
    max_detections: int
    num_classes: int
    max_classes_per_detection: int = 1
    detections_per_class: int = 100
    regular: bool = False
    score_threshold: float
    iou_threshold: float
    scales: tuple[float, float, float, float]

    @property
    def constants(self) -> tuple[str, ...]:
        """The anchors."""
        return (self.anchors,)

    def infer(self, types: Sequence[TensorType], constants: Mapping[str, Constant]) -> TensorType:
        """Return the type of the part."""
        boxes, scores = types
        anchors = constants[self.anchors].values
        if anchors.ndim != 2 or anchors.shape[1] != 4 or boxes.shape != anchors.shape:
            raise self.fail(f"boxes {boxes.shape} with anchors {anchors.shape}", why="A x 4 both")
        known = [(len(anchors), self.num_classes + extra) for extra in (0, 1)]
        if scores.shape not in known:
            raise self.fail(f"scores {scores.shape}", why=f"{known[0]} or {known[1]} is needed")
        count = self.max_detections
        shapes: dict[str, tuple[int, ...]] = {"boxes": (count, 4), "count": ()}
        return TensorType(shapes.get(self.part, (count,)), "float32", 1.0)

    @property
    def settings(self) -> Settings:
        """What decides which boxes stay."""
        return Settings(
            max_detections=self.max_detections,
            num_classes=self.num_classes,
            max_classes_per_detection=self.max_classes_per_detection,
            detections_per_class=self.detections_per_class,
            regular=self.regular,
            score_threshold=self.score_threshold,
            iou_threshold=self.iou_threshold,
            scales=self.scales,
        )

    def run(
        self,
        inputs: Sequence[Array],
        constants: Mapping[str, Constant],
        types: Sequence[TensorType],
    ) -> Array:
        """Decode, suppress, and return the part."""
        boxes, scores = (real_values(x, kind) for x, kind in zip(inputs, types, strict=True))
        anchors = constants[self.anchors].values
        found = [
            getattr(detections(box, score, anchors, self.settings), self.part)
            for box, score in zip(boxes, scores, strict=True)
        ]
        return np.stack(found).astype(np.float32)
