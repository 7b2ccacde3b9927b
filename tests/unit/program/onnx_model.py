"""Small ONNX models for tests, and what ONNX Runtime says about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgebed.errors import EdgebedError
from edgebed.program.onnx_graph import from_model
from edgebed.program.run import run
from edgebed.program.types import Program

IR_VERSION = 9
ALL = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
NONE = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL


@dataclass
class Sketch:
    """Collects the nodes of a model; every method returns the name of a tensor."""

    opset: int = 17
    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)
    inputs: dict[str, tuple[int, Sequence[Any]]] = field(default_factory=dict)
    microsoft: bool = False
    _count: int = 0

    def fresh(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"

    def input(self, shape: Sequence[Any], kind: int = TensorProto.FLOAT) -> str:
        name = self.fresh("x")
        self.inputs[name] = (kind, shape)
        return name

    def constant(self, values: Any) -> str:
        name = self.fresh("c")
        self.constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def node(self, kind: str, *inputs: str, outputs: int = 1, domain: str = "", **more: Any) -> Any:
        names = [self.fresh("t") for _ in range(outputs)]
        self.microsoft |= domain == "com.microsoft"
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, names, name=name, domain=domain, **more))
        return names[0] if outputs == 1 else names

    def quantise(self, x: str, scale: float, zero: Any) -> str:
        parts = (self.constant(np.float32(scale)), self.constant(zero))
        return str(self.node("QuantizeLinear", x, *parts))

    def dequantise(self, q: str, scale: Any, zero: Any, **more: Any) -> str:
        parts = (self.constant(np.asarray(scale, np.float32)), self.constant(zero))
        return str(self.node("DequantizeLinear", q, *parts, **more))

    def model(self, *outputs: str, kinds: Mapping[str, int] | None = None) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "sketch",
            [helper.make_tensor_value_info(n, k, s) for n, (k, s) in self.inputs.items()],
            [
                helper.make_tensor_value_info(n, (kinds or {}).get(n, TensorProto.FLOAT), None)
                for n in outputs
            ],
            self.constants,
        )
        sets = [helper.make_opsetid("", self.opset)]
        if self.microsoft:
            sets.append(helper.make_opsetid("com.microsoft", 1))
        return helper.make_model(graph, opset_imports=sets, ir_version=IR_VERSION)


def by_onnxruntime(
    model: onnx.ModelProto, feeds: Mapping[str, np.ndarray], level: Any = ALL
) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return list(session.run(None, dict(feeds)))


def by_edgebed(program: Program, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Run a program on arrays of the file's shapes and return such arrays."""
    batches = {n: a.reshape(1, *program.inputs[n].shape) for n, a in feeds.items()}
    found = run(program, batches)
    return [found[name].reshape(program.file_shape(name)) for name in program.outputs]


def check(
    model: onnx.ModelProto,
    feeds: Mapping[str, np.ndarray],
    *,
    rtol: float = 1e-4,
    atol: float = 1e-5,
) -> Program:
    """Hold the imported program against ONNX Runtime; return the program."""
    program = from_model(model, "model")
    wanted = by_onnxruntime(model, feeds)
    for mine, theirs in zip(by_edgebed(program, feeds), wanted, strict=True):
        assert mine.shape == theirs.shape
        if theirs.dtype.kind != "f":
            assert mine.dtype == theirs.dtype
        np.testing.assert_allclose(mine, theirs, rtol=rtol, atol=atol)
    return program


def randoms(sketch: Sketch, seed: int = 0, low: float = -3, high: float = 3) -> dict[str, Any]:
    """Return arrays for every float input, uniformly random."""
    rng = np.random.default_rng(seed)
    return {
        name: rng.uniform(low, high, shape).astype(np.float32)
        for name, (_, shape) in sketch.inputs.items()
    }


def network() -> onnx.ModelProto:
    """A convolution, an activation and a matrix product."""
    sketch = Sketch()
    w = sketch.constant(np.ones((4, 3, 3, 3), np.float32))
    y = sketch.node("Conv", sketch.input((1, 3, 8, 8)), w, strides=[2, 2])
    y = sketch.node("Flatten", sketch.node("Relu", y))
    rows = sketch.constant(np.ones((36, 5), np.float32))
    return sketch.model(sketch.node("MatMul", y, rows))


def refused(model: onnx.ModelProto, **more: Any) -> str:
    """Return what the importer says, which is one sentence."""
    with pytest.raises(EdgebedError) as caught:
        from_model(model, "net.onnx", **more)
    text = str(caught.value)
    assert text.startswith("net.onnx") and "\n" not in text and len(text) < 1200
    return text
