"""From a program to stages: which function lowers which op, and what each refuses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from edgebed.errors import EdgebedError
from edgebed.program.types import Op, Program, TensorType
from edgebed.targets._shared.rows.frame import Frame, Place, is_row_major, storage_of
from edgebed.targets._shared.rows.kernels.sets import Goal, KernelSet
from edgebed.targets._shared.rows.lower import (
    elementwise,
    matrix,
    parts,
    pools,
    real,
    real_values,
    resize,
    softmax,
    transposed,
    views,
    weighted,
)
from edgebed.targets._shared.rows.stage import Network, Stage, Tensor

Lowering = Callable[[Frame, Op], None]

LOWERINGS: Final[Mapping[str, Lowering]] = {
    "add": elementwise.add,
    "argmax": matrix.argmax,
    "avg_pool": pools.avg_pool,
    "batch_matmul": matrix.batch_matmul,
    "cast": real.cast_to,
    "concat": parts.concat,
    "constant": parts.constant,
    "conv2d": weighted.conv2d,
    "conv_transpose2d": transposed.conv_transpose2d,
    "crop": parts.crop,
    "dense": weighted.dense,
    "depth_to_space": parts.depth_to_space,
    "dequantize": real.dequantize,
    "divide": elementwise.divide,
    "gather": parts.gather,
    "identity": views.alias,
    "l2_normalize": softmax.l2_normalize,
    "lookup": elementwise.lookup,
    "max_pool": pools.max_pool,
    "maximum": elementwise.maximum,
    "minimum": elementwise.minimum,
    "multiply": elementwise.multiply,
    "pad": parts.pad,
    "prelu": real_values.prelu,
    "quantize": real.quantize,
    "reduce": pools.reduce,
    "requantize": elementwise.requantize,
    "reshape": views.alias,
    "resize": resize.resize,
    "slice": parts.channels,
    "softmax": softmax.softmax,
    "space_to_depth": parts.space_to_depth,
    "squared_difference": elementwise.squared_difference,
    "strided_slice": parts.strided_slice,
    "subtract": elementwise.subtract,
    "transpose": views.transpose,
    "unary": real_values.unary,
}
"""One entry an op. To add one: a function in `lower/` that adds stages to the frame."""

_POINTWISE: Final = ("quantize", "dequantize", "requantize", "lookup", "identity")
"""Ops of one tensor that do not care where a value lies."""

FETCH: Final = "fetch"
"""Function of a stage whose rows the caller of the network brings."""


def lower(
    program: Program, kernels: KernelSet, goal: Goal = "balanced", *, fetched: bool = False
) -> Network:
    """Return the stages of a program.

    Args:
        program: what to lower.
        kernels: of the processor.
        goal: what to prefer where there is a choice.
        fetched: inputs that are maps come row by row, when they are needed.

    Raises:
        EdgebedError: an op has no kernel for these types and shapes.
    """
    frame = Frame(program, kernels, goal)
    for name in program.inputs:
        _take_input(frame, name, fetched)
    for op in program.ops:
        lowering = LOWERINGS.get(op.kind)
        if lowering is None:
            raise frame.refuse(op, "has no kernel here", _instead(op))
        lowering(frame, op)
    for name in program.outputs:
        _give_output(frame, name)
    return frame.done(program.name)


def refusals(program: Program, kernels: KernelSet) -> list[tuple[str, EdgebedError]]:
    """Return every op that cannot be lowered, each with its reason."""
    frame = Frame(program, kernels)
    for name in program.inputs:
        _take_input(frame, name, fetched=False)
    found = []
    for op in program.ops:
        lowering = LOWERINGS.get(op.kind)
        try:
            if lowering is None:
                raise frame.refuse(op, "has no kernel here", _instead(op))
            lowering(frame, op)
        except EdgebedError as error:
            found.append((op.name, error))
            if op.output not in frame.places and op.output not in frame.lazy:
                frame.output(op)
    return found


def _instead(op: Op) -> str:
    return f"replace {op.kind!r} in the network; there are kernels for {', '.join(LOWERINGS)}"


def _take_input(frame: Frame, name: str, fetched: bool) -> None:
    """Put an input into memory as the caller gives it: row-major; bytes without sign lose 128."""
    kind = frame.kind(name)
    rows = _given_rows(frame, name, kind)
    rank = len(kind.shape)
    frame.places[name] = Place(name, tuple(range(rank)))
    if fetched and rows.rows > 1:
        frame.tensors[name] = rows
        frame.stages.append(
            Stage(name, "input", name, (), rows.rows, FETCH, "", "", str(len(frame.stages)))
        )
    else:
        frame.tensors[name] = replace(rows, role="input")
    if kind.dtype == "uint8":
        flipped = f"{name}@flipped"
        frame.tensors[flipped] = replace(rows, name=flipped, role="inner")
        frame.stages.append(views.flip(name, name, flipped, rows))
        frame.places[name] = Place(flipped, tuple(range(rank)))


def _given_rows(frame: Frame, name: str, kind: TensorType) -> Tensor:
    """Return an input's memory; the rows of a picture given channels last are its first axis."""
    memory = storage_of(name, kind)
    if len(kind.shape) != 3:
        return Tensor(name, 1, memory.nbytes)
    if _is_channels_last(frame.program, name):
        return Tensor(name, kind.shape[0], memory.nbytes // kind.shape[0])
    if is_row_major(kind.shape, (1, 2, 0)):
        return memory
    return Tensor(name, 1, memory.nbytes)


def _is_channels_last(program: Program, tensor: str) -> bool:
    """Return whether every use of a picture takes its last axis as channels."""
    readers = program.readers(tensor)
    return bool(readers) and all(
        getattr(op, "perm", None) == (2, 0, 1)
        if op.kind == "transpose"
        else op.kind in _POINTWISE and _is_channels_last(program, op.output)
        for op in readers
    )


def _give_output(frame: Frame, name: str) -> None:
    """See that an output lies row-major in memory of its own, in the caller's numbers."""
    kind = frame.kind(name)
    place = None if name in frame.lazy else frame.places[name]
    order = tuple(range(len(kind.shape)))
    plain = place is not None and is_row_major(kind.shape, place.order)
    if place is None or not plain or frame.tensors[place.storage].role != "inner":
        storage = frame.copied(name, order)
    else:
        storage = place.storage
    memory = frame.tensors[storage]
    if kind.dtype == "uint8":
        flipped = f"{name}@given"
        frame.tensors[flipped] = replace(memory, name=flipped)
        frame.stages.append(views.flip(name, storage, flipped, memory))
        storage, memory = flipped, frame.tensors[flipped]
    frame.tensors[storage] = replace(memory, role="output")
    frame.places[name] = Place(storage, order)
