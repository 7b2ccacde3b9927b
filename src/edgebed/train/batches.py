"""Training batches: every picture of an epoch depends on seed, epoch and index alone.

So a resumed run sees the same pictures as an uninterrupted one without any saved state.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from edgebed.data.augment import Augmentation, Cache, View
from edgebed.data.preprocess import frame_to_tensor
from edgebed.program.contract import ImageInput
from edgebed.train.losses import Targets
from edgebed.train.qat import ACTIVATION_STEPS


@dataclass(frozen=True)
class Batches:
    """A training split that can be walked through any number of times.

    Attributes:
        cache: the pictures.
        image_input: the contract's input.
        size: pictures a batch; the rest of an epoch that fills no batch is left out.
        seed: the run's seed.
    """

    cache: Cache
    image_input: ImageInput
    size: int
    seed: int

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return max(1, len(self.cache) // self.size)

    def epoch(
        self, stage: str, number: int, augmentation: Augmentation | None
    ) -> Iterator[tuple[Tensor, Targets]]:
        """Yield the batches of one epoch: n x 3 x H x W (input integer / 128) and objects."""
        key = [self.seed, _number(stage), number]
        order = np.random.default_rng(key).permutation(len(self.cache))
        for step in range(self.steps):
            chosen = order[step * self.size : (step + 1) * self.size]
            yield self._batch([self._view(key, int(index), augmentation) for index in chosen])

    def _view(self, key: list[int], index: int, augmentation: Augmentation | None) -> View:
        # Without variation the picture is still brought to the network's size.
        plain = Augmentation(
            mosaic=0, flip_horizontal=0, scale=(1, 1), aspect=1, translate=0, hue=0,
            saturation=(1, 1), brightness=0, contrast=(1, 1), tint=0, noise=0, cutout=0,
        )  # fmt: skip
        rng = np.random.default_rng([*key, index])
        return (augmentation or plain).apply(rng, self.cache, index)

    def _batch(self, views: Sequence[View]) -> tuple[Tensor, Targets]:
        frames = np.stack([view.picture for view in views])
        x = to_float(frame_to_tensor(frames, self.image_input))
        most = max(1, *(len(view.labels) for view in views))
        boxes = np.zeros((len(views), most, 4), np.float32)
        labels = np.zeros((len(views), most), np.int64)
        valid = np.zeros((len(views), most), np.bool_)
        size = np.array([self.image_input.width, self.image_input.height] * 2, np.float32)
        for row, view in enumerate(views):
            count = len(view.labels)
            boxes[row, :count] = view.boxes / size
            labels[row, :count] = view.labels
            valid[row, :count] = True
        return x, Targets(*(torch.from_numpy(array) for array in (boxes, labels, valid)))


def to_float(tensor: np.ndarray[tuple[int, ...], np.dtype[np.int8]]) -> Tensor:
    """Return input integers (int8, n x C x H x W) as float32, divided by 128."""
    x = torch.from_numpy(tensor).float().div_(ACTIVATION_STEPS)
    return x.contiguous(memory_format=torch.channels_last)


def _number(stage: str) -> int:
    """Return a number that tells stages apart in random seeds."""
    return int.from_bytes(hashlib.sha256(stage.encode()).digest()[:4], "big")
