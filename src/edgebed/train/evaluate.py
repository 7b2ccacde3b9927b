"""Score a detector on a split: one path for float, quantised, interpreter and device outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from edgebed.data.dataset import Sample
from edgebed.data.decode import Detections, decode
from edgebed.data.preprocess import Geometry, geometry, to_tensor
from edgebed.errors import EdgebedError
from edgebed.program.contract import Contract, ImageInput, Nms
from edgebed.train.metrics import SCORING_NMS, DetectionMetrics, Truth, score, with_coco

Int8 = npt.NDArray[np.int8]
Logits = npt.NDArray[np.floating]
Predict = Callable[[Int8], Logits]
"""From input integers (int8, n x 3 x H x W) to real logits (n x C x h x w)."""

BATCH: Final = 16


@dataclass(frozen=True)
class Split:
    """A split, pre-processed once.

    Attributes:
        name: `val`, `test`, ...
        tensors: int8, n x 3 x H x W.
        places: where each picture lies in the network input.
        truth: the annotations, boxes in pixels of the picture.
    """

    name: str
    tensors: Int8
    places: tuple[Geometry, ...]
    truth: tuple[Truth, ...]

    @staticmethod
    def of(name: str, samples: Sequence[Sample], image_input: ImageInput) -> Split:
        """Load and pre-process the pictures as the device does.

        Raises:
            EdgebedError: the split is empty or a picture cannot be read.
        """
        if not samples:
            raise EdgebedError("the split has no pictures", where=f"split {name}")
        return Split(
            name,
            np.stack([to_tensor(sample.load(), image_input) for sample in samples]),
            tuple(geometry(sample.width, sample.height, image_input) for sample in samples),
            tuple(Truth(s.boxes, s.labels, s.difficult) for s in samples),
        )


def evaluate(
    predict: Predict, split: Split, contract: Contract, *, coco: bool = True
) -> DetectionMetrics:
    """Run `predict` over the split and score the boxes.

    Args:
        predict: the network in any form.
        split: pictures and annotations.
        contract: classes and decoding; its NMS is replaced by `SCORING_NMS`.
        coco: whether COCO mAP is computed too (needs the extra `eval`).
    """
    found = detections(predict, split, contract, SCORING_NMS)
    metrics = score(found, split.truth, contract.classes, split.name)
    return with_coco(metrics, found, split.truth) if coco else metrics


def detections(
    predict: Predict, split: Split, contract: Contract, nms: Nms | None = None
) -> list[Detections]:
    """Return the boxes of every picture, in its own pixels.

    Args:
        predict: the network in any form.
        split: the pictures.
        contract: classes and decoding.
        nms: other suppression than the contract's.
    """
    used = Contract(contract.input, contract.classes, contract.decode, nms or contract.nms)
    found: list[Detections] = []
    for start in range(0, len(split.tensors), BATCH):
        found += decode(predict(split.tensors[start : start + BATCH]), used)
    pairs = zip(found, split.places, strict=True)
    return [one.in_picture(contract.input, place) for one, place in pairs]
