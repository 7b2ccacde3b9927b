"""One operator of the file while its ops are written: operands, options, names, messages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgebed.errors import EdgebedError
from edgebed.program.arithmetic import Affine
from edgebed.program.tflite.file import Operator, Tensor
from edgebed.program.tflite.network import Network, Value, stripped
from edgebed.program.tflite.quantisation import clamp_range, real_values
from edgebed.program.types import QUANTISED, Constant, TensorType

Array = npt.NDArray[Any]
ACTIVATIONS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT")
_BITS = {"int8": 8, "int16": 16, "int32": 32, "int64": 64, "float32": 32, "bool": 8}


class Layer:
    """What the functions that convert operators read and write.

    Attributes:
        network: the program so far.
        operator: of the file.
        name: of the layer; its ops and constants are named after it.
    """

    def __init__(self, network: Network, operator: Operator) -> None:
        """Begin with an operator."""
        self.network, self.operator = network, operator
        kind = re.sub(r"\W+", "_", operator.kind.lower())[:40]
        self.name = f"{kind}_{operator.index}"
        self.first = len(network.ops)

    # Messages

    @property
    def where(self) -> str:
        """File, layer, and the file's name of the output."""
        outputs = [self.network.file.tensors[i].name for i in self.operator.outputs[:1]]
        named = f", output {outputs[0][:120]!r}" if outputs else ""
        return f"{self.network.file.path.name}: layer {self.name} ({self.operator.kind}{named})"

    def fail(self, what: str, *, why: str | None = None, try_: str | None = None) -> EdgebedError:
        """Return an error that names file, layer and output."""
        return EdgebedError(what, where=self.where, why=why, try_=try_)

    def note(self, text: str) -> None:
        """Say in the program's notes how this layer differs from TensorFlow Lite Micro's."""
        self.network.notes[f"layer {self.name}"] = text

    # Operands

    def has(self, place: int) -> bool:
        """True where the operand at `place` is given."""
        return place < len(self.operator.inputs) and self.operator.inputs[place] >= 0

    def index(self, place: int, role: str = "") -> int:
        """Return the tensor index of an operand.

        Raises:
            EdgebedError: it is absent.
        """
        if not self.has(place):
            what = f"operand {place}" + (f" ({role})" if role else "")
            raise self.fail(f"{what} is missing", why=f"it has {len(self.operator.inputs)}")
        return self.operator.inputs[place]

    def tensor(self, place: int) -> Tensor:
        """Return the file's record of an operand."""
        return self.network.file.tensors[self.index(place)]

    def value(self, place: int) -> Value:
        """Return where an operand is in the program; a constant becomes a `constant` op."""
        index = self.index(place)
        network = self.network
        if index not in network.values:
            values = network.constant_of(index)
            if values is None:
                raise self.fail(
                    f"reads tensor {index} {network.file.tensors[index].name[:80]!r}",
                    why="no operator before it writes that tensor, and it holds no values",
                )
            network.bind(index, self._constant_value(index, values))
        return network.values[index]

    def _constant_value(self, index: int, values: Array) -> Value:
        network, name = self.network, self.network.names[index]
        kind = network.type_of(index)
        stored = np.ascontiguousarray(values.reshape(stripped(values.shape)))
        constant = Constant(stored, _BITS[kind.dtype], kind.scale, kind.zero_point)
        network.store(name, constant)
        op_name = network.op_name(f"{self.name}.operand")
        return Value(network.emit("constant", op_name, (), output=name, value=name), values.shape)

    def known(self, place: int) -> Array | None:
        """Return a constant operand's values, None where the network computes it."""
        return self.network.constant_of(self.index(place))

    def constant(self, place: int, role: str) -> Array:
        """Return the values of an operand that must be constant; unsigned bytes are shifted."""
        index = self.index(place, role)
        values = self.network.constant_of(index)
        if values is None:
            raise self.fail(
                f"its {role} is computed by the network", why="it must be a constant",
                try_=f"export the network with a fixed {role}",
            )  # fmt: skip
        return values

    def real(self, place: int, role: str) -> npt.NDArray[np.float32]:
        """Return the real values of a constant operand."""
        return real_values(self.tensor(place), self.constant(place, role))

    def integers(self, place: int, role: str, least: int | None = None) -> tuple[int, ...]:
        """Return a constant operand of at most 64 integers, flattened."""
        values = self.constant(place, role)
        if values.dtype.kind != "i" or values.size > 64:
            raise self.fail(f"its {role} is {values.dtype} {list(values.shape)}")
        found = tuple(int(value) for value in values.reshape(-1))
        if least is not None and any(value < least for value in found):
            raise self.fail(f"its {role} is {list(found)}", why=f"{least} is the least")
        return found

    def type(self, value: Value) -> TensorType:
        """Return the type in the program."""
        return self.network.types[value.tensor]

    def result(self, output: int = 0) -> TensorType:
        """Return the declared type of an output, with the file's shape."""
        return self.network.type_of(self.output_index(output))

    def output_index(self, output: int) -> int:
        """Return the tensor index of an output."""
        if output >= len(self.operator.outputs):
            raise self.fail(f"it has {len(self.operator.outputs)} outputs")
        return self.operator.outputs[output]

    # Options

    def integer(self, field: str, least: int | None = None, default: int | None = None) -> int:
        """Return an integer option.

        Raises:
            EdgebedError: the operator has no options, or the value is less than `least`.
        """
        value = self._option(field, default)
        if least is not None and int(value) < least:
            raise self.fail(f"its option {field} is {value}", why=f"{least} is the least")
        return int(value)

    def flag(self, field: str) -> bool:
        """Return a boolean option, False where the operator has no options."""
        return bool(self._option(field, False))

    def number(self, field: str, default: float | None = None) -> float:
        """Return a real option."""
        value = float(self._option(field, default))
        if not np.isfinite(value):
            raise self.fail(f"its option {field} is {value}")
        return value

    def list(self, field: str) -> tuple[int, ...]:
        """Return an option of several integers; () where it is absent."""
        value = (self.operator.options or {}).get(field, ())
        return value if isinstance(value, tuple) else ()

    def _option(self, field: str, default: float | None) -> Any:
        options = self.operator.options
        if options is not None and field in options:
            return options[field]
        if default is None:
            raise self.fail(f"its option {field} is missing", try_="export it again")
        return default

    def activation(self) -> str:
        """Return the name of the fused activation.

        Raises:
            EdgebedError: it is none that a layer can apply.
        """
        code = self.integer("FusedActivationFunction", default=0)
        name = ACTIVATIONS[code] if 0 <= code < len(ACTIVATIONS) else str(code)
        if name in ("NONE", "RELU", "RELU_N1_TO_1", "RELU6"):
            return name
        raise self.fail(
            f"its fused activation {name} is not supported", why="NONE and the RELU family are",
            try_=f"a separate {name} operator",
        )  # fmt: skip

    # Results

    def emit(self, kind: str, inputs: Sequence[str], *, suffix: str = "", **fields: Any) -> str:
        """Append an op and return its output; `suffix` tells the ops of a layer apart."""
        name = self.network.op_name(f"{self.name}.{suffix}" if suffix else self.name)
        try:
            return self.network.emit(kind, name, inputs, **fields)
        except EdgebedError as error:
            raise self.fail(error.what, why=error.why, try_=error.try_) from error

    def store(self, role: str, constant: Constant) -> str:
        """Add a constant named after the layer."""
        name, count = f"{self.name}.{role}", 2
        while name in self.network.constants:
            name, count = f"{self.name}.{role}_{count}", count + 1
        return self.network.store(name, constant)

    def give(self, tensor: str, shape: tuple[int, ...], output: int = 0) -> None:
        """Make a tensor of the program the operator's output.

        Args:
            tensor: the program's tensor.
            shape: as the file has it, batch axis included.
            output: which output.

        Raises:
            EdgebedError: the file declares another shape or type.
        """
        index = self.output_index(output)
        self._check_unwritten(index)
        self._check_shape(index, shape)
        inner = stripped(shape)
        tensor = self._as_declared(self.reshaped(tensor, inner), index)
        last = self.network.ops[-1] if len(self.network.ops) > self.first else None
        if last is not None and last.output == tensor and tensor not in self.network.bound:
            name = self.network.names[index]
            self.network.rename(tensor, name)
            tensor = name
        self.network.bind(index, Value(tensor, shape))

    def give_known(self, values: Array, output: int = 0) -> None:
        """Make values that do not depend on the input the operator's output."""
        index = self.output_index(output)
        self._check_unwritten(index)
        self._check_shape(index, values.shape)
        self.network.charge(values.nbytes, self.where)
        self.network.known[index] = values

    def _check_unwritten(self, index: int) -> None:
        declared = self.network.file.tensors[index]
        if declared.data is not None:
            raise self.fail(f"writes tensor {index} {declared.name[:80]!r}", why="it is a constant")
        if index in self.network.values or index in self.network.known:
            raise self.fail(
                f"writes tensor {index} {declared.name[:80]!r}",
                why="another operator or the network's input has written it before",
            )

    def _check_shape(self, index: int, shape: tuple[int, ...]) -> None:
        declared = self.network.file.tensors[index]
        if not declared.shape:  # some converters leave the shapes between the layers out
            return
        same = len(declared.shape) == len(shape) and all(
            axis in declared.dynamic or given == found
            for axis, (given, found) in enumerate(zip(declared.shape, shape, strict=True))
        )
        if not same:
            raise self.fail(
                f"the file gives its output the shape {list(declared.shape)}",
                why=f"its operands and options lead to {list(shape)}",
            )

    def _as_declared(self, tensor: str, index: int) -> str:
        """Return the tensor with the scale and zero point that the file declares for it."""
        found, declared = self.network.types[tensor], self.network.type_of(index)
        if found.dtype != declared.dtype:
            raise self.fail(f"the file says {declared.dtype}, its operands lead to {found.dtype}")
        if (found.scale, found.zero_point) == (declared.scale, declared.zero_point):
            return tensor
        if found.dtype != "int8":
            raise self.fail(
                f"its output has scale {declared.scale} zero {declared.zero_point}",
                why=f"its input's {found.scale} zero {found.zero_point} must stay",
            )
        # The runtimes move the bytes and then read them by the output's scale.
        return self.lookup(tensor, np.arange(-128, 128), declared, suffix="relabel")

    def lookup(
        self, tensor: str, table: Array, declared: TensorType, *, suffix: str = "",
        axis: int | None = None,
    ) -> str:  # fmt: skip
        """Append a table of int8 values."""
        constant = Constant(table.astype(np.int8), 8, declared.scale, declared.zero_point)
        name = self.store("table", constant)
        return self.emit(
            "lookup", [tensor], suffix=suffix, table=name, axis=axis,
            scale=declared.scale, zero_point=declared.zero_point,
        )  # fmt: skip

    # Layouts

    def full(self, value: Value) -> str:
        """Return a tensor with all axes of the file, the leading one of size 1 too."""
        return self.reshaped(value.tensor, value.shape)

    def reshaped(self, tensor: str, shape: tuple[int, ...]) -> str:
        """Return a tensor in another shape."""
        if self.network.types[tensor].shape == shape:
            return tensor
        return self.emit("reshape", [tensor], suffix="reshape", shape=shape)

    def planes(self, value: Value) -> str:
        """Return a picture as channels, rows, columns.

        Raises:
            EdgebedError: it has not the axes 1, rows, columns, channels.
        """
        if len(value.shape) != 4 or value.shape[0] != 1:
            raise self.fail(
                f"its input has shape {list(value.shape)}",
                why="1 x rows x columns x channels is needed",
                try_="export the network for one picture at a time",
            )
        return self.emit("transpose", [value.tensor], suffix="channels_first", perm=(2, 0, 1))

    def give_planes(self, tensor: str, output: int = 0) -> None:
        """Make channels, rows, columns the output, with the channels last as in the file."""
        channels, rows, columns = self.network.types[tensor].shape
        last = self.emit("transpose", [tensor], suffix="channels_last", perm=(1, 2, 0))
        self.give(last, (1, rows, columns, channels), output)

    # Rules

    def quantised(self, value: Value) -> bool:
        """True for integers with a scale; False for float32.

        Raises:
            EdgebedError: it is neither, or the file gives integers no scale.
        """
        kind = self.type(value)
        if kind.is_float:
            return False
        if kind.dtype not in QUANTISED:
            raise self.fail(f"it computes on {kind.dtype}", why="int8, uint8, int16 or float32 can")
        for index in self.operator.inputs:
            if self.network.values.get(index) is value and not self._has_scale(index):
                dtype = self.network.file.tensors[index].dtype
                raise self.fail(
                    f"its input {index} is {dtype} without a scale",
                    try_="quantise the network again",
                )
        return True

    def _has_scale(self, index: int) -> bool:
        return self.network.file.tensors[index].quantisation is not None

    def rule(self, output: int = 0, *, activation: str = "NONE", **changes: Any) -> Affine:
        """Return the rule to the declared output, clamped by a fused activation."""
        declared = self.result(output)
        if declared.dtype not in ("int8", "int16", "int32"):
            raise self.fail(f"its output is {declared.dtype}", why="its input is quantised")
        if not self._has_scale(self.output_index(output)):
            raise self.fail("its output has no scale", try_="quantise the network again")
        low, high = clamp_range(declared, activation)
        rule = Affine(
            scale=declared.scale, zero_point=declared.zero_point, low=low, high=high,
            dtype=declared.dtype,
        )  # fmt: skip
        return replace(rule, **changes)

    def activated(self, tensor: str, activation: str) -> str:
        """Append a fused activation to a float32 tensor."""
        if activation == "NONE":
            return tensor
        if activation == "RELU_N1_TO_1":
            return self.emit("unary", [tensor], suffix="clip", function="clip", low=-1.0, high=1.0)
        function: Literal["relu", "relu6"] = "relu" if activation == "RELU" else "relu6"
        return self.emit("unary", [tensor], suffix=function, function=function)
