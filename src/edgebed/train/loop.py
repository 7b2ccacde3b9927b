"""The epoch loop that float and quantised training share: schedule, average, checkpoint."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
from torch import Tensor, nn

from edgebed.data.augment import Augmentation
from edgebed.errors import EdgebedError
from edgebed.events import Listener, Note, Progress
from edgebed.train import checkpoint
from edgebed.train.batches import Batches
from edgebed.train.losses import Targets

Model = TypeVar("Model", bound=nn.Module)
Loss = Callable[[Tensor, Tensor, Targets], tuple[Tensor, dict[str, float]]]

LAST_RATE: Final = 0.01
"""The cosine schedule ends at this share of its peak."""

LONGEST_STEP: Final = 10.0
"""Gradients are scaled down to this norm."""


@dataclass(frozen=True)
class Stage:
    """One stretch of training.

    Attributes:
        name: `float` or `quantised`.
        epochs: passes over the training split.
        learning_rate: peak of the cosine schedule.
        warmup_epochs: epochs of linear rise.
        weight_decay: decoupled decay of convolution weights.
        ema_decay: decay of the averaged weights.
        bfloat16: whether products are computed in bfloat16.
        augmentation: gives the pictures' variation for an epoch number.
        loss: gives the loss of a batch from pictures, logits and objects, and its parts.
        path: the checkpoint.
        settings: everything the result depends on; a checkpoint with others is refused.
        epochs_before: epochs of earlier stages, for the progress shown.
        epochs_after: epochs of later stages.
        anew: whether a checkpoint of other settings is replaced instead of refused.
    """

    name: str
    epochs: int
    learning_rate: float
    warmup_epochs: float
    weight_decay: float
    ema_decay: float
    bfloat16: bool
    augmentation: Callable[[int], Augmentation | None]
    loss: Loss
    path: Path
    settings: Mapping[str, Any]
    epochs_before: int = 0
    epochs_after: int = 0
    anew: bool = False


@dataclass
class _Run:
    """What changes while a stage runs; all of it is in the checkpoint."""

    model: nn.Module
    average: nn.Module
    optimizer: torch.optim.Optimizer
    steps: int = 0
    history: list[dict[str, float]] = field(default_factory=list)

    def state(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "settings": checkpoint.dump(settings),
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "steps": self.steps,
            "history": self.history,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.steps = state["steps"]
        self.history = state["history"]


def train(
    stage: Stage,
    model: Model,
    batches: Batches,
    listener: Listener,
    watch: Callable[[int, Model], Mapping[str, float]],
) -> tuple[Model, list[dict[str, float]]]:
    """Train `model` in place, continuing from the stage's checkpoint when there is one.

    Args:
        stage: how.
        model: the start of the stage.
        batches: the training pictures.
        listener: hears one `Progress` per epoch.
        watch: called after each epoch with its number and the averaged model, in evaluation
            mode; returns figures to show.

    Returns:
        The averaged model in evaluation mode, and loss and figures of each epoch.

    Raises:
        EdgebedError: the loss is not finite, the disk is full, or the checkpoint belongs to
            other settings.
    """
    average = copy.deepcopy(model).eval()
    run = _Run(model, average, _optimizer(stage, model))
    state = checkpoint.load(stage.path) if stage.path.exists() else None
    if state is not None and stage.anew and checkpoint.differs(state, stage.settings):
        listener(Note("train", f"{stage.path.name} was trained with other settings; training anew"))
        state = None
    if state is not None:
        checkpoint.check_settings(stage.path, state, stage.settings)
        run.restore(state)
    else:
        checkpoint.save(stage.path, run.state(stage.settings))
    started, first = time.monotonic(), len(run.history)
    for epoch in range(first, stage.epochs):
        losses = _epoch(stage, run, batches, epoch)
        run.history.append({**losses, **watch(epoch + 1, average)})
        checkpoint.save(stage.path, run.state(stage.settings))
        pace = (time.monotonic() - started) / (epoch + 1 - first)
        listener(_progress(stage, epoch + 1, pace, run.history[-1]))
    return average, run.history


def _progress(stage: Stage, done: int, pace: float, metrics: Mapping[str, float]) -> Progress:
    total = stage.epochs_before + stage.epochs + stage.epochs_after
    done += stage.epochs_before
    return Progress("train", done, total, "epoch", pace * (total - done), metrics)


def _epoch(stage: Stage, run: _Run, batches: Batches, epoch: int) -> dict[str, float]:
    run.model.train()
    totals: dict[str, float] = {}
    total_steps = stage.epochs * batches.steps
    for x, targets in batches.epoch(stage.name, epoch, stage.augmentation(epoch)):
        _set_rate(run.optimizer, _rate(stage, run.steps, batches.steps, total_steps))
        parts = _step(stage, run, x, targets, f"epoch {epoch + 1}")
        for name, value in parts.items():
            totals[name] = totals.get(name, 0.0) + value / batches.steps
    return totals


def _step(stage: Stage, run: _Run, x: Tensor, targets: Targets, where: str) -> dict[str, float]:
    with torch.autocast("cpu", torch.bfloat16, enabled=stage.bfloat16):
        logits = run.model(x)
    loss, parts = stage.loss(x, logits, targets)
    if not torch.isfinite(loss):
        raise EdgebedError(
            f"the loss became {float(loss.detach())}",
            where=f"{stage.name} training, {where}",
            why="training cannot recover from it; the epoch before is on disk",
            try_="a smaller learning rate",
        )
    run.optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(run.model.parameters(), LONGEST_STEP)
    run.optimizer.step()
    run.steps += 1
    _average(run, stage.ema_decay)
    return {"loss": float(loss.detach()), **parts}


@torch.no_grad()
def _average(run: _Run, decay: float) -> None:
    # A young average follows quickly, so that short runs are not held back by their start.
    decay = min(decay, (1 + run.steps) / (10 + run.steps))
    pairs = zip(run.average.state_dict().values(), run.model.state_dict().values(), strict=True)
    for mean, value in pairs:
        if mean.is_floating_point():
            mean.lerp_(value, 1 - decay)
        else:
            mean.copy_(value)


def _optimizer(stage: Stage, model: nn.Module) -> torch.optim.Optimizer:
    weights = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": weights, "weight_decay": stage.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=stage.learning_rate, betas=(0.9, 0.99))


def _rate(stage: Stage, step: int, steps_per_epoch: int, total: int) -> float:
    """Return the learning rate of a step: linear rise, then half a cosine."""
    rise = min(1.0, (step + 1) / max(1.0, stage.warmup_epochs * steps_per_epoch))
    fall = 0.5 * (1 + math.cos(math.pi * step / total))
    return stage.learning_rate * rise * (LAST_RATE + (1 - LAST_RATE) * fall)


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch use `count` threads (0 = as it is) inside the block."""
    before = torch.get_num_threads()
    if count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
