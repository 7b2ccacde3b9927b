"""Train a detector: float first, then in the target's own integer arithmetic. Resumable."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from edgebed.data.augment import Augmentation, Cache
from edgebed.data.dataset import Dataset
from edgebed.data.preprocess import to_tensor
from edgebed.errors import EdgebedError
from edgebed.events import Finished, Listener, Note, Progress, Started, ignore
from edgebed.program.contract import Contract, ImageInput
from edgebed.train import checkpoint
from edgebed.train.batches import Batches, to_float
from edgebed.train.config import QAT_RATES, FitConfig
from edgebed.train.detector import FloatDetector
from edgebed.train.distil import distillation_loss
from edgebed.train.evaluate import Int8, Logits, Predict, Split, evaluate
from edgebed.train.loop import Loss, Stage, threads, train
from edgebed.train.losses import LossWeights, Targets, detection_loss
from edgebed.train.metrics import DetectionMetrics
from edgebed.train.networks import Network, network
from edgebed.train.priors import fitted
from edgebed.train.qat import QuantisedDetector, calibrate

CALIBRATION_PICTURES: Final = 32
MOSAIC_FREE: Final = 0.1
"""Share of the float epochs, at the end, that show whole pictures as the device will."""


@dataclass(frozen=True)
class FitResult:
    """What training produced.

    Attributes:
        network: the description that was trained (with its weight bits).
        contract: pre-processing, classes and decoding, with the fitted priors.
        float_metrics: of the float network on the `test` split (else `val`, else `train`).
        quantised_metrics: of the integer network on the same pictures.
        float_model: the float torch module in evaluation mode.
        model: the quantised torch module in evaluation mode; `train.export.to_program` turns
            it into a program.
        checkpoint: file of the quantised training; `load` reads the model back from it.
        history: loss parts and figures of each epoch, float epochs first.
        seconds: wall-clock time of this call.
    """

    network: Network
    contract: Contract
    float_metrics: DetectionMetrics
    quantised_metrics: DetectionMetrics
    float_model: FloatDetector
    model: QuantisedDetector
    checkpoint: Path
    history: tuple[Mapping[str, float], ...]
    seconds: float


@dataclass(frozen=True)
class _Job:
    """The decisions of one call of `fit`, shared by its stages."""

    network: Network
    contract: Contract
    dataset: Dataset
    config: FitConfig
    folder: Path
    listener: Listener
    anew: bool

    @property
    def data_settings(self) -> dict[str, Any]:
        """What identifies the data and the network in a checkpoint."""
        return {
            "network": self.network.name,
            "classes": list(self.dataset.classes),
            "dataset": self.dataset.name,
            "pictures": len(self.dataset.splits["train"]),
            "annotations": self.dataset.digest,
            "contract": self.contract.to_json(),
        }


def fit(
    network_name: str,
    dataset: Dataset,
    config: FitConfig,
    folder: Path,
    listener: Listener = ignore,
    *,
    anew: bool = False,
) -> FitResult:
    """Train `network_name` on `dataset` and keep everything below `folder`.

    `folder` gets `float.pt` and `quantised.pt`, rewritten atomically after every epoch. Where
    they are there already, training continues after their last epoch; the result is the same as
    without the interruption (bit for bit with `threads=1`). Checkpoints of other settings are
    refused, or with `anew` replaced.

    Raises:
        EdgebedError: the network is unknown, the `train` split is empty, the loss is not
            finite, the disk is full, or a checkpoint belongs to other settings.
        KeyboardInterrupt: Ctrl-C; the last finished epoch is on disk.
    """
    started = time.monotonic()
    config = config.resolved(bfloat16=has_bfloat16())
    described = network(network_name, len(dataset.classes)).with_weight_bits(config.weight_bits)
    image_input = ImageInput(described.width, described.height)
    samples = dataset.splits.get("train")
    if not samples:
        raise EdgebedError("there is nothing to train on", where=f"{dataset.name}, split train")
    listener(Started("train", f"{network_name} on {_about(dataset)}, into {folder}"))
    cache = Cache.of(samples, image_input, progress=_reading(len(samples), listener))
    contract = Contract(image_input, dataset.classes, fitted(described, cache))
    job = _Job(described, contract, dataset, config, folder, listener, anew)
    batches = Batches(cache, image_input, min(config.batch, len(cache)), config.seed)
    with threads(config.threads):
        float_model, float_history = _train_float(job, batches)
        model, history = _train_quantised(job, batches, float_model)
        split = scored_split(dataset, image_input)
        float_metrics = evaluate(predictor(float_model), split, contract, coco=has_coco())
        metrics = evaluate(predictor(model), split, contract, coco=has_coco())
    listener(Finished("train", f"AP@0.5 {float_metrics.ap50:.3f} float, {metrics.ap50:.3f} int"))
    return FitResult(
        network=described,
        contract=contract,
        float_metrics=float_metrics,
        quantised_metrics=metrics,
        float_model=float_model,
        model=model,
        checkpoint=folder / "quantised.pt",
        history=(*float_history, *history),
        seconds=time.monotonic() - started,
    )


def load(path: Path) -> tuple[QuantisedDetector, Contract]:
    """Read the quantised detector, in evaluation mode, and its contract from `quantised.pt`.

    Raises:
        EdgebedError: the file is absent, damaged, or of another kind.
    """
    state = checkpoint.load(path)
    settings = checkpoint.settings_of(path, state, ("network", "contract", "weight_bits"))
    contract = Contract.from_json(settings["contract"])
    bits = settings["weight_bits"]
    described = network(settings["network"], len(contract.classes)).with_weight_bits(
        tuple(bits) if isinstance(bits, list) else bits
    )
    model = QuantisedDetector.blank(described)
    try:
        model.load_state_dict(state["average"])
    except (KeyError, RuntimeError) as error:
        raise EdgebedError(
            f"these are not the weights of {described.name}", where=str(path), why="damaged"
        ) from error
    return model.eval(), contract


def predictor(model: nn.Module) -> Predict:
    """Return the model as a function from input integers to real logits."""

    def predict(tensors: Int8) -> Logits:
        with torch.no_grad():
            result: Logits = model(to_float(tensors)).numpy()
        return result

    return predict


def scored_split(dataset: Dataset, image_input: ImageInput) -> Split:
    """Return the split that results are reported on: `test`, else `val`, else `train`."""
    name = next(name for name in ("test", "val", "train") if dataset.splits.get(name))
    return Split.of(name, dataset.splits[name], image_input)


def has_bfloat16() -> bool:
    """Return whether this processor multiplies bfloat16 itself; emulating it is slow."""
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16"))


def has_coco() -> bool:
    """Return whether the extra for COCO mAP is installed."""
    from importlib.util import find_spec

    return find_spec("faster_coco_eval") is not None


def _train_float(job: _Job, batches: Batches) -> tuple[FloatDetector, list[dict[str, float]]]:
    config = job.config
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = FloatDetector(job.network)
    stage = Stage(
        name="float",
        epochs=config.epochs,
        learning_rate=config.learning_rate,
        warmup_epochs=min(config.warmup_epochs, config.epochs / 4),
        weight_decay=config.weight_decay,
        ema_decay=config.ema_decay,
        bfloat16=bool(config.bfloat16),
        augmentation=_variation(config),
        loss=_against_labels(job),
        path=job.folder / "float.pt",
        settings={**job.data_settings, **config.float_settings()},
        epochs_after=config.qat_epochs,
        anew=job.anew,
    )
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return train(stage, model, batches, job.listener, _watcher(job))


def _train_quantised(
    job: _Job, batches: Batches, float_model: FloatDetector
) -> tuple[QuantisedDetector, list[dict[str, float]]]:
    config = job.config
    samples = job.dataset.splits["train"][:CALIBRATION_PICTURES]
    pictures = np.stack([to_tensor(sample.load(), job.contract.input) for sample in samples])
    model = calibrate(float_model, job.network, to_float(pictures))
    stage = Stage(
        name="quantised",
        epochs=config.qat_epochs,
        learning_rate=config.qat_learning_rate or QAT_RATES[8],
        warmup_epochs=min(1.0, config.qat_epochs / 4),
        weight_decay=0.0,
        ema_decay=config.ema_decay,
        bfloat16=bool(config.bfloat16),
        augmentation=lambda _epoch: _whole(config.augmentation),
        loss=_against_teacher(job, float_model, bool(config.bfloat16)),
        path=job.folder / "quantised.pt",
        settings={**job.data_settings, **config.quantised_settings()},
        epochs_before=config.epochs,
        anew=job.anew,
    )
    return train(stage, model, batches, job.listener, lambda _epoch, _model: {})


def _against_labels(job: _Job) -> Loss:
    grid, weights = job.contract.decode, job.config.loss or _suited(job.contract)
    return lambda _x, logits, targets: detection_loss(logits, targets, grid, weights)


def _against_teacher(job: _Job, teacher: FloatDetector, bfloat16: bool) -> Loss:
    def loss(x: Tensor, logits: Tensor, _targets: Targets) -> tuple[Tensor, dict[str, float]]:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            wanted = teacher(x)
        return distillation_loss(logits, wanted, job.contract.decode)

    return loss


def _watcher(job: _Job) -> Callable[[int, nn.Module], Mapping[str, float]]:
    """Return what looks at the `val` split every few epochs."""
    every, samples = job.config.evaluate_every, job.dataset.splits.get("val")
    if not every or not samples:
        return lambda _epoch, _model: {}
    split = Split.of("val", samples, job.contract.input)

    def watch(epoch: int, model: nn.Module) -> Mapping[str, float]:
        if epoch % every and epoch != job.config.epochs:
            return {}
        metrics = evaluate(predictor(model), split, job.contract, coco=False)
        job.listener(Note("train", f"epoch {epoch}: AP@0.5 {metrics.ap50:.3f} on val"))
        return {"val_ap50": metrics.ap50}

    return watch


def _variation(config: FitConfig) -> Callable[[int], Augmentation | None]:
    last = config.epochs - round(config.epochs * MOSAIC_FREE)
    return lambda epoch: config.augmentation if epoch < last else _whole(config.augmentation)


def _whole(augmentation: Augmentation | None) -> Augmentation | None:
    return replace(augmentation, mosaic=0.0, mixup=0.0) if augmentation else None


def _suited(contract: Contract) -> LossWeights:
    """A cell that cannot reach beyond itself offers each object one cell: one box answers."""
    return LossWeights(top=1) if contract.decode.stretch == 1 else LossWeights()


def _reading(total: int, listener: Listener) -> Callable[[int], None]:
    """Return what tells, twenty times at most, how many pictures have been read."""
    every = max(1, total // 20)

    def heard(done: int) -> None:
        if done % every == 0 or done == total:
            listener(Progress("train", done, total, "picture"))

    return heard


def _about(dataset: Dataset) -> str:
    sizes = ", ".join(f"{len(samples)} {name}" for name, samples in dataset.splits.items())
    return f"{dataset.name} ({sizes})"
