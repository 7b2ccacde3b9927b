"""Integers in QDQ graphs: what a quantising node says, and where an op ends in one.

ONNX Runtime computes DequantizeLinear -> op -> QuantizeLinear as one integer op. A `Tail` is what
follows an op up to its QuantizeLinear nodes: activations become the clamp of the rule.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgebed.program.arithmetic import Affine
from edgebed.program.onnx_graph.draft import PASSED_BY, Draft
from edgebed.program.onnx_graph.node import Node
from edgebed.program.onnx_graph.values import OFFSET, Steps, Value, as_dtype
from edgebed.program.types import Array, TensorType

LONGEST_TAIL = 4
"""So many activations at most are looked through for a QuantizeLinear."""

MOVES = (*PASSED_BY, "Flatten")
"""Operators that give the same integers whether they stand before a QuantizeLinear or behind."""

_QUANTISED = ("int8", "uint8", "int16", "uint16")


@dataclass(frozen=True)
class Meaning:
    """What a tensor's integers mean in the file.

    Attributes:
        dtype: in the file.
        scale: float32 of the file, as a Python number.
        zero_point: in the file.
    """

    dtype: str
    scale: float
    zero_point: int

    @property
    def zero(self) -> int:
        """The zero point of the program's integers, which are signed."""
        return self.zero_point - OFFSET.get(self.dtype, 0)

    def rule(self, low: float = -math.inf, high: float = math.inf) -> Affine:
        """Return the rule to these integers, with the reals clamped to low and high."""
        dtype = as_dtype(self.dtype)
        limits = np.iinfo(dtype)
        least, most = (
            int(np.clip(self._step(real), limits.min, limits.max)) if math.isfinite(real) else end
            for real, end in ((low, limits.min), (high, limits.max))
        )
        return Affine(self.scale, self.zero, "float", least, most, dtype)  # type: ignore[arg-type]

    def _step(self, real: float) -> float:
        return float(np.rint(np.float32(real) / np.float32(self.scale))) + self.zero

    def fits(self, kind: TensorType) -> bool:
        """Return whether a program's tensor has this meaning."""
        same = np.float32(kind.scale) == np.float32(self.scale)
        return bool(same) and kind.zero_point == self.zero and kind.dtype == as_dtype(self.dtype)


@dataclass(frozen=True)
class Tail:
    """What follows an op up to where it is quantised.

    Attributes:
        rule: to the quantised result, activations included.
        meaning: of the result in the file.
        outputs: ONNX tensors that become the result.
        taken: first outputs of the nodes between, which are then done.
        bias: of an Add between a matrix product and its quantisation.
        moves: operators between `outputs` and the QuantizeLinear nodes that only move numbers, or
            take the largest: they commute with quantisation and work on integers. Where there
            are any, `outputs` are reals in the file.
    """

    rule: Affine
    meaning: Meaning
    outputs: tuple[str, ...]
    taken: tuple[str, ...]
    bias: Value | None = None
    moves: tuple[str, ...] = ()


def meaning_of(net: Draft, node: Node, scale: int, zero: int, dtype: str = "uint8") -> Meaning:
    """Return what a node's scale and zero-point inputs say about one tensor.

    Raises:
        EdgebedError: the scale is not a positive number, the types do not fit, or there are
            several scales.
    """
    scales, zeros = parameters(net, node, scale, zero, dtype)
    if scales.size != 1:
        raise node.fail(
            f"has {scales.size} scales for an activation", why="one scale a tensor is known"
        )
    found = float(scales.reshape(-1)[0])
    if not found > 0:
        raise node.fail(f"its scale is {found}", why="it must be positive")
    if str(zeros.dtype) not in (*_QUANTISED, "int32"):
        raise node.fail(f"its zero point is {zeros.dtype}", why="8 or 16 bits are known")
    return Meaning(str(zeros.dtype), found, int(zeros.reshape(-1)[0]))


def has_several_scales(net: Draft, node: Node) -> bool:
    """Return whether a QuantizeLinear or DequantizeLinear has a scale for each channel."""
    return np.asarray(net.known(node, 1, "scale")).size > 1


def parameters(
    net: Draft, node: Node, scale: int, zero: int, dtype: str = "uint8"
) -> tuple[Array, Array]:
    """Return a node's scales (float32) and zero points, of equal shape.

    Raises:
        EdgebedError: they are not known, not finite, or their shapes differ.
    """
    scales = np.asarray(net.known(node, scale, "scale"))
    if scales.dtype.kind != "f" or not np.isfinite(scales).all() or (scales < 0).any():
        raise node.fail("its scale is not a positive finite real number")
    if not node.has(zero):
        return scales, np.zeros(scales.shape, dtype)
    zeros = np.asarray(net.known(node, zero, "zero point"))
    if zeros.dtype.kind not in "iu":
        raise node.fail(f"its zero point is {zeros.dtype}", why="an integer is needed")
    if zeros.size == 1 and scales.size > 1:
        zeros = np.broadcast_to(zeros.reshape(()), scales.shape)
    if zeros.size != scales.size:
        raise node.fail(f"has {scales.size} scales and {zeros.size} zero points")
    return scales, zeros.reshape(scales.shape)


def quantises(node: Node) -> bool:
    """Return whether a node is a QuantizeLinear of any domain."""
    return node.kind == "QuantizeLinear"


def quantised_meaning(net: Draft, node: Node) -> Meaning:
    """Return what a QuantizeLinear node's result means; see `meaning_of`."""
    return meaning_of(net, node, 1, 2, output_dtype(node))


def output_dtype(node: Node) -> str:
    """Return the type of a QuantizeLinear without a zero point: uint8, or what it says."""
    from onnx import TensorProto

    number = node.integer("output_dtype", TensorProto.UINT8) or TensorProto.UINT8
    return str(TensorProto.DataType.Name(number)).lower()


def tail_of(net: Draft, node: Node, values: Sequence[Value], *, bias: bool = False) -> Tail | None:
    """Return what follows a node whose inputs `values` are all integers; None where it stays real.

    Args:
        net: so far.
        node: the op.
        values: its activations.
        bias: take in an Add of a constant.
    """
    if any(net.quantised(value) is None for value in values):
        return None
    low, high, name = -math.inf, math.inf, node.output
    taken: list[str] = []
    added: Value | None = None
    while name not in net.graph.ends and len(taken) <= LONGEST_TAIL:
        readers = net.graph.readers.get(name, ())
        if readers and all(quantises(one) and one.inputs[0] == name for one in readers):
            return _ending(net, readers, taken, (low, high), added)
        reader = net.graph.only_reader(name)
        if reader is None:
            return None
        if reader.kind in MOVES and not reader.domain:
            return _before_moves(net, reader, name, taken, (low, high), added)
        if bias and added is None and not taken and reader.kind == "Add":
            added = _other_constant(net, reader, name)
            if added is None:
                return None
        else:
            limits = _clamp(net, reader, name)
            if limits is None:
                return None
            low, high = max(low, limits[0]), min(high, limits[1])
        taken.append(reader.output)
        name = reader.output
    return None


def _before_moves(
    net: Draft,
    node: Node,
    name: str,
    taken: list[str],
    clamp: tuple[float, float],
    bias: Value | None,
) -> Tail | None:
    """Return the tail of a tensor that is only moved before it is quantised."""
    moves: list[str] = []
    reader: Node | None = node
    while reader is not None and reader.kind in MOVES and len(moves) < LONGEST_TAIL:
        moves.append(reader.kind)
        if reader.output in net.graph.ends or reader.domain:
            return None
        readers = net.graph.readers.get(reader.output, ())
        if readers and all(quantises(one) and one.inputs[0] == reader.output for one in readers):
            found = _ending(net, readers, taken, clamp, bias)
            if found is None:
                return None
            return replace(found, outputs=(name,), taken=tuple(taken), moves=tuple(moves))
        reader = net.graph.only_reader(reader.output)
    return None


def as_one_integer_op(tail: Tail, values: Sequence[Value]) -> Affine | None:
    """Return the rule of an op that ONNX Runtime replaces by one on integers; None: it does not.

    It does where operands and result have the same 8-bit type in the file and no activation
    stands between; one that clamps at an end of the type has been dropped by then. Only uint8 is
    quantised before moves.
    """
    if tail.moves and (tail.meaning.dtype != "uint8" or not set(tail.moves) <= set(PASSED_BY)):
        return None
    dtypes = {str(v.array.dtype) if v.array is not None else v.integers for v in values}
    limits = np.iinfo(tail.rule.dtype)
    whole = (tail.rule.low, tail.rule.high) == (limits.min, limits.max)
    if not whole or len(tail.outputs) != 1 or dtypes != {tail.meaning.dtype}:
        return None
    if tail.meaning.dtype not in ("int8", "uint8"):
        return None
    return replace(tail.rule, zero_first=tail.meaning.dtype)  # type: ignore[arg-type]


def _ending(
    net: Draft,
    readers: Sequence[Node],
    taken: list[str],
    clamp: tuple[float, float],
    bias: Value | None,
) -> Tail | None:
    if any(has_several_scales(net, one) for one in readers):
        return None
    meanings = {quantised_meaning(net, one) for one in readers}
    if len(meanings) != 1 or clamp[0] > clamp[1]:
        return None
    (meaning,) = meanings
    outputs = tuple(one.output for one in readers)
    return Tail(meaning.rule(*clamp), meaning, outputs, (*taken, *outputs), bias)


def _clamp(net: Draft, node: Node, name: str) -> tuple[float, float] | None:
    if node.inputs[0] != name or node.domain:
        return None
    if node.kind == "Relu":
        return 0.0, math.inf
    return clip_limits(net, node) if node.kind == "Clip" else None


def clip_limits(net: Draft, node: Node) -> tuple[float, float]:
    """Return the bounds of a Clip, from its attributes (before opset 11) or its inputs."""
    if node.version < 11:
        return node.real("min", -math.inf), node.real("max", math.inf)
    bounds = []
    for index, default in ((1, -math.inf), (2, math.inf)):
        if not node.has(index):
            bounds.append(default)
            continue
        array = net.known(node, index, "bound")
        if array.size != 1:
            raise node.fail(f"a bound has {array.size} values", why="one is needed")
        bounds.append(float(array.reshape(-1)[0]))
    return bounds[0], bounds[1]


def _other_constant(net: Draft, node: Node, name: str) -> Value | None:
    others = [one for one in node.inputs if one != name]
    if len(others) != 1:
        return None
    value = net.values.get(others[0])
    return value if value is not None and value.array is not None else None


def end(net: Draft, node: Node, tensor: str, shape: Sequence[int], tail: Tail) -> None:
    """Define the quantised results of an op, and mark the nodes between as done."""
    dtype = "float32" if tail.moves else tail.meaning.dtype
    net.define(node, tensor, shape, dtype, output=tail.outputs[0])
    for other in tail.outputs[1:]:
        net.alias(other, net.values[tail.outputs[0]])
    net.done.update(tail.taken)


@dataclass(frozen=True)
class IntegerWeights:
    """A constant's integers in the program's form.

    Attributes:
        values: int8.
        zero_point: one for all.
        scales: float32, one, or one an output channel.
    """

    values: Array
    zero_point: int
    scales: Array


def integer_weights(value: Value, axis: int) -> IntegerWeights | None:
    """Return weights as int8; None where they are reals, or have scales in another way.

    Args:
        value: a constant.
        axis: of the output channels.
    """
    steps, array = value.steps, value.array
    if steps is None or array is None or array.dtype not in (np.int8, np.uint8) or steps.block:
        return None
    zeros = np.unique(steps.zero_point)
    if zeros.size != 1 or (steps.scale.size > 1 and steps.axis != axis):
        return None
    offset = OFFSET.get(str(array.dtype), 0)
    values = (array.astype(np.int16) - offset).astype(np.int8)
    return IntegerWeights(values, int(zeros[0]) - offset, steps.scale.reshape(-1))


def steps_of(node: Node, array: Array, scales: Array, zeros: Array) -> Steps:
    """Return what a DequantizeLinear says about a constant.

    Raises:
        EdgebedError: the number of scales does not fit the axis, or the types differ.
    """
    block = node.integer("block_size", 0)
    axis = node.axis(node.integer("axis", 1), array.ndim) if scales.size > 1 else 0
    if node.has(2) and zeros.dtype != array.dtype:
        raise node.fail(f"zero points of {zeros.dtype} for {array.dtype}", why="equal are needed")
    if block < 0 or (block and scales.ndim != array.ndim):
        raise node.fail(f"blocks of {block} with scales of shape {scales.shape}")
    if block and scales.size > 1:
        needed = [-(-n // block) if i == axis else n for i, n in enumerate(array.shape)]
        if list(scales.shape) != needed:
            raise node.fail(f"scales of shape {scales.shape}", why=f"{needed} are needed")
    elif scales.size > 1 and scales.shape != (array.shape[axis],):
        raise node.fail(
            f"has {scales.size} scales on axis {axis}", why=f"{array.shape[axis]} are needed"
        )
    return Steps(scales, zeros, axis, block if scales.size > 1 else 0)
