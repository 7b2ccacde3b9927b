"""The networks that `deployment_bugs.py` plants faults into, each as a float reference and an
int8 device: the official QDQ files, whose activations are quantised between layers.

Data are in two parts: `tuning`, on which gates were chosen, and `held-out`, all the others.

The float reference is the same file without the quantisation of activations; where a zero point at
the end of the integers does a ReLU's work, a ReLU takes its place.
"""

from __future__ import annotations

import csv
import io
import wave
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from PIL import Image

from edgebed.observe.spectral import Features, features

Array = np.ndarray
Edit = Callable[[onnx.ModelProto], None]


@dataclass(frozen=True)
class Activation:
    """A quantised tensor: its name, the integers' name, step and zero point, and who writes it."""

    name: str
    integers: str
    scale: float
    zero_point: int
    dtype: str
    kind: str


@dataclass(eq=False)
class Graph:
    """A QDQ file, as a float and as an int8 network that show every layer."""

    path: Path

    def __post_init__(self) -> None:
        self.model = onnx.load(str(self.path))
        self.values = {one.name: one for one in self.model.graph.initializer}
        self.activations = self._activations()

    def _activations(self) -> list[Activation]:
        nodes = self.model.graph.node
        writer = {out: node for node in nodes for out in node.output}
        found = []
        for node in nodes:
            if node.op_type != "DequantizeLinear" or node.input[0] in self.values:
                continue
            zero = numpy_helper.to_array(self.values[node.input[2]])
            source = (
                writer[writer[node.input[0]].input[0]].op_type
                if (writer[node.input[0]].input[0] in writer)
                else "input"
            )
            found.append(
                Activation(
                    node.output[0], node.input[0],
                    float(numpy_helper.to_array(self.values[node.input[1]])), int(zero),
                    str(zero.dtype), source,
                )
            )  # fmt: skip
        return found

    @property
    def input(self) -> Activation:
        return self.activations[0]

    @property
    def layers(self) -> list[Activation]:
        return self.activations[1:]

    @property
    def output(self) -> str:
        return self.model.graph.output[0].name

    @cached_property
    def reference(self) -> onnxruntime.InferenceSession:
        """Float: rounding of activations replaced by the ReLU that it implies."""
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        pairs = {one.integers: one for one in self.activations}
        for node in model.graph.node:
            one = pairs.get(node.output[0])
            if node.op_type == "QuantizeLinear" and one is not None:
                relu = one.zero_point == np.iinfo(one.dtype).min and one.kind != "input"
                node.op_type = "Relu" if relu else "Identity"
                del node.input[1:]
            elif node.op_type == "DequantizeLinear" and node.input[0] in pairs:
                node.op_type = "Identity"
                del node.input[1:]
        return _session(model, [one.name for one in self.activations])

    def device(self, edit: Edit | None = None) -> onnxruntime.InferenceSession:
        """Int8, with a planted defect."""
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        if edit is not None:
            edit(model)
        return _session(model, [one.integers for one in self.activations])


def _session(model: onnx.ModelProto, outputs: Sequence[str]) -> onnxruntime.InferenceSession:
    del model.graph.value_info[:]
    known = {one.name for one in model.graph.output}
    for name in outputs:
        if name not in known:
            model.graph.output.append(helper.make_empty_tensor_value_info(name))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


@dataclass(eq=False)
class Network:
    """A task: raw data, labels, the reference's preprocessing, and the graph."""

    name: str
    graph: Graph
    raws: list[Array]
    labels: Array
    classes: tuple[str, ...]
    prepare: Callable[[Array], Array]
    shape: tuple[int, ...]
    layout: str
    raw_layout: str
    contract: dict[str, Any] = field(default_factory=dict)
    truth: Any = None

    @property
    def graded(self) -> bool:
        """Whether answers are classes with labels; boxes are graded against `truth`."""
        return bool(len(self.labels))

    def quantised(self, real: Array) -> Array:
        one = self.graph.input
        info = np.iinfo(one.dtype)
        steps = np.rint(real / one.scale) + one.zero_point
        return np.clip(steps, info.min, info.max).astype(one.dtype)

    def real(self, integers: Array) -> Array:
        one = self.graph.input
        return ((integers.astype(np.float32) - one.zero_point) * np.float32(one.scale)).astype(
            np.float32
        )

    def run_device(
        self, session: onnxruntime.InferenceSession, integers: Array
    ) -> dict[str, Array]:
        names = [self.graph.output, *(one.integers for one in self.graph.layers)]
        given = {session.get_inputs()[0].name: self._file(self.real(integers))}
        return dict(zip(names, session.run(names, given), strict=True))

    def run_reference(self, real: Array) -> dict[str, Array]:
        session = self.graph.reference
        names = [self.graph.output, *(one.name for one in self.graph.layers)]
        return dict(
            zip(names, session.run(names, {session.get_inputs()[0].name: self._file(real)}),
                strict=True)
        )  # fmt: skip

    def answer(self, session: onnxruntime.InferenceSession, integers: Array) -> Array:
        """Return the output alone, real numbers."""
        given = {session.get_inputs()[0].name: self._file(self.real(integers))}
        return np.asarray(session.run([self.graph.output], given)[0])

    def _file(self, real: Array) -> Array:
        shape = [
            one.dim_value for one in self.graph.model.graph.input[0].type.tensor_type.shape.dim
        ]
        return np.ascontiguousarray(real, np.float32).reshape(shape)


TUNING = 160
"""Examples of each network on which gates were chosen."""


def part_of(rows: Sequence[Any], part: str) -> list[Any]:
    """Return the examples of a part; those for tuning lie evenly among all."""
    tuning = set(range(0, len(rows), max(1, len(rows) // TUNING)))
    tuning = set(sorted(tuning)[:TUNING])
    return [one for at, one in enumerate(rows) if (at in tuning) == (part == "tuning")]


def visual_wake_words(data: Path, cases: Path, part: str) -> Network:
    """Persons: pictures of 96 x 96, shown to the pipeline as camera frames of 160 x 120."""
    folder = data / "vww"
    chosen = part_of(list(csv.DictReader((folder / "labels.csv").open())), part)
    raws = []
    for row in chosen:
        with Image.open(folder / "images" / row["file"]) as picture:
            raws.append(
                np.asarray(picture.convert("RGB").resize((160, 120), Image.Resampling.BICUBIC))
            )

    def prepare(raw: Array) -> Array:
        scaled = Image.fromarray(raw).resize((96, 96), Image.Resampling.BOX)
        return np.moveaxis(np.asarray(scaled, np.float32), -1, 0) / np.float32(255)

    return Network(
        "visual wake words", Graph(cases / "models" / "mobilenet_v1_qdq.onnx"), raws,
        np.array([int(row["label"]) for row in chosen]), ("no person", "person"), prepare,
        (3, 96, 96), "CHW", "HWC",
        {"input": {"width": 96, "height": 96, "channels": "rgb", "resize": "stretch"},
         "classes": ("no person", "person")},
    )  # fmt: skip


SETTINGS = Features(level="maximum")


def keywords(data: Path, cases: Path, part: str) -> Network:
    """Spoken words, from waveforms to cepstra of 49 x 10."""
    folder = data / "speech_commands"
    known = np.load(folder / "mfcc_49x10.npz")
    classes = tuple(str(word) for word in known["words"])
    chosen = part_of(list(csv.DictReader((folder / "wav_index.csv").open())), part)
    with zipfile.ZipFile(folder / "wav_subset.zip") as archive:
        raws = [_samples(archive.read(row["file"])) for row in chosen]
    return Network(
        "keywords", Graph(cases / "models" / "kws_ref_model_qdq.onnx"), raws,
        np.array([classes.index(row["word"]) for row in chosen]), classes,
        lambda raw: features(raw, SETTINGS, 49), (49, 10), "HW", "T",
        {"features": {"level": "maximum"}, "classes": classes},
    )  # fmt: skip


def check_features(data: Path) -> float:
    """Return the largest difference from the features that come with the clips (float16)."""
    folder = data / "speech_commands"
    known = np.load(folder / "mfcc_49x10.npz")
    place = {str(path): at for at, path in enumerate(known["path"])}
    worst = 0.0
    with zipfile.ZipFile(folder / "wav_subset.zip") as archive:
        for name in [one for one in archive.namelist() if one in place][:60]:
            found = features(_samples(archive.read(name)), SETTINGS, 49)
            worst = max(worst, float(np.abs(found - known["x"][place[name]]).max()))
    return worst


def _samples(data: bytes) -> Array:
    with wave.open(io.BytesIO(data)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    return np.pad(samples, (0, max(0, 16000 - len(samples))))[:16000]
