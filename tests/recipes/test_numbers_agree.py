"""One run: report, model card, metrics.json and the files they speak of tell the same numbers."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgebed.cli import execute
from edgebed.figures import Figure, number
from edgebed.program import from_onnx
from edgebed.recipes.bed import data, recipe
from null_device import NullTarget

FLAGS = ("--epochs", "2", "--target", "null", "--quiet")
ALL = {"train", "compile", "score", "frames"}

pytestmark = pytest.mark.slow


class Page(HTMLParser):
    """Tables, tiles and definitions of a page, each table under the heading before it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.heading, self.text = "", ""
        self.tables: dict[str, list[list[str]]] = {}
        self.definitions: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.text = ""
        if tag == "tr":
            self.tables.setdefault(self.heading, []).append([])

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_endtag(self, tag: str) -> None:
        if tag in ("h2", "h3"):
            self.heading = self.text
        elif tag in ("td", "th"):
            self.tables[self.heading][-1].append(self.text)
        elif tag in ("dt", "dd"):
            self.definitions.append(self.text)


def execute_run(out: Path, *flags: str) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "SCENES", (6, 2, 3))
        patch.setattr(recipe, "load_target", lambda name: NullTarget())
        return execute(["run", "bed-fast", "--out", str(out), *FLAGS, *flags])


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert execute_run(folder) == 0
    return folder


@pytest.fixture
def metrics(out: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((out / "metrics.json").read_text())
    return content


@pytest.fixture
def shown(out: Path) -> Page:
    return Page((out / "report.html").read_text())


def test_the_report_lists_every_figure_under_its_kind(metrics: dict[str, Any], shown: Page) -> None:
    figures = {k: Figure(**v) for k, v in metrics["figures"].items() if "instructions." not in k}
    listed = {}
    for kind in ("Measured", "Emulated", "Estimated"):
        for name, value, source in shown.tables[kind][1:]:
            listed[name] = (kind.lower(), value, source)
    assert listed == {
        name: (one.kind, f"{number(one.value)} {one.unit}{one.band}", one.source)
        for name, one in figures.items()
    }


def test_the_reports_accuracy_is_that_of_metrics_json(metrics: dict[str, Any], shown: Page) -> None:
    head, *rows = next(t for t in shown.tables.values() if "AP@0.5" in t[0])
    assert [row[0] for row in rows] == list(metrics["accuracy"])
    for row in rows:
        one, cells = metrics["accuracy"][row[0]], dict(zip(head, row, strict=True))
        assert cells["pictures"] == str(one["pictures"])
        assert cells["AP@0.5"] == f"{100 * one['ap50']:.1f}"
        assert cells["COCO mAP"] == f"{100 * one['coco_map']:.1f}"
        assert cells["loose AP (IoU > 0.01)"] == f"{100 * one['loose_ap_iou_0.01']:.1f}"
        for name, value in one["ap50_per_class"].items():
            assert cells[name] == f"{100 * value:.1f}"


def test_the_agreement_counts_the_integers_that_were_kept(
    metrics: dict[str, Any], out: Path
) -> None:
    with np.load(out / "traces" / "interpreter.npz") as stored:
        total = sum(stored[name].size for name in stored.files)
    assert f"{total:,} integers of 3 test pictures" in metrics["agreement"]
    assert escape(metrics["agreement"]) in (out / "report.html").read_text()


def rows_of(card: str, heading: str) -> Iterator[list[str]]:
    part = card.split(f"## {heading}\n")[1].split("\n## ")[0]
    for line in part.splitlines():
        if line.startswith("| ") and "---" not in line:
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


def test_the_model_cards_facts_are_those_of_the_run(metrics: dict[str, Any], out: Path) -> None:
    card = (out / "MODEL_CARD.md").read_text()
    program = from_onnx.load(out / "program.onnx")
    parameters = sum(one.values.size for one in program.constants.values())
    assert f"{parameters:,} parameters, 8-bit weights" in card
    assert "Input " + " x ".join(map(str, program.input_type.shape)) in card
    head, *scores = rows_of(card, "Accuracy")
    for row in scores:
        one = metrics["accuracy"][row[0]]
        cells = dict(zip(head, row, strict=True))
        assert cells["VOC AP@0.5"] == f"{one['ap50']:.3f}"
        assert (cells["split"], cells["pictures"]) == (one["split"], str(one["pictures"]))
    _, *figures = rows_of(card, "Size, time, energy")
    for name, value, kind, source in figures:
        one = metrics["figures"][name]
        assert (value, kind) == (f"{number(one['value'])} {one['unit']}", one["kind"])
        assert source == one["source"]


def test_the_model_card_counts_pictures_and_objects(out: Path) -> None:
    head, *rows = rows_of((out / "MODEL_CARD.md").read_text(), "Data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "SCENES", (6, 2, 3))
        dataset = data.read(recipe.BedConfig())
    assert [row[:2] for row in rows] == [["train", "6"], ["val", "2"], ["test", "3"]]
    for row in rows:
        labels = np.concatenate([one.labels for one in dataset.splits[row[0]]])
        counts = dict(zip(head, row, strict=True))
        for index, name in enumerate(dataset.classes):
            assert counts[name] == str((labels == index).sum())


def test_the_command_in_report_card_and_script_is_the_run(out: Path, shown: Page) -> None:
    command = (out / "repeat.sh").read_text().strip()
    assert command in (out / "MODEL_CARD.md").read_text()
    words = shlex.split(command)
    config = json.loads((out / "config.json").read_text())
    assert words[:3] == ["edgebed", "run", "bed-fast"]
    given = dict(zip(words[3::2], words[4::2], strict=True))
    assert given["--epochs"] == str(config["epochs"]) == "2"
    assert given["--qat-epochs"] == str(config["qat_epochs"])
    assert given["--seed"] == str(config["seed"])
    assert f"{config['epochs']} float epochs" in " ".join(shown.definitions)


def test_events_tell_every_epoch_in_order(out: Path) -> None:
    events = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    config = json.loads((out / "config.json").read_text())
    epochs = [e["done"] for e in events if e.get("unit") == "epoch"][: 2 + config["qat_epochs"]]
    assert epochs == list(range(1, 3 + config["qat_epochs"]))
    assert [e["time"] for e in events] == sorted(e["time"] for e in events)
    assert not [e for e in events if re.search(r"nan|inf", json.dumps(e.get("metrics")))]


def test_a_changed_flag_redoes_exactly_the_stages_that_depend_on_it(out: Path) -> None:
    def stamps() -> dict[str, int]:
        return {one.stem: one.stat().st_mtime_ns for one in (out / "stages").glob("*.json")}

    redone = {}
    changes: dict[str, tuple[str, ...]] = {
        "nothing": (),
        "frames": ("--frames", "1"),
        "max drop": ("--frames", "1", "--max-drop", "100%"),
        "weight bits": ("--frames", "1", "--weight-bits", "4"),
        "seed": ("--frames", "1", "--weight-bits", "4", "--seed", "3"),
    }
    for name, flags in changes.items():
        before = stamps()
        assert execute_run(out, "--resume", *flags) == 0, name
        redone[name] = {stage for stage, stamp in stamps().items() if stamp != before[stage]}
    assert redone == {
        "nothing": set(),
        "frames": {"score", "frames"},
        "max drop": set(),
        "weight bits": ALL,
        "seed": ALL,
    }
    events = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    epochs = [e["done"] for e in events if e.get("unit") == "epoch"]
    assert epochs == [1, 2, 3, 3, 1, 2, 3], "other weight bits keep the float training"
    assert json.loads((out / "config.json").read_text())["seed"] == 3
