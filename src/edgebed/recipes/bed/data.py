"""The recipe's first stage: annotated pictures from a folder, or the embedded scenes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from edgebed.data.dataset import Dataset, Sample
from edgebed.recipes.bed.config import SYNTHETIC, BedConfig

SCENES: Final = (600, 60, 120)
"""Drawn scenes to train on, to watch, and to score."""


def read(config: BedConfig) -> Dataset:
    """Return the data set that the configuration names.

    Raises:
        EdgebedError: the folder is missing, or a defect was found and `skip_bad` is off.
    """
    if config.data == SYNTHETIC:
        from edgebed.data.synthetic import scenes

        return scenes(*SCENES, seed=config.seed)
    from edgebed.data import readers

    return readers.read(config.data, skip_bad=config.skip_bad)


def summary(dataset: Dataset) -> dict[str, Any]:
    """Return what the report says about a data set, plain JSON types."""
    return {
        "name": dataset.name,
        "classes": list(dataset.classes),
        "splits": {name: _counts(s, dataset.classes) for name, s in dataset.splits.items()},
        "left_out": list(dataset.left_out),
        "digest": dataset.digest,
    }


def sentence(summary: dict[str, Any]) -> str:
    """Return a data set in one line."""
    sizes = ", ".join(f"{split['pictures']} {name}" for name, split in summary["splits"].items())
    left = f"; {len(summary['left_out'])} annotations left out" if summary["left_out"] else ""
    return f"{summary['name']}: {sizes} pictures of {', '.join(summary['classes'])}{left}"


def scored(dataset: Dataset) -> tuple[str, tuple[Sample, ...]]:
    """Return name and pictures of the split that results are reported on, as training does."""
    name = next(name for name in ("test", "val", "train") if dataset.splits.get(name))
    return name, dataset.splits[name]


def _counts(samples: Sequence[Sample], classes: Sequence[str]) -> dict[str, Any]:
    found = Counter(int(label) for sample in samples for label in sample.labels)
    objects = {name: found[index] for index, name in enumerate(classes)}
    return {"pictures": len(samples), "objects": objects}
