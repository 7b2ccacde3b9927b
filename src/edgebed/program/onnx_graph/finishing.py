"""The end of an import: outputs get the names of the file, and what nobody needs is dropped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from edgebed.program.onnx_graph.draft import Draft
from edgebed.program.ops.identity import Identity
from edgebed.program.types import Op, Program


def finished(
    net: Draft, results: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]]
) -> Program:
    """Return the program.

    Args:
        net: with every op.
        results: the tensor that leaves the program, by the output's name in the file.
        shapes: in the file, of inputs and outputs.
    """
    leaving = _with_copies(net, results)
    names = _final_names(net, leaving)
    ops = tuple(
        replace(
            op,
            inputs=tuple(names.get(one, one) for one in op.inputs),
            output=names.get(op.output, op.output),
        )
        for op in _needed(net.ops, set(leaving.values()))
    )
    types = {names.get(tensor, tensor): kind for tensor, kind in net.types.items()}
    used = {name for op in ops for name in op.constants}
    own = {name: (1, *types[name].shape) for name in shapes}
    return Program(
        name=net.graph.name,
        inputs=net.inputs,
        ops=ops,
        outputs=tuple(results),
        constants={name: one for name, one in net.constants.items() if name in used},
        file_shapes={name: shape for name, shape in shapes.items() if shape != own[name]},
    )


def _with_copies(net: Draft, results: Mapping[str, str]) -> dict[str, str]:
    """Return a tensor of its own for each output: inputs and other outputs are copied."""
    own = {tensor for name, tensor in results.items() if tensor == name}
    leaving = dict(results)
    for name, tensor in results.items():
        if tensor == name:
            continue
        if tensor in own or tensor in net.inputs:
            fresh = net.unused(f"{name}/copy", net.types)
            leaving[name] = net.append(Identity, name, [tensor], fresh, {})
        else:
            own.add(tensor)
    return leaving


def _final_names(net: Draft, leaving: Mapping[str, str]) -> dict[str, str]:
    """Return the new names of tensors: an output's for its tensor, another for who had it."""
    names = {tensor: name for name, tensor in leaving.items() if tensor != name}
    for name, tensor in leaving.items():
        if tensor != name and name in net.types and name not in names:
            names[name] = net.unused(f"{name}/inner", net.types)
    return names


def _needed(ops: Sequence[Op], wanted: set[str]) -> tuple[Op, ...]:
    kept = []
    for op in reversed(ops):
        if op.output in wanted:
            kept.append(op)
            wanted.update(op.inputs)
    return tuple(reversed(kept))
