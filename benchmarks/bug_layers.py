"""Faults inside the network that `deployment_bugs.py` plants: ranges, channels and kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from bug_networks import Array, Graph, Network
from bug_pipeline import Bug, Pipeline, Planted
from onnx import numpy_helper

Random = np.random.Generator


def inside() -> list[Bug]:
    """Return the kinds of fault of layers."""
    return [
        _layer("range too narrow", "range_too_narrow", "narrow", _narrowed),
        _layer("range 24 times", "range_too_wide", "wide", lambda n, r: _scaled(n, r, 24.0)),
        _layer("channels dead", "dead_channels", "dead", lambda n, r: _biased(n, r, -1e3)),
        _layer(
            "channels saturated", "saturated_channels", "stuck", lambda n, r: _biased(n, r, 1e3)
        ),
        _layer("off by one channel", "kernel", "shuffled", lambda n, r: _shuffled(n, r)),
        _layer("bias left out", "kernel", "biasless", lambda n, r: _biasless(n, r)),
    ]


def _layer(name: str, cause: str, kind: str, plant: Callable[[Network, Random], Planted]) -> Bug:
    """A fault inside the network: in a QDQ file, or as a network of another form plants it."""

    def draw(network: Network, rng: Random) -> Planted:
        own = getattr(network.graph, "plant", None)
        if own is None:
            return plant(network, rng)
        edit, layer = own(kind, network, rng)
        return Planted(Pipeline(network), edit, layer, getattr(edit, "factor", 1.0))

    return Bug(name, (cause,), draw)


def _set(model: onnx.ModelProto, name: str, values: Array) -> None:
    for one in model.graph.initializer:
        if one.name == name:
            one.CopyFrom(numpy_helper.from_array(values, name))


def _narrowed(network: Network, rng: Random) -> Planted:
    """A layer calibrated so that a tenth to a third of its values other than zero are cut."""
    at = int(rng.integers(len(network.graph.layers) - 1))
    one = network.graph.layers[at]
    seen = [network.run_reference(network.prepare(raw))[one.name] for raw in network.raws[:8]]
    values = np.concatenate([value.ravel() for value in seen])
    top = float(np.quantile(values[values > 0], rng.uniform(0.67, 0.9)))
    return _scaled(network, rng, top / (one.scale * (127 - one.zero_point)), at)


def _scaled(network: Network, rng: Random, factor: float, at: int | None = None) -> Planted:
    """A layer's step multiplied, where it is quantised and where it is read."""
    layers = network.graph.layers
    one = layers[int(rng.integers(len(layers) - 1)) if at is None else at]

    def edit(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            writes = node.op_type == "QuantizeLinear" and node.output[0] == one.integers
            reads = node.op_type == "DequantizeLinear" and node.input[0] == one.integers
            if writes or reads:
                _set(model, node.input[1], np.array(one.scale * factor, np.float32))

    return Planted(Pipeline(network), edit, one.name, factor)  # the device reports the step in use


def _convolution(graph: Graph, rng: Random) -> tuple[Any, Any]:
    """Draw a convolution and the layer that it writes."""
    ends = {node.input[0]: node.output[0] for node in graph.model.graph.node
            if node.op_type == "QuantizeLinear"}  # fmt: skip
    layers = {one.integers: one for one in graph.layers}
    found = [(node, layers[ends[node.output[0]]]) for node in graph.model.graph.node
             if node.op_type == "Conv" and ends.get(node.output[0]) in layers]  # fmt: skip
    return found[int(rng.integers(len(found)))]


def _constant(graph: Graph, name: str) -> tuple[str, Array, float | Array]:
    """Return the initialiser behind a weight: its name, values and step."""
    node = next(one for one in graph.model.graph.node if name in one.output)
    values = numpy_helper.to_array(graph.values[node.input[0]])
    return node.input[0], values, numpy_helper.to_array(graph.values[node.input[1]])


def _biased(network: Network, rng: Random, amount: float) -> Planted:
    """Two to four channels of a layer, of those that do something, whose bias is far off."""
    graph = network.graph
    node, layer = _convolution(graph, rng)
    name, values, scale = _constant(graph, node.input[2])
    seen = [network.run_reference(network.prepare(raw))[layer.name][0] for raw in network.raws[:4]]
    deviations = np.array([one.std() for one in np.moveaxis(np.stack(seen), 1, 0)])
    lively = np.flatnonzero(deviations >= min(4 * layer.scale, np.sort(deviations)[-4]))
    count = min(len(lively), len(values) // 4, int(rng.integers(2, 5)))
    chosen = rng.choice(lively, count, replace=False)
    wrong = values.astype(np.float64)
    wrong[chosen] += np.rint(amount * layer.scale * 256 / np.broadcast_to(scale, values.shape))[
        chosen
    ]
    return Planted(
        Pipeline(network), lambda model: _set(model, name, _cut(wrong, values)), layer.name
    )


def _cut(values: Array, like: Array) -> Array:
    if like.dtype.kind == "f":
        return values.astype(like.dtype)
    info = np.iinfo(like.dtype)
    return np.clip(values, info.min, info.max).astype(like.dtype)


def _biasless(network: Network, rng: Random) -> Planted:
    graph = network.graph
    node, layer = _convolution(graph, rng)
    name, values, _ = _constant(graph, node.input[2])
    return Planted(
        Pipeline(network), lambda model: _set(model, name, np.zeros_like(values)), layer.name
    )


def _shuffled(network: Network, rng: Random) -> Planted:
    """Weights that take the next channel's scale; biases too where there is one scale only."""
    graph = network.graph
    node, layer = _convolution(graph, rng)
    weights, values, scale = _constant(graph, node.input[1])
    scales = np.asarray(scale)
    if scales.ndim and scales.size > 1:
        owner = next(one for one in graph.model.graph.node if node.input[1] in one.output)
        name, rolled = owner.input[1], np.roll(scales, 1)
    else:
        name, rolled = weights, np.roll(values, 1, axis=0)
    return Planted(Pipeline(network), lambda model: _set(model, name, rolled), layer.name)
