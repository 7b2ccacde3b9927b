"""Samples, faults and networks that `drift.py` measures drift on."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from bug_networks import SETTINGS, _samples
from PIL import Image, ImageFilter

from edgebed.observe.spectral import features
from edgebed.program.read import read_model
from edgebed.program.types import Array, Program

Fault = Callable[[Array, np.random.Generator], Array]


@dataclass(frozen=True)
class Source:
    """A set of data with its network.

    Attributes:
        program: what computes.
        samples: raw, of any type.
        prepare: a raw sample into the program's input.
        faults: by name; raw in, raw out.
        shown: samples that get the faults.
        groups: samples without a fault that are not like all.
        blocks: frames in a row that stay in one half; more than one for a video.
    """

    program: Program
    samples: Sequence[Array]
    prepare: Callable[[Array], Array]
    faults: Mapping[str, Fault]
    shown: Collection[int]
    groups: Mapping[str, Collection[int]] = field(default_factory=dict)
    blocks: int = 1

    def halves(self, split: int) -> tuple[list[int], list[int]]:
        """Return the samples of the reference, and the others; in random order unless a video."""
        count = len(self.samples)
        if self.blocks > 1:
            part = np.random.default_rng(split).permutation(-(-count // self.blocks)) % 2
            ours = part[np.arange(count) // self.blocks] == 0
            return np.flatnonzero(ours).tolist(), np.flatnonzero(~ours).tolist()
        order = np.random.default_rng(split).permutation(count).tolist()
        return order[: count // 2], order[count // 2 :]

    @property
    def limits(self) -> dict[str, tuple[float, float, float]]:
        """Real low, real high and step of the integers, by what profiles call the tensor."""
        found = {}
        for name, kind in self.program.types.items():
            role = "input " if name in self.program.inputs else ""
            role = "output " if name in self.program.outputs else role
            low, high = ((q - kind.zero_point) * kind.scale for q in (-128, 127))
            found[role + name] = (low, high, kind.scale)
        return found


# ---- pictures ----


def _clipped(change: Fault) -> Fault:
    def changed(picture: Array, random: np.random.Generator) -> Array:
        made = change(picture.astype(np.float64), random)
        return np.asarray(np.clip(np.round(made), 0, 255).astype(np.uint8))

    return changed


def _scaled(factor: float, offset: float = 0.0) -> Fault:
    return lambda picture, _: picture * factor + offset


def _blurred(picture: Array, _: np.random.Generator) -> Array:
    image = Image.fromarray(picture.astype(np.uint8)).filter(ImageFilter.GaussianBlur(1.5))
    return np.asarray(image, np.float64)


def _compressed(picture: Array, _: np.random.Generator) -> Array:
    stream = io.BytesIO()
    Image.fromarray(picture.astype(np.uint8)).save(stream, "JPEG", quality=15)
    return np.asarray(Image.open(stream), np.float64)


PICTURE_FAULTS: dict[str, Fault] = {
    "darkened to half": _scaled(0.5),
    "darkened to 80 %": _scaled(0.8),
    "overexposed, times 2": _scaled(2.0),
    "[-1, 1] instead of [0, 1]": _scaled(2.0, -255),
    "contrast halved": _scaled(0.5, 64),
    "blurred, 1.5 pixels": _blurred,
    "noise, 20 of 255": lambda picture, random: picture + random.normal(0, 20, picture.shape),
    "JPEG of quality 15": _compressed,
    "red and blue swapped": lambda picture, _: picture[:, :, ::-1],
    "turned by 90 degrees": lambda picture, _: np.rot90(picture),
    "turned by 180 degrees": lambda picture, _: np.rot90(picture, 2),
    "mirrored": lambda picture, _: picture[:, ::-1],
    "green missing": lambda picture, _: picture * np.array([1, 0, 1]),
    "lens cap": _scaled(0.0, 3),
}


def _pictures(
    cases: Path, pictures: Sequence[Array], *, most: int = 400, blocks: int = 1,
    groups: Mapping[str, Collection[int]] | None = None,
) -> Source:  # fmt: skip
    program = read_model(cases / "models" / "vww_96_int8.tflite")

    def prepare(picture: Array) -> Array:
        return np.asarray((picture.astype(np.int16) - 128).astype(np.int8))

    stride = -(-len(pictures) // most)
    faults = {name: _clipped(one) for name, one in PICTURE_FAULTS.items()}
    shown = frozenset(range(0, len(pictures), stride))
    return Source(program, pictures, prepare, faults, shown, groups or {}, blocks)


def _loaded(path: Path) -> Array:
    return _square(np.asarray(Image.open(path).convert("RGB")))


def _square(pixels: Array) -> Array:
    """Return a picture as the network takes it: its middle square, 96 x 96."""
    picture = Image.fromarray(pixels)
    side = min(picture.size)
    left, top = ((size - side) // 2 for size in picture.size)
    box = (left, top, left + side, top + side)
    return np.asarray(picture.resize((96, 96), Image.Resampling.BOX, box))


def visual_wake_words(data: Path, cases: Path) -> Source:
    """Photographs with and without persons."""
    rows = list(csv.DictReader((data / "vww" / "labels.csv").open()))
    pictures = [_loaded(data / "vww" / "images" / row["file"]) for row in rows]
    people = frozenset(at for at, row in enumerate(rows) if row["label"] == "1")
    return _pictures(cases, pictures, groups={"people only": people})


def cells(data: Path, cases: Path) -> Source:
    """Blood under a microscope, which has no up and down."""
    paths = sorted((data / "bccd" / "images").iterdir())
    return _pictures(cases, [_loaded(path) for path in paths], most=120)


# ---- sounds ----


def _resampled(rate: float) -> Fault:
    def changed(sound: Array, _: np.random.Generator) -> Array:
        places = np.arange(len(sound)) * rate
        return np.asarray(np.interp(places, np.arange(len(sound)), sound, right=0.0))

    return changed


def _noisy(share: float) -> Fault:
    def changed(sound: Array, random: np.random.Generator) -> Array:
        return sound + random.normal(0, share * sound.astype(np.float64).std(), sound.shape)

    return changed


def _clipping(sound: Array, _: np.random.Generator) -> Array:
    top = max(float(np.abs(sound).max()), 1.0)
    return np.asarray(np.clip(sound * 8.0, -top, top))


def _dull(sound: Array, _: np.random.Generator) -> Array:
    return np.convolve(sound, np.ones(5) / 5, "same")


SOUND_FAULTS: dict[str, Fault] = {
    "sampled at 8 kHz": _resampled(2.0),
    "sampled at 22 kHz": _resampled(16 / 22.05),
    "noise, a third of the sound": _noisy(0.33),
    "overdriven 8 times": _clipping,
    "muffled microphone": _dull,
    "silence": lambda sound, _: np.zeros(len(sound)),
}


def keywords(data: Path, cases: Path) -> Source:
    """Spoken words as cepstra."""
    folder = data / "speech_commands"
    program = read_model(cases / "models" / "kws_ref_model.tflite")
    rows = list(csv.DictReader((folder / "wav_index.csv").open()))
    with zipfile.ZipFile(folder / "wav_subset.zip") as archive:
        sounds = [_samples(archive.read(row["file"])).astype(np.float64) for row in rows]
    (kind,) = program.inputs.values()

    def prepare(sound: Array) -> Array:
        real = features(np.clip(np.round(sound), -32768, 32767).astype(np.int16), SETTINGS, 49)
        stored = np.clip(np.rint(real / kind.scale) + kind.zero_point, -128, 127)
        return np.asarray(stored.astype(np.int8).reshape(kind.shape))

    words = {row["word"] for row in rows}
    few = sorted(words)[:3]
    chosen = frozenset(at for at, row in enumerate(rows) if row["word"] in few)
    groups = {f"only {', '.join(few)}": chosen}
    return Source(program, sounds, prepare, SOUND_FAULTS, range(len(sounds)), groups)


SETS: dict[str, Callable[[Path, Path], Source]] = {
    "vww": visual_wake_words, "keywords": keywords, "cells": cells,
}  # fmt: skip
