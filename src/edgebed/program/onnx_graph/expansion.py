"""Operators that stand for several: each becomes its parts before the graph is imported.

The QLinear operators (ONNX's and ONNX Runtime's com.microsoft) are DequantizeLinear -> operator ->
QuantizeLinear in one node; ONNX Runtime's fused operators are a layer and its activation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from edgebed.program.onnx_graph.node import Node

Expansion = Callable[[Node], Iterator[Node]]


def expanded(nodes: Iterable[Node]) -> Iterator[Node]:
    """Yield the nodes with those that stand for several replaced by their parts."""
    for node in nodes:
        expansion = _EXPANSIONS.get(node.kind)
        if expansion is None:
            yield node
        else:
            yield from expansion(node)


def _input(node: Node, index: int) -> str:
    return node.inputs[index] if index < len(node.inputs) else ""


def _part(node: Node, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> Node:
    """Return a node of ONNX's own domain with the newest meaning of its operator."""
    return replace(
        node,
        kind=kind,
        domain="",
        version=max(node.version, 13) if node.domain == "" else 13,
        inputs=tuple(inputs),
        outputs=(output,),
        attributes=attributes,
    )


def _dequantised(node: Node, first: int, label: str, axis: int = 1) -> tuple[Node, str]:
    """Return the DequantizeLinear of inputs first, first + 1 (scale), first + 2 (zero point)."""
    output = f"{node.output}/{label}"
    inputs = [_input(node, first + i) for i in range(3)]
    return _part(node, "DequantizeLinear", inputs, output, axis=axis), output


def _quantised(node: Node, real: str, scale: int) -> Node:
    inputs = [real, _input(node, scale), _input(node, scale + 1)]
    return _part(node, "QuantizeLinear", inputs, node.output)


def _conv(node: Node) -> Iterator[Node]:
    dequantise, x = _dequantised(node, 0, "x")
    yield dequantise
    dequantise, w = _dequantised(node, 3, "w", axis=0)
    yield dequantise
    yield _part(node, "Conv", [x, w, _input(node, 8)], f"{node.output}/real", **node.attributes)
    yield _quantised(node, f"{node.output}/real", 6)


def _binary(kind: str) -> Expansion:
    """Return the expansion of an operator of two quantised operands."""

    def expand(node: Node) -> Iterator[Node]:
        for first, label in ((0, "a"), (3, "b")):
            yield _dequantised(node, first, label)[0]
        real = f"{node.output}/real"
        yield _part(node, kind, [f"{node.output}/a", f"{node.output}/b"], real)
        yield _quantised(node, real, 6)

    return expand


def _unary(kind: str, extra: tuple[str, ...] = ()) -> Expansion:
    """Return the expansion of an operator of one quantised operand."""

    def expand(node: Node) -> Iterator[Node]:
        if node.integer("channels_last", 0):
            raise node.fail("channels_last is set", try_="the channels-first form")
        dequantise, x = _dequantised(node, 0, "x")
        yield dequantise
        real = f"{node.output}/real"
        kept = {k: v for k, v in node.attributes.items() if k not in ("channels_last", *extra)}
        yield _part(node, kind, [x], real, **kept)
        yield _quantised(node, real, 3)

    return expand


def _softmax(node: Node) -> Iterator[Node]:
    dequantise, x = _dequantised(node, 0, "x")
    yield dequantise
    real = f"{node.output}/real"
    softmax = _part(node, "Softmax", [x], real, axis=node.integer("axis", -1))
    yield replace(softmax, version=node.integer("opset", 13))
    yield _quantised(node, real, 3)


def _concat(node: Node) -> Iterator[Node]:
    reals = []
    for index, first in enumerate(range(2, len(node.inputs), 3)):
        dequantise, real = _dequantised(node, first, f"x{index}")
        reals.append(real)
        yield dequantise
    joined = f"{node.output}/real"
    yield _part(node, "Concat", reals, joined, axis=node.integer("axis", 1))
    yield _quantised(node, joined, 0)


def _gemm(node: Node) -> Iterator[Node]:
    right = node.integer("transB", 0)
    yield _dequantised(node, 0, "a")[0]
    yield _dequantised(node, 3, "b", axis=0 if right else 1)[0]
    operands = [f"{node.output}/a", f"{node.output}/b", _input(node, 6)]
    kept = {key: value for key, value in node.attributes.items() if key != "beta"}
    if not _input(node, 7):
        yield _part(node, "Gemm", operands, node.output, **kept)
        return
    yield _part(node, "Gemm", operands, f"{node.output}/real", **kept)
    yield _quantised(node, f"{node.output}/real", 7)


def _fused(kind: str) -> Expansion:
    """Return the expansion of a layer with an activation."""

    def expand(node: Node) -> Iterator[Node]:
        activation = node.word("activation", "")
        own = {
            key: value for key, value in node.attributes.items() if not key.startswith("activation")
        }
        inputs, last = node.inputs, node.output
        steps = [activation] if activation else []
        added = _input(node, 3) if kind == "Conv" else ""
        names = [f"{node.output}/{i}" for i in range(len(steps) + bool(added))] + [last]
        yield _part(node, kind, inputs[:3], names[0], **own)
        if added:
            yield _part(node, "Add", [names[0], added], names[1])
        if activation:
            yield _activated(node, activation, names[-2])

    return expand


def _activated(node: Node, activation: str, source: str) -> Node:
    found = node.attributes.get("activation_params", ())
    given = tuple(float(x) for x in found) if isinstance(found, tuple) else ()
    names = {"LeakyRelu": ("alpha",), "HardSigmoid": ("alpha", "beta"), "Clip": ("min", "max")}
    attributes = dict(zip(names.get(activation, ()), given, strict=False))
    if activation == "LeakyRelu" and "activation_alpha" in node.attributes:
        attributes["alpha"] = node.real("activation_alpha", 0.01)
    part = _part(node, activation, [source], node.output, **attributes)
    return replace(part, version=6) if activation == "Clip" else part


def _bias_gelu(node: Node) -> Iterator[Node]:
    yield _part(node, "Add", node.inputs[:2], f"{node.output}/sum")
    gelu = _part(node, "Gelu", [f"{node.output}/sum"], node.output)
    yield replace(gelu, version=20)


_EXPANSIONS: dict[str, Expansion] = {
    "QLinearConv": _conv,
    "QLinearMatMul": _binary("MatMul"),
    "QLinearAdd": _binary("Add"),
    "QLinearMul": _binary("Mul"),
    "QLinearSigmoid": _unary("Sigmoid"),
    "QLinearLeakyRelu": _unary("LeakyRelu"),
    "QLinearAveragePool": _unary("AveragePool"),
    "QLinearGlobalAveragePool": _unary("GlobalAveragePool"),
    "QLinearReduceMean": _unary("ReduceMean"),
    "QLinearSoftmax": _softmax,
    "QLinearConcat": _concat,
    "QGemm": _gemm,
    "FusedConv": _fused("Conv"),
    "BiasGelu": _bias_gelu,
    "FusedGemm": _fused("Gemm"),
}
