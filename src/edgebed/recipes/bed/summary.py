"""What a run leaves for people: metrics.json, report.html, MODEL_CARD.md, environment.json."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

import edgebed
from edgebed import files
from edgebed.data.dataset import Dataset, Sample
from edgebed.deploy import bundle
from edgebed.events import Finished, Listener, Started
from edgebed.figures import Figure
from edgebed.observe.model_card import ModelCard, markdown
from edgebed.observe.page import Tile
from edgebed.observe.pictures import Box, Shot
from edgebed.observe.report import (
    ENERGY_UNITS,
    TIME_UNITS,
    DetectionReport,
    Screen,
    by_unit,
    html,
)
from edgebed.program.contract import Contract
from edgebed.program.types import Program
from edgebed.recipes.bed import data
from edgebed.recipes.bed.outcome import OUTPUTS, Outcome
from edgebed.targets.contract import Cost, Target
from edgebed.train.evaluate import Split, detections

SHOTS: Final = 12
PACKAGES: Final = ("numpy", "torch", "onnx", "unicorn", "ziglang", "faster-coco-eval", "pillow")
HERE: Final = "clock of the computer that ran this"


@dataclass(frozen=True)
class _Facts:
    """Everything that the files are made from."""

    outcome: Outcome
    dataset: Dataset
    program: Program
    target: Target
    cost: Cost
    figures: Mapping[str, Figure]

    @property
    def contract(self) -> Contract:
        assert self.program.contract is not None  # training always writes one
        return self.program.contract

    @property
    def agreement(self) -> str:
        scored = self.outcome.stages["score"]
        return (
            f"Every output integer of the virtual board equals the interpreter's: "
            f"{scored['compared']:,} integers of {scored['pictures']} test pictures."
        )

    @property
    def command(self) -> str:
        return self.outcome.config.command("DIR")


def write(
    outcome: Outcome, dataset: Dataset, program: Program, target: Target, listener: Listener
) -> None:
    """Write all of them into the run folder.

    Raises:
        EdgebedError: the disk is full.
    """
    place = outcome.folder.path
    listener(Started("report", f"report and model card, into {place}"))
    cost = target.cost(program)
    facts = _Facts(outcome, dataset, program, target, cost, _figures(outcome, cost))
    outcome.folder.write_json("environment.json", environment())
    outcome.folder.write_json("metrics.json", _metrics(facts))
    files.write_text(place / "MODEL_CARD.md", markdown(_card(facts)))
    files.write_text(place / "report.html", html(_report(facts)))
    files.write_text(place / "repeat.sh", facts.command + "\n")
    listener(Finished("report", str(place / "report.html")))


def environment() -> dict[str, Any]:
    """Return what a result may depend on besides the configuration."""
    return {
        "edgebed": edgebed.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processors": os.cpu_count(),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _figures(outcome: Outcome, cost: Cost) -> dict[str, Figure]:
    """Return every number that isn't an accuracy, by name."""
    found = {f"network {name}": one for name, one in cost.total.items()}
    sizes = outcome.stages["compile"]["sizes"]
    for name, size in sizes.items():
        found[name] = Figure(size, "bytes", "measured", "size table of firmware.elf")
    score, frames = outcome.stages["score"], outcome.stages["frames"]["screens"]
    found["board, a picture"] = Figure(
        1000 * score["seconds_per_picture"], "ms", "measured", f"{HERE}, tensor in, tensor out"
    )
    found["board, camera to display"] = Figure(
        1000 * float(np.median([one["seconds"] for one in frames])), "ms", "measured", HERE
    )
    for name, one in frames[-1]["figures"].items():
        found[f"frame {name}"] = Figure(**one)
    for stage, seconds in outcome.seconds.items():
        found[f"stage {stage}"] = Figure(seconds, "s", "measured", HERE)
    return found


def _metrics(facts: _Facts) -> dict[str, Any]:
    outcome = facts.outcome
    accuracy = {
        form: {
            **{key: value for key, value in one.items() if key != "curves"},
            "kind": "emulated" if form == "virtual board" else "measured",
            "source": f"{one['pictures']} pictures of split {one['split']}",
        }
        for form, one in outcome.accuracy().items()
    }
    return {
        "recipe": outcome.config.recipe,
        "network": outcome.config.network,
        "data": outcome.stages["data"]["name"],
        "accuracy": accuracy,
        "agreement": facts.agreement,
        "headline": _headline(facts),
        "figures": {name: one.to_json() for name, one in facts.figures.items()},
    }


def _headline(facts: _Facts) -> list[str]:
    chosen = [by_unit(facts.cost.total, units) for units in (TIME_UNITS, ENERGY_UNITS)]
    return [name for one in chosen for name, known in facts.figures.items() if known is one]


def _report(facts: _Facts) -> DetectionReport:
    outcome = facts.outcome
    one = outcome.config
    plan = bundle.load(outcome.folder.path)
    summary = outcome.stages["data"]
    return DetectionReport(
        title=f"{one.network} on {summary['name']}",
        subtitle=f"{data.sentence(summary)}. Integer program on a virtual {one.target}.",
        classes=facts.contract.classes,
        tiles=_tiles(facts),
        shots=_shots(facts),
        screens=_screens(outcome),
        accuracy=outcome.accuracy(),
        agreement=facts.agreement,
        history=outcome.stages["train"]["history"],
        cost=facts.cost,
        maps=plan.layout.maps,
        figures={name: one for name, one in facts.figures.items() if "instructions." not in name},
        functions=_functions(facts.figures),
        about=_about(facts),
        command=facts.command,
    )


def _tiles(facts: _Facts) -> tuple[Tile, ...]:
    accuracy = facts.outcome.accuracy()
    ap = {form: f"{100 * one['ap50']:.1f} %" for form, one in accuracy.items()}
    tiles = [Tile("AP@0.5, int8 program", ap["int8 program"], f"float {ap['float network']}")]
    for name in _headline(facts):
        one = facts.figures[name]
        tiles.append(Tile(f"{name} a picture", f"{one.value:.3g} {one.unit}", one.kind))
    kernels = facts.outcome.stages["train"]["kernel_bytes"]
    tiles.append(Tile("weights", f"{kernels / 1000:.0f} KB", f"{facts.outcome.config.bits} bit"))
    score = facts.outcome.stages["score"]
    tiles.append(
        Tile("board = interpreter", f"{score['compared']:,}", "output integers, all equal")
    )
    return tuple(tiles)


def _shots(facts: _Facts) -> tuple[Shot, ...]:
    _, samples = data.scored(facts.dataset)
    shown = samples[:SHOTS]
    with np.load(facts.outcome.folder.path / OUTPUTS) as stored:
        integers = stored[facts.program.outputs[0]][: len(shown)]
    scale = facts.program.types[facts.program.outputs[0]].scale
    split = Split.of("shown", shown, facts.contract.input)
    answered = Split(split.name, integers, split.places, split.truth)
    found = detections(lambda values: values * scale, answered, facts.contract)
    return tuple(
        Shot(one.name, one.load(), _truth(one), _found(boxes.boxes, boxes.labels, boxes.scores))
        for one, boxes in zip(shown, found, strict=True)
    )


def _truth(sample: Sample) -> list[Box]:
    pairs = zip(sample.boxes.tolist(), sample.labels.tolist(), strict=True)
    return [_box(corners, label) for corners, label in pairs]


def _found(boxes: Any, labels: Any, scores: Any) -> list[Box]:
    rows = zip(boxes.tolist(), labels.tolist(), scores.tolist(), strict=True)
    return [_box(corners, label, score) for corners, label, score in rows]


def _box(corners: Sequence[float], label: int, score: float | None = None) -> Box:
    x1, y1, x2, y2 = corners
    return Box(x1, y1, x2, y2, label, score)


def _screens(outcome: Outcome) -> tuple[Screen, ...]:
    return tuple(
        Screen(
            one["name"],
            f"{len(one['detections'])} found",
            (outcome.folder.path / one["file"]).read_bytes(),
        )
        for one in outcome.stages["frames"]["screens"]
    )


def _functions(figures: Mapping[str, Figure]) -> dict[str, Figure]:
    """Return the instructions of single functions of one camera frame."""
    prefix = "frame cpu_instructions."
    return {
        name.removeprefix(prefix): one for name, one in figures.items() if name.startswith(prefix)
    }


def _about(facts: _Facts) -> dict[str, str]:
    outcome = facts.outcome
    known = environment()
    packages = ", ".join(f"{name} {number}" for name, number in known["packages"].items() if number)
    parameters = outcome.stages["train"]["parameters"]
    return {
        "network": f"{outcome.config.network}, {parameters:,} parameters",
        "training": f"{outcome.config.epochs} float epochs, {outcome.config.qat_epochs} quantised, "
        f"seed {outcome.config.seed}",
        "pre-processing": preprocessing(facts.contract),
        "plan": outcome.stages["compile"]["digest"],
        "software": f"edgebed {known['edgebed']}, Python {known['python']}, {packages}",
        "computer": f"{known['system']}, {known['processors']} processors",
    }


def preprocessing(contract: Contract) -> str:
    """Return the contract's input steps in words."""
    one = contract.input
    return (
        f"{one.resize} to {one.width} x {one.height} ({one.interpolation}), {one.camera_bits}, "
        f"channels {one.channels}, byte {one.offset:+d}"
    )


def _card(facts: _Facts) -> ModelCard:
    outcome = facts.outcome
    kept = [f"network {name}" for name in facts.cost.total]
    return ModelCard(
        name=f"{outcome.config.network} on {outcome.stages['data']['name']}",
        data=outcome.stages["data"],
        accuracy=outcome.accuracy(),
        figures={name: one for name, one in facts.figures.items() if name in kept},
        shape=facts.program.input_type.chw,
        parameters=outcome.stages["train"]["parameters"],
        weight_bits=outcome.config.bits,
        preprocessing=preprocessing(facts.contract),
        command=facts.command,
        limits=_limits(facts),
    )


def _limits(facts: _Facts) -> Sequence[str]:
    summary = facts.outcome.stages["data"]
    smallest = min(summary["splits"].values(), key=lambda one: one["pictures"])["pictures"]
    return (
        "Run on a virtual device only; no figure was measured on silicon.",
        f"Accuracy holds for pictures like those of {summary['name']}; its smallest split has "
        f"{smallest} pictures.",
        f"Knows {len(summary['classes'])} classes and nothing else.",
    )
