"""Operators whose operands are all constant are computed when the file is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgebed.program.tflite.layer import Layer
from edgebed.program.tflite.operators import Conversion

Array = npt.NDArray[Any]

_MAX_VALUES: Final = 4096
"""So many values the integer arithmetic on shapes may have; it is done without the interpreter."""


_MAX_FOLDED: Final = 1 << 23
"""So many values a tensor may have that is computed through the program's ops."""

_CHEAP: Final = frozenset((
    "RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE", "CONCATENATION", "PACK", "UNPACK", "SPLIT",
    "SPLIT_V", "SLICE", "STRIDED_SLICE", "REVERSE_V2", "TILE", "BROADCAST_TO", "PAD", "PADV2",
    "GATHER", "CAST", "QUANTIZE", "ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "NEG", "ABS",
    "SQRT", "RSQRT", "EXP", "SQUARE", "RELU", "RELU6", "LOGISTIC", "TANH", "MEAN", "SUM",
    "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "POW",
))  # fmt: skip
"""Operators whose work grows with the number of values, so that it stays short."""


def _quotient(a: Array, b: Array) -> Array:
    size: Array = np.abs(a) // np.maximum(np.abs(b), 1)
    result: Array = np.sign(a) * np.sign(b) * size
    return result


_ARITHMETIC: Final[dict[str, Callable[[Array, Array], Array]]] = {
    "ADD": np.add,
    "SUB": np.subtract,
    "MUL": np.multiply,
    "DIV": _quotient,
    "FLOOR_DIV": lambda a, b: a // np.where(b == 0, 1, b),
    "FLOOR_MOD": lambda a, b: a % np.where(b == 0, 1, b),
    "MAXIMUM": np.maximum,
    "MINIMUM": np.minimum,
}


def fold(layer: Layer, convert: Conversion | None) -> bool:
    """Compute an operator on constants and return True, or return False and change nothing."""
    operands = [i for i in layer.operator.inputs if i >= 0]
    if not operands or any(layer.network.constant_of(i) is None for i in operands):
        return False
    if layer.operator.kind == "DEQUANTIZE":
        return False  # gives a constant by itself
    if _on_shapes(layer, [layer.network.constant_of(i) for i in operands]):
        return True
    if convert is None or layer.operator.kind not in _CHEAP:
        return False
    _through_ops(layer, convert)
    return True


def _on_shapes(layer: Layer, operands: list[Array | None]) -> bool:
    values = [value for value in operands if value is not None]
    whole = all(str(v.dtype) in ("int32", "int64") and v.size <= _MAX_VALUES for v in values)
    kind = layer.operator.kind
    if kind in _ARITHMETIC and whole and len(values) == 2:
        with np.errstate(all="ignore"):
            try:
                result = _ARITHMETIC[kind](values[0], values[1])
            except ValueError:
                raise layer.fail("its constant operands do not fit") from None
        layer.give_known(np.asarray(result, dtype=values[0].dtype))
        return True
    if kind == "CAST" and whole and layer.result().dtype in ("int32", "int64"):
        layer.give_known(values[0].astype(layer.result().dtype))
        return True
    return _fill(layer, values) if kind in ("FILL", "RANGE") else False


def _fill(layer: Layer, values: list[Array]) -> bool:
    if layer.operator.kind == "RANGE" and len(values) == 3 and all(v.size == 1 for v in values):
        start, stop, step = (v.reshape(-1)[0] for v in values)
        count = int((stop - start) / step) if step else -1
        if not 0 <= count <= _MAX_VALUES:
            raise layer.fail(f"a range of {count} values")
        layer.give_known(np.arange(start, stop, step, dtype=values[0].dtype))
        return True
    if layer.operator.kind == "FILL" and len(values) == 2 and values[1].size == 1:
        shape = layer.integers(0, "shape", least=0)
        if len(shape) > 8 or np.prod(shape, dtype=np.float64) > 1 << 24:
            raise layer.fail(f"a constant of shape {list(shape)}")
        layer.give_known(np.full(shape, values[1].reshape(-1)[0]))
        return True
    return False


def _through_ops(layer: Layer, convert: Conversion) -> None:
    """Convert the operator, run its ops on the constants and keep the results instead."""
    network = layer.network
    new = {
        index
        for index in (*layer.operator.inputs, *layer.operator.outputs)
        if index not in network.values
    }
    convert(layer)
    added = {index: network.values[index] for index in new if index in network.values}
    outputs = {i: added[i] for i in layer.operator.outputs if i in added}
    if any(network.types[op.output].size > _MAX_FOLDED for op in network.ops[layer.first :]):
        return
    results = network.evaluate(layer.first, [value.tensor for value in outputs.values()])
    for index in added:
        del network.values[index]
    for index, value in outputs.items():
        network.known[index] = results[value.tensor].reshape(value.shape)
