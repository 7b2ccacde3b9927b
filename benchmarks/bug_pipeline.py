"""What a deployment does between raw data and the network's integers, as settings and steps that
`bug_inputs.py` spoils and `bug_advice.py` mends. Pictures are resized by Pillow, so that the ways
to resize are not those of the code that has to recognise them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from bug_networks import SETTINGS, Array, Edit, Network
from PIL import Image

from edgebed.observe.spectral import Features, features

Step = Callable[[Array], Array]
WAYS = Image.Resampling
METHODS = {
    "box": WAYS.BOX, "area": WAYS.BOX, "nearest": WAYS.NEAREST,
    "nearest by summed steps": WAYS.NEAREST, "smoothed bicubic": WAYS.BICUBIC,
    "smoothed bilinear": WAYS.BILINEAR, "Lanczos": WAYS.LANCZOS,
}  # fmt: skip
"""By the names that verdicts use; `bilinear` (without smoothing) is an affine transform."""
RATE = 16000
FARTHEST = 24


@dataclass(frozen=True)
class Pipeline:
    """The way from raw data to integers, right as it stands.

    Attributes:
        network: that is fed.
        method: to resize, one of METHODS or `bilinear`.
        placing: `stretch`, `letterbox` or `crop`.
        border: byte around a letterbox.
        window: rows down and columns right by which the picture is shown too far.
        pixels: done to bytes (float rows x columns x 3) after resizing.
        sound: done to samples.
        rate: of the samples, Hz.
        settings: of sound features.
        steps: done to the real-valued input, C x H x W or H x W.
        cast: real values to integers; None quantises.
        casts: done to the integers.
        rounds: whether resized pictures are bytes, or stay real numbers.
    """

    network: Network
    method: str = "box"
    placing: str = "stretch"
    border: int = 0
    window: tuple[int, int] = (0, 0)
    pixels: tuple[Step, ...] = ()
    sound: tuple[Step, ...] = ()
    rate: int = RATE
    settings: Features = SETTINGS
    steps: tuple[Step, ...] = ()
    cast: Step | None = None
    casts: tuple[Step, ...] = ()
    rounds: bool = True

    def integers(self, raw: Array) -> Array:
        """Return the network's input for raw data."""
        real = self.real(raw)
        found = self.network.quantised(real) if self.cast is None else self.cast(real)
        for step in self.casts:
            found = step(found)
        return found

    def real(self, raw: Array) -> Array:
        """Return the real-valued input."""
        found = self._heard(raw) if self.network.raw_layout == "T" else self._seen(raw)
        for step in self.steps:
            found = step(found)
        return np.asarray(found, np.float32)

    def _heard(self, raw: Array) -> Array:
        wave = raw
        for step in self.sound:
            wave = step(wave)
        if self.rate != RATE:  # Pillow's filter resamples
            strip = Image.fromarray(np.asarray(wave, np.float32)[None])
            size = (round(len(raw) * self.rate / RATE), 1)
            wave = np.asarray(strip.resize(size, WAYS.LANCZOS))[0]
        return features(wave, self.settings, 49)[:, :10]

    def _seen(self, raw: Array) -> Array:
        _, height, width = self.network.shape
        found = self._moved(self._placed(raw, width, height))
        for step in self.pixels:
            found = step(found)
        low, high = self.network.contract["input"].get("range", (0.0, 1.0))
        planes = np.moveaxis(np.asarray(found, np.float32), -1, 0)
        return planes / np.float32(255) * np.float32(high - low) + np.float32(low)

    def _placed(self, raw: Array, width: int, height: int) -> Array:
        rows, columns = raw.shape[:2]
        if self.placing == "letterbox":
            share = min(width / columns, height / rows)
            wide, high = round(columns * share), round(rows * share)
            result = np.full((height, width, 3), self.border, np.float32)
            top, left = (height - high) // 2, (width - wide) // 2
            small = self._resized(raw, wide, high, (0.0, 0.0, columns, rows))
            result[top : top + high, left : left + wide] = small
            return result
        box = (0.0, 0.0, float(columns), float(rows))
        if self.placing == "crop":
            share = min(columns / width, rows / height)
            left, top = (columns - width * share) / 2, (rows - height * share) / 2
            box = (left, top, left + width * share, top + height * share)
        return self._resized(raw, width, height, box)

    def _resized(
        self, raw: Array, width: int, height: int, box: tuple[float, float, float, float]
    ) -> Array:
        if self.method == "bilinear":
            across, down = (box[2] - box[0]) / width, (box[3] - box[1]) / height
            data = (across, 0.0, box[0], 0.0, down, box[1])
            way, picture = Image.Transform.AFFINE, Image.fromarray(raw)
            found = picture.transform((width, height), way, data, WAYS.BILINEAR)
            return np.asarray(found, np.float32)
        way = METHODS[self.method]
        if self.rounds or way == WAYS.NEAREST:
            found = Image.fromarray(raw).resize((width, height), way, box)
            return np.asarray(found, np.float32)
        parts = [Image.fromarray(raw[..., at].astype(np.float32)).resize((width, height), way, box)
                 for at in range(3)]  # fmt: skip
        return np.clip(np.stack([np.asarray(one) for one in parts], -1), 0, 255)

    def _moved(self, x: Array) -> Array:
        down, right = self.window
        if (down, right) == (0, 0):
            return x
        most = FARTHEST
        padded = np.pad(x, ((most, most), (most, most), (0, 0)), mode="edge")
        height, width = x.shape[:2]
        top, left = most - down, most - right
        return padded[top : top + height, left : left + width]


@dataclass(frozen=True)
class Planted:
    """A deployment with one fault, or none.

    Attributes:
        pipeline: from raw data to integers.
        edit: of the device's network; None leaves it.
        layer: that is at fault; empty where none is.
        factor: on the step that the device reports for `layer`.
        classes: names that the device lists.
        order: of the device's scores; None for the network's own.
        stale: the frame before is fed.
        slow: factor on the time of `layer`.
    """

    pipeline: Pipeline
    edit: Edit | None = None
    layer: str = ""
    factor: float = 1.0
    classes: tuple[str, ...] = ()
    order: tuple[int, ...] | None = None
    stale: bool = False
    slow: float = 1.0

    @property
    def network(self) -> Network:
        """The network that is deployed."""
        return self.pipeline.network

    @property
    def names(self) -> tuple[str, ...]:
        """Class names as the device lists them."""
        return self.classes or self.network.classes


@dataclass(frozen=True)
class Bug:
    """A kind of fault.

    Attributes:
        name: for the table.
        causes: verdicts that name it.
        plant: draws one.
    """

    name: str
    causes: tuple[str, ...]
    plant: Callable[[Network, np.random.Generator], Planted]
