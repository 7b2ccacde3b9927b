"""Teach a quantised detector to answer as its float original does.

Quantisation-aware training against the labels goes on learning and drifts away from the float
network, for better or worse. Against the float network's own answers (Hinton et al. 2015, arXiv
1503.02531) it only repairs what the coarse arithmetic changed.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from edgebed.program.contract import GridDecode


def distillation_loss(
    student: Tensor, teacher: Tensor, grid: GridDecode
) -> tuple[Tensor, dict[str, float]]:
    """Return how far the student's output is from the teacher's.

    Confidences are compared everywhere, boxes and classes where the teacher sees an object.

    Args:
        student: logits n x C x h x w, with gradient.
        teacher: logits of the same pictures.
        grid: how the output is read.

    Returns:
        The scalar loss (mean per object seen) and the parts `box`, `confidence` and `label`.
    """
    place, labels = _cells(student, grid)
    wanted_place, wanted_labels = _cells(teacher.detach(), grid)
    seen = wanted_place[..., 4].sigmoid()
    total = seen.sum().clamp(min=1.0)
    # Cross entropy less the teacher's own entropy: zero when both agree.
    confidence = _excess(place[..., 4], wanted_place[..., 4]).sum() / total
    distance = (place[..., :4] - wanted_place[..., :4]).square().sum(-1)
    box = (distance * seen).sum() / total
    if grid.class_score == "softmax":
        target = wanted_labels.log_softmax(-1)
        apart = functional.kl_div(labels.log_softmax(-1), target, reduction="none", log_target=True)
    else:
        apart = _excess(labels, wanted_labels)
    label = (apart.sum(-1) * seen.amax(-1)).sum() / total
    parts = {"box": box, "confidence": confidence, "label": label}
    return box + confidence + label, {name: float(part.detach()) for name, part in parts.items()}


def _excess(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the divergence of two yes-or-no probabilities given as logits."""
    target = teacher.sigmoid()
    cross = functional.binary_cross_entropy_with_logits
    return cross(student, target, reduction="none") - cross(teacher, target, reduction="none")


def _cells(logits: Tensor, grid: GridDecode) -> tuple[Tensor, Tensor]:
    """Return n x cells x boxes x 5 and n x cells x classes."""
    flat = logits.float().flatten(2).transpose(1, 2)
    place, labels = torch.tensor_split(flat, [5 * grid.boxes], dim=-1)
    return place.reshape(*place.shape[:2], grid.boxes, 5), labels
