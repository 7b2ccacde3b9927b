"""What a training run is told: every number that changes its result."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from edgebed.data.augment import Augmentation
from edgebed.errors import EdgebedError
from edgebed.train.losses import LossWeights

QUANTISED_ONLY: Final = ("qat_epochs", "qat_learning_rate", "weight_bits")
"""Settings that the float training does not depend on: it is kept when they change."""

QAT_RATES: Final = {8: 2e-4, 4: 5e-4, 2: 1e-3, 1: 5e-3}
"""Learning rate of the quantisation-aware training by the narrowest weights."""

NEUTRAL: Final = ("evaluate_every",)
"""Settings that change no result."""


@dataclass(frozen=True)
class FitConfig:
    """Settings of `fit`; equal settings, data and thread count give equal results.

    Attributes:
        epochs: passes over the training split in floating point.
        qat_epochs: further passes in the target's integer arithmetic, towards the answers of the
            float network; 0 only calibrates.
        batch: pictures a step.
        learning_rate: peak of the cosine schedule of the float training (AdamW).
        qat_learning_rate: peak of the schedule of the quantisation-aware training; None takes
            what suits the narrowest weights: coarser steps need larger moves.
        weight_decay: decoupled decay of convolution weights in float training.
        warmup_epochs: epochs over which the rate rises linearly from zero.
        ema_decay: decay of the averaged weights that are evaluated and exported.
        augmentation: how training pictures vary; None shows them as they are. Its mosaic is
            off in the last tenth of the float epochs and in quantisation-aware training.
        loss: weights of the parts of the float training's loss; None takes those that suit the
            network's grid.
        weight_bits: bits of a weight, for all inner layers or one number per layer.
        seed: seed of initial weights, order and augmentation.
        threads: torch threads; 0 leaves the process's setting. 1 makes runs bit-reproducible.
        bfloat16: whether training multiplies in bfloat16; None = where the processor has it.
            Evaluation never does.
        evaluate_every: float epochs between two evaluations on the `val` split; 0 = none.
    """

    epochs: int = 300
    qat_epochs: int = 40
    batch: int = 16
    learning_rate: float = 2e-3
    qat_learning_rate: float | None = None
    weight_decay: float = 0.02
    warmup_epochs: float = 3.0
    ema_decay: float = 0.998
    augmentation: Augmentation | None = field(default_factory=Augmentation)
    loss: LossWeights | None = None
    weight_bits: int | tuple[int, ...] = 8
    seed: int = 0
    threads: int = 0
    bfloat16: bool | None = None
    evaluate_every: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch"):
            if getattr(self, name) < 1:
                raise _bad(name, getattr(self, name), "1 or more")
        for name in ("qat_epochs", "seed", "threads", "evaluate_every", "weight_decay"):
            if getattr(self, name) < 0:
                raise _bad(name, getattr(self, name), "0 or more")
        for name in ("learning_rate", "qat_learning_rate", "ema_decay"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1:
                raise _bad(name, getattr(self, name), "between 0 and 1")

    def resolved(self, *, bfloat16: bool) -> FitConfig:
        """Return the same with nothing left open, on a processor with or without bfloat16."""
        bits = self.weight_bits
        narrowest = bits if isinstance(bits, int) else min(bits)
        return replace(
            self,
            bfloat16=bfloat16 if self.bfloat16 is None else self.bfloat16,
            qat_learning_rate=self.qat_learning_rate or QAT_RATES.get(narrowest, 2e-4),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the plain form that a checkpoint and `metrics.json` store."""
        return asdict(self)

    def float_settings(self) -> dict[str, Any]:
        """Return the settings that the float training depends on."""
        skip = (*QUANTISED_ONLY, *NEUTRAL)
        return {name: value for name, value in self.to_json().items() if name not in skip}

    def quantised_settings(self) -> dict[str, Any]:
        """Return the settings that the quantised training depends on."""
        return {name: value for name, value in self.to_json().items() if name not in NEUTRAL}


def _bad(name: str, value: float, allowed: str) -> EdgebedError:
    return EdgebedError(f"{name} is {value}", where=f"training setting {name}", try_=allowed)
