"""Frames from ONNX Runtime: inner tensors become outputs of a copy of the graph."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from edgebed.errors import EdgebedError
from edgebed.figures import Figure
from edgebed.observe.trace import Frame, Level, Manifest, Role, Tensor
from edgebed.program.types import Array

SOURCE: Final = "onnxruntime"
SILENT: Final = frozenset({"Constant", "DequantizeLinear", "Shape", "Size"})
"""Ops whose results say nothing of their own; what they dequantise is recorded itself."""
MOVING: Final = frozenset({
    "Clip", "Compress", "DepthToSpace", "Expand", "Flatten", "Gather", "Identity", "MaxPool",
    "Reshape", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
})  # fmt: skip
"""Ops that choose among their first input's values: integers keep their meaning."""


@dataclass(frozen=True)
class Described:
    """What the graph says of a tensor: kind of its op, scale and zero point of its integers."""

    kind: str = ""
    scale: float | None = None
    zero_point: int = 0


@dataclass(frozen=True)
class Graph:
    """An ONNX file whose inner tensors can be asked for.

    Attributes:
        path: of the file.
        name: of the network.
        digest: of the file.
        inputs: names and shapes; an open axis is 0.
        outputs: names.
        layers: inner tensors in the order of execution.
        described: by tensor.
        model: the file's content, with the inner tensors as outputs.
    """

    path: Path
    name: str
    digest: str
    inputs: Mapping[str, tuple[int, ...]]
    outputs: tuple[str, ...]
    layers: tuple[str, ...]
    described: Mapping[str, Described]
    model: bytes


def read(path: Path) -> Graph:
    """Read an ONNX file.

    Raises:
        EdgebedError: it cannot be read.
    """
    import onnx

    try:
        content = path.read_bytes()
        model = onnx.load_from_string(content)
        onnx.load_external_data_for_model(model, str(path.parent))
    except Exception as error:  # protobuf has exceptions of its own
        raise EdgebedError("is no ONNX file", where=str(path), why=str(error)[:200]) from error
    graph = model.graph
    constants = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    outputs = tuple(one.name for one in graph.output)
    layers = tuple(name for name in _inner(graph, constants) if name not in outputs)
    for name in layers:
        graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    shapes = {
        one.name: tuple(axis.dim_value for axis in one.type.tensor_type.shape.dim)
        for one in graph.input
        if one.name not in constants
    }
    return Graph(
        path, graph.name or path.stem, hashlib.sha256(content).hexdigest(), shapes, outputs,
        layers, dict(_described(graph, constants)), model.SerializeToString(),
    )  # fmt: skip


def _inner(graph: Any, constants: Mapping[str, Array]) -> Iterator[str]:
    """Give what nodes compute from the inputs, in the order of execution."""
    fixed = set(constants)
    for node in graph.node:
        if all(name in fixed or not name for name in node.input):
            fixed.update(node.output)
        elif node.op_type not in SILENT:
            yield from (name for name in node.output if name)


def _described(graph: Any, constants: Mapping[str, Array]) -> Iterator[tuple[str, Described]]:
    makers = {name: node for node in graph.node for name in node.output}
    known: dict[str, Described] = {}
    for node in graph.node:  # an input that is quantised already
        if node.op_type == "DequantizeLinear" and node.input[0] not in makers:
            known[node.input[0]] = Described("", *_steps(node.input[1:], constants))
    for node in graph.node:
        found = _of(node, makers, constants)
        if node.op_type in MOVING and node.input[0] in known:
            given = known[node.input[0]]
            found = Described(node.op_type, given.scale, given.zero_point)
        known.update(dict.fromkeys(node.output, found))
    yield from known.items()


def _of(node: Any, makers: Mapping[str, Any], constants: Mapping[str, Array]) -> Described:
    if node.op_type == "QuantizeLinear":
        maker = makers.get(node.input[0])
        kind = maker.op_type if maker is not None else "quantize"
        return Described(kind, *_steps(node.input[1:], constants))
    if node.op_type.startswith("QLinear"):
        kind = node.op_type.removeprefix("QLinear")
        last = node.input[-2:] if node.op_type != "QLinearConv" else node.input[6:8]
        return Described(kind, *_steps(last, constants))
    return Described(node.op_type)


def _steps(names: Any, constants: Mapping[str, Array]) -> tuple[float | None, int]:
    found = [constants.get(name) for name in names]
    if not found or found[0] is None or found[0].size != 1:
        return None, 0
    zero = found[1] if len(found) > 1 else None
    return float(found[0].item()), int(zero.item()) if zero is not None and zero.size == 1 else 0


def manifest(graph: Graph, level: Level, optimised: bool = True) -> Manifest:
    """Return what a trace of ONNX Runtime begins with."""
    import onnxruntime

    notes = {"runtime": f"onnxruntime {onnxruntime.__version__}", "optimised": optimised}
    layers = graph.layers + graph.outputs
    return Manifest(SOURCE, level, graph.name, graph.digest, None, layers, notes)


def session_of(graph: Graph, level: Level, *, optimised: bool = True) -> Any:
    """Return an inference session that offers what the level asks for, on one thread.

    Args:
        graph: what to compute.
        level: from `statistics` on, inner tensors are outputs too.
        optimised: let the runtime fuse and replace ops; tensors within a fusion are computed
            apart because they are asked for.

    Raises:
        EdgebedError: the runtime is not installed, or refuses the file.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise EdgebedError(
            "needs the package onnxruntime", try_="pip install 'edgebed[bench]'"
        ) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    model = str(graph.path) if level in ("off", "io") else graph.model
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime has exceptions of its own
        why = " ".join(str(error).split())[:200]
        raise EdgebedError("its runtime refuses it", where=str(graph.path), why=why) from error


def record(
    source: Path | Graph,
    inputs: Mapping[str, Array],
    level: Level = "full",
    *,
    optimised: bool = True,
) -> Iterator[Frame]:
    """Compute one frame a sample.

    Args:
        source: an ONNX file.
        inputs: by name, N x the file's shape (its first axis 1, or left out).
        level: what is kept.
        optimised: let the runtime fuse and replace ops.

    Raises:
        EdgebedError: the file cannot be read or is refused, or the inputs do not fit.
    """
    graph = source if isinstance(source, Graph) else read(source)
    session = session_of(graph, level, optimised=optimised)
    names = [one.name for one in session.get_outputs()]
    for number, sample in enumerate(_samples(graph, inputs)):
        begun, clock = time.time_ns(), time.perf_counter_ns()
        try:
            values = session.run(names, sample)
        except Exception as error:  # the runtime has exceptions of its own
            why = " ".join(str(error).split())[:200]
            raise EdgebedError("cannot compute", where=str(graph.path), why=why) from error
        spent = Figure((time.perf_counter_ns() - clock) / 1000, "us", "measured", "one thread")
        tensors = frame_tensors(graph, sample, dict(zip(names, values, strict=True)))
        yield Frame(number, tensors, {"latency": spent}, time_ns=begun)


def frame_tensors(
    graph: Graph, inputs: Mapping[str, Array], found: Mapping[str, Array]
) -> tuple[Tensor, ...]:
    """Return inputs, layers and outputs as a frame holds them, without batch axes of 1."""
    rows: list[tuple[str, Role, Array]] = [(name, "input", one) for name, one in inputs.items()]
    rows += [(name, "layer", found[name]) for name in graph.layers if name in found]
    rows += [(name, "output", found[name]) for name in graph.outputs if name in found]
    return tuple(_tensor(graph, *row) for row in rows if _is_numeric(row[2]))


def _tensor(graph: Graph, name: str, role: Role, values: Array) -> Tensor:
    facts = graph.described.get(name, Described())
    steps = values.dtype.kind in "iu"
    values = values[0] if values.ndim > 1 and values.shape[0] == 1 else values
    return Tensor(
        name, role, tuple(values.shape), str(values.dtype), facts.scale if steps else None,
        facts.zero_point if steps else 0, "CHW" if values.ndim == 3 else "", facts.kind, values,
    )  # fmt: skip


def _is_numeric(values: object) -> bool:
    return isinstance(values, np.ndarray) and values.dtype.kind in "fiub"


def _samples(graph: Graph, inputs: Mapping[str, Array]) -> Iterator[dict[str, Array]]:
    missing = [name for name in graph.inputs if name not in inputs]
    if missing:
        raise EdgebedError(
            f"input {missing[0]!r} is missing", why=f"there are {', '.join(map(repr, inputs))}"
        )
    shaped = {name: _batched(inputs[name], shape) for name, shape in graph.inputs.items()}
    for index in range(min(map(len, shaped.values()), default=0)):
        yield {name: values[index] for name, values in shaped.items()}


def _batched(values: Array, shape: tuple[int, ...]) -> Array:
    """Return N x the file's shape."""
    if shape[:1] not in ((0,), (1,)):
        return values if values.ndim > len(shape) else values[None]
    return np.expand_dims(values if values.ndim >= len(shape) else values[None], 1)
