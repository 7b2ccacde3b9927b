"""From the output tensor to boxes, in floating point: for training and as the measure of truth.

The integer form that devices repeat is `edgebed.data.fixed_decode`. Both follow `GridDecode` and
`Nms`: every pair of box and class whose score reaches `nms.score` is a candidate; boxes are cut to
the picture first and a box without area is none. Candidates are ordered by score, best first, then
by cell (row by row), box index and class; the best `nms.candidates` enter suppression.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from edgebed.data.dataset import Float32, Int64
from edgebed.data.preprocess import Geometry
from edgebed.errors import EdgebedError
from edgebed.program.contract import Contract, GridDecode, ImageInput

Float64 = npt.NDArray[np.float64]
Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True)
class Detections:
    """The boxes found in one picture, best first.

    Attributes:
        boxes: n x 4 float32, x1 y1 x2 y2; fractions of the network input unless said otherwise.
        scores: n float32, 0..1.
        labels: n int64, class indices.
    """

    boxes: Float32
    scores: Float32
    labels: Int64

    def __len__(self) -> int:
        return len(self.labels)

    def in_picture(self, image_input: ImageInput, geometry: Geometry) -> Detections:
        """Return the same with boxes in pixels of the picture, cut to the part that was seen."""
        size = np.array([image_input.width, image_input.height] * 2, np.float32)
        boxes = geometry.to_picture(self.boxes * size)
        seen = geometry.source
        low = np.array([seen.x, seen.y] * 2, np.float32)
        high = low + np.array([seen.width, seen.height] * 2, np.float32)
        return Detections(np.clip(boxes, low, high), self.scores, self.labels)


def decode(logits: npt.NDArray[np.floating], contract: Contract) -> list[Detections]:
    """Decode and suppress a batch.

    Args:
        logits: n x channels x grid_height x grid_width, real values (output integer times scale).
        contract: class names, decoding and suppression.

    Returns:
        one `Detections` a picture, boxes as fractions of the network input.

    Raises:
        EdgebedError: the shape is not the contract's.
    """
    boxes, scores = boxes_and_scores(logits, contract.decode, len(contract.classes))
    return [_suppressed(b, s, contract) for b, s in zip(boxes, scores, strict=True)]


def boxes_and_scores(
    logits: npt.NDArray[np.floating], grid: GridDecode, classes: int
) -> tuple[Float64, Float64]:
    """Return all boxes and scores before suppression.

    Args:
        logits: n x channels x grid_height x grid_width.
        grid: how the map is read.
        classes: number of classes.

    Returns:
        n x m x 4 boxes (x1 y1 x2 y2, fractions, cut to 0..1) and n x m x classes scores, where
        m runs over rows, columns and boxes, the last fastest.
    """
    check_shape(logits.shape[1:], grid, classes)
    cells = split_channels(logits.astype(np.float64), grid, classes)
    place = sigmoid(cells[..., :5])
    column, row = np.arange(grid.grid_width), np.arange(grid.grid_height)
    shift = (grid.stretch - 1) / 2
    x = (column[:, None] + place[..., 0] * grid.stretch - shift) / grid.grid_width
    y = (row[:, None, None] + place[..., 1] * grid.stretch - shift) / grid.grid_height
    size = place[..., 2:4] if grid.size == "sigmoid" else (2 * place[..., 2:4]) ** 2
    half = size * np.array(grid.priors) / 2
    corners = (x - half[..., 0], y - half[..., 1], x + half[..., 0], y + half[..., 1])
    boxes = np.clip(np.stack(corners, -1), 0, 1)
    share = _class_share(cells[..., 5:], grid)
    scores = place[..., 4:5] * share
    count = len(logits)
    return boxes.reshape(count, -1, 4), scores.reshape(count, -1, classes)


def split_channels(
    output: npt.NDArray[Number], grid: GridDecode, classes: int
) -> npt.NDArray[Number]:
    """Arrange n x channels x rows x columns as n x rows x columns x boxes x (5 + classes).

    The boxes of a cell share its class scores, which follow all boxes in the channels.
    """
    cells = output.transpose(0, 2, 3, 1)
    place = cells[..., : 5 * grid.boxes].reshape(*cells.shape[:3], grid.boxes, 5)
    shared = cells[..., None, 5 * grid.boxes :]
    scores = np.broadcast_to(shared, (*place.shape[:4], classes))
    return np.concatenate((place, scores), -1)


def check_shape(shape: tuple[int, ...], grid: GridDecode, classes: int) -> None:
    """Refuse an output map of another shape than channels x rows x columns of the contract."""
    expected = (5 * grid.boxes + classes, grid.grid_height, grid.grid_width)
    if tuple(shape) != expected:
        raise EdgebedError(
            f"output of shape {'x'.join(map(str, shape))} cannot be decoded",
            where="contract.decode",
            why=f"{grid.boxes} boxes of 5 channels and {classes} classes on a {grid.grid_width}x"
            f"{grid.grid_height} grid need {'x'.join(map(str, expected))}",
        )
    if len(grid.priors) != grid.boxes:
        raise EdgebedError(
            f"{len(grid.priors)} priors for {grid.boxes} boxes a cell",
            where="contract.decode.priors",
            try_="one (width, height) per box; (1, 1) without priors",
        )


def sigmoid(values: Float64) -> Float64:
    """Return 1 / (1 + exp(-values)) without overflow."""
    small = np.exp(-np.abs(values))
    result: Float64 = np.where(values >= 0, 1, small) / (1 + small)
    return result


def greedy(overlaps: npt.NDArray[np.bool_], maximum: int) -> list[int]:
    """Keep the first, drop what it overlaps, and so on; at most `maximum` indices.

    Args:
        overlaps: n x n; whether candidate j is dropped when i is kept. Best candidate first.
        maximum: most indices to return.
    """
    kept: list[int] = []
    alive = np.ones(len(overlaps), np.bool_)
    for index in range(len(overlaps)):
        if alive[index]:
            kept.append(index)
            if len(kept) == maximum:
                break
            alive &= ~overlaps[index]
    return kept


def _class_share(logits: Float64, grid: GridDecode) -> Float64:
    if grid.class_score == "sigmoid":
        return sigmoid(logits)
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    share: Float64 = powers / powers.sum(-1, keepdims=True)
    return share


def _suppressed(boxes: Float64, scores: Float64, contract: Contract) -> Detections:
    nms = contract.nms
    solid = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    place, label = np.nonzero((scores >= nms.score) & solid[:, None])
    # A stable sort keeps (place, label) order among equals.
    order = np.argsort(-scores[place, label], kind="stable")[: nms.candidates]
    place, label = place[order], label[order]
    chosen = boxes[place]
    same = label[:, None] == label[None, :]
    kept = greedy(same & (overlap(chosen, chosen) > nms.iou), nms.maximum)
    return Detections(
        chosen[kept].astype(np.float32),
        scores[place[kept], label[kept]].astype(np.float32),
        label[kept].astype(np.int64),
    )


def overlap(first: npt.NDArray[np.floating], second: npt.NDArray[np.floating]) -> Float64:
    """Return the n x m matrix of intersection over union of n x 4 and m x 4 boxes with area."""
    a, b = first.astype(np.float64)[:, None], second.astype(np.float64)[None]
    inner = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = np.prod(np.maximum(inner, 0), -1)
    areas = [np.prod(boxes[..., 2:] - boxes[..., :2], -1) for boxes in (a, b)]
    result: Float64 = shared / (areas[0] + areas[1] - shared)
    return result
