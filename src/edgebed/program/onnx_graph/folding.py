"""Nodes whose inputs are all known: they are computed when the network is imported.

Operators whose result can be far larger than their inputs are computed here, after a look at the
size; the rest by ONNX's own reference evaluator, one node at a time.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from edgebed.program.onnx_graph.draft import Draft
from edgebed.program.onnx_graph.load import dtype_name, plain
from edgebed.program.onnx_graph.node import BROKEN, Node
from edgebed.program.types import Array

LARGEST_VALUES = 1 << 26
LARGEST_INPUT_BYTES = 1 << 28

_REFERENCE = frozenset(
    {
        "Abs", "Add", "And", "ArgMax", "ArgMin", "BatchNormalization", "BitShift",
        "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor", "Ceil", "Clip", "Compress",
        "Concat", "Cos", "CumSum", "Div", "Einsum", "Elu", "Equal", "Erf", "Exp", "Flatten",
        "Floor", "Gather", "GatherElements", "GatherND", "Gelu", "Gemm", "Greater",
        "GreaterOrEqual", "HardSigmoid", "HardSwish", "Identity", "IsInf", "IsNaN",
        "LeakyRelu", "Less", "LessOrEqual", "Log", "LogSoftmax", "MatMul", "Max", "Mean",
        "Min", "Mish", "Mod", "Mul", "Neg", "NonZero", "Not", "Or", "PRelu", "Pow",
        "Reciprocal", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax",
        "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare", "Relu",
        "Reshape", "Round", "ScatterElements", "ScatterND", "Selu", "Shrink", "Sigmoid",
        "Sign", "Sin", "Slice", "Softmax", "Softplus", "Softsign", "Split", "Sqrt", "Squeeze",
        "Sub", "Sum", "Tan", "Tanh", "TopK", "Transpose", "Trilu", "Unique", "Unsqueeze",
        "Where", "Xor",
    }
)  # fmt: skip
"""Operators whose result is not much larger than what they read."""


def fold(net: Draft, node: Node) -> bool:
    """Compute a node whose inputs are known.

    Returns:
        False where the node depends on the network's input, or is not computed here.

    Raises:
        EdgebedError: its result would be too large, or its inputs do not fit.
    """
    if node.domain or node.kind in ("QuantizeLinear", "DequantizeLinear"):
        return False
    if node.kind in _SHAPES:
        net.define_constant(node.output, _numbers(node, _SHAPES[node.kind](net, node)))
        return True
    values = [net.values.get(name) for name in node.inputs if name]
    if any(value is None or value.array is None for value in values):
        return False
    arrays = [net.array(net.values[name]) if name else None for name in node.inputs]
    if node.kind in _OWN:
        made = _numbers(node, _OWN[node.kind](node, arrays))
        net.spend(node, made)
        net.define_constant(node.output, made)
        return True
    if node.kind not in _REFERENCE or not arrays:
        return False
    _check_broadcast(node, [array for array in arrays if array is not None])
    for name, array in zip(node.outputs, _by_reference(node, arrays), strict=False):
        if name:
            net.spend(node, array)
            net.define_constant(name, array)
    return True


def _numbers(node: Node, values: Array) -> Array:
    """Return the values.

    Raises:
        EdgebedError: they are text or objects, as of a damaged attribute or an absent input.
    """
    if values.dtype.kind not in "fiub":
        raise node.fail("holds no numbers", why="an attribute or an input is text, or absent")
    return values


def _check_broadcast(node: Node, arrays: list[Array]) -> None:
    """Stop before operands of shapes like (n, 1) and (1, m) make something far larger."""
    total = sum(array.nbytes for array in arrays)
    if total > LARGEST_INPUT_BYTES:
        raise node.fail(
            f"computes with {total} bytes of constants", why=f"{LARGEST_INPUT_BYTES} fit"
        )
    sizes = [max(a) for a in _columns([array.shape for array in arrays])]
    matrix = arrays[0].size * arrays[-1].size if node.kind in ("MatMul", "Gemm", "Einsum") else 0
    if math.prod(sizes) > LARGEST_VALUES and max(a.size for a in arrays) * 4 < math.prod(sizes):
        raise node.fail(f"its result would have up to {math.prod(sizes)} values")
    if matrix > 1 << 34:
        raise node.fail(f"a product of {matrix} numbers between constants")


def _columns(shapes: list[tuple[int, ...]]) -> list[list[int]]:
    rank = max((len(shape) for shape in shapes), default=0)
    return [
        [shape[len(shape) - 1 - i] if i < len(shape) else 1 for shape in shapes]
        for i in range(rank)
    ]


def _by_reference(node: Node, arrays: list[Array | None]) -> list[Array]:
    import onnx
    from onnx.reference import ReferenceEvaluator

    attributes = {
        name: onnx.numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
        for name, value in node.attributes.items()
    }
    try:
        message = onnx.helper.make_node(node.kind, node.inputs, node.outputs, **attributes)
        feeds = dict(zip(node.inputs, arrays, strict=True))
        feeds.pop("", None)
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # means of nothing are NaN, and refused where used
            found = ReferenceEvaluator(
                onnx.helper.make_function(
                    "edgebed",
                    "fold",
                    list(dict.fromkeys(name for name in node.inputs if name)),
                    [name for name in node.outputs if name],
                    [message],
                    [onnx.helper.make_opsetid("", node.version)],
                )
            ).run(None, feeds, attributes={})
    except (RuntimeError, NotImplementedError, *BROKEN) as error:
        raise node.fail(
            "cannot be computed from its constants",
            why=(str(error) or type(error).__name__).splitlines()[0][:200],
        ) from error
    kept = [np.asarray(one) for one, _ in zip(found, node.outputs, strict=False)]
    return [plain(_numbers(node, one), str(one.dtype)) for one in kept]


def _shape_of(net: Draft, node: Node) -> Array:
    shape = net.value(node, 0).shape
    last = node.attributes.get("end")
    return np.array(shape[node.integer("start", 0) : last], np.int64)


def _size_of(net: Draft, node: Node) -> Array:
    return np.array(math.prod(net.value(node, 0).shape), np.int64)


def _constant(net: Draft, node: Node) -> Array:
    if "value" in node.attributes:
        return np.asarray(node.attributes["value"])
    for name, dtype in (
        ("value_float", np.float32),
        ("value_floats", np.float32),
        ("value_int", np.int64),
        ("value_ints", np.int64),
    ):
        if name in node.attributes:
            return np.asarray(node.attributes[name], dtype)
    raise node.fail("holds no numbers", why=f"its attributes are {', '.join(node.attributes)}")


def _checked(node: Node, shape: Any) -> tuple[int, ...]:
    sizes = tuple(int(n) for n in np.asarray(shape).reshape(-1))
    if len(sizes) > 16 or min(sizes, default=0) < 0 or math.prod(sizes) > LARGEST_VALUES:
        raise node.fail(f"its result would have shape {sizes}", why=f"{LARGEST_VALUES} values fit")
    return sizes


def _constant_of_shape(node: Node, arrays: list[Any]) -> Array:
    filler: Array = np.asarray(node.attributes.get("value", np.zeros(1, np.float32))).ravel()
    return np.full(_checked(node, arrays[0]), filler[0], filler.dtype)


def _expand(node: Node, arrays: list[Any]) -> Array:
    shape = np.broadcast_shapes(arrays[0].shape, _checked(node, arrays[1]))
    return np.array(np.broadcast_to(arrays[0], _checked(node, shape)))


def _tile(node: Node, arrays: list[Any]) -> Array:
    times = _checked(node, arrays[1])
    if len(times) != arrays[0].ndim:
        raise node.fail(f"repeats {times} of shape {arrays[0].shape}")
    _checked(node, [n * t for n, t in zip(arrays[0].shape, times, strict=True)])
    return np.tile(arrays[0], times)


def _range(node: Node, arrays: list[Any]) -> Array:
    start, limit, delta = (array.reshape(-1)[0] for array in arrays)
    if delta == 0 or not all(math.isfinite(float(x)) for x in (start, limit, delta)):
        raise node.fail(f"from {start} to {limit} by {delta}")
    count = max(0, math.ceil((float(limit) - float(start)) / float(delta)))
    _checked(node, [count])
    result: Array = (start + np.arange(count) * delta).astype(np.asarray(start).dtype)
    return result


def _cast(node: Node, arrays: list[Any]) -> Array:
    name = dtype_name(node.integer("to", 1), f"{node.where}, layer {node.name!r}")
    array = arrays[0]
    if name.startswith(("float", "bfloat")):
        return plain(array, name)
    if name in ("int4", "uint4", "int2", "uint2"):
        raise node.fail(f"casts to {name}")
    with np.errstate(invalid="ignore"):
        return plain(np.trunc(array) if array.dtype.kind == "f" else array, name).astype(
            {"uint32": "int64", "uint64": "int64"}.get(name, name)
        )


def _pad(node: Node, arrays: list[Any]) -> Array:
    array = arrays[0]
    pads = arrays[1] if len(arrays) > 1 else np.asarray(node.integers("pads"))
    if (
        len(arrays) > 3
        or pads.size != 2 * array.ndim
        or node.word("mode", "constant") != "constant"
    ):
        raise node.fail("pads a constant in a way that is not supported")
    sides = np.asarray(pads).reshape(2, -1)
    if sides.min(initial=0) < 0:
        raise node.fail(f"pads a constant by {sides.tolist()}")
    _checked(node, [n + b + a for n, b, a in zip(array.shape, *sides.tolist(), strict=True)])
    filler = arrays[2].reshape(-1)[0] if len(arrays) > 2 and arrays[2] is not None else 0
    return np.pad(array, sides.T, constant_values=filler)


def _one_hot(node: Node, arrays: list[Any]) -> Array:
    indices, depth, (off, on) = arrays[0], int(arrays[1].reshape(-1)[0]), arrays[2]
    axis = node.axis(node.integer("axis", -1), indices.ndim + 1)
    _checked(node, [*indices.shape, depth])
    hot = np.where(np.arange(depth) == (indices % depth)[..., None], on, off)
    result: Array = np.moveaxis(hot, -1, axis)
    return result


_SHAPES: dict[str, Callable[[Draft, Node], Array]] = {
    "Shape": _shape_of,
    "Size": _size_of,
    "Constant": _constant,
}
_OWN: dict[str, Callable[[Node, list[Any]], Array]] = {
    "ConstantOfShape": _constant_of_shape,
    "Expand": _expand,
    "Tile": _tile,
    "Range": _range,
    "Cast": _cast,
    "Pad": _pad,
    "OneHot": _one_hot,
}
