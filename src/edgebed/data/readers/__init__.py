"""Data sets from folders: the layout is recognised, everything is checked, defects are named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgebed.data.dataset import Dataset
from edgebed.data.readers import coco, voc
from edgebed.errors import EdgebedError

SPLITS = ("train", "val", "test")


def read(
    path: Path | str,
    classes: Sequence[str] | None = None,
    splits: Sequence[str] = SPLITS,
    skip_bad: bool = False,
) -> Dataset:
    """Read an annotated data set, Pascal VOC or COCO.

    Args:
        path: the data set's folder, or a COCO .json file.
        classes: class names in order; None takes them in order of first appearance (VOC: files
            sorted by name; COCO: categories by id).
        splits: the splits to read. Without split files, pictures are drawn 70/15/15 with a fixed
            seed, which `Dataset.notes` states.
        skip_bad: leave out what is defective and list it in `Dataset.left_out`.

    Raises:
        EdgebedError: unknown layout, a missing or empty split, or the first defect (with file and
            line, and the number of further ones) unless `skip_bad`.
    """
    root = Path(path)
    if not root.exists():
        raise EdgebedError("no such file or folder", where=str(root))
    if (layout := voc.find_layout(root)) is not None:
        return voc.read(layout, classes, splits, skip_bad)
    if (files := coco.find_layout(root, splits)) is not None:
        return coco.read(files, classes, splits, skip_bad)
    raise EdgebedError(
        "no annotations that can be read",
        where=str(root),
        why=f"looked for {voc.expectation()}; {coco.expectation()}",
    )
