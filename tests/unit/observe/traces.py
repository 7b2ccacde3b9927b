"""Small programs, a recorder for them, and defects planted in one layer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgebed.compress.calibration import calibrate
from edgebed.compress.quantize import quantise
from edgebed.compress.scheme import Settings
from edgebed.figures import Figure
from edgebed.observe.trace import Frame, Level, Manifest, Role, Tensor
from edgebed.observe.trace_writer import TraceWriter
from edgebed.program.ops import by_kind
from edgebed.program.run import trace
from edgebed.program.types import Array, Constant, Op, Program, TensorType

Defect = Callable[[Array], Array]
"""Right values of a layer to wrong ones, in the same type and shape."""


def op(kind: str, output: str, *inputs: str, **settings: Any) -> Op:
    made: Op = by_kind(kind)(name=output, inputs=inputs, output=output, **settings)
    return made


def real(seed: int, *shape: int) -> Constant:
    values = np.random.default_rng(seed).normal(size=shape) / np.sqrt(np.prod(shape[1:]) / 2)
    return Constant(values.astype(np.float32), 32)


def float_network() -> Program:
    """A residual network of 12 layers on 3 x 24 x 24 with 5 classes."""
    same: dict[str, Any] = {"padding": (1, 1, 1, 1)}
    ops = (
        op("conv2d", "stem", "x", weight="w0", stride=(2, 2), **same),
        op("unary", "stem_relu", "stem", function="relu"),
        op("conv2d", "wide", "stem_relu", weight="w1", **same),
        op("unary", "wide_relu", "wide", function="relu"),
        op("conv2d", "deep", "wide_relu", weight="w2", groups=8, **same),
        op("conv2d", "point", "deep", weight="w3"),
        op("add", "sum", "point", "stem_relu"),
        op("unary", "sum_relu", "sum", function="relu"),
        op("max_pool", "pool", "sum_relu", kernel=(2, 2), stride=(2, 2)),
        op("conv2d", "last", "pool", weight="w4", **same),
        op("reduce", "mean", "last", function="mean", axes=(1, 2)),
        op("dense", "scores", "mean", weight="w5"),
    )
    weights = {
        "w0": real(0, 8, 3, 3, 3), "w1": real(1, 8, 8, 3, 3), "w2": real(2, 8, 1, 3, 3),
        "w3": real(3, 8, 8, 1, 1), "w4": real(4, 16, 8, 3, 3), "w5": real(5, 5, 16),
    }  # fmt: skip
    return Program(
        "tiny", {"x": TensorType((3, 24, 24), "float32", 1.0)}, ops, ("scores",), weights
    )


def integer_network() -> Program:
    """The same in 8 bits; its first op quantises the input."""
    program = float_network()
    return quantise(program, calibrate(program, [{"x": i} for i in inputs(8, 100)]), Settings())


def pictures(count: int, seed: int = 0) -> list[Array]:
    """Smooth pictures, uint8, rows x columns x RGB."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        coarse = rng.integers(0, 256, (5, 5, 3)).astype(float)
        smooth = np.stack([_resized(coarse[..., c]) for c in range(3)], -1)
        found.append(np.clip(smooth + rng.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8))
    return found


def _resized(coarse: Array) -> Array:
    at = np.linspace(0, 4, 24)
    rows = np.stack([np.interp(at, range(5), column) for column in coarse.T], 1)
    return np.stack([np.interp(at, range(5), row) for row in rows])


def preprocessed(picture: Array) -> Array:
    result: Array = (picture.transpose(2, 0, 1) / 127.5 - 1).astype(np.float32)
    return result


def inputs(count: int, seed: int = 0) -> list[Array]:
    return [preprocessed(one) for one in pictures(count, seed)]


@dataclass(frozen=True)
class Recorder:
    """Runs a program and records every tensor; a defect changes one, and all layers behind it.

    Attributes:
        program: what runs.
        source: of the manifest.
        level: of the trace.
        defects: by tensor name; the second argument is what the layer held in the frame before.
        changed: applied to every recorded tensor: other names, layouts, types.
        dropped: tensors that are not recorded.
        digest: of the manifest.
        preprocess: from a picture to the network's input.
        microseconds: of a layer by name.
    """

    program: Program
    source: str = "reference"
    level: Level = "full"
    defects: Mapping[str, Callable[[Array, Array | None], Array]] = field(default_factory=dict)
    changed: Callable[[Tensor], Tensor] = lambda tensor: tensor
    dropped: tuple[str, ...] = ()
    digest: str = "d1"
    preprocess: Callable[[Array], Array] = preprocessed
    microseconds: Mapping[str, float] = field(default_factory=dict)

    def record(self, path: Path, given: Iterable[Array]) -> Path:
        names = tuple(one.output for one in self.program.ops)
        manifest = Manifest(self.source, self.level, self.program.name, self.digest, layers=names)
        before: dict[str, Array] = {}
        with TraceWriter(path, manifest) as writer:
            for number, picture in enumerate(given):
                writer.write(self.frame(number, picture, before))
        return path

    def frame(self, number: int, picture: Array, before: dict[str, Array]) -> Frame:
        raw = Tensor("picture", "raw", picture.shape, "uint8", 1.0, 0, "HWC", "", picture)
        found = [raw]
        for name, values in self._tensors(self.preprocess(picture), before):
            if name not in self.dropped:
                found.append(self.changed(self._tensor(name, values)))
        layers = {
            name: {"time": Figure(value, "us", "measured", "clock")}
            for name, value in self.microseconds.items()
        }
        return Frame(number, tuple(found), layer_figures=layers)

    def _tensors(self, given: Array, before: dict[str, Array]) -> Iterable[tuple[str, Array]]:
        """Compute op by op, so that layers behind a defect work on what it left."""
        known = dict(trace(self.program.with_(ops=(), outputs=tuple(self.program.inputs)), given))
        yield from known.items()
        for one in self.program.ops:
            types = [self.program.types[name] for name in one.inputs]
            values = one.run([known[n][None] for n in one.inputs], self.program.constants, types)[0]
            if one.output in self.defects:
                right = values
                values = self.defects[one.output](values, before.get(one.output))
                before[one.output] = right
            known[one.output] = values
            yield one.output, values

    def _tensor(self, name: str, values: Array) -> Tensor:
        kind = self.program.types[name]
        role: Role = "layer"
        if name in self.program.inputs:
            role = "input"
        elif name in self.program.outputs:
            role = "output"
        writer = self.program.writer(name)
        return Tensor(
            name, role, values.shape, str(values.dtype), None if kind.is_float else kind.scale,
            kind.zero_point, "CHW" if values.ndim == 3 else "", writer.kind if writer else "",
            values,
        )  # fmt: skip


def renamed(tensor: Tensor) -> Tensor:
    """Return a layer as another runtime records it: other names, channels last, a batch axis."""
    if tensor.role == "raw" or tensor.values is None:
        return tensor
    values = np.moveaxis(tensor.values, 0, -1) if tensor.values.ndim == 3 else tensor.values
    values = np.ascontiguousarray(values[None])
    name = f"model/t{sum(map(ord, tensor.name)) * 7919 % 1000}"
    return replace(tensor, name=name, layout="", shape=values.shape, values=values)
