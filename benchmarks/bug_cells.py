"""A detector of blood cells for `deployment_bugs.py`: what `edgebed fit` trained, from its
checkpoint. The float reference is the same network without rounding between layers."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bug_networks import Activation, Array, Network, part_of
from PIL import Image

from edgebed.data.dataset import Sample
from edgebed.data.decode import Detections, decode
from edgebed.data.preprocess import geometry
from edgebed.data.readers import read
from edgebed.program.contract import Contract
from edgebed.train.detector import fold
from edgebed.train.fit import load
from edgebed.train.metrics import SCORING_NMS, Truth, score

STEP = 1 / 128


class CellGraph:
    """The detector with every layer shown; stands where a QDQ file stands for the others."""

    output = "head"

    def __init__(self, model: Any) -> None:
        self.model = model
        self.input = Activation("image", "image", STEP, 0, "int8", "input")
        self.layers = [Activation(one.spec.name, one.spec.name, STEP, 0, "int8", "Conv")
                       for one in model.layers if not one.spec.wide]  # fmt: skip

    def device(self, edit: Any = None) -> Any:
        """Return the model, with a planted defect in a copy."""
        model = copy.deepcopy(self.model)
        if edit is not None:
            edit(model)
        return model

    @torch.no_grad()
    def run(self, model: Any, integers: Array, rounds: bool) -> dict[str, Array]:
        """Return every layer: integers, or real values where nothing is rounded."""
        x = fold(
            torch.from_numpy(np.ascontiguousarray(integers, np.float32))[None], model.network.fold
        )
        found: dict[str, Array] = {}
        for layer in model.layers:
            acc = layer.accumulate(x)
            if layer.spec.wide:
                found[self.output] = (acc * model.output_scale)[0].numpy().astype(np.float32)
                break
            factor = getattr(layer, "factor", 1.0)
            y = acc * 2.0 ** (layer.post_shift - 7) / factor
            low = 0 if layer.spec.activation == "relu" else -128
            y = (y.round() if rounds else y).clamp(low, 127)
            values = y[0].numpy()
            found[layer.spec.name] = (
                values.astype(np.int8) if rounds else (values * STEP).astype(np.float32)
            )
            x = (y * factor).float()
        return found

    def plant(self, kind: str, network: Network, rng: Any) -> tuple[Any, str]:
        """Draw a defect of a layer; return the edit of the model and the layer's name."""
        at = int(rng.integers(len(self.layers)))
        name = self.layers[at].name
        seen = [network.run_reference(network.prepare(raw))[name] for raw in network.raws[:3]]
        values = np.concatenate([one.reshape(len(one), -1) for one in seen], 1)
        if kind in ("narrow", "wide"):
            top = float(np.quantile(values[values > 0], rng.uniform(0.67, 0.9)))
            factor = top / (127 * STEP) if kind == "narrow" else 24.0
            return _Scaled(at, factor), name
        lively = np.flatnonzero(values.std(1) >= min(4 * STEP, np.sort(values.std(1))[-4]))
        chosen = rng.choice(lively, min(len(lively), int(rng.integers(2, 5))), replace=False)
        return _Weights(at, kind, chosen), name


class _Scaled:
    def __init__(self, at: int, factor: float) -> None:
        self.at, self.factor = at, factor

    def __call__(self, model: Any) -> None:
        model.layers[self.at].factor = self.factor


class _Weights:
    def __init__(self, at: int, kind: str, channels: Array) -> None:
        self.at, self.kind, self.channels = at, kind, channels

    def __call__(self, model: Any) -> None:
        layer = model.layers[self.at]
        inner = layer.accumulate

        def changed(x: Any) -> Any:
            acc = inner(x)
            if self.kind == "shuffled":
                return torch.roll(acc, 1, 1)
            if self.kind == "biasless":
                return acc - inner(torch.zeros_like(x))
            acc[:, self.channels] += -1e9 if self.kind == "dead" else 1e9
            return acc

        layer.accumulate = changed


class Boxes:
    """Annotated pictures that a detector is graded on."""

    def __init__(self, contract: Contract, samples: Sequence[Sample]) -> None:
        self.contract, self.samples = contract, samples
        self.raws = [one.load() for one in samples]

    def precision(self, logits: Sequence[Array], names: Sequence[str]) -> float:
        """Return AP@0.5 in percent, of detections whose classes are read from a list of names."""
        size = self.contract.input
        found = []
        for one, values in zip(self.samples, logits, strict=True):
            used = replace(self.contract, nms=SCORING_NMS)
            boxes = decode(values[None], used)[0]
            boxes = boxes.in_picture(size, geometry(one.width, one.height, size))
            read = [self.contract.classes.index(name) if name in self.contract.classes else -1
                    for name in names]  # fmt: skip
            labels = np.array(read)[boxes.labels]
            known = labels >= 0
            found.append(Detections(boxes.boxes[known], boxes.scores[known], labels[known]))
        truth = [Truth(one.boxes, one.labels, one.difficult) for one in self.samples]
        return 100 * score(found, truth, self.contract.classes).ap50


class _Cells(Network):
    def run_device(self, session: Any, integers: Array) -> dict[str, Array]:
        return self.graph.run(session, integers, True)

    def answer(self, session: Any, integers: Array) -> Array:
        return self.graph.run(session, integers, True)[self.graph.output]

    def run_reference(self, real: Array) -> dict[str, Array]:
        return self.graph.run(self.graph.model, real / STEP, False)


def blood_cells(data: Path, checkpoint: Path, part: str) -> Network:
    """Red and white cells and platelets, in pictures of 640 x 480.

    Accuracy is measured on the data set's split `val` for tuning, on `test` otherwise.
    """
    model, contract = load(checkpoint)
    raws = []
    for path in part_of(sorted((data / "bccd" / "images").glob("*.jpg")), part):
        with Image.open(path) as picture:
            raws.append(np.asarray(picture.convert("RGB")))
    width, height = contract.input.width, contract.input.height

    def prepare(raw: Array) -> Array:
        small = Image.fromarray(raw).resize((width, height), Image.Resampling.BOX)
        return (np.moveaxis(np.asarray(small, np.float32), -1, 0) - 128) * np.float32(STEP)

    split = "val" if part == "tuning" else "test"
    samples = read(data / "bccd", contract.classes, [split]).splits[split]
    return _Cells(
        "blood cells", CellGraph(model), raws, np.zeros(0, int), contract.classes, prepare,
        (3, height, width), "CHW", "HWC",
        {"input": {"width": width, "height": height, "channels": "rgb", "resize": "stretch",
                   "range": (-1.0, 127 / 128)}, "classes": contract.classes},
        Boxes(contract, samples),
    )  # fmt: skip
