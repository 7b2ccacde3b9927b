"""From the output integers to boxes, in integers only: the definition that generated C repeats.

Everything below is int32 except the products named int64. Written for a port line by line:
`parameters` and `tables` are what a generator writes into the C source, `decode_fixed` is the code.
In this text `>>` is an arithmetic shift and `/` divides non-negative integers, rounding down.

Formats: logits Q16 (65536 = 1.0), probabilities and scores Q15 (32768 = 1.0), coordinates Q16
fractions of the network input (65536 = its width or height).

Channel 5 b + (0..4) is x, y, w, h, confidence of box b; 5 boxes + k is the score of class k, which
all boxes of the cell share.

1. Logit: l = (v * multiplier + (1 << (shift - 1))) >> shift in int64, cut to +-(2^30 - 1).
2. Sigmoid: a = |l|; a >= 16.0 gives 32768; else i = a >> 12, f = a & 4095,
   s = T[i] + (((T[i + 1] - T[i]) * f + 2048) >> 12); for l < 0 take 32768 - s.
   T[i] = round(32768 / (1 + exp(-i / 16))), i = 0..256. Error at most 1e-4.
3. Exponential of d = l_max - l >= 0: as 2. with E[i] = round(32768 exp(-i / 16)); 0 from 16.0 on.
   Here T falls, so the product is negative and its shift rounds half up. Error at most 6e-4.
4. Softmax: p = (e * 32768 + sum / 2) / sum (uint32 while there are fewer than 65536 classes).
5. Centre: n = (column << 16) + ((s * stretch + 16384) >> 15) - ((stretch - 65536) >> 1) [int64],
   c = (n + (width << 16) + width / 2) / width - 65536, where width is the grid's.
   (The grid width is added and subtracted so that the dividend is never negative.)
6. Size: g = s, or (s * s + 4096) >> 13 for `squared`; w = (prior * g + 16384) >> 15 [int64].
7. Corners: x1 = c - (w >> 1), x2 = x1 + w, then both are cut to 0..65536.
8. Score: (s_confidence * p + 16384) >> 15. Candidate if score >= least score and x2 > x1, y2 > y1.
9. Order: score, best first; ties: lower cell, box, class first. At most `candidates` are kept.
10. Suppression, same class only: drop the weaker if inter * 65536 > iou * union [int64].
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgebed.data.dataset import Int64
from edgebed.data.decode import Detections, check_shape, greedy, split_channels
from edgebed.errors import EdgebedError
from edgebed.program.contract import Contract, GridDecode

Int32 = npt.NDArray[np.int32]
UInt16 = npt.NDArray[np.uint16]
ONE_Q15 = 32768
ONE_Q16 = 65536
LOGIT_LIMIT = 2**30 - 1
TABLE_STEPS = 256
TABLE_END_Q16 = 16 << 16
"""The tables cover 0..16 in 256 steps of 1/16; beyond, sigmoid is 1 and the exponential 0."""


@dataclass(frozen=True)
class Tables:
    """The two tables of 257 entries, uint16, Q15."""

    sigmoid: UInt16
    exponential: UInt16


@dataclass(frozen=True)
class FixedParameters:
    """The integers that a contract and an output scale come down to.

    Attributes:
        multiplier: 2^30 <= multiplier < 2^31; with `shift`, output integer to Q16 logit.
        shift: 1..62.
        stretch: Q16.
        priors: (width, height) per box, Q16 fractions.
        least_score: Q15.
        iou: Q16.
    """

    multiplier: int
    shift: int
    stretch: int
    priors: tuple[tuple[int, int], ...]
    least_score: int
    iou: int


@dataclass(frozen=True)
class FixedDetections:
    """The boxes of one picture as integers, best first.

    Attributes:
        labels: n int32, class indices.
        scores_q15: n int32, 32768 = 1.0.
        boxes_q16: n x 4 int32, x1 y1 x2 y2, 65536 = width (height) of the network input.
    """

    labels: Int32
    scores_q15: Int32
    boxes_q16: Int32

    def __len__(self) -> int:
        return len(self.labels)

    def to_float(self) -> Detections:
        """Return the same as real numbers: scores 0..1, boxes as fractions of the input."""
        return Detections(
            (self.boxes_q16 / ONE_Q16).astype(np.float32),
            (self.scores_q15 / ONE_Q15).astype(np.float32),
            self.labels.astype(np.int64),
        )

    def in_pixels(self, width: int, height: int) -> Int32:
        """Return n x 4 int32 corners in pixels: (corner * size + 32768) >> 16 [int64]."""
        size = np.array([width, height] * 2, np.int64)
        return ((self.boxes_q16 * size + ONE_Q16 // 2) >> 16).astype(np.int32)


def tables() -> Tables:
    """Return the sigmoid and exponential tables; see the module's text."""
    steps = [i / 16 for i in range(TABLE_STEPS + 1)]
    return Tables(
        np.array([round(ONE_Q15 / (1 + math.exp(-x))) for x in steps], np.uint16),
        np.array([round(ONE_Q15 * math.exp(-x)) for x in steps], np.uint16),
    )


def parameters(scale: float, contract: Contract) -> FixedParameters:
    """Turn the contract's real numbers into integers, each rounded half up once.

    Args:
        scale: real value of one unit of the output integer, > 0.
        contract: decoding and suppression.

    Raises:
        EdgebedError: the scale is outside 2^-48 to 2^14, or the stretch outside 0 to 3 (beyond,
            the dividend of step 5 could be negative).
    """
    if not 0 <= contract.decode.stretch <= 3:
        raise EdgebedError(
            f"stretch {contract.decode.stretch:g} is out of range",
            where="contract.decode.stretch",
            try_="between 0 and 3",
        )
    multiplier, shift = _multiplier(scale)
    grid, nms = contract.decode, contract.nms
    return FixedParameters(
        multiplier,
        shift,
        _rounded(grid.stretch * ONE_Q16),
        tuple((_rounded(w * ONE_Q16), _rounded(h * ONE_Q16)) for w, h in grid.priors),
        max(_rounded(nms.score * ONE_Q15), 1),
        _rounded(nms.iou * ONE_Q16),
    )


def decode_fixed(
    output: npt.NDArray[np.signedinteger], scale: float, contract: Contract
) -> FixedDetections:
    """Decode and suppress one output map in integer arithmetic.

    Args:
        output: int8 or int32, channels x grid_height x grid_width, as the program returns it.
        scale: real value of one unit of `output`.
        contract: class names, decoding and suppression.

    Returns:
        the boxes that remain, best first.

    Raises:
        EdgebedError: the shape is not the contract's, or the scale cannot be represented.
    """
    grid, classes = contract.decode, len(contract.classes)
    check_shape(output.shape, grid, classes)
    integers, table = parameters(scale, contract), tables()
    logits = to_logits(split_channels(output[None], grid, classes)[0], integers)
    place = sigmoid_q15(logits[..., :5], table)
    boxes = _boxes(place, grid, integers).reshape(-1, 4)
    share = _share(logits[..., 5:], grid, table)
    scores = ((place[..., 4:5] * share + 16384) >> 15).reshape(-1, classes)
    return _suppressed(boxes, scores, integers, contract)


def to_logits(output: npt.NDArray[np.signedinteger], integers: FixedParameters) -> Int64:
    """Return Q16 logits of output integers (step 1)."""
    product = output.astype(np.int64) * integers.multiplier
    logits = (product + (1 << (integers.shift - 1))) >> integers.shift
    cut: Int64 = np.clip(logits, -LOGIT_LIMIT, LOGIT_LIMIT)
    return cut


def sigmoid_q15(logits: Int64, table: Tables) -> Int64:
    """Return the Q15 sigmoid of Q16 logits (step 2)."""
    positive = _look_up(table.sigmoid, np.abs(logits), ONE_Q15)
    return np.where(logits < 0, ONE_Q15 - positive, positive)


def exponential_q15(distance: Int64, table: Tables) -> Int64:
    """Return Q15 exp(-distance) of a Q16 distance >= 0 (step 3)."""
    return _look_up(table.exponential, distance, 0)


def _look_up(table: UInt16, value: Int64, beyond: int) -> Int64:
    entries = table.astype(np.int64)
    inside = np.minimum(value, TABLE_END_Q16 - 1)
    index, part = inside >> 12, inside & 4095
    low = entries[index]
    between = low + (((entries[index + 1] - low) * part + 2048) >> 12)
    return np.where(value >= TABLE_END_Q16, beyond, between)


def _share(logits: Int64, grid: GridDecode, table: Tables) -> Int64:
    if grid.class_score == "sigmoid":
        return sigmoid_q15(logits, table)
    powers = exponential_q15(logits.max(-1, keepdims=True) - logits, table)
    total = powers.sum(-1, keepdims=True)
    share: Int64 = (powers * ONE_Q15 + total // 2) // total
    return share


def _boxes(place: Int64, grid: GridDecode, integers: FixedParameters) -> Int64:
    """Return rows x columns x boxes x 4 corners, Q16, cut to the input (steps 5 to 7)."""
    column, row = np.arange(grid.grid_width)[:, None], np.arange(grid.grid_height)[:, None, None]
    x = _centre(place[..., 0], column, grid.grid_width, integers.stretch)
    y = _centre(place[..., 1], row, grid.grid_height, integers.stretch)
    size = place[..., 2:4] if grid.size == "sigmoid" else (place[..., 2:4] ** 2 + 4096) >> 13
    size = (np.array(integers.priors, np.int64) * size + 16384) >> 15
    low = np.stack((x, y), -1) - (size >> 1)
    corners: Int64 = np.clip(np.concatenate((low, low + size), -1), 0, ONE_Q16)
    return corners


def _centre(part: Int64, cell: Int64, cells: int, stretch: int) -> Int64:
    place = (cell << 16) + ((part * stretch + 16384) >> 15) - ((stretch - ONE_Q16) >> 1)
    centre: Int64 = (place + (cells << 16) + cells // 2) // cells - ONE_Q16
    return centre


def _suppressed(
    boxes: Int64, scores: Int64, integers: FixedParameters, contract: Contract
) -> FixedDetections:
    solid = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    place, label = np.nonzero((scores >= integers.least_score) & solid[:, None])
    order = np.argsort(-scores[place, label], kind="stable")[: contract.nms.candidates]
    place, label = place[order], label[order]
    chosen = boxes[place]
    drops = (label[:, None] == label[None]) & _overlap(chosen, integers.iou)
    kept = greedy(drops, contract.nms.maximum)
    return FixedDetections(
        label[kept].astype(np.int32),
        scores[place[kept], label[kept]].astype(np.int32),
        chosen[kept].astype(np.int32),
    )


def _overlap(boxes: Int64, iou: int) -> npt.NDArray[np.bool_]:
    """Return whether inter / union > iou (Q16) for each pair, in int64 (at most 2^49)."""
    a, b = boxes[:, None], boxes[None]
    inner = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    inner = np.maximum(inner, 0)
    shared = inner[..., 0] * inner[..., 1]
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    union = areas[:, None] + areas[None] - shared
    above: npt.NDArray[np.bool_] = shared * ONE_Q16 > iou * union
    return above


def _multiplier(scale: float) -> tuple[int, int]:
    """Return (m, shift) with scale * 65536 = m / 2^shift and 2^30 <= m < 2^31."""
    if not (math.isfinite(scale) and scale > 0):
        raise EdgebedError(f"output scale {scale} is not a positive number", where="output")
    mantissa, exponent = math.frexp(scale * ONE_Q16)
    multiplier, shift = _rounded(mantissa * 2**31), 31 - exponent
    if multiplier == 2**31:
        multiplier, shift = 2**30, shift - 1
    if not 1 <= shift <= 62:
        raise EdgebedError(
            f"output scale {scale:g} is out of range",
            where="output",
            why="the decoder needs a scale between 2^-48 and 2^14",
        )
    return multiplier, shift


def _rounded(value: float) -> int:
    return math.floor(value + 0.5)
