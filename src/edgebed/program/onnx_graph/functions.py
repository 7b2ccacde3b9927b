"""Functions of one number: activations and the like. Between integers they become tables."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from edgebed.program.arithmetic import Affine
from edgebed.program.onnx_graph.draft import Draft
from edgebed.program.onnx_graph.node import Node
from edgebed.program.onnx_graph.scales import clip_limits, end, tail_of
from edgebed.program.onnx_graph.values import Value
from edgebed.program.ops.lookup import Lookup
from edgebed.program.ops.multiply import Multiply
from edgebed.program.ops.requantize import Requantize
from edgebed.program.ops.tables import Scales, table
from edgebed.program.ops.unary import Unary
from edgebed.program.types import TensorType

Handler = Callable[[Draft, Node], None]
Attributes = Callable[[Draft, Node], dict[str, Any]]


def function(name: str, attributes: Attributes | None = None) -> Handler:
    """Return the importer of a function.

    Args:
        name: in `edgebed.program.ops._functions`.
        attributes: what of alpha, beta, low and high a node says.
    """

    def handle(net: Draft, node: Node) -> None:
        value = net.value(node, 0)
        more = attributes(net, node) if attributes is not None else {}
        apply_function(net, node, value, name, more)

    return handle


def apply_function(net: Draft, node: Node, value: Value, name: str, more: dict[str, Any]) -> None:
    """Append a function of a value, in reals or as a table between integers."""
    tail = tail_of(net, node, [value]) if value.tensor is not None else None
    integers = net.quantised(value)
    if tail is not None and integers is not None and _small(net.types[integers], tail.rule):
        tensor = append_table(net, node, integers, tail.rule, name, more)
        end(net, node, tensor, value.shape, tail)
        return
    if name == "relu" and tail is None and integers is not None and _signed(net, integers):
        _relu_of_integers(net, node, value, integers)
        return
    tensor = net.emit(node, Unary, [net.real(value)], function=name, **more)
    net.define(node, tensor, value.shape)


def _small(kind: TensorType, rule: Affine) -> bool:
    return kind.dtype == rule.dtype == "int8"


def _signed(net: Draft, tensor: str) -> bool:
    return net.types[tensor].dtype in ("int8", "int16")


def _relu_of_integers(net: Draft, node: Node, value: Value, tensor: str) -> None:
    """Clamp integers at their zero point, which is what Relu of their reals is, exactly."""
    kind = net.types[tensor]
    limits = np.iinfo(kind.dtype)
    rule = Affine(
        kind.scale,
        kind.zero_point,
        "float",
        max(kind.zero_point, int(limits.min)),
        int(limits.max),
        kind.dtype,  # type: ignore[arg-type]
    )
    net.define(node, net.emit(node, Requantize, [tensor], requantize=rule), value.shape)


def append_table(
    net: Draft, node: Node, tensor: str, rule: Affine, name: str, more: dict[str, Any]
) -> str:
    """Append the table of a function from one int8 tensor to the integers of a rule."""
    kind = net.types[tensor]
    scales = Scales(kind.scale, kind.zero_point, rule.scale, rule.zero_point)
    values = table(name, scales, rounding="float", **more)  # type: ignore[arg-type]
    constant = net.constant(node, "table", np.clip(values, rule.low, rule.high).astype(np.int8))
    return net.emit(
        node, Lookup, [tensor], table=constant, scale=rule.scale, zero_point=rule.zero_point
    )


def _slope(default: float) -> Attributes:
    return lambda _, node: {"alpha": node.real("alpha", default)}


def _hard_sigmoid(net: Draft, node: Node) -> dict[str, Any]:
    return {"alpha": node.real("alpha", 0.2), "beta": node.real("beta", 0.5)}


def clip(net: Draft, node: Node) -> None:
    """Clip; the identity where there is no bound."""
    low, high = clip_limits(net, node)
    value = net.value(node, 0)
    bounds = {"low": low, "high": high}
    if math.isnan(low) or math.isnan(high):
        raise node.fail(f"its bounds are {low} and {high}")
    more = {key: bound for key, bound in bounds.items() if math.isfinite(bound)}
    if not more:
        net.alias(node.output, value)
        return
    apply_function(net, node, value, "clip", more)


def selu(net: Draft, node: Node) -> None:
    """Selu; one with constants of its own is gamma * elu."""
    alpha, gamma = node.real("alpha", 1.6732632), node.real("gamma", 1.0507010)
    value = net.value(node, 0)
    if np.isclose(alpha, 1.6732632, rtol=1e-6) and np.isclose(gamma, 1.0507010, rtol=1e-6):
        apply_function(net, node, value, "selu", {})
        return
    tensor = net.emit(node, Unary, [net.real(value)], function="elu", alpha=alpha)
    net.define(node, net.emit(node, Multiply, [tensor, net.reals(node, gamma)]), value.shape)


def gelu(net: Draft, node: Node) -> None:
    """Gelu, exact or by tanh."""
    name = "gelu_tanh" if node.word("approximate", "none") == "tanh" else "gelu"
    apply_function(net, node, net.value(node, 0), name, {})


def swish(net: Draft, node: Node) -> None:
    """X * sigmoid(alpha * x)."""
    value, alpha = net.value(node, 0), node.real("alpha", 1.0)
    if alpha == 1:
        apply_function(net, node, value, "silu", {})
        return
    real = net.real(value)
    inner = net.emit(node, Multiply, [real, net.reals(node, alpha)])
    gate = net.emit(node, Unary, [inner], function="sigmoid")
    net.define(node, net.emit(node, Multiply, [real, gate]), value.shape)


_PLAIN = {
    "Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "HardSwish": "hard_swish",
    "Exp": "exp", "Log": "log", "Sqrt": "sqrt", "Abs": "abs", "Neg": "neg", "Floor": "floor",
    "Ceil": "ceil", "Round": "round", "Softplus": "softplus", "Softsign": "softsign",
    "Erf": "erf", "Sign": "sign", "Reciprocal": "reciprocal", "Mish": "mish",
    "Sin": "sin", "Cos": "cos",
}  # fmt: skip

OPERATORS: dict[str, Handler] = {
    **{kind: function(name) for kind, name in _PLAIN.items()},
    "LeakyRelu": function("leaky_relu", _slope(0.01)),
    "Elu": function("elu", _slope(1.0)),
    "Celu": function("celu", _slope(1.0)),
    "HardSigmoid": function("hard_sigmoid", _hard_sigmoid),
    "Selu": selu,
    "Clip": clip,
    "Gelu": gelu,
    "Swish": swish,
}
MICROSOFT: dict[str, Handler] = {
    "Gelu": function("gelu"),
    "FastGelu": function("gelu_tanh"),
    "QuickGelu": swish,
}
