"""A student is pulled to its teacher's answers, and only where they say something."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from edgebed.train.distil import distillation_loss
from edgebed.train.networks import network

CLASSES = 3
GRIDS = [network(name, CLASSES).decode for name in ("bed", "bed-fast")]
GRIDS += [replace(grid, class_score="sigmoid") for grid in GRIDS]


def logits(grid_index: int, seed: int) -> torch.Tensor:
    grid = GRIDS[grid_index]
    generator = torch.Generator().manual_seed(seed)
    shape = (2, 5 * grid.boxes + CLASSES, grid.grid_height, grid.grid_width)
    return torch.randn(shape, generator=generator)


@pytest.mark.parametrize("index", range(len(GRIDS)))
def test_agreement_costs_nothing_and_disagreement_something(index: int) -> None:
    teacher = logits(index, 0)
    same, _ = distillation_loss(teacher.clone(), teacher, GRIDS[index])
    other, parts = distillation_loss(logits(index, 1), teacher, GRIDS[index])
    assert float(same) == pytest.approx(0, abs=1e-5)
    assert all(value > 0 for value in parts.values())
    assert float(other) == pytest.approx(sum(parts.values()))


@pytest.mark.parametrize("index", range(len(GRIDS)))
def test_descent_reaches_the_teacher(index: int) -> None:
    teacher, student = logits(index, 0), logits(index, 1).requires_grad_()
    optimizer = torch.optim.Adam([student], lr=0.05)
    first, _ = distillation_loss(student, teacher, GRIDS[index])
    for _ in range(150):
        loss, _ = distillation_loss(student, teacher, GRIDS[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.01 * float(first.detach())


def test_boxes_do_not_matter_where_the_teacher_sees_nothing() -> None:
    grid = GRIDS[1]
    teacher = logits(1, 0)
    teacher[:, 4] = -60
    student = teacher.clone()
    student[:, :4] += 3
    student[:, 5:] += torch.randn(2, CLASSES, 14, 14)
    loss, _ = distillation_loss(student, teacher, grid)
    assert float(loss) == pytest.approx(0, abs=1e-6)


def test_the_teacher_gets_no_gradient() -> None:
    teacher, student = logits(0, 0).requires_grad_(), logits(0, 1).requires_grad_()
    loss, _ = distillation_loss(student, teacher, GRIDS[0])
    loss.backward()
    assert student.grad is not None and teacher.grad is None
