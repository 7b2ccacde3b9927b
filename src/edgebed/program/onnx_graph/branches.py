"""If with a condition that is known when the network is imported: the branch that is taken."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgebed.program.onnx_graph.draft import Draft
from edgebed.program.onnx_graph.expansion import expanded
from edgebed.program.onnx_graph.graph import nodes_of
from edgebed.program.onnx_graph.load import tensor_array
from edgebed.program.onnx_graph.node import Node


def branch(net: Draft, node: Node) -> Iterator[Node]:
    """Yield the nodes of the branch that is taken, then one that names its results.

    Exporters write such nodes where a shape decides, as for squeeze of an axis of open size.

    Raises:
        EdgebedError: the condition depends on the network's input, or the branch is absent.
    """
    condition = net.known(node, 0, "condition")
    graph: Any = node.attributes.get("then_branch" if condition.any() else "else_branch")
    if condition.size != 1 or not hasattr(graph, "node"):
        raise node.fail("has no such branch")
    for tensor in graph.initializer:
        net.define_constant(tensor.name, tensor_array(tensor, node.where, None))
    yield from expanded(nodes_of(graph, node.where, {"": node.version}))
    for inner, outer in zip((one.name for one in graph.output), node.outputs, strict=True):
        yield Node("Identity", "", node.version, outer, (inner,), (outer,), {}, node.where)
