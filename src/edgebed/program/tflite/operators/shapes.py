"""Operators that give the same values another shape or order."""

from __future__ import annotations

import math

import numpy as np

from edgebed.program.tflite.layer import Layer
from edgebed.program.tflite.network import Value, stripped
from edgebed.program.tflite.operators.pools import normal_axes
from edgebed.program.types import Constant


def reshape(layer: Layer) -> None:
    """Convert RESHAPE; one size may be -1."""
    x = layer.value(0)
    layer.give(x.tensor, _target(layer, x))


def _target(layer: Layer, x: Value) -> tuple[int, ...]:
    wanted = layer.list("NewShape")
    if layer.has(1) and layer.known(1) is not None:
        wanted = layer.integers(1, "shape")
    elif layer.has(1) or layer.operator.options is None:
        declared = layer.network.file.tensors[layer.output_index(0)]
        if declared.dynamic:
            raise layer.fail("its shape is computed by the network", try_="a fixed shape")
        wanted = declared.shape
    total = math.prod(x.shape)
    rest = math.prod(size for size in wanted if size != -1)
    if wanted.count(-1) == 1 and rest > 0 and total % rest == 0:
        wanted = tuple(total // rest if size == -1 else size for size in wanted)
    if any(size < 0 for size in wanted) or math.prod(wanted) != total:
        raise layer.fail(
            f"a shape {list(x.shape)} cannot become {list(wanted)}",
            why="the number of values stays the same",
        )
    return wanted


def squeeze(layer: Layer) -> None:
    """Convert SQUEEZE; without dimensions all of size 1 go."""
    x = layer.value(0)
    named = layer.list("SqueezeDims")
    axes = normal_axes(layer, named, len(x.shape)) if named else range(len(x.shape))
    gone = {axis for axis in axes if x.shape[axis] == 1}
    if named and len(gone) < len(axes):
        raise layer.fail(f"it squeezes axes {list(axes)} of {list(x.shape)}", why="not all are 1")
    layer.give(x.tensor, tuple(size for axis, size in enumerate(x.shape) if axis not in gone))


def expand_dims(layer: Layer) -> None:
    """Convert EXPAND_DIMS."""
    x = layer.value(0)
    (axis,) = normal_axes(layer, layer.integers(1, "axis")[:1], len(x.shape) + 1)
    layer.give(x.tensor, (*x.shape[:axis], 1, *x.shape[axis:]))


def transpose(layer: Layer) -> None:
    """Convert TRANSPOSE."""
    x = layer.value(0)
    perm = layer.integers(1, "permutation")
    if sorted(axis % max(len(perm), 1) for axis in perm) != list(range(len(x.shape))):
        raise layer.fail(f"permutation {list(perm)} of shape {list(x.shape)}")
    perm = tuple(axis % len(perm) for axis in perm)
    shape = tuple(x.shape[axis] for axis in perm)
    if _keeps_order(x.shape, perm):
        layer.give(x.tensor, shape)
    elif stripped(x.shape) != x.shape and perm[0] == 0:
        inner = tuple(axis - 1 for axis in perm[1:])
        layer.give(layer.emit("transpose", [x.tensor], perm=inner), shape)
    else:
        layer.give(layer.emit("transpose", [layer.full(x)], perm=perm), shape)


def _keeps_order(shape: tuple[int, ...], perm: tuple[int, ...]) -> bool:
    """True where only axes of size 1 move, so that the values stay in place."""
    long = [axis for axis in perm if shape[axis] != 1]
    return long == sorted(long)


def placed(layer: Layer, x: Value, axis: int) -> tuple[str, int]:
    """Return a tensor and the place there of an axis of the file."""
    if stripped(x.shape) == x.shape:
        return x.tensor, axis
    return (layer.full(x), 0) if axis == 0 else (x.tensor, axis - 1)


def shape_of(layer: Layer) -> None:
    """Convert SHAPE; all shapes are known."""
    x = layer.value(0)
    layer.give_known(np.array(x.shape, dtype=layer.result().dtype))


def gather(layer: Layer) -> None:
    """Convert GATHER with constant indices."""
    x = layer.value(0)
    if layer.integer("BatchDims", default=0):
        raise layer.fail("batch dimensions are not supported", try_="GATHER without batch_dims")
    (axis,) = normal_axes(layer, (layer.integer("Axis", default=0),), len(x.shape))
    indices = layer.constant(1, "indices")
    tensor, inner = placed(layer, x, axis)
    bits = 64 if indices.dtype == np.int64 else 32
    name = layer.store("indices", Constant(np.array(indices), bits))
    result = layer.emit("gather", [tensor], axis=inner, indices=name)
    layer.give(result, (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))


def arg_extreme(layer: Layer) -> None:
    """Convert ARG_MAX and ARG_MIN."""
    x = layer.value(0)
    (axis,) = normal_axes(layer, layer.integers(1, "axis")[:1], len(x.shape))
    tensor, inner = placed(layer, x, axis)
    dtype = layer.result().dtype
    if dtype not in ("int32", "int64"):
        raise layer.fail(f"its output is {dtype}", why="INT32 or INT64 is needed")
    least = layer.operator.kind == "ARG_MIN"
    result = layer.emit("argmax", [tensor], axis=inner, least=least, dtype=dtype)
    layer.give(result, (*x.shape[:axis], *x.shape[axis + 1 :]))
