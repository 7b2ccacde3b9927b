"""Who answers for which object, and that the loss pulls boxes onto objects."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from edgebed.data.decode import boxes_and_scores
from edgebed.program.contract import GridDecode
from edgebed.train.losses import (
    LossWeights,
    Targets,
    assign,
    complete_iou,
    detection_loss,
    pair_iou,
    read_grid,
)
from edgebed.train.networks import network

CLASSES = 3
GRIDS = {name: network(name, CLASSES).decode for name in ("bed", "bed-fast")}


def targets(boxes: list[list[float]], labels: list[int], padding: int = 0) -> Targets:
    blank = [[0.0] * 4] * padding
    valid = [True] * len(boxes) + [False] * padding
    return Targets(
        torch.tensor([boxes + blank]),
        torch.tensor([labels + [0] * padding]),
        torch.tensor([valid]),
    )


def logits(grid: GridDecode, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (1, 5 * grid.boxes + CLASSES, grid.grid_height, grid.grid_width)
    return torch.randn(shape, generator=generator)


@pytest.mark.parametrize("name", GRIDS)
def test_training_reads_the_grid_as_the_contract_decodes_it(name: str) -> None:
    grid, output = GRIDS[name], logits(GRIDS[name])
    found = read_grid(output, grid)
    boxes, scores = boxes_and_scores(output.numpy(), grid, CLASSES)
    assert np.allclose(found.boxes.clamp(0, 1).numpy(), boxes, atol=1e-6)
    probability = found.labels.softmax(-1) * found.confidence.sigmoid()[..., None]
    assert np.allclose(probability.numpy(), scores, atol=1e-6)


def test_a_wrong_number_of_channels_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        read_grid(torch.zeros(1, 5, 14, 14), GRIDS["bed-fast"])


def test_overlaps_by_hand() -> None:
    unit = torch.tensor([[[0.0, 0, 1, 1]]])
    others = torch.tensor([[[0.0, 0, 1, 1], [0, 0, 1, 0.5], [2, 2, 3, 3]]])
    assert pair_iou(unit, others)[0, 0].tolist() == [1.0, 0.5, 0.0]


def test_complete_iou_punishes_distance_and_shape() -> None:
    box = torch.tensor([[0.0, 0, 2, 2]])
    same, moved = box.clone(), torch.tensor([[4.0, 0, 6, 2]])
    assert complete_iou(box, same).item() == pytest.approx(1)
    # No overlap; centres 4 apart, common hull 6 x 2; same shape.
    assert complete_iou(box, moved).item() == pytest.approx(-16 / 40)
    flat = torch.tensor([[0.0, 0.5, 2, 1.5]])
    expected = 4 / math.pi**2 * (math.atan(2) - math.atan(1)) ** 2
    weight = expected / (1 - 0.5 + expected)
    assert complete_iou(box, flat).item() == pytest.approx(0.5 - weight * expected)


@pytest.mark.parametrize("name", GRIDS)
def test_every_object_gets_a_box_and_padding_none(name: str) -> None:
    grid = GRIDS[name]
    wanted = targets([[0.1, 0.1, 0.3, 0.3], [0.6, 0.5, 0.9, 0.9]], [0, 2], padding=3)
    owner, overlap = assign(read_grid(logits(grid), grid), wanted, grid, LossWeights())
    assert set(owner.unique().tolist()) == {-1, 0, 1}
    assert bool((overlap >= 0).all())


@pytest.mark.parametrize("name", GRIDS)
def test_only_cells_that_reach_the_centre_answer(name: str) -> None:
    grid = GRIDS[name]
    wanted = targets([[0.40, 0.20, 0.60, 0.50]], [1])
    found = read_grid(logits(grid), grid)
    owner, _ = assign(found, wanted, grid, LossWeights())
    centre = torch.tensor([0.5 * grid.grid_width, 0.35 * grid.grid_height])
    distance = (found.cells[owner[0] == 0] + 0.5 - centre).abs().max()
    assert float(distance) <= max(0.5, 0.5 * grid.stretch)


def test_an_object_in_the_last_corner_is_answered_for() -> None:
    grid = GRIDS["bed"]
    wanted = targets([[0.999, 0.999, 1.0, 1.0]], [0])
    owner, _ = assign(read_grid(logits(grid), grid), wanted, grid, LossWeights())
    assert int((owner == 0).sum()) > 0


@pytest.mark.parametrize("name", GRIDS)
def test_an_empty_picture_only_lowers_confidence(name: str) -> None:
    output = logits(GRIDS[name]).requires_grad_()
    loss, parts = detection_loss(output, targets([], [], padding=1), GRIDS[name])
    assert (parts["box"], parts["label"]) == (0.0, 0.0)
    loss.backward()
    assert output.grad is not None
    assert int((output.grad.abs().sum(dim=(0, 2, 3)) > 0).sum()) == GRIDS[name].boxes


@pytest.mark.parametrize("name", GRIDS)
def test_descending_the_loss_finds_the_objects(name: str) -> None:
    grid = GRIDS[name]
    wanted = targets([[0.10, 0.15, 0.30, 0.40], [0.55, 0.60, 0.95, 0.80]], [2, 0])
    output = logits(grid).requires_grad_()
    optimizer = torch.optim.Adam([output], lr=0.1)
    for _ in range(200):
        loss, _ = detection_loss(output, wanted, grid)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    boxes, scores = boxes_and_scores(output.detach().numpy(), grid, CLASSES)
    for box, label in zip(wanted.boxes[0].numpy(), (2, 0), strict=True):
        best = int(np.argmax(scores[0, :, label]))
        assert scores[0, best, label] > 0.8
        assert np.abs(boxes[0, best] - box).max() < 0.02


def test_sigmoid_class_scores_learn_too() -> None:
    grid = GridDecode(4, 4, 1, ((0.5, 0.5),), "squared", 2.0, "sigmoid")
    output = torch.zeros(1, 5 + CLASSES, 4, 4, requires_grad=True)
    loss, parts = detection_loss(output, targets([[0.1, 0.1, 0.5, 0.5]], [1]), grid)
    loss.backward()
    assert parts["label"] == pytest.approx(CLASSES * math.log(2))
    assert output.grad is not None
    assert output.grad[0, 5 + 1].min() < 0
