"""The detection loss on a grid of boxes, with a task-aligned choice of who predicts what.

Every object is offered the cells that can reach its centre. Among those boxes the ones that
already predict it best (score times overlap) are made responsible, as in TOOD (Feng et al. 2021,
arXiv 2108.07755); an object never goes without. Responsible boxes learn overlap (CIoU, Zheng et
al. 2020, arXiv 1911.08287), class, and as their confidence the overlap they reach.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from edgebed.program.contract import GridDecode


@dataclass(frozen=True)
class LossWeights:
    """Weights of the three parts and the strictness of the assignment.

    Attributes:
        box: weight of 1 - CIoU.
        confidence: weight of the confidence's binary cross entropy.
        label: weight of the class cross entropy.
        top: at most this many boxes are responsible for one object.
        overlap_power: exponent of the overlap in the choice (the score has 0.5).
    """

    box: float = 5.0
    confidence: float = 1.0
    label: float = 1.0
    top: int = 4
    overlap_power: float = 3.0


@dataclass(frozen=True)
class Targets:
    """Objects of a batch, padded to the same number.

    Attributes:
        boxes: n x m x 4, x1 y1 x2 y2 as fractions of the input.
        labels: n x m int64.
        valid: n x m bool; False for padding.
    """

    boxes: Tensor
    labels: Tensor
    valid: Tensor


@dataclass(frozen=True)
class Predictions:
    """Decoded output of a batch; k = rows * columns * boxes, boxes of a cell side by side.

    Attributes:
        boxes: n x k x 4, x1 y1 x2 y2 as fractions of the input, not clipped.
        confidence: n x k logits.
        labels: n x k x classes logits.
        cells: k x 2, column and row of each box's cell.
    """

    boxes: Tensor
    confidence: Tensor
    labels: Tensor
    cells: Tensor


def read_grid(logits: Tensor, grid: GridDecode) -> Predictions:
    """Decode logits (n x C x h x w) as the contract says, differentiably.

    Raises:
        ValueError: the channels do not hold the boxes and at least one class.
    """
    n, channels, rows, columns = logits.shape
    classes = channels - 5 * grid.boxes
    if classes < 1 or (columns, rows) != (grid.grid_width, grid.grid_height):
        raise ValueError(f"output {channels}x{rows}x{columns} does not fit {grid}")
    flat = logits.float().permute(0, 2, 3, 1).reshape(n, rows * columns, channels)
    place = flat[..., : 5 * grid.boxes].reshape(n, -1, 5)
    labels = flat[..., 5 * grid.boxes :].repeat_interleave(grid.boxes, dim=1)
    cells = _cells(rows, columns, grid.boxes)
    size = torch.tensor([columns, rows], dtype=flat.dtype)
    offset = place[..., :2].sigmoid() * grid.stretch - (grid.stretch - 1) / 2
    centre = (cells + offset) / size
    shape = place[..., 2:4].sigmoid()
    if grid.size == "squared":
        shape = (2 * shape) ** 2
    priors = torch.tensor(grid.priors, dtype=flat.dtype).repeat(rows * columns, 1)
    half = shape * priors / 2
    boxes = torch.cat([centre - half, centre + half], -1)
    return Predictions(boxes, place[..., 4], labels, cells)


def detection_loss(
    logits: Tensor, targets: Targets, grid: GridDecode, weights: LossWeights | None = None
) -> tuple[Tensor, dict[str, float]]:
    """Return the loss of a batch and its parts.

    Args:
        logits: network output, n x C x h x w.
        targets: the objects.
        grid: how the output is read.
        weights: weights of the parts; the defaults without.

    Returns:
        The scalar loss (mean per object) and the parts `box`, `confidence` and `label`.
    """
    weights = weights or LossWeights()
    found = read_grid(logits, grid)
    owner, overlap = assign(found, targets, grid, weights)
    chosen = owner >= 0
    wanted = torch.where(chosen, overlap, torch.zeros_like(overlap))
    total = wanted.sum().clamp(min=1.0)
    confidence = (
        functional.binary_cross_entropy_with_logits(found.confidence, wanted, reduction="sum")
        / total
    )
    picture, place = chosen.nonzero(as_tuple=True)
    mine = owner[picture, place]
    share = wanted[picture, place]
    distance = 1 - complete_iou(found.boxes[picture, place], targets.boxes[picture, mine])
    box = (distance * share).sum() / total
    label = _label_loss(found.labels[picture, place], targets.labels[picture, mine], grid)
    label = (label * share).sum() / total
    loss = weights.box * box + weights.confidence * confidence + weights.label * label
    parts = {"box": box, "confidence": confidence, "label": label}
    return loss, {name: float(part.detach()) for name, part in parts.items()}


@torch.no_grad()
def assign(
    found: Predictions, targets: Targets, grid: GridDecode, weights: LossWeights
) -> tuple[Tensor, Tensor]:
    """Choose which boxes answer for which object.

    Returns:
        n x k int64: index of the object, -1 for none; n x k: the overlap (IoU, at least 0) that
        the box reaches with its object.
    """
    overlap = pair_iou(targets.boxes, found.boxes).clamp(min=0)  # n x m x k
    reach = _reachable(targets, found.cells, grid)
    score = found.confidence.sigmoid()[:, None] * _share(found.labels, targets.labels, grid)
    # The small constants order candidates that do not overlap yet, and never let them win.
    merit = (score + 1e-3).sqrt() * (overlap + 1e-2) ** weights.overlap_power
    merit = torch.where(reach, merit, torch.zeros_like(merit))
    best = merit.topk(min(weights.top, merit.shape[-1]), dim=-1)
    taken = torch.zeros_like(merit).scatter(-1, best.indices, best.values)
    # A box that several objects want goes to the one it overlaps most.
    value, owner = torch.where(taken > 0, overlap + 1e-6, torch.zeros_like(overlap)).max(dim=1)
    owner = torch.where(value > 0, owner, torch.full_like(owner, -1))
    reached = overlap.gather(1, owner.clamp(min=0)[:, None])[:, 0]
    return owner, reached


def pair_iou(first: Tensor, second: Tensor) -> Tensor:
    """Return intersection over union of n x m x 4 with n x k x 4 boxes: n x m x k."""
    a, b = first[:, :, None], second[:, None]
    sides = torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])
    inside = sides.clamp(min=0).prod(-1)
    area_a = (a[..., 2:] - a[..., :2]).prod(-1)
    area_b = (b[..., 2:] - b[..., :2]).prod(-1)
    return inside / (area_a + area_b - inside).clamp(min=1e-9)


def complete_iou(first: Tensor, second: Tensor) -> Tensor:
    """Return CIoU of two lists of p x 4 boxes: IoU less centre distance and shape difference."""
    low = torch.maximum(first[:, :2], second[:, :2])
    high = torch.minimum(first[:, 2:], second[:, 2:])
    inside = (high - low).clamp(min=0).prod(-1)
    size_a, size_b = first[:, 2:] - first[:, :2], second[:, 2:] - second[:, :2]
    iou = inside / (size_a.prod(-1) + size_b.prod(-1) - inside).clamp(min=1e-9)
    hull = torch.maximum(first[:, 2:], second[:, 2:]) - torch.minimum(first[:, :2], second[:, :2])
    centre = (first[:, :2] + first[:, 2:] - second[:, :2] - second[:, 2:]) / 2
    far = centre.square().sum(-1) / hull.square().sum(-1).clamp(min=1e-9)
    angle_a = torch.atan2(size_a[:, 0], size_a[:, 1].clamp(min=1e-9))
    angle_b = torch.atan2(size_b[:, 0], size_b[:, 1].clamp(min=1e-9))
    shape = 4 / math.pi**2 * (angle_a - angle_b).square()
    weight = (shape / (1 - iou + shape).clamp(min=1e-9)).detach()
    return iou - far - weight * shape


def _cells(rows: int, columns: int, boxes: int) -> Tensor:
    """Return column and row of every box, k x 2."""
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.stack([column, row], -1).reshape(-1, 2).repeat_interleave(boxes, 0).float()


def _reachable(targets: Targets, cells: Tensor, grid: GridDecode) -> Tensor:
    """Return n x m x k: whether the box's cell can place a centre on the object's.

    The margin stays a little inside the reach of the sigmoid, which only touches it at infinity;
    the cell that holds the centre always counts.
    """
    size = torch.tensor([grid.grid_width, grid.grid_height], dtype=targets.boxes.dtype)
    centre = (targets.boxes[..., :2] + targets.boxes[..., 2:]) / 2 * size
    distance = (centre[:, :, None] - (cells + 0.5)).abs().amax(-1)
    own = (centre[:, :, None].floor() == cells).all(-1)
    return ((distance < 0.45 * grid.stretch) | own) & targets.valid[..., None]


def _share(logits: Tensor, labels: Tensor, grid: GridDecode) -> Tensor:
    """Return n x m x k: the probability that box k gives to the class of object m."""
    softmax = grid.class_score == "softmax"
    probability = logits.softmax(-1) if softmax else logits.sigmoid()
    index = labels[:, None].expand(-1, logits.shape[1], -1)
    return probability.gather(-1, index).transpose(1, 2)


def _label_loss(logits: Tensor, labels: Tensor, grid: GridDecode) -> Tensor:
    """Return one loss per responsible box."""
    if grid.class_score == "softmax":
        return functional.cross_entropy(logits, labels, reduction="none")
    wanted = functional.one_hot(labels, logits.shape[-1]).to(logits.dtype)
    loss = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    return loss.sum(-1)
