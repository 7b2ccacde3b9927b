"""Train a detector: float first, then in the target's own integer arithmetic. Resumable."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgebed.data.dataset import Dataset
from edgebed.events import Listener, ignore
from edgebed.program.contract import Contract
from edgebed.train.config import FitConfig
from edgebed.train.metrics import DetectionMetrics
from edgebed.train.networks import Network


@dataclass(frozen=True)
class FitResult:
    """What training produced.

    Attributes:
        network: the description that was trained (with its weight bits).
        contract: pre-processing, classes and decoding, with the fitted priors.
        float_metrics: of the float network on the `test` split (else `val`).
        quantised_metrics: of the integer network on the same pictures.
        model: the quantised torch module in evaluation mode; `train.export.to_program` turns
            it into a program.
        checkpoint: file that holds everything needed to resume or to load the model again.
        seconds: wall-clock time of this call.
    """

    network: Network
    contract: Contract
    float_metrics: DetectionMetrics
    quantised_metrics: DetectionMetrics
    model: Any
    checkpoint: Path
    seconds: float


def fit(
    network_name: str,
    dataset: Dataset,
    config: FitConfig,
    folder: Path,
    listener: Listener = ignore,
) -> FitResult:
    """Train `network_name` on `dataset` and keep everything below `folder`.

    `folder` gets `checkpoint.pt`, rewritten atomically after every epoch. When it is there
    already, training continues after its last epoch; the result is the same as without the
    interruption (bit for bit with `threads=1`).

    Raises:
        EdgebedError: the network is unknown, the `train` split is empty, the loss became NaN,
            the disk is full, or the checkpoint belongs to other settings.
        KeyboardInterrupt: Ctrl-C; the last finished epoch is on disk.
    """
    raise NotImplementedError
