"""What a training run is told: every number that changes its result."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from edgebed.errors import EdgebedError


@dataclass(frozen=True)
class FitConfig:
    """Settings of `fit`; equal settings, data and thread count give equal results.

    Attributes:
        epochs: passes over the training split in floating point.
        qat_epochs: further passes in the target's integer arithmetic; 0 only calibrates.
        batch: pictures a step.
        learning_rate: peak of the cosine schedule of the float training (AdamW).
        qat_learning_rate: peak of the schedule of the quantisation-aware training.
        weight_decay: decoupled decay of convolution weights.
        warmup_epochs: epochs over which the rate rises linearly from zero.
        ema_decay: decay of the averaged weights that are evaluated and exported.
        mosaic: share of training pictures composed of four; off in the last tenth of epochs.
        augment: whether training pictures are changed at all.
        flip_vertical: whether pictures may be turned upside down (cells yes, animals no).
        weight_bits: bits of a weight, for all inner layers or one number per layer.
        seed: seed of initial weights, order and augmentation.
        threads: torch threads; 0 leaves the process's setting. 1 makes runs bit-reproducible.
        bfloat16: whether float training multiplies in bfloat16 (faster on processors that
            have it).
        evaluate_every: epochs between two evaluations on the `val` split; 0 = only at the end.
    """

    epochs: int = 300
    qat_epochs: int = 40
    batch: int = 16
    learning_rate: float = 2e-3
    qat_learning_rate: float = 2e-4
    weight_decay: float = 0.02
    warmup_epochs: float = 3.0
    ema_decay: float = 0.998
    mosaic: float = 0.5
    augment: bool = True
    flip_vertical: bool = False
    weight_bits: int | tuple[int, ...] = 8
    seed: int = 0
    threads: int = 0
    bfloat16: bool = True
    evaluate_every: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch"):
            if getattr(self, name) < 1:
                raise _bad(name, getattr(self, name), "1 or more")
        for name in ("qat_epochs", "seed", "threads", "evaluate_every"):
            if getattr(self, name) < 0:
                raise _bad(name, getattr(self, name), "0 or more")
        for name in ("learning_rate", "qat_learning_rate"):
            if not 0 < getattr(self, name) < 1:
                raise _bad(name, getattr(self, name), "between 0 and 1")

    def to_json(self) -> dict[str, Any]:
        """Return the plain form that a checkpoint and `metrics.json` store."""
        return asdict(self)


def _bad(name: str, value: float, allowed: str) -> EdgebedError:
    return EdgebedError(f"{name} is {value}", where=f"training setting {name}", try_=allowed)
