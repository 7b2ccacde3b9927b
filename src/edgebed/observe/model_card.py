"""MODEL_CARD.md: what a model is, from the facts of its run; nothing is praised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgebed.figures import Figure, number


@dataclass(frozen=True)
class ModelCard:
    """The facts of a model.

    Attributes:
        name: of the network.
        data: the data set's summary (name, classes, splits with pictures and objects, left_out).
        accuracy: plain metrics by form of the network.
        figures: size, time and energy by name.
        shape: input shape, C x H x W.
        parameters: number of weights and biases.
        weight_bits: as given to the run.
        preprocessing: the contract's input steps in words.
        command: repeats the run.
        limits: sentences on what it can't do or what was not tested.
    """

    name: str
    data: Mapping[str, Any]
    accuracy: Mapping[str, Mapping[str, Any]]
    figures: Mapping[str, Figure]
    shape: tuple[int, int, int]
    parameters: int
    weight_bits: str
    preprocessing: str
    command: str
    limits: Sequence[str] = ()


def markdown(card: ModelCard) -> str:
    """Return the model card."""
    parts = [
        f"# {card.name}",
        _what(card),
        "## Data\n\n" + _data(card.data),
        "## Accuracy\n\n" + _accuracy(card.accuracy),
        "## Size, time, energy\n\n" + _figures(card.figures),
        "## Limits\n\n" + "\n".join(f"- {line}" for line in card.limits),
        f"## To repeat it\n\n```\n{card.command}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _what(card: ModelCard) -> str:
    channels, height, width = card.shape
    classes = ", ".join(card.data["classes"])
    return (
        f"An object detector for {classes}. Input {channels} x {height} x {width}, "
        f"{card.parameters:,} parameters, {card.weight_bits}-bit weights, 8-bit activations.\n\n"
        f"Pre-processing: {card.preprocessing}."
    )


def _data(data: Mapping[str, Any]) -> str:
    head = ["split", "pictures", *data["classes"]]
    rows = [
        [name, str(split["pictures"]), *(str(split["objects"][c]) for c in data["classes"])]
        for name, split in data["splits"].items()
    ]
    left = len(data["left_out"])
    note = f"\n\n{left} defective annotations were left out." if left else ""
    return f"`{data['name']}`, objects by class:\n\n{_table(head, rows)}{note}"


def _accuracy(accuracy: Mapping[str, Mapping[str, Any]]) -> str:
    head = ["form", "split", "pictures", "VOC AP@0.5", "COCO mAP", "loose AP (IoU > 0.01)"]
    rows = [
        [
            form,
            str(one["split"]),
            str(one["pictures"]),
            f"{one['ap50']:.3f}",
            "-" if one["coco_map"] is None else f"{one['coco_map']:.3f}",
            f"{one['loose_ap_iou_0.01']:.3f}",
        ]
        for form, one in accuracy.items()
    ]
    return _table(head, rows) + "\n\nThe loose figure is not comparable with VOC AP."


def _figures(figures: Mapping[str, Figure]) -> str:
    rows = [
        [name, f"{number(one.value)} {one.unit}", one.kind, one.source]
        for name, one in figures.items()
    ]
    return _table(["figure", "value", "kind", "source"], rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    # A class or split may be called `a|b`, which must not open a column.
    cells = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)
