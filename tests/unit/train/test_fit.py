"""Training as a user meets it: it learns, resumes, and loses nothing when something breaks."""

from __future__ import annotations

import errno
import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import TypeGuard

import numpy as np
import pytest
import torch

from edgebed.data.augment import Augmentation
from edgebed.data.dataset import Dataset
from edgebed.errors import EdgebedError
from edgebed.events import Event, Finished, Progress, Started
from edgebed.program.run import run
from edgebed.train import checkpoint
from edgebed.train.config import FitConfig
from edgebed.train.evaluate import Split, detections, evaluate
from edgebed.train.export import to_program
from edgebed.train.fit import FitResult, fit, load, predictor

SHORT = FitConfig(epochs=2, qat_epochs=1, batch=2, warmup_epochs=0.5, threads=1)


def is_epoch(event: Event) -> TypeGuard[Progress]:
    return isinstance(event, Progress) and event.unit == "epoch"


def stop_after(epochs: int) -> object:
    def listen(event: Event) -> None:
        if is_epoch(event) and event.done == epochs:
            raise KeyboardInterrupt

    return listen


@pytest.fixture(scope="module")
def whole(rectangles: Dataset, tmp_path_factory: pytest.TempPathFactory) -> FitResult:
    """Return an uninterrupted short run."""
    return fit("bed-fast", rectangles, SHORT, tmp_path_factory.mktemp("whole"))


def weights(result: FitResult) -> list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    return [value.numpy() for value in result.model.state_dict().values()]


@pytest.mark.parametrize("epochs", [1, 2])
def test_resuming_equals_never_stopping(
    rectangles: Dataset, whole: FitResult, tmp_path: Path, epochs: int
) -> None:
    with pytest.raises(KeyboardInterrupt):
        fit("bed-fast", rectangles, SHORT, tmp_path, stop_after(epochs))  # type: ignore[arg-type]
    resumed = fit("bed-fast", rectangles, SHORT, tmp_path)
    for ours, theirs in zip(weights(resumed), weights(whole), strict=True):
        assert np.array_equal(ours, theirs)
    assert resumed.history == whole.history


def test_a_finished_run_is_not_trained_again(rectangles: Dataset, whole: FitResult) -> None:
    events: list[Event] = []
    again = fit("bed-fast", rectangles, SHORT, whole.checkpoint.parent, events.append)
    assert not [event for event in events if is_epoch(event)]
    assert again.quantised_metrics == whole.quantised_metrics


def test_it_learns(rectangles: Dataset, tmp_path: Path) -> None:
    config = replace(SHORT, epochs=24, qat_epochs=2, batch=4, augmentation=None, ema_decay=0.9)
    events: list[Event] = []
    result = fit("bed-fast", rectangles, config, tmp_path, events.append)
    assert result.history[23]["loss"] < 0.6 * result.history[0]["loss"]
    assert isinstance(events[0], Started) and isinstance(events[-1], Finished)
    progress = [event for event in events if is_epoch(event)]
    assert [event.done for event in progress] == list(range(1, 27))
    assert progress[-1].seconds_left == 0
    assert {"loss", "box", "confidence", "label"} <= set(progress[0].metrics)
    split = Split.of("train", rectangles.splits["train"], result.contract.input)
    seen = evaluate(predictor(result.float_model), split, result.contract)
    assert seen.ap50 > 0.5


def test_program_and_reloaded_checkpoint_answer_like_the_model(
    rectangles: Dataset, whole: FitResult
) -> None:
    split = Split.of("test", rectangles.splits["test"], whole.contract.input)
    expected = whole.model.integers(split.tensors)
    (program_answer,) = run(to_program(whole.model, whole.contract), split.tensors).values()
    assert np.array_equal(program_answer, expected)
    model, contract = load(whole.checkpoint)
    assert contract == whole.contract
    assert np.array_equal(model.integers(split.tensors), expected)
    assert model.output_scale == whole.model.output_scale


def test_float_weights_survive_a_change_of_weight_bits(
    rectangles: Dataset, whole: FitResult, tmp_path: Path
) -> None:
    (tmp_path / "float.pt").write_bytes((whole.checkpoint.parent / "float.pt").read_bytes())
    events: list[Event] = []
    config = replace(SHORT, weight_bits=4)
    result = fit("bed-fast", rectangles, config, tmp_path, events.append)
    assert len([event for event in events if is_epoch(event)]) == SHORT.qat_epochs
    assert {layer.weight_bits for layer in result.network.layers} == {4, 8}
    assert load(result.checkpoint)[0].network == result.network


def test_other_settings_are_refused_by_name(rectangles: Dataset, whole: FitResult) -> None:
    with pytest.raises(EdgebedError, match="started with seed = 0, now it is 7"):
        fit("bed-fast", rectangles, replace(SHORT, seed=7), whole.checkpoint.parent)


def test_a_full_disk_keeps_the_last_epoch(
    rectangles: Dataset, whole: FitResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        fit("bed-fast", rectangles, SHORT, tmp_path, stop_after(1))  # type: ignore[arg-type]

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(EdgebedError, match="no space left"):
            fit("bed-fast", rectangles, SHORT, tmp_path)
    resumed = fit("bed-fast", rectangles, SHORT, tmp_path)
    assert np.array_equal(weights(resumed)[0], weights(whole)[0])


def test_an_exploding_loss_stops_with_advice(rectangles: Dataset, tmp_path: Path) -> None:
    config = replace(SHORT, learning_rate=0.99, epochs=50)
    state = torch.nn.Conv2d.forward

    def poisoned(self: torch.nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
        return state(self, x) * float("nan")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.Conv2d, "forward", poisoned)
        with pytest.raises(EdgebedError, match=r"epoch 1: the loss became nan.*learning rate"):
            fit("bed-fast", rectangles, config, tmp_path)


def test_training_needs_pictures(rectangles: Dataset, tmp_path: Path) -> None:
    empty = Dataset("empty", ("a",), {"train": (), "test": rectangles.splits["test"]})
    with pytest.raises(EdgebedError, match="nothing to train on"):
        fit("bed-fast", empty, SHORT, tmp_path)


class Foreign:
    """A pickled object that would run code when read carelessly."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch executed",)


def test_foreign_pickles_are_refused_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "quantised.pt"
    torch.save({"settings": Foreign()}, path)
    with pytest.raises(EdgebedError, match="not a readable checkpoint"):
        load(path)
    path.write_bytes(pickle.dumps(Foreign()))
    with pytest.raises(EdgebedError, match="not a readable checkpoint"):
        load(path)
    assert not (tmp_path / "executed").exists()


def test_damaged_and_absent_checkpoints_are_named(tmp_path: Path) -> None:
    with pytest.raises(EdgebedError, match="no such checkpoint"):
        load(tmp_path / "quantised.pt")
    (tmp_path / "quantised.pt").write_bytes(b"PK\x03\x04 half a file")
    with pytest.raises(EdgebedError, match=r"quantised\.pt: this is not a readable checkpoint"):
        load(tmp_path / "quantised.pt")


def test_the_float_checkpoint_is_no_quantised_one(whole: FitResult) -> None:
    with pytest.raises(EdgebedError, match=r"try: the file quantised\.pt"):
        load(whole.checkpoint.parent / "float.pt")


@pytest.mark.parametrize(
    ("field", "value"), [("epochs", 0), ("learning_rate", 2.0), ("seed", -1), ("batch", 0)]
)
def test_senseless_settings_are_refused(field: str, value: float) -> None:
    with pytest.raises(EdgebedError, match=f"training setting {field}"):
        FitConfig(**{field: value})  # type: ignore[arg-type]


def test_settings_are_stored_as_plain_values() -> None:
    config = FitConfig(augmentation=Augmentation(mosaic=0.25))
    assert '"mosaic": 0.25' in checkpoint.dump(config.to_json())


def test_detections_are_in_pixels_of_the_picture(rectangles: Dataset, whole: FitResult) -> None:
    split = Split.of("test", rectangles.splits["test"], whole.contract.input)
    for found in detections(predictor(whole.float_model), split, whole.contract):
        assert found.boxes.min(initial=0) >= 0
        assert found.boxes.max(initial=0) <= 112
