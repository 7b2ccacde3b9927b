"""A program while it is written, operator after operator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgebed.errors import EdgebedError
from edgebed.program.ops import KINDS
from edgebed.program.tflite.file import File, Tensor
from edgebed.program.tflite.quantisation import check, program_type, program_values
from edgebed.program.types import Constant, Op, TensorType

MAX_CONSTANT_BYTES: Final = 1 << 29
"""So many bytes the constants of one program may have, counted as often as they are used."""

MAX_ACTIVATION_BYTES: Final = 1 << 30

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Value:
    """A tensor of the file inside the program.

    Attributes:
        tensor: its name in the program; there it has no leading axis of size 1.
        shape: as the file has it, batch axis included.
    """

    tensor: str
    shape: tuple[int, ...]


def stripped(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a file's shape as the program has it: without a leading axis of size 1."""
    return shape[1:] if shape and shape[0] == 1 else shape


class Network:
    """Ops, constants and types so far, and where each tensor of the file is found among them."""

    def __init__(self, file: File) -> None:
        """Begin with an empty program for `file`."""
        self.file = file
        self.ops: list[Op] = []
        self.types: dict[str, TensorType] = {}
        self.constants: dict[str, Constant] = {}
        self.values: dict[int, Value] = {}
        self.known: dict[int, Array] = {}
        self.notes: dict[str, str] = {}
        self.bound: set[str] = set()
        self.constant_ops: dict[str, Op] = {}
        self.names = _unique_names(file.tensors)
        self._file_names = frozenset(self.names)
        self._op_names: set[str] = set()
        self._constant_bytes = 0

    def label(self, index: int) -> str:
        """Return a tensor as messages name it."""
        return f"{self.file.path.name}: tensor {index} {self.file.tensors[index].name[:120]!r}"

    def type_of(self, index: int) -> TensorType:
        """Return type and meaning of a tensor of the file, with its declared shape."""
        tensor = self.file.tensors[index]
        check(tensor, self.label(index))
        return program_type(tensor, self.label(index))

    def constant_of(self, index: int) -> Array | None:
        """Return the values of a constant tensor as the program has them, None for others."""
        if index not in self.known and self.file.tensors[index].data is not None:
            check(self.file.tensors[index], self.label(index))
            values = program_values(self.file.tensors[index], self.label(index))
            self.charge(values.nbytes, self.label(index))
            self.known[index] = values
        return self.known.get(index)

    def op_name(self, wanted: str) -> str:
        """Return a name that no op has yet."""
        name, count = wanted, 2
        while name in self._op_names:
            name, count = f"{wanted}_{count}", count + 1
        self._op_names.add(name)
        return name

    def free_name(self, wanted: str) -> str:
        """Return a tensor name that neither the program nor the file has."""
        while wanted in self.types or wanted in self._file_names:
            wanted += "_"
        return wanted

    def emit(
        self, kind: str, name: str, inputs: Sequence[str], output: str = "", **attributes: Any
    ) -> str:
        """Append an op and return the name of its output, which is its own if none is given."""
        output = output or self.free_name(name)
        op = KINDS[kind](name=name, inputs=tuple(inputs), output=output, **attributes)
        result = op.infer([self.types[tensor] for tensor in inputs], self.constants)
        if result.nbytes > MAX_ACTIVATION_BYTES:
            raise op.fail(
                f"its output of {result.shape} has {result.nbytes} bytes",
                why=f"{MAX_ACTIVATION_BYTES} are the limit",
                try_="a smaller input size",
            )
        self.types[op.output] = result
        self.ops.append(op)
        if kind == "constant":
            self.constant_ops[op.output] = op
        return op.output

    def bind(self, index: int, value: Value) -> Value:
        """Record where a tensor of the file is in the program."""
        self.values[index] = value
        self.bound.add(value.tensor)
        return value

    def rename(self, old: str, new: str) -> None:
        """Give the output of the op that was appended last another name."""
        assert self.ops[-1].output == old and new not in self.types
        self.ops[-1] = replace(self.ops[-1], output=new)
        self.types[new] = self.types.pop(old)

    def store(self, name: str, constant: Constant) -> str:
        """Add a constant and return its name."""
        self.charge(constant.values.nbytes, self.file.path.name)
        self.constants[name] = constant
        return name

    def charge(self, count: int, where: str) -> None:
        """Count bytes of constants and stop where they exceed what a program may have."""
        self._constant_bytes += count
        if self._constant_bytes > MAX_CONSTANT_BYTES:
            raise EdgebedError(
                "the constants of the network are too large",
                where=where,
                why=f"{MAX_CONSTANT_BYTES} bytes are the limit",
            )

    def evaluate(self, first: int, outputs: Sequence[str]) -> Mapping[str, Array]:
        """Compute tensors that depend on constants only and remove the ops from `first` on."""
        ops = self.ops[first:]
        known = {
            op.output: op.run([], self.constants, []) for op in self._constants_read(ops, outputs)
        }
        for op in ops:
            types = [self.types[name] for name in op.inputs]
            known[op.output] = op.run([known[name] for name in op.inputs], self.constants, types)
        del self.ops[first:]
        for op in ops:
            del self.types[op.output]
            self.bound.discard(op.output)
            self.constant_ops.pop(op.output, None)
        return {name: np.ascontiguousarray(known[name][0]) for name in outputs}

    def _constants_read(self, ops: Sequence[Op], outputs: Sequence[str]) -> list[Op]:
        """Return the `constant` ops before `ops` whose values they or the outputs need."""
        read = {name for op in ops for name in op.inputs} | set(outputs)
        written = {op.output for op in ops}
        return [self.constant_ops[name] for name in read - written]


def _unique_names(tensors: Sequence[Tensor]) -> tuple[str, ...]:
    """Return a name for each tensor: the file's own where it has one that is not taken."""
    taken: set[str] = set()
    names: list[str] = []
    for tensor in tensors:
        name = tensor.name or f"tensor_{tensor.index}"
        if name in taken:
            name = f"{name}#{tensor.index}"
        while name in taken:
            name += "_"
        taken.add(name)
        names.append(name)
    return tuple(names)
