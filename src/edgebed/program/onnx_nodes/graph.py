"""An ONNX graph under construction: nodes, initializers, and the real values of integers."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgebed.program.arithmetic import Affine
from edgebed.program.types import Constant, Op, Program, TensorType

DOMAIN = "edgebed"


class Graph:
    """Collects nodes and initializers."""

    def __init__(self, program: Program) -> None:
        from onnx import numpy_helper

        self.program = program
        self.nodes: list[Any] = []
        self.has_own_nodes = False
        self._names: set[str] = set()
        self._from_array = numpy_helper.from_array
        self.initializers = [
            self._from_array(np.asarray(constant.values, order="C"), name)
            for name, constant in program.constants.items()
        ]

    def kind(self, op: Op) -> TensorType:
        """Return the type of the op's output."""
        return self.program.types[op.output]

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Append a node and return its output."""
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        self._names.add(output)
        return output

    def own(self, op: Op) -> None:
        """Append a node of our own domain for an op that ONNX does not have."""
        from onnx import helper

        inputs = [*op.inputs, *op.constants]
        self.nodes.append(
            helper.make_node(op.kind, inputs, [op.output], name=op.output, domain=DOMAIN)
        )
        self.has_own_nodes = True

    def extra(self, name: str, values: Any, dtype: Any) -> str:
        """Add a small constant that belongs to the drawing, not to the program."""
        self.initializers.append(self._from_array(np.asarray(values, dtype=dtype), name))
        return name

    def real(self, tensor: str, user: Op) -> str:
        """Return the real-valued form of a tensor or constant, for one user."""
        source: Constant | TensorType = (
            self.program.constants.get(tensor) or self.program.types[tensor]
        )
        if _is_real(source):
            return tensor
        name = f"{user.name}/{tensor}"
        if f"{name}/real" in self._names:
            return f"{name}/real"  # an op may read a tensor twice
        scales = source.scales if isinstance(source, Constant) else ()
        if isinstance(source, TensorType) and source.dtype in ("int16", "int64"):
            return self._scaled(tensor, source, name)
        if isinstance(source, Constant) and _is_bias(tensor, user):
            scales = self._accumulator_scales(source, user)
        inputs = [tensor, self.extra(f"{name}/scale", scales or source.scale, np.float32)]
        if source.zero_point:
            dtype = source.dtype if isinstance(source, TensorType) else source.values.dtype
            inputs.append(self.extra(f"{name}/zero", source.zero_point, dtype))
        axis = {"axis": self._channel_axis(tensor, user)} if scales else {}
        return self.node("DequantizeLinear", inputs, f"{name}/real", **axis)

    def _accumulator_scales(self, bias: Constant, user: Any) -> tuple[float, ...]:
        """Return the unit of an integer bias: what is added to the products has theirs."""
        weight = self.program.constants[user.weight]
        step = self.program.types[user.inputs[0]].scale
        scales = weight.scales or (weight.scale,) * bias.values.size
        return tuple(step * scale for scale in scales)

    def _channel_axis(self, constant: str, user: Op) -> int:
        is_weight = constant == getattr(user, "weight", None)
        return 1 if user.kind == "conv_transpose2d" and is_weight else 0

    def _scaled(self, tensor: str, source: TensorType, name: str) -> str:
        """Dequantise a type that DequantizeLinear of this opset does not take."""
        number = self.node("Cast", [tensor], f"{name}/number", to=elem_type("float32"))
        zero = self.extra(f"{name}/zero", source.zero_point, np.float32)
        centred = self.node("Sub", [number, zero], f"{name}/centred")
        scale = self.extra(f"{name}/scale", source.scale, np.float32)
        return self.node("Mul", [centred, scale], f"{name}/real")

    def result(self, kind: str, inputs: list[str], op: Op, **attributes: Any) -> None:
        """Append the node whose real-valued result is the op's output, and write that."""
        if self.kind(op).is_float:
            self.node(kind, inputs, op.output, **attributes)
            return
        self.quantised(self.node(kind, inputs, f"{op.name}/result", **attributes), op)

    def quantised(self, real: str, op: Op) -> None:
        """Write the op's integer output from its real-valued form, with the rule's clamp."""
        kind = self.kind(op)
        real = self._clamped(real, op, kind)
        scale = self.extra(f"{op.name}/out_scale", kind.scale, np.float32)
        if kind.dtype in ("int8", "uint8"):
            zero = self.extra(f"{op.name}/out_zero", kind.zero_point, kind.dtype)
            self.node("QuantizeLinear", [real, scale, zero], op.output)
            return
        steps = self.node("Div", [real, scale], f"{op.name}/steps")
        whole = self.node("Round", [steps], f"{op.name}/whole")
        zero = self.extra(f"{op.name}/out_zero", kind.zero_point, np.float32)
        shifted = self.node("Add", [whole, zero], f"{op.name}/shifted")
        self.node("Cast", [shifted], op.output, to=elem_type(kind.dtype))

    def _clamped(self, real: str, op: Op, kind: TensorType) -> str:
        rule = getattr(op, "requantize", None)
        bounds = rule if isinstance(rule, Affine) else op
        limits = np.iinfo(kind.dtype)
        low, high = (getattr(bounds, end, None) for end in ("low", "high"))
        low, high = limits.min if low is None else low, limits.max if high is None else high
        if low <= limits.min and high >= limits.max:
            return real
        ends = [
            self.extra(f"{op.name}/{key}", (end - kind.zero_point) * kind.scale, np.float32)
            for key, end in (("low", low), ("high", high))
        ]
        return self.node("Clip", [real, *ends], f"{op.name}/clamped")


def _is_bias(tensor: str, user: Op) -> bool:
    """Say whether it is an integer layer's bias; a file's scale of it says nothing."""
    rule = getattr(user, "requantize", None)
    return tensor == getattr(user, "bias", None) and isinstance(rule, Affine)


def _is_real(source: Constant | TensorType) -> bool:
    return source.is_float if isinstance(source, TensorType) else source.values.dtype.kind == "f"


def elem_type(dtype: str) -> int:
    """Return ONNX's number of a type."""
    from onnx import helper

    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def value(name: str, kind: TensorType) -> Any:
    """Return the declaration of an input or output with a batch axis."""
    from onnx import helper

    return helper.make_tensor_value_info(name, elem_type(kind.dtype), ["N", *kind.shape])
