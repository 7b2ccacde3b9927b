"""Operators that move numbers and change none; quantised values stay integers in them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from edgebed.program.onnx_graph.axes import reshaped, view
from edgebed.program.onnx_graph.draft import Draft
from edgebed.program.onnx_graph.node import Node
from edgebed.program.onnx_graph.values import Value
from edgebed.program.ops.depth_to_space import DepthToSpace
from edgebed.program.ops.gather import Gather
from edgebed.program.ops.space_to_depth import SpaceToDepth
from edgebed.program.ops.strided_slice import StridedSlice
from edgebed.program.ops.transpose import Transpose

LARGEST_INDICES: Final = 1 << 22


def identity(net: Draft, node: Node) -> None:
    """Identity, and Dropout at inference."""
    net.alias(node.output, net.value(node, 0))


def reshape(net: Draft, node: Node) -> None:
    """Reshape to a known shape; 0 keeps a size, -1 takes the rest."""
    value = net.value(node, 0)
    wanted = (
        [int(n) for n in net.known(node, 1, "shape").reshape(-1)]
        if node.has(1)
        else list(node.integers("shape"))
    )
    if not node.integer("allowzero", 0):
        for index, size in enumerate(wanted):
            if size == 0:
                if index >= len(value.shape):
                    raise node.fail(f"keeps axis {index} of shape {value.shape}")
                wanted[index] = value.shape[index]
    reshaped(net, node, value, filled(node, wanted, value.shape))


def filled(node: Node, wanted: Sequence[int], have: Sequence[int]) -> tuple[int, ...]:
    """Return a shape with its -1 worked out.

    Raises:
        EdgebedError: the numbers of values differ.
    """
    total = math.prod(have)
    known = math.prod(size for size in wanted if size != -1)
    if wanted.count(-1) == 1 and known > 0 and total % known == 0:
        return tuple(total // known if size == -1 else size for size in wanted)
    if min(wanted, default=0) < 0 or known != total:
        raise node.fail(
            f"shape {tuple(have)} cannot become {tuple(wanted)}",
            why="the number of values stays the same (the batch is taken as 1)",
        )
    return tuple(wanted)


def flatten(net: Draft, node: Node) -> None:
    """Flatten to two axes."""
    value = net.value(node, 0)
    axis = node.integer("axis", 1)
    rank = len(value.shape)
    if not -rank <= axis <= rank:
        raise node.fail(f"axis {axis} of a tensor with {rank} axes")
    axis = axis + rank if axis < 0 else axis
    shape = (math.prod(value.shape[:axis]), math.prod(value.shape[axis:]))
    reshaped(net, node, value, shape)


def axes_of(net: Draft, node: Node, index: int) -> list[int] | None:
    """Return the axes a node names, in an input (newer sets) or an attribute; None for none."""
    if node.has(index):
        return [int(n) for n in net.known(node, index, "axes").reshape(-1)]
    return list(node.integers("axes")) if "axes" in node.attributes else None


def squeeze(net: Draft, node: Node) -> None:
    """Leave axes of size 1 away."""
    value = net.value(node, 0)
    given = axes_of(net, node, 1)
    rank = len(value.shape)
    axes = (
        {node.axis(axis, rank) for axis in given}
        if given is not None
        else {i for i, size in enumerate(value.shape) if size == 1}
    )
    if any(value.shape[axis] != 1 for axis in axes):
        raise node.fail(f"squeezes axes {sorted(axes)} of shape {value.shape}")
    reshaped(net, node, value, [n for i, n in enumerate(value.shape) if i not in axes])


def unsqueeze(net: Draft, node: Node) -> None:
    """Put axes of size 1 in."""
    value = net.value(node, 0)
    given = axes_of(net, node, 1) or []
    rank = len(value.shape) + len(given)
    axes = {node.axis(axis, rank) for axis in given}
    if len(axes) != len(given):
        raise node.fail(f"axes {given}", why="each once")
    rest = iter(value.shape)
    reshaped(net, node, value, [1 if i in axes else next(rest) for i in range(rank)])


def transpose(net: Draft, node: Node) -> None:
    """Another order of the axes."""
    value = net.value(node, 0)
    rank = len(value.shape)
    perm = node.integers("perm", tuple(reversed(range(rank))))
    if sorted(perm) != list(range(rank)):
        raise node.fail(f"perm {perm} of shape {value.shape}", why="it names every axis once")
    shape = tuple(value.shape[axis] for axis in perm)
    moving = [axis for axis in perm if value.shape[axis] != 1]
    if moving == sorted(moving):
        reshaped(net, node, value, shape)
        return
    touched = range(rank) if perm[0] != 0 else range(1, rank)
    seen = view(net, node, value, touched, net.carrier(value))
    order = tuple(axis - seen.shift for axis in perm if axis >= seen.shift)
    tensor = net.emit(node, Transpose, [seen.tensor], perm=order)
    net.define(node, tensor, shape, value.dtype)


def slices(net: Draft, node: Node) -> None:
    """Slice with known bounds."""
    value = net.value(node, 0)
    rank = len(value.shape)
    if node.version < 10 and not node.has(1):
        starts, ends = list(node.integers("starts")), list(node.integers("ends"))
        axes, steps = list(node.integers("axes", tuple(range(len(starts))))), [1] * len(starts)
    else:
        starts, ends = (_listed(net, node, index) for index in (1, 2))
        axes = _listed(net, node, 3) if node.has(3) else list(range(len(starts)))
        steps = _listed(net, node, 4) if node.has(4) else [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise node.fail(f"starts {starts}, ends {ends}, axes {axes}, steps {steps} do not fit")
    ranges = {axis: range(size) for axis, size in enumerate(value.shape)}
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        axis = node.axis(axis, rank)
        ranges[axis] = range(value.shape[axis])[slice(start, end, step)]
    sliced(net, node, value, ranges, node.output)


def _listed(net: Draft, node: Node, index: int) -> list[int]:
    return [int(n) for n in net.known(node, index, "bounds").reshape(-1)]


def sliced(net: Draft, node: Node, value: Value, ranges: dict[int, range], output: str) -> None:
    """Define an output that takes a range of each axis of the file."""
    shape = tuple(len(ranges[axis]) for axis in range(len(value.shape)))
    if 0 in shape:
        raise node.fail(f"takes nothing of shape {value.shape}")
    touched = [axis for axis, size in enumerate(value.shape) if ranges[axis] != range(size)]
    if not touched:
        net.alias(output, value)
        return
    seen = view(net, node, value, touched, net.carrier(value))
    taken = [ranges[axis] for axis in range(seen.shift, len(value.shape))]
    tensor = net.emit(
        node,
        StridedSlice,
        [seen.tensor],
        begin=tuple(one.start for one in taken),
        end=tuple(None if one.stop < 0 else one.stop for one in taken),
        step=tuple(one.step for one in taken),
    )
    net.define(node, tensor, shape, value.dtype, output)


def split(net: Draft, node: Node) -> None:
    """Split into parts of known sizes."""
    value = net.value(node, 0)
    axis = node.axis(node.integer("axis", 0), len(value.shape))
    size, count = value.shape[axis], len(node.outputs)
    if node.has(1):
        sizes = [int(n) for n in net.known(node, 1, "sizes").reshape(-1)]
    elif "split" in node.attributes:
        sizes = list(node.integers("split"))
    else:
        each = -(-size // count)
        sizes = [each] * (count - 1) + [size - each * (count - 1)]
    if len(sizes) != count or sum(sizes) != size or min(sizes) < 1:
        raise node.fail(f"splits {size} values into {sizes} for {count} outputs")
    start = 0
    for output, part in zip(node.outputs, sizes, strict=True):
        ranges = {i: range(n) for i, n in enumerate(value.shape)}
        ranges[axis] = range(start, start + part)
        start += part
        if output:
            sliced(net, node, value, ranges, output)


def gather(net: Draft, node: Node) -> None:
    """Take known indices along an axis."""
    value = net.value(node, 0)
    axis = node.axis(node.integer("axis", 0), len(value.shape))
    indices = net.known(node, 1, "indices").astype(np.int64)
    size = value.shape[axis]
    if indices.size and not -size <= indices.min() <= indices.max() < size:
        raise node.fail(f"indices {indices.min()}..{indices.max()} of an axis of {size}")
    taken(net, node, value, axis, np.where(indices < 0, indices + size, indices))


def taken(net: Draft, node: Node, value: Value, axis: int, indices: Any) -> None:
    """Define the output that takes indices (0 to size less 1) along an axis of the file."""
    shape = (*value.shape[:axis], *indices.shape, *value.shape[axis + 1 :])
    if indices.size == 1:
        ranges = {i: range(n) for i, n in enumerate(value.shape)}
        ranges[axis] = range(int(indices.reshape(-1)[0]), int(indices.reshape(-1)[0]) + 1)
        part = f"{node.output}/part"
        sliced(net, node, value, ranges, part)
        reshaped(net, node, net.take(part), shape)
        return
    if indices.size > LARGEST_INDICES:
        raise node.fail(f"takes {indices.size} indices", why=f"at most {LARGEST_INDICES} fit")
    seen = view(net, node, value, [axis], net.carrier(value))
    name = net.constant(node, "indices", indices)
    tensor = net.emit(node, Gather, [seen.tensor], axis=seen.axis(axis), indices=name)
    net.define(node, tensor, shape, value.dtype)


def _squares(net: Draft, node: Node) -> tuple[Value, int]:
    value, block = net.value(node, 0), node.integer("blocksize", 0)
    if len(value.shape) != 4 or value.shape[0] != 1 or block < 1:
        raise node.fail(f"blocks of {block} on shape {value.shape}", why="1 x C x H x W is needed")
    return value, block


def depth_to_space(net: Draft, node: Node) -> None:
    """Unfold channels into pixels."""
    value, block = _squares(net, node)
    order = node.word("mode", "DCR").lower()
    if order not in ("dcr", "crd"):
        raise node.fail(f"mode {order!r}", try_="DCR or CRD")
    tensor = net.emit(node, DepthToSpace, [net.carrier(value)], block=block, order=order)
    net.define(node, tensor, (1, *net.types[tensor].shape), value.dtype)


def space_to_depth(net: Draft, node: Node) -> None:
    """Fold pixels into channels."""
    value, block = _squares(net, node)
    if node.word("mode", "DCR") != "DCR":
        raise node.fail(f"mode {node.word('mode', '')!r}", try_="DCR")
    tensor = net.emit(node, SpaceToDepth, [net.carrier(value)], block=block)
    net.define(node, tensor, (1, *net.types[tensor].shape), value.dtype)


OPERATORS: dict[str, Any] = {
    "Identity": identity,
    "Dropout": identity,
    "Reshape": reshape,
    "Flatten": flatten,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Transpose": transpose,
    "Slice": slices,
    "Split": split,
    "Gather": gather,
    "DepthToSpace": depth_to_space,
    "SpaceToDepth": space_to_depth,
}
