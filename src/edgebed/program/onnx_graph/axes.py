"""Where a file's axes lie in a program's tensor, whose batch axis is left away."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgebed.program.onnx_graph.draft import Draft
from edgebed.program.onnx_graph.node import Node
from edgebed.program.onnx_graph.values import Value, stripped
from edgebed.program.ops.reshape import Reshape


@dataclass(frozen=True)
class View:
    """A tensor and the number of leading axes of the file that it has not.

    Attributes:
        tensor: in the program.
        shift: 1 where the batch axis is left away, else 0.
    """

    tensor: str
    shift: int

    def axis(self, axis: int) -> int:
        """Return the program's axis for a file's."""
        return axis - self.shift

    def per_axis(self, values: Sequence[int]) -> tuple[int, ...]:
        """Return the entries, one an axis of the file, that the program's axes need."""
        return tuple(values[self.shift :])


def view(net: Draft, node: Node, value: Value, axes: Iterable[int], tensor: str) -> View:
    """Return a value in a form in which all of `axes` exist, with its batch axis if it must be.

    Args:
        net: so far.
        node: the reader.
        value: of the file.
        axes: of the file, not negative, that an op touches.
        tensor: that holds the value.
    """
    without = value.shape[:1] == (1,)
    if not without:
        return View(tensor, 0)
    if 0 not in axes:
        return View(tensor, 1)
    return View(net.emit(node, Reshape, [tensor], shape=value.shape), 0)


def reshaped(
    net: Draft, node: Node, value: Value, shape: Sequence[int], name: str | None = None
) -> None:
    """Define an output that has a value's numbers in another shape of the file."""
    tensor = net.carrier(value)
    if net.types[tensor].shape == stripped(shape):
        output = node.output if name is None else name
        integers = net.integers_passed(node)
        net.put(Value(output, tuple(shape), value.dtype, tensor=tensor, integers=integers))
        return
    tensor = net.emit(node, Reshape, [tensor], shape=stripped(shape))
    net.define(node, tensor, shape, value.dtype, name)
