"""The program: exact integer arithmetic over named tensors, written down once.

A program is immutable. Tensors have no batch axis in their type; the interpreter carries one.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from edgebed.errors import EdgebedError
from edgebed.program.arithmetic import weight_range
from edgebed.program.contract import Contract

DType = Literal["int8", "uint8", "int16", "int32", "int64", "float32", "bool"]
INTEGERS: tuple[DType, ...] = ("int8", "uint8", "int16", "int32", "int64")
QUANTISED: tuple[DType, ...] = ("int8", "uint8", "int16")
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class TensorType:
    """Shape, type and meaning of a tensor: real = scale * (q - zero_point).

    Attributes:
        shape: without a batch axis, of any rank; maps are channels, height, width.
        dtype: `int8` for activations, `int32` for raw accumulators, `float32` for real numbers.
        scale: real value of one step; 1.0 for float32.
        zero_point: the integer that means 0.0.
    """

    shape: tuple[int, ...]
    dtype: DType = "int8"
    scale: float = 1 / 128
    zero_point: int = 0

    def __str__(self) -> str:
        zero = f" zero {self.zero_point}" if self.zero_point else ""
        return f"{self.dtype}[{', '.join(map(str, self.shape))}] scale {float(self.scale)!r}{zero}"

    @property
    def is_float(self) -> bool:
        """True for real numbers."""
        return self.dtype == "float32"

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return self.size * int(np.dtype(self.dtype).itemsize)

    @property
    def chw(self) -> tuple[int, int, int]:
        """Channels, height, width of a map.

        Raises:
            EdgebedError: it is not a map.
        """
        if len(self.shape) != 3:
            raise EdgebedError(f"a tensor of shape {self.shape} is no map of C x H x W")
        channels, height, width = self.shape
        return channels, height, width

    def with_shape(self, shape: tuple[int, ...]) -> TensorType:
        """Return the same type and meaning with another shape."""
        return replace(self, shape=shape)


@dataclass(frozen=True, eq=False)
class Constant:
    """Weights, biases, tables: values with the bits each one needs, and what a step means.

    Attributes:
        values: int8 for weights of 1, 2, 4 or 8 bits, int32 for biases in accumulator units,
            float32 for networks that are not quantised.
        bits: width of each value, two's complement; 32 for float32.
        scale: real value of one step.
        zero_point: the integer that means 0.0.
        scales: real value of one step per output channel, where they differ.
    """

    values: Array
    bits: int
    scale: float = 1.0
    zero_point: int = 0
    scales: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.values.dtype.kind == "f":
            self.values.flags.writeable = False
            return
        low, high = weight_range(self.bits)
        if self.values.size and (self.values.min() < low or self.values.max() > high):
            raise EdgebedError(
                f"a constant holds {self.values.min()}..{self.values.max()}",
                why=f"{self.bits} bits hold {low}..{high}",
            )
        self.values.flags.writeable = False

    @cached_property
    def digest(self) -> str:
        """SHA-256 of shape, type and values."""
        head = f"{self.values.dtype}{self.values.shape}".encode()
        return hashlib.sha256(head + np.ascontiguousarray(self.values).tobytes()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Constant) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[object, ...]:
        return (self.bits, self.scale, self.zero_point, self.scales, self.digest)


@dataclass(frozen=True, kw_only=True)
class Op:
    """One step of a program. Each kind lives in its own file of `edgebed.program.ops`.

    Attributes:
        name: unique; errors, traces and reports use it.
        inputs: names of the tensors it reads.
        output: name of the tensor it writes.
    """

    kind: ClassVar[str] = ""
    takes_zero_first: ClassVar[bool] = False
    """Whether a rule may add its zero point before it rounds (`Affine.zero_first`)."""
    name: str
    inputs: tuple[str, ...]
    output: str

    @property
    def constants(self) -> tuple[str, ...]:
        """Names of the constants it reads."""
        return ()

    def infer(self, types: Sequence[TensorType], constants: Mapping[str, Constant]) -> TensorType:
        """Return the output's type.

        Raises:
            EdgebedError: the inputs do not fit this op.
        """
        raise NotImplementedError

    def run(
        self,
        inputs: Sequence[Array],
        constants: Mapping[str, Constant],
        types: Sequence[TensorType],
    ) -> Array:
        """Return the output for a batch.

        Args:
            inputs: N x the shape of their types.
            constants: of the program.
            types: of the inputs; their scales and zero points give the integers a meaning.
        """
        raise NotImplementedError

    def macs(
        self,
        out: TensorType,
        constants: Mapping[str, Constant],
        inputs: Sequence[TensorType] = (),
    ) -> int:
        """Return the multiply-accumulates for one sample.

        Args:
            out: the output's type.
            constants: of the program.
            inputs: types of the inputs; products of two tensors count nothing without them.
        """
        return 0

    def fail(self, what: str, *, why: str | None = None, try_: str | None = None) -> EdgebedError:
        """Return an error that names this op."""
        return EdgebedError(what, where=f"layer {self.name} ({self.kind})", why=why, try_=try_)


@dataclass(frozen=True)
class Program:
    """Inputs, ordered ops, outputs, constants and the contract.

    Attributes:
        name: of the network.
        inputs: type by tensor name.
        ops: in an order in which every tensor is written before it is read.
        outputs: tensor names.
        constants: by name.
        contract: what happens before and after the network, for detectors.
        notes: free text by key (origin, training run, licence); never changes a result.
        file_shapes: shape of an input or output in the file it came from, batch axis included,
            where that is not 1 x its own shape.
    """

    name: str
    inputs: Mapping[str, TensorType]
    ops: tuple[Op, ...]
    outputs: tuple[str, ...]
    constants: Mapping[str, Constant] = field(default_factory=dict)
    contract: Contract | None = None
    notes: Mapping[str, str] = field(default_factory=dict)
    file_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_names(self)
        self.types  # noqa: B018 - infers every type once, so that a program that exists is sound

    @cached_property
    def types(self) -> Mapping[str, TensorType]:
        """Type of every tensor, inputs first, then in the order of the ops."""
        known = dict(self.inputs)
        for op in self.ops:
            _check_rule(op)
            known[op.output] = op.infer([known[name] for name in op.inputs], self.constants)
        return known

    @property
    def input_type(self) -> TensorType:
        """Type of the only input.

        Raises:
            EdgebedError: there are several.
        """
        if len(self.inputs) != 1:
            raise EdgebedError(f"program {self.name!r} has {len(self.inputs)} inputs, not one")
        return next(iter(self.inputs.values()))

    def file_shape(self, tensor: str) -> tuple[int, ...]:
        """Return the shape of an input or output in the imported file, batch axis included."""
        return self.file_shapes.get(tensor, (1, *self.types[tensor].shape))

    def macs(self) -> Mapping[str, int]:
        """Return the multiply-accumulates of each op by its name."""
        types = self.types
        return {
            op.name: op.macs(types[op.output], self.constants, [types[n] for n in op.inputs])
            for op in self.ops
        }

    def readers(self, tensor: str) -> tuple[Op, ...]:
        """Return the ops that read a tensor."""
        return tuple(op for op in self.ops if tensor in op.inputs)

    def writer(self, tensor: str) -> Op | None:
        """Return the op that writes a tensor; None for an input."""
        return next((op for op in self.ops if op.output == tensor), None)

    def with_(self, **changes: Any) -> Program:
        """Return a copy with some fields replaced; unused constants are dropped."""
        program = replace(self, **changes)
        used = set(_used_constants(program.ops))
        if used == set(program.constants):
            return program
        kept = {name: c for name, c in program.constants.items() if name in used}
        return replace(program, constants=kept)


def _used_constants(ops: Sequence[Op]) -> Iterator[str]:
    for op in ops:
        yield from op.constants


def _check_rule(op: Op) -> None:
    if getattr(getattr(op, "requantize", None), "zero_first", "") and not op.takes_zero_first:
        raise op.fail("its rule has zero_first", why="only add, multiply and avg_pool know it")


def _check_names(program: Program) -> None:
    known = set(program.inputs)
    names: set[str] = set()
    for op in program.ops:
        if op.name in names:
            raise op.fail("two layers have this name")
        names.add(op.name)
        for tensor in op.inputs:
            if tensor not in known:
                raise op.fail(f"reads tensor {tensor!r}, which nothing before it writes")
        for constant in op.constants:
            if constant not in program.constants:
                raise op.fail(f"constant {constant!r} is missing")
        if op.output in known:
            raise op.fail(f"tensor {op.output!r} is written twice")
        known.add(op.output)
    for tensor in program.outputs:
        if tensor not in known:
            raise EdgebedError(f"output {tensor!r} of program {program.name!r} is never written")
    if not program.outputs:
        raise EdgebedError(f"program {program.name!r} has no output")
