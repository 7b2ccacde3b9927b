"""The program under construction: what each ONNX tensor has become so far.

Shapes of values are the file's. A program's tensor has no batch axis, so a leading axis of size 1
is left away (`stripped`); a tensor whose leading axis is not 1 keeps every axis.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edgebed.errors import EdgebedError
from edgebed.program.onnx_graph.graph import Graph
from edgebed.program.onnx_graph.node import Node
from edgebed.program.onnx_graph.values import OFFSET, Steps, Value, dequantised, stripped
from edgebed.program.ops.constant import Constant as ConstantOp
from edgebed.program.ops.dequantize import Dequantize
from edgebed.program.ops.reshape import Reshape
from edgebed.program.types import Array, Constant, Op, TensorType

LARGEST_MADE_BYTES = 1 << 29
"""Bytes of all constants together that the importer computes or copies."""

LARGEST_TENSOR = 1 << 28
"""Values of one tensor at most; a damaged file can declare any number."""


PASSED_BY = ("MaxPool", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze")
"""Operators that ONNX Runtime applies to uint8 before a DequantizeLinear where the file has them
behind it. Of int8 it computes what follows in reals."""


class Draft:
    """Collects ops and constants, and knows the value of every ONNX tensor so far."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.values: dict[str, Value] = {}
        self.types: dict[str, TensorType] = {}
        self.ops: list[Op] = []
        self.constants: dict[str, Constant] = {}
        self.inputs: dict[str, TensorType] = {}
        self.done: set[str] = set()
        """First outputs of nodes that an earlier node has taken in."""
        self._names: set[str] = set()
        self._writers: dict[str, int] = {}
        self._numbers: dict[str, int] = {}
        self._passing: set[str] = set()
        self._made: dict[tuple[str, str], str] = {}
        self._values_of: Counter[str | None] = Counter()
        self._spent = 0
        self._given = {id(_owner(array)) for array in graph.constants.values()}

    # What nodes read

    def value(self, node: Node, index: int) -> Value:
        """Return a node's input.

        Raises:
            EdgebedError: it is absent, or an output that the importer does not compute.
        """
        if not node.has(index):
            raise node.fail(f"input {index} is missing")
        name = node.inputs[index]
        if name not in self.values:
            raise node.fail(f"reads {name!r}, an output that is not supported")
        return self.values[name]

    def optional(self, node: Node, index: int) -> Value | None:
        """Return a node's input, or None where it is absent."""
        return self.value(node, index) if node.has(index) else None

    def known(self, node: Node, index: int, what: str) -> Array:
        """Return an input that must not depend on the network's input.

        Raises:
            EdgebedError: it does.
        """
        array = self.array(self.value(node, index))
        if array is None:
            raise node.fail(
                f"its {what} ({node.inputs[index]!r}) is computed from the network's input",
                why="it must be known when the network is imported",
                try_="export with constant shapes, or simplify the file first",
            )
        return array

    def array(self, value: Value) -> Array | None:
        """Return a constant's values, in reals where it lies behind a DequantizeLinear."""
        if value.array is None or value.steps is None:
            return value.array
        return dequantised(value.array, value.steps)

    def kind_of(self, value: Value) -> TensorType | None:
        """Return the program's type of a value that depends on the input."""
        return None if value.tensor is None else self.types[value.tensor]

    def carrier(self, value: Value) -> str:
        """Return the tensor that holds a value, whatever stands for it; constants become one."""
        if value.tensor is not None:
            return value.tensor
        return self.quantised(value) or self._constant_tensor(value)

    def real(self, value: Value) -> str:
        """Return a float32 tensor of a value.

        Raises:
            EdgebedError: the file says that it holds integers.
        """
        if value.dtype != "float32":
            raise EdgebedError(
                f"holds {value.dtype}",
                where=f"{self.graph.where}, tensor {value.name!r}",
                why="real numbers are needed",
                try_="a Cast to float before it",
            )
        if value.tensor is None:
            return self._constant_tensor(value)
        if self.types[value.tensor].is_float:
            return value.tensor
        return self._dequantised(value.tensor, value.name)

    def quantised(self, value: Value) -> str | None:
        """Return the integer tensor that stands for a value; None where there is none."""
        if value.tensor is not None:
            kind = self.types[value.tensor]
            return value.tensor if value.dtype == "float32" and not kind.is_float else None
        if value.steps is None or value.array is None or value.steps.scale.size != 1:
            return None
        return self._integer_constant(value.array, value.steps, value)

    def _dequantised(self, tensor: str, name: str) -> str:
        key = (tensor, "real")
        if key not in self._made:
            taken = name in self.types or name in self.inputs
            output = self.unused(f"{name}/real", self.types) if taken else name
            self._made[key] = self.append(Dequantize, output, [tensor], output, {})
        return self._made[key]

    def _constant_tensor(self, value: Value) -> str:
        array = self.array(value)
        assert array is not None
        return self._tensor_of(
            array, value, Constant(_contiguous(array, value.shape), _bits(array))
        )

    def _integer_constant(self, array: Array, steps: Steps, value: Value) -> str | None:
        if array.dtype not in (np.int8, np.uint8):
            return None
        offset = OFFSET.get(str(array.dtype), 0)
        shifted = (array.astype(np.int16) - offset).astype(np.int8)
        zero = int(steps.zero_point.reshape(-1)[0]) - offset
        scale = float(steps.scale.reshape(-1)[0])
        return self._tensor_of(
            array, value, Constant(_contiguous(shifted, value.shape), 8, scale, zero)
        )

    def _tensor_of(self, array: Array, value: Value, constant: Constant) -> str:
        key = (value.name, f"constant {constant.values.dtype}")
        if key not in self._made:
            _check_finite(array, value.name, self.graph.where)
            name = self.unused(value.name or "constant", self.constants)
            self.constants[name] = constant
            output = self.unused(name, self.types)
            self._made[key] = self.append(ConstantOp, output, [], output, {"value": name})
        return self._made[key]

    # What nodes write

    def constant(self, node: Node, suffix: str, values: Array, **meaning: Any) -> str:
        """Add a constant of a layer and return its name, "<layer>.<suffix>".

        Args:
            node: the layer.
            suffix: weight, bias, multiplier, ...
            values: in the program's layout.
            **meaning: bits, scale, zero_point, scales of `Constant`.

        Raises:
            EdgebedError: a value is NaN or infinite.
        """
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise node.fail(f"its {suffix} holds NaN or infinity", try_="train or export it again")
        meaning.setdefault("bits", _bits(values))
        name = self.unused(f"{node.name}.{suffix}", self.constants)
        laid_out = np.asarray(values, order="C")
        if id(_owner(laid_out)) not in self._given:
            self.spend(node, laid_out)
        self.constants[name] = Constant(laid_out, **meaning)
        return name

    def emit(self, node: Node, kind: type[Op], inputs: Sequence[str], **attributes: Any) -> str:
        """Append an op of a layer and return its output, which `define` renames."""
        name = self.unused(f"{node.name}/{kind.kind}", self._names)
        output = self.unused(f"{node.output}/{kind.kind}", self.types)
        self._passing.add(output)
        try:
            return self.append(kind, name, inputs, output, attributes)
        except EdgebedError as error:
            raise node.fail(error.what, why=error.why, try_=error.try_) from error

    def reals(self, node: Node, values: Any) -> str:
        """Return a float32 tensor of a layer's own constant, such as an epsilon."""
        array = np.asarray(values, np.float32)
        name = self.constant(node, "constant", array)
        return self.emit(node, ConstantOp, [], value=name)

    def define(
        self,
        node: Node,
        tensor: str,
        shape: Sequence[int],
        dtype: str = "float32",
        output: str | None = None,
    ) -> None:
        """Say which tensor an ONNX tensor has become.

        Args:
            node: that wrote it; its name becomes the last op's.
            tensor: in the program.
            shape: in the file.
            dtype: in the file.
            output: the ONNX tensor; None for the node's first output.
        """
        name = node.output if output is None else output
        if self.types[tensor].shape != stripped(shape):
            tensor = self.emit(node, Reshape, [tensor], shape=stripped(shape))
        tensor = self._named(tensor, node.name, name)
        integers = self.integers_passed(node)
        self.put(Value(name, tuple(shape), dtype, tensor=tensor, integers=integers))

    def integers_passed(self, node: Node) -> str:
        """Return the type of the integers that a move between DequantizeLinear and an op keeps."""
        known = self.values.get(node.inputs[0]) if node.kind in PASSED_BY else None
        return "uint8" if known is not None and known.integers == "uint8" else ""

    def put(self, value: Value) -> None:
        """Say what an ONNX tensor has become."""
        self.values[value.name] = value
        self._values_of[value.tensor] += 1

    def take(self, name: str) -> Value:
        """Return a value that was put for the moment, and forget it."""
        value = self.values.pop(name)
        self._values_of[value.tensor] -= 1
        return value

    def spend(self, node: Node, array: Array) -> None:
        """Count the bytes of a constant that the importer made.

        Raises:
            EdgebedError: all of them together are more than `LARGEST_MADE_BYTES`.
        """
        self._spent += array.nbytes
        if self._spent > LARGEST_MADE_BYTES:
            raise node.fail(
                f"its constants and those before it take more than {LARGEST_MADE_BYTES} bytes",
                why="constants that are computed, or used in another form, are kept",
            )

    def define_constant(self, name: str, array: Array, steps: Steps | None = None) -> None:
        """Say that an ONNX tensor is known."""
        dtype = "float32" if steps is not None or array.dtype.kind == "f" else str(array.dtype)
        self.put(Value(name, array.shape, dtype, array=array, steps=steps))

    def alias(self, name: str, value: Value) -> None:
        """Say that an ONNX tensor equals another."""
        self.put(replace(value, name=name))

    def append(
        self,
        kind: type[Op],
        name: str,
        inputs: Sequence[str],
        output: str,
        attributes: Mapping[str, Any],
    ) -> str:
        """Append an op under a name that is made unique; return its output.

        Raises:
            EdgebedError: the inputs do not fit it, or the output is far too large.
        """
        name = self.unused(name, self._names)
        op = kind(name=name, inputs=tuple(inputs), output=output, **attributes)
        found = op.infer([self.types[one] for one in inputs], self.constants)
        if found.size > LARGEST_TENSOR or min(found.shape, default=1) < 1:
            raise op.fail(f"its output would be {found.shape}", why="1 to 2**28 values fit")
        self._names.add(name)
        self.types[output] = found
        self._writers[output] = len(self.ops)
        self.ops.append(op)
        return output

    def _named(self, tensor: str, layer: str, output: str) -> str:
        """Give the last op its layer's and its output's name, if it wrote the tensor for it."""
        if tensor not in self._passing or not self.ops or self.ops[-1].output != tensor:
            return tensor
        self._passing.discard(tensor)
        last = self.ops[-1]
        if layer not in self._names:
            self._names.discard(last.name)
            self._names.add(layer)
            last = replace(last, name=layer)
        if output in self.types:
            self.ops[-1] = last
            return tensor
        self._rename(last, output)
        return output

    def _rename(self, op: Op, output: str) -> None:
        index = self._writers.pop(op.output)
        self._writers[output] = index
        self.ops[index] = replace(op, output=output)
        self.types[output] = self.types.pop(op.output)

    def writer(self, tensor: str) -> Op | None:
        """Return the op that writes a tensor; None for an input."""
        index = self._writers.get(tensor)
        return None if index is None else self.ops[index]

    def rewrite(self, old: Op, new: Op) -> None:
        """Replace an op by one of the same output type."""
        self.ops[self._writers[old.output]] = new

    def sole(self, value: Value, reader: Node) -> bool:
        """Return whether nothing but one node reads a value, under any name."""
        if self.graph.only_reader(value.name) is not reader:
            return False
        return self._values_of[value.tensor] == 1

    def unused(self, name: str, taken: Container[str]) -> str:
        """Return the name, with a number where it is taken."""
        shown = name
        while shown in taken:
            self._numbers[name] = self._numbers.get(name, 1) + 1
            shown = f"{name}/{self._numbers[name]}"
        return shown


def _owner(array: Array) -> Array:
    """Return the array whose memory an array shows."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _contiguous(array: Array, shape: Sequence[int]) -> Array:
    return np.array(array.reshape(stripped(shape)), order="C")


def _bits(array: Array) -> int:
    return 8 * array.dtype.itemsize


def _check_finite(array: Array, name: str, where: str) -> None:
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise EdgebedError("holds NaN", where=f"{where}, tensor {name!r}", try_="export it again")
