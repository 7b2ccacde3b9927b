"""The graph of an ONNX model with its batch fixed: nodes in order, inputs, constants, readers."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from edgebed.errors import EdgebedError, did_you_mean
from edgebed.program.onnx_graph.expansion import expanded
from edgebed.program.onnx_graph.load import attribute, dtype_name, tensor_array
from edgebed.program.onnx_graph.node import BROKEN, Node
from edgebed.program.types import Array

if TYPE_CHECKING:
    import onnx

DOMAINS = ("", "com.microsoft")
"""Domains whose operators are looked up; `ai.onnx` is the same as ""."""


@dataclass(frozen=True)
class Declared:
    """A graph input as the file declares it: shape, batch axis included, and numpy's type."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Graph:
    """A graph whose every tensor has one writer.

    Attributes:
        name: of the network.
        where: the file.
        inputs: by name, without those that are constants.
        outputs: tensor names.
        constants: the initializers.
        nodes: each after the nodes whose outputs it reads; those that depend on constants alone
            come first.
    """

    name: str
    where: str
    inputs: Mapping[str, Declared]
    outputs: tuple[str, ...]
    constants: Mapping[str, Array]
    nodes: tuple[Node, ...]

    @cached_property
    def ends(self) -> frozenset[str]:
        """The outputs, for a quick look."""
        return frozenset(self.outputs)

    @cached_property
    def readers(self) -> Mapping[str, tuple[Node, ...]]:
        """The nodes that read a tensor."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys((*node.inputs, *captured(node))):
                found.setdefault(name, []).append(node)
        return {name: tuple(nodes) for name, nodes in found.items()}

    def only_reader(self, tensor: str) -> Node | None:
        """Return the one node that reads a tensor; None if several do or it is an output."""
        readers = self.readers.get(tensor, ())
        return readers[0] if len(readers) == 1 and tensor not in self.ends else None


def read_graph(
    model: onnx.ModelProto,
    where: str,
    folder: Path | None,
    input_shapes: Mapping[str, tuple[int, ...]],
) -> Graph:
    """Return the graph of a model.

    Raises:
        EdgebedError: names clash, a tensor is read that nothing writes, nodes form a circle, or a
            size is not known.
    """
    model = _inlined(model, where)
    graph = model.graph
    if any(not isinstance(text, str) for text in _texts(model)):
        raise EdgebedError("a name is not text", where=where, why="UTF-8 is needed")
    constants = {tensor.name: tensor_array(tensor, where, folder) for tensor in graph.initializer}
    if graph.sparse_initializer:
        raise EdgebedError("sparse weights are not supported", where=where, try_="dense weights")
    if len(constants) != len(graph.initializer):
        raise EdgebedError("two constants have the same name", where=where)
    inputs = _inputs(graph, where, constants, input_shapes)
    outputs = tuple(output.name for output in graph.output)
    if not outputs:
        raise EdgebedError("the graph has no output", where=where)
    if len(set(outputs)) != len(outputs):
        raise EdgebedError("an output is listed twice", where=where)
    nodes = _used(expanded(nodes_of(graph, where, _versions(model, where))), outputs)
    ordered = _in_order(nodes, inputs, constants, outputs, where)
    return Graph(graph.name or "network", where, inputs, outputs, constants, ordered)


def _texts(model: onnx.ModelProto) -> Iterator[object]:
    """Yield every name; a damaged one is bytes."""
    graph = model.graph
    yield graph.name
    yield from (entry.domain for entry in model.opset_import)
    for value in (*graph.input, *graph.output):
        yield value.name
        yield from (dim.dim_param for dim in value.type.tensor_type.shape.dim)
    for tensor in graph.initializer:
        yield tensor.name
        yield from (text for entry in tensor.external_data for text in (entry.key, entry.value))
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (one.name for one in node.attribute)


def _inlined(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    if not model.functions:
        return model
    from onnx import inliner

    try:
        return inliner.inline_local_functions(model)
    except (RuntimeError, *BROKEN) as error:
        raise EdgebedError(
            "its local functions cannot be inlined", where=where, why=str(error)[:200]
        ) from error


def _versions(model: onnx.ModelProto, where: str) -> Mapping[str, int]:
    import onnx

    newest = onnx.defs.onnx_opset_version()
    versions = {_domain(entry.domain): entry.version for entry in model.opset_import}
    version = versions.get("", 1)
    if not 1 <= version <= newest:
        raise EdgebedError(
            f"operator set {version} is not known",
            where=where,
            why=f"sets 1 to {newest} are",
            try_="export with an older operator set",
        )
    return versions


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def nodes_of(graph: onnx.GraphProto, where: str, versions: Mapping[str, int]) -> Iterator[Node]:
    """Yield the nodes of a graph, or of a branch, in the file's order."""
    for index, message in enumerate(graph.node):
        outputs = tuple(message.output)
        shown = message.name or next(filter(None, outputs), f"node {index}")
        place = f"{where}, layer {shown!r} ({message.op_type})"
        if not outputs:
            raise EdgebedError("the node has no output", where=place)
        domain = _domain(message.domain)
        yield Node(
            message.op_type,
            domain,
            versions.get(domain, versions.get("", 1)),
            shown,
            tuple(message.input),
            outputs,
            {one.name: attribute(one, place) for one in message.attribute},
            where,
        )


def _inputs(
    graph: onnx.GraphProto,
    where: str,
    constants: Mapping[str, Array],
    given: Mapping[str, tuple[int, ...]],
) -> Mapping[str, Declared]:
    values = [one for one in graph.input if one.name not in constants]
    names = [one.name for one in values]
    if len(set(names)) != len(names):
        raise EdgebedError("two inputs have the same name", where=where)
    for name in given:
        if name not in names:
            raise EdgebedError(
                f"there is no input {name!r}", where=where, try_=did_you_mean(name, names)
            )
    return {one.name: _declared(one, where, given.get(one.name)) for one in values}


def _declared(value: onnx.ValueInfoProto, where: str, given: tuple[int, ...] | None) -> Declared:
    place = f"{where}, input {value.name!r}"
    if not value.type.HasField("tensor_type"):
        raise EdgebedError("is not a tensor", where=place, why="sequences and maps are not known")
    kind = value.type.tensor_type
    dtype = dtype_name(kind.elem_type, place)
    dims = [d.dim_value if d.HasField("dim_value") else d.dim_param or "?" for d in kind.shape.dim]
    help_ = f"give --input-shape {value.name}=1,{','.join(map(str, dims[1:])) or '...'}"
    if not kind.HasField("shape") and given is None:
        raise EdgebedError("has no shape", where=place, try_=help_)
    if given is not None:
        shape = _agreed(given, dims if kind.HasField("shape") else list(given), place)
    else:
        shape = _batch_one(dims, place, help_)
    if len(shape) > 8 or any(n < 1 or n >= 1 << 31 for n in shape):
        raise EdgebedError(f"has shape {shape}", where=place, why="sizes are 1 to 2**31, 8 axes")
    return Declared(shape, dtype)


def _agreed(given: tuple[int, ...], dims: Sequence[int | str], place: str) -> tuple[int, ...]:
    fits = len(given) == len(dims) and all(
        isinstance(dim, str) or dim < 1 or dim == size
        for index, (dim, size) in enumerate(zip(dims, given, strict=True))
        if index > 0
    )
    if not fits:
        raise EdgebedError(
            f"cannot have shape {given}",
            where=place,
            why=f"the file says {', '.join(map(str, dims))}",
        )
    return given


def _batch_one(dims: Sequence[int | str], place: str, help_: str) -> tuple[int, ...]:
    """Return the shape with an unknown first size (the batch) taken as 1."""
    sizes = [1 if i == 0 and (isinstance(d, str) or d < 1) else d for i, d in enumerate(dims)]
    unknown = [str(d) for d in sizes if isinstance(d, str) or d < 1]
    if unknown:
        listed = ", ".join(map(str, dims))
        raise EdgebedError(f"has unknown sizes: {listed}", where=place, try_=help_)
    return tuple(int(size) for size in sizes)


def _used(nodes: Iterator[Node], outputs: tuple[str, ...]) -> list[Node]:
    """Drop nodes that no output depends on, which exporters leave behind."""
    every = list(nodes)
    writers: dict[str, list[Node]] = {}
    for node in every:
        for name in filter(None, node.outputs):
            writers.setdefault(name, []).append(node)
    wanted, seen, kept = list(outputs), set(outputs), set()
    while wanted:
        for node in writers.get(wanted.pop(), ()):
            kept.add(id(node))
            fresh = [name for name in (*node.inputs, *captured(node)) if name and name not in seen]
            seen.update(fresh)
            wanted.extend(fresh)
    return [node for node in every if id(node) in kept]


def captured(node: Node) -> Iterator[str]:
    """Yield the names that a node's graphs (branches, loop bodies) may read from outside."""
    for value in node.attributes.values():
        if hasattr(value, "node") and hasattr(value, "initializer"):
            own = {name for inner in value.node for name in inner.output}
            own.update(tensor.name for tensor in value.initializer)
            own.update(one.name for one in value.input)
            used = [name for inner in value.node for name in inner.input]
            used += [one.name for one in value.output]
            yield from (name for name in used if name and name not in own)


def _in_order(
    nodes: list[Node],
    inputs: Mapping[str, Declared],
    constants: Mapping[str, Array],
    outputs: tuple[str, ...],
    where: str,
) -> tuple[Node, ...]:
    """Sort by dependence; nodes that depend on constants alone first, else the file's order."""
    written = Counter(name for node in nodes for name in node.outputs if name)
    for name, times in written.items():
        if times > 1 or name in inputs or name in constants:
            raise EdgebedError(f"tensor {name!r} is written twice", where=where)
    known = {*inputs, *constants, ""}
    missing: dict[int, int] = {}
    waiting: dict[str, list[int]] = {}
    for index, node in enumerate(nodes):
        needs = {name for name in (*node.inputs, *captured(node)) if name not in known}
        missing[index] = len(needs)
        for name in needs:
            if name not in written:
                raise node.fail(f"reads tensor {name!r}, which nothing writes")
            waiting.setdefault(name, []).append(index)
    for name in outputs:
        if name not in known and name not in written:
            raise EdgebedError(f"output {name!r} is never written", where=where)
    order = _sorted(nodes, missing, waiting, set(inputs))
    if len(order) < len(nodes):
        stuck = next(node for i, node in enumerate(nodes) if missing[i] > 0)
        raise stuck.fail("the nodes form a circle", why="it waits for its own result")
    return tuple(nodes[index] for index in order)


def _sorted(
    nodes: list[Node],
    missing: dict[int, int],
    waiting: dict[str, list[int]],
    varying: set[str],
) -> list[int]:
    ready = [_key(nodes, i, varying) for i, count in missing.items() if count == 0]
    heapq.heapify(ready)
    order = []
    while ready:
        late, index = heapq.heappop(ready)
        order.append(index)
        if late:
            varying.update(nodes[index].outputs)
        for name in nodes[index].outputs:
            for follower in waiting.get(name, ()):
                missing[follower] -= 1
                if missing[follower] == 0:
                    heapq.heappush(ready, _key(nodes, follower, varying))
    return order


def _key(nodes: list[Node], index: int, varying: set[str]) -> tuple[bool, int]:
    node = nodes[index]
    return any(name in varying for name in (*node.inputs, *captured(node))), index
