"""Batch normalisation and its like become part of a float layer's weights and bias."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from edgebed.compile.passes.draft import Draft
from edgebed.program.ops._accumulate import Weighted
from edgebed.program.ops.add import Add
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.ops.conv_transpose2d import ConvTranspose2d
from edgebed.program.ops.dense import Dense
from edgebed.program.ops.divide import Divide
from edgebed.program.ops.multiply import Multiply
from edgebed.program.ops.subtract import Subtract
from edgebed.program.types import Op, Program

Reals = npt.NDArray[np.float64]
KINDS: Final = (Add, Divide, Multiply, Subtract)


@dataclass(frozen=True)
class FoldAffine:
    """Fold products and sums with constants per channel into the float layer beside them.

    The folded numbers are rounded once more or once less than before, so results differ by a
    few units in the last place of float32.
    """

    name: ClassVar[str] = "fold_affine"

    def run(self, program: Program) -> Program:
        """Return the program with fewer products and sums."""
        return Draft(program).rewrite((_into_layer_before, _into_layer_behind)).program()


@dataclass(frozen=True)
class _Affine:
    """y = factor * x + offset, both broadcast against x."""

    tensor: str
    factor: Reals
    offset: Reals


def _affine(draft: Draft, op: Op) -> _Affine | None:
    """Return what an op does to the one operand that is not constant."""
    if not isinstance(op, KINDS) or len(op.inputs) != 2 or not draft.types[op.output].is_float:
        return None
    values = [draft.fixed(name) for name in op.inputs]
    if (values[0] is None) == (values[1] is None):
        return None
    behind = values[0] is None
    found = values[1] if behind else values[0]
    assert found is not None
    v, tensor = found.astype(np.float64), op.inputs[0 if behind else 1]
    if draft.types[tensor].shape != draft.types[op.output].shape:
        return None
    one, zero = np.ones_like(v), np.zeros_like(v)
    match op:
        case Add():
            return _Affine(tensor, one, v)
        case Subtract():
            return _Affine(tensor, one, -v) if behind else _Affine(tensor, -one, v)
        case Multiply():
            return _Affine(tensor, v, zero)
        case Divide() if behind and np.all(v != 0):
            return _Affine(tensor, 1 / v, zero)
    return None


def _along(values: Reals, shape: tuple[int, ...], axis: int) -> Reals | None:
    """Return values that differ along one axis only, one for each of its indices."""
    full = values.reshape(*(1,) * (len(shape) - values.ndim), *values.shape)
    if any(size != 1 for i, size in enumerate(full.shape) if i != axis):
        return None
    return np.broadcast_to(full.reshape(-1), (shape[axis],))


def _into_layer_before(draft: Draft, op: Op) -> bool:
    """Scale the weights of the layer that writes the operand, and add to its bias."""
    found = _affine(draft, op)
    layer = draft.writer(found.tensor) if found else None
    if found is None or not isinstance(layer, Weighted) or not draft.private(found.tensor):
        return False
    if getattr(layer, "activation", "none") != "none":
        return False
    shape = draft.types[found.tensor].shape
    axis = len(shape) - 1 if getattr(layer, "last_axis", False) else 0
    factor, offset = (_along(v, shape, axis) for v in (found.factor, found.offset))
    if factor is None or offset is None:
        return False
    weight = draft.constants[layer.weight].values.astype(np.float64)
    outputs = 1 if isinstance(layer, ConvTranspose2d) else 0
    sizes = [1] * weight.ndim
    sizes[outputs] = -1
    new = _with_constants(
        draft,
        layer,
        weight * factor.reshape(sizes),
        _bias(draft, layer, len(factor)) * factor + offset,
    )
    if new is None:
        return False
    draft.drop(layer)
    draft.replace(op, replace(new, output=op.output))
    return True


def _into_layer_behind(draft: Draft, op: Op) -> bool:
    """Scale the input side of the weights of the only layer that reads the result."""
    found = _affine(draft, op)
    layer = draft.only_reader(op.output) if found else None
    if found is None or not isinstance(layer, Conv2d | Dense):
        return False
    weight = draft.constants[layer.weight].values.astype(np.float64)
    shape = draft.types[op.output].shape
    factor, offset = (_per_weight(v, shape, layer, weight) for v in (found.factor, found.offset))
    if factor is None or offset is None:
        return False
    if np.any(offset) and isinstance(layer, Conv2d) and any(layer.padding):
        return False  # the border would be padded with the offset, not with 0
    added = (weight * offset).reshape(len(weight), -1).sum(axis=1)
    new = _with_constants(draft, layer, weight * factor, _bias(draft, layer, len(weight)) + added)
    if new is None:
        return False
    draft.replace(layer, replace(new, inputs=(found.tensor,)))
    return True


def _per_weight(
    values: Reals, shape: tuple[int, ...], layer: Conv2d | Dense, weight: Reals
) -> Reals | None:
    """Return the value that belongs to the input of each weight, broadcast against the weights."""
    if isinstance(layer, Dense) and not layer.last_axis:
        return np.broadcast_to(values, shape).reshape(1, -1)
    axis = len(shape) - 1 if isinstance(layer, Dense) else 0
    vector = _along(values, shape, axis)
    if vector is None or isinstance(layer, Dense):
        return None if vector is None else vector[None]
    outputs, inner = weight.shape[:2]
    group = np.arange(outputs) // (outputs // layer.groups)
    result: Reals = vector[group[:, None] * inner + np.arange(inner)][:, :, None, None]
    return result


def _bias(draft: Draft, layer: Weighted, outputs: int) -> Reals:
    if layer.bias is None:
        return np.zeros(outputs)
    return draft.constants[layer.bias].values.astype(np.float64)


def _with_constants(draft: Draft, layer: Weighted, weight: Reals, bias: Reals) -> Weighted | None:
    """Return the layer with other float32 weights and bias; None where they overflow."""
    with np.errstate(over="ignore", invalid="ignore"):
        w, b = weight.astype(np.float32), bias.astype(np.float32)
    if not (np.isfinite(w).all() and np.isfinite(b).all()):
        return None
    names: dict[str, Any] = {"weight": draft.store(layer.weight, w)}
    if layer.bias is not None or b.any():
        names["bias"] = draft.store(layer.bias or f"{layer.name}.bias", b)
    return replace(layer, **names)
