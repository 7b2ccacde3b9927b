"""What training does with checkpoints that are cut short, of other settings, or of other data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from edgebed.data.dataset import Dataset, Sample
from edgebed.errors import EdgebedError
from edgebed.events import Event, Note, Progress
from edgebed.train import checkpoint
from edgebed.train.config import FitConfig
from edgebed.train.fit import FitResult, fit, load

SHORT = FitConfig(epochs=2, qat_epochs=1, batch=2, warmup_epochs=0.5, threads=1)


def epochs(events: list[Event]) -> list[int]:
    return [e.done for e in events if isinstance(e, Progress) and e.unit == "epoch"]


@pytest.fixture(scope="module")
def whole(rectangles: Dataset, tmp_path_factory: pytest.TempPathFactory) -> FitResult:
    return fit("bed-fast", rectangles, SHORT, tmp_path_factory.mktemp("whole"))


def copied(whole: FitResult, folder: Path) -> Path:
    for one in whole.checkpoint.parent.iterdir():
        (folder / one.name).write_bytes(one.read_bytes())
    return folder


def same(one: FitResult, two: FitResult) -> bool:
    pairs = zip(one.model.state_dict().values(), two.model.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_checkpoint_cut_short_is_named_and_kept(
    rectangles: Dataset, whole: FitResult, tmp_path: Path, share: float
) -> None:
    path = copied(whole, tmp_path) / "float.pt"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    for anew in (False, True):
        with pytest.raises(EdgebedError, match=r"float\.pt: this is not a readable checkpoint"):
            fit("bed-fast", rectangles, SHORT, tmp_path, anew=anew)
    path.unlink()
    assert same(fit("bed-fast", rectangles, SHORT, tmp_path), whole)


def test_other_annotations_of_as_many_pictures_are_noticed(
    rectangles: Dataset, whole: FitResult, tmp_path: Path
) -> None:
    def shifted(one: Sample) -> Sample:
        return replace(one, labels=1 - one.labels)

    train = tuple(shifted(one) for one in rectangles.splits["train"])
    other = replace(rectangles, splits={**rectangles.splits, "train": train})
    with pytest.raises(EdgebedError, match="this run was started with annotations"):
        fit("bed-fast", other, SHORT, copied(whole, tmp_path))


def test_anew_replaces_what_other_settings_trained(
    rectangles: Dataset, whole: FitResult, tmp_path: Path
) -> None:
    config, events = replace(SHORT, seed=7), list[Event]()
    again = fit("bed-fast", rectangles, config, copied(whole, tmp_path), events.append, anew=True)
    assert epochs(events) == [1, 2, 3]
    said = [event.text for event in events if isinstance(event, Note)]
    assert any("float.pt was trained with other settings" in text for text in said)
    fresh = fit("bed-fast", rectangles, config, tmp_path / "fresh")
    assert same(again, fresh)
    assert not same(again, whole)


def test_anew_keeps_the_float_training_that_still_holds(
    rectangles: Dataset, whole: FitResult, tmp_path: Path
) -> None:
    config, events = replace(SHORT, weight_bits=4), list[Event]()
    fit("bed-fast", rectangles, config, copied(whole, tmp_path), events.append, anew=True)
    assert epochs(events) == [3]
    kept, before = (f / "float.pt" for f in (tmp_path, whole.checkpoint.parent))
    assert kept.read_bytes() == before.read_bytes()


def test_anew_continues_what_the_same_settings_trained(
    rectangles: Dataset, whole: FitResult, tmp_path: Path
) -> None:
    events: list[Event] = []
    again = fit("bed-fast", rectangles, SHORT, copied(whole, tmp_path), events.append, anew=True)
    assert epochs(events) == []
    assert same(again, whole)


def test_the_average_and_the_optimizer_are_restored_with_the_weights(whole: FitResult) -> None:
    state = checkpoint.load(whole.checkpoint.parent / "float.pt")
    assert {"model", "average", "optimizer", "steps", "history"} <= set(state)
    assert state["steps"] == 2 * 2 and len(state["history"]) == 2
    weight = "layers.0.conv.weight"
    assert not torch.equal(state["model"][weight], state["average"][weight])
    assert all("exp_avg_sq" in one for one in state["optimizer"]["state"].values())


@pytest.mark.parametrize("damage", ["no weights", "another shape"])
def test_a_checkpoint_with_other_weights_is_named(
    whole: FitResult, tmp_path: Path, damage: str
) -> None:
    state = checkpoint.load(whole.checkpoint)
    if damage == "no weights":
        del state["average"]
    else:
        state["average"]["layers.0.weight"] = torch.zeros(1, 1, 1, 1)
    checkpoint.save(tmp_path / "quantised.pt", state)
    with pytest.raises(EdgebedError, match=r"quantised\.pt: these are not the weights of bed-fast"):
        load(tmp_path / "quantised.pt")


@pytest.mark.parametrize("content", [[1, 2], {"weights": 3}])
def test_a_file_of_tensors_that_is_no_checkpoint_is_named(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(EdgebedError, match=r"x\.pt: this is not a training checkpoint"):
        load(tmp_path / "x.pt")


def test_validation_is_watched_and_scored_every_few_epochs(
    rectangles: Dataset, tmp_path: Path
) -> None:
    splits = {"train": rectangles.splits["train"], "val": rectangles.splits["test"]}
    config = replace(SHORT, epochs=3, qat_epochs=0, evaluate_every=2)
    result = fit("bed-fast", replace(rectangles, splits=splits), config, tmp_path)
    assert ["val_ap50" in one for one in result.history] == [False, True, True]
    assert result.quantised_metrics.split == "val"
    assert np.isfinite(result.quantised_metrics.ap50)
