"""The program while it grows, and the ops of each layer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from edgebed.program.types import Constant, Op, TensorType
from edgebed.targets.max78000.ai8x.network import Layer
from edgebed.targets.max78000.ai8x.settings import Shape

INPUT_TENSOR = "input"


@dataclass
class Tape:
    """The program so far; `groups` holds the op names of each layer, `offsets` where it writes."""

    types: dict[str, TensorType]
    ops: list[Op] = field(default_factory=list)
    constants: dict[str, Constant] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=dict)
    offsets: dict[str, int] = field(default_factory=dict)

    def add(self, layer: Layer, op: Op) -> str:
        """Append an op and return its output."""
        kinds = [self.types[name] for name in op.inputs]
        self.types[op.output] = op.infer(kinds, self.constants)
        self.ops.append(op)
        self.groups.setdefault(layer.name, []).append(op.name)
        return op.output

    def shape(self, tensor: str) -> Shape:
        """Return channels, rows and columns of a tensor."""
        return self.types[tensor].chw

    def rename_last(self, layer: Layer) -> None:
        """Give the last op and its result the layer's name."""
        old = self.ops.pop()
        fields = {**old.__dict__, "name": layer.name, "output": layer.name}
        self.types[layer.name] = self.types.pop(old.output)
        self.ops.append(type(old)(**fields))
        self.groups[layer.name][-1] = layer.name


def make_op(
    kind: type[Op], layer: Layer, suffix: str, inputs: tuple[str, ...], **fields: Any
) -> Any:
    """Return an op named after its layer and what it does there."""
    name = f"{layer.name}.{suffix}"
    return kind(name=name, inputs=inputs, output=name, **fields)
