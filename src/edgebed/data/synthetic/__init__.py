"""The embedded default data set: drawn scenes of balls, bottles, crates, donuts and stars.

Nothing is stored or downloaded: sample i of seed s is drawn when it is loaded, the same every time
and whatever else was loaded before. What varies:

* objects: 0 to 5 a scene, radius 6.5 to 27 % of the picture (bottles a quarter more), four kinds of
  ball turned any way, wooden crates, cardboard and plastic boxes seen from different sides,
  bottles of glass with labels and caps, donuts with icings and sprinkles, bevelled stars;
* light: direction and height, its colour, fall-off across the picture, shade from outside,
  soft shadows and highlights that agree with it;
* background: plaster, boards, tiles, cloth or gravel, with or without a wall behind;
* clutter: up to four pebbles, cards, pencils, wedges and frames below the objects, in three of
  ten scenes one above them;
* occlusion: objects overlap and leave the picture; the box is of the visible extent, and an object
  of which less than 40 % is visible is not annotated;
* camera: exposure, defocus or motion blur, photon and read-out noise.
"""

from __future__ import annotations

import functools

import numpy as np

from edgebed.data.dataset import Dataset, Sample, UInt8
from edgebed.data.synthetic.scene import draw, generator, layout, visible_boxes
from edgebed.data.synthetic.shapes import SHAPES
from edgebed.errors import EdgebedError

CLASSES = tuple(shape.name for shape in SHAPES)
SIZE = 224
LAYOUT, LOOK = 0, 1


def scenes(
    count_train: int, count_val: int, count_test: int, seed: int = 0, size: int = SIZE
) -> Dataset:
    """Return the drawn data set; pictures are drawn when loaded.

    Args:
        count_train: scenes of the train split: indices 0 to count_train - 1 of the seed.
        count_val: scenes of the val split; its indices start at 1 000 000, so that it stays the
            same whatever the other counts are.
        count_test: scenes of the test split, from 2 000 000.
        seed: another seed gives other scenes.
        size: width and height of the pictures in pixels, at least 32.

    Raises:
        EdgebedError: a count or the size is too small.
    """
    counts = {"train": count_train, "val": count_val, "test": count_test}
    for split, count in counts.items():
        if count < 1:
            raise EdgebedError(f"{count} scenes for split {split!r}", try_="at least 1")
    if size < 32:
        raise EdgebedError(f"scenes of {size}x{size} pixels are too small", try_="at least 32")
    splits = {
        split: tuple(sample(seed, 1_000_000 * part + i, size) for i in range(counts[split]))
        for part, split in enumerate(counts)
    }
    return Dataset("synthetic", CLASSES, splits)


def sample(seed: int, index: int, size: int = SIZE) -> Sample:
    """Return one scene of a seed, not yet drawn."""
    boxes, labels = visible_boxes(layout(generator(seed, index, LAYOUT), size).things, size)
    return Sample(
        name=f"scene_{seed}_{index:07d}",
        load=functools.partial(picture, seed, index, size),
        width=size,
        height=size,
        boxes=boxes,
        labels=labels,
        difficult=np.zeros(len(labels), np.bool_),
    )


def picture(seed: int, index: int, size: int = SIZE) -> UInt8:
    """Draw one scene: uint8, size x size x 3, RGB."""
    scene = layout(generator(seed, index, LAYOUT), size)
    return draw(scene, generator(seed, index, LOOK), size)
