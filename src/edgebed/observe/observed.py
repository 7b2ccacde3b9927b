"""A bounded sample of a trace, as arrays that assertions can compute with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np

from edgebed.errors import EdgebedError
from edgebed.figures import Figure
from edgebed.observe.trace import ROLES, Frame, Manifest, Tensor
from edgebed.observe.trace_reader import TraceReader
from edgebed.program.types import Array

MOST_FRAMES: Final = 16
MOST_BYTES: Final = 200_000_000
"""Of stored values a sample holds at most; frames are thinned out beyond."""

Found = TypeVar("Found")


@dataclass(frozen=True, eq=False)
class Signal:
    """One tensor over the frames of a sample.

    Attributes:
        name: in the network or the pipeline.
        stored: one array a frame, as recorded; pictures may differ in size.
        dtype: numpy's name.
        scale: real value of one step; None for real numbers.
        zero_point: the integer that means 0.0.
        layout: names of the axes where they are known, e.g. `HWC`.
        kind: of the op that made it; empty where unknown.
    """

    name: str
    stored: tuple[Array, ...]
    dtype: str
    scale: float | None = None
    zero_point: int = 0
    layout: str = ""
    kind: str = ""

    @cached_property
    def real(self) -> tuple[Array, ...]:
        """Float32 real values, one array a frame."""
        if self.scale is None:
            return tuple(one.astype(np.float32) for one in self.stored)
        zero, scale = np.float32(self.zero_point), np.float32(self.scale)
        return tuple((one.astype(np.float32) - zero) * scale for one in self.stored)

    @cached_property
    def stack(self) -> Array | None:
        """Float32 real values, N x shape; None where shapes differ between frames."""
        return np.stack(self.real) if self.is_even else None

    @property
    def is_even(self) -> bool:
        """Whether every frame has one and the same shape."""
        return len({one.shape for one in self.stored}) == 1

    @property
    def limits(self) -> tuple[float, float] | None:
        """Least and largest real value its integers can hold; None for real numbers."""
        if self.scale is None or self.dtype.startswith("float"):
            return None
        info = np.iinfo(self.dtype)
        low, high = ((int(q) - self.zero_point) * self.scale for q in (info.min, info.max))
        return low, high

    def only(self, places: Sequence[int]) -> Signal:
        """Return the signal of some frames."""
        return replace(self, stored=tuple(self.stored[at] for at in places))


@dataclass(frozen=True, eq=False)
class Observed:
    """Frames of one trace, in memory.

    Attributes:
        manifest: of the trace.
        numbers: of the frames.
        raw: what came in before preprocessing, by name.
        inputs: of the network, by name.
        outputs: of the network, by name.
        layers: values of layers in the order of execution, by name; empty at level io.
        figures: of frames, by name, one a frame that has it.
        layer_figures: by layer and name, one a frame that has it.
        sensors: readings, one mapping a frame.
        frames: as read; the arrays above are theirs.
        answers: what was made of the outputs, by name; one array a frame, of its own length.
    """

    manifest: Manifest
    numbers: tuple[int, ...] = ()
    raw: Mapping[str, Signal] = field(default_factory=dict)
    inputs: Mapping[str, Signal] = field(default_factory=dict)
    outputs: Mapping[str, Signal] = field(default_factory=dict)
    layers: Mapping[str, Signal] = field(default_factory=dict)
    figures: Mapping[str, tuple[Figure, ...]] = field(default_factory=dict)
    layer_figures: Mapping[str, Mapping[str, tuple[Figure, ...]]] = field(default_factory=dict)
    sensors: tuple[Mapping[str, Any], ...] = ()
    frames: tuple[Frame, ...] = ()
    answers: Mapping[str, Signal] = field(default_factory=dict)
    _known: dict[Any, tuple[Any, Any]] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def contract(self) -> Mapping[str, Any]:
        """The contract in force as plain data; empty where unknown."""
        return self.manifest.contract or {}

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names of the contract or the notes; empty where unknown."""
        names = self.contract.get("classes") or self.manifest.notes.get("classes") or ()
        return tuple(str(name) for name in names)

    @property
    def picture(self) -> Signal | None:
        """The first raw tensor of rows x columns x channels (or rows x columns)."""
        return next((one for one in self.raw.values() if one.stored[0].ndim in (2, 3)), None)

    @property
    def waveform(self) -> Signal | None:
        """The first raw tensor of one axis."""
        return next((one for one in self.raw.values() if one.stored[0].ndim == 1), None)

    @property
    def input(self) -> Signal | None:
        """The network's first input."""
        return next(iter(self.inputs.values()), None)

    @property
    def output(self) -> Signal | None:
        """The network's first output."""
        return next(iter(self.outputs.values()), None)

    def once(self, key: str, other: object, make: Callable[[], Found]) -> Found:
        """Return what `make` gave for this key and partner, computing it at most once."""
        place = (key, id(other))
        if place not in self._known:
            self._known[place] = (other, make())  # the partner is held, so its id stays its own
        found: Found = self._known[place][1]
        return found

    @classmethod
    def of(cls, manifest: Manifest, frames: Sequence[Frame]) -> Observed:
        """Return the sample that frames make; tensors missing in some frames are left out."""
        by_role = {
            role: _signals([[t for t in one.of(role) if t.values is not None] for one in frames])
            for role in ROLES
        }
        layers: dict[str, dict[str, tuple[Figure, ...]]] = {}
        for one in frames:
            for layer, figures in one.layer_figures.items():
                known = layers.setdefault(layer, {})
                for name, figure in figures.items():
                    known[name] = (*known.get(name, ()), figure)
        return cls(
            manifest, tuple(one.number for one in frames), by_role["raw"], by_role["input"],
            by_role["output"], by_role["layer"], _figures(frames), layers,
            tuple(one.sensors for one in frames), tuple(frames), by_role["answer"],
        )  # fmt: skip


def paired(
    reference: Path, device: Path, most: int = MOST_FRAMES, most_bytes: int = MOST_BYTES
) -> tuple[Observed, Observed]:
    """Read two traces and return samples of the frames both have.

    Both are read once from the start, and evenly thinned out by frame number.

    Args:
        reference: trace to trust.
        device: trace to examine.
        most: frames a sample holds at most.
        most_bytes: of values each sample holds at most.

    Raises:
        EdgebedError: a file is no trace, or they have no frame in common.
    """
    first, second = (_thinned(path, most, most_bytes) for path in (reference, device))
    common = sorted(set(first[1]) & set(second[1]))
    if not common:
        raise EdgebedError(
            "the traces have no frame in common",
            where=f"{reference}, {device}",
            why="frames are paired by number",
            try_="record both from the same inputs in the same order",
        )
    one, two = (Observed.of(m, [kept[n] for n in common]) for m, kept in (first, second))
    return one, two


def _thinned(path: Path, most: int, most_bytes: int) -> tuple[Manifest, dict[int, Frame]]:
    """Keep frames whose number the stride divides; double the stride when there are too many.

    Strides of both traces are powers of two, so the coarser sample is a part of the finer one.
    """
    kept: dict[int, Frame] = {}
    stride, held = 1, 0
    with TraceReader(path) as reader:
        for frame in reader.frames():
            if frame.number % stride:
                continue
            kept[frame.number] = frame
            held += _bytes(frame)
            while len(kept) > 1 and (len(kept) > most or held > most_bytes):
                thinner = {n: one for n, one in kept.items() if n % (2 * stride) == 0}
                if thinner:
                    kept, stride = thinner, 2 * stride
                else:  # numbers that no power of two divides: the first ones stay
                    kept.popitem()
                held = sum(_bytes(one) for one in kept.values())
        return reader.manifest, kept


def _bytes(frame: Frame) -> int:
    return sum(one.values.nbytes for one in frame.tensors if one.values is not None)


def _signals(frames: Sequence[Sequence[Tensor]]) -> dict[str, Signal]:
    found: dict[str, list[Tensor]] = {}
    for tensors in frames:
        for tensor in tensors:
            found.setdefault(tensor.name, []).append(tensor)
    return {
        name: Signal(
            name, tuple(one.values for one in tensors if one.values is not None),
            tensors[0].dtype, tensors[0].scale, tensors[0].zero_point, tensors[0].layout,
            tensors[0].kind,
        )
        for name, tensors in found.items()
        if len(tensors) == len(frames)
    }  # fmt: skip


def _figures(frames: Sequence[Frame]) -> dict[str, tuple[Figure, ...]]:
    found: dict[str, tuple[Figure, ...]] = {}
    for one in frames:
        for name, figure in one.figures.items():
            found[name] = (*found.get(name, ()), figure)
    return found
