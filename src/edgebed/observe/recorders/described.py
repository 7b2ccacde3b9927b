"""Tensors of a program with what its types say about them, as frames hold them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from edgebed.data.fixed_decode import ONE_Q15, ONE_Q16, FixedDetections, decode_fixed
from edgebed.errors import EdgebedError
from edgebed.observe.trace import Level, Manifest, Role, Tensor
from edgebed.program.axes import own_layout as own_layout
from edgebed.program.contract import Contract
from edgebed.program.costs import costs_of
from edgebed.program.text import digest as digest
from edgebed.program.types import Array, Program

MEANINGLESS = frozenset({"bool", "int64"})
"""Types whose values are no steps of a real number."""


def manifest_of(program: Program, source: str, level: Level, **notes: object) -> Manifest:
    """Return the manifest of a program's trace.

    Args:
        program: what computes.
        source: where.
        level: what is kept.
        notes: further facts, plain data.
    """
    contract = program.contract.to_json() if program.contract is not None else None
    layers = tuple(op.output for op in program.ops)
    known = {**costs_of(program), **notes}
    return Manifest(source, level, program.name, digest(program), contract, layers, known)


def tensor_of(
    program: Program, name: str, values: Array, role: Role | None = None, layout: str = ""
) -> Tensor:
    """Return a tensor of a program.

    Args:
        program: which.
        name: of the tensor.
        values: without a batch axis, in the program's shape or, with a layout, another.
        role: None for the one that it has in the program.
        layout: of `values`; empty for the program's own.
    """
    kind, writer = program.types[name], program.writer(name)
    steps = not kind.is_float and kind.dtype not in MEANINGLESS
    return Tensor(
        name,
        role or role_of(program, name),
        tuple(values.shape),
        str(values.dtype),
        kind.scale if steps else None,
        kind.zero_point if steps else 0,
        layout or own_layout(program, name),
        writer.kind if writer is not None else "",
        values,
    )


def picture_of(picture: Array) -> Tensor:
    """Return a picture (uint8, H x W x 3) as raw data."""
    return Tensor("picture", "raw", picture.shape, str(picture.dtype), layout="HWC", values=picture)


def answer_of(rows: Array) -> Tensor:
    """Return detections as an answer; rows of class, score, x1, y1, x2, y2, see `trace.Tensor`."""
    values = np.asarray(rows, np.float64).reshape(-1, 6)
    return Tensor("detections", "answer", values.shape, "float64", values=values)


def answer_to(program: Program, outputs: Mapping[str, Array]) -> Tensor | None:
    """Return what a program's contract makes of its outputs; None where it says nothing.

    Args:
        program: gives contract and scale.
        outputs: of one sample, by name.

    Raises:
        EdgebedError: the contract's decoding is out of range.
    """
    contract = program.contract
    if contract is None:
        return None
    grid = contract.decode
    wanted = (contract.output_channels, grid.grid_height, grid.grid_width)
    for name in program.outputs:
        kind = program.types[name]
        if kind.shape == wanted and not kind.is_float and not kind.zero_point:
            return answer_of(rows_of(decode_fixed(outputs[name], kind.scale, contract), contract))
    return None


def rows_of(found: FixedDetections, contract: Contract) -> Array:
    """Return detections as rows of class, score, x1, y1, x2, y2 in pixels of the input, float64."""
    size = np.array([contract.input.width, contract.input.height] * 2)
    corners = found.boxes_q16 * size / ONE_Q16
    return np.column_stack([found.labels, found.scores_q15 / ONE_Q15, corners])


def role_of(program: Program, name: str) -> Role:
    """Return what a tensor is to a program; an output that is an input too is an output."""
    if name in program.outputs:
        return "output"
    return "input" if name in program.inputs else "layer"


def samples(program: Program, inputs: Mapping[str, Array]) -> Iterator[dict[str, Array]]:
    """Give one sample after the other, in the program's own shapes.

    Args:
        program: gives names and shapes.
        inputs: by name; one sample in the program's or the file's shape, or N of the former.

    Raises:
        EdgebedError: an input is missing or has another number of values.
    """
    batches = {name: _batch(program, name, inputs) for name in program.inputs}
    counts = {name: len(batch) for name, batch in batches.items()}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{count} of {name!r}" for name, count in counts.items())
        raise EdgebedError("inputs hold different numbers of samples", why=listed)
    for index in range(next(iter(counts.values()), 1)):
        yield {name: batch[index] for name, batch in batches.items()}


def _batch(program: Program, name: str, inputs: Mapping[str, Array]) -> Array:
    shape = program.types[name].shape
    if name not in inputs:
        known = ", ".join(map(repr, inputs)) or "none"
        raise EdgebedError(f"input {name!r} is missing", why=f"there are {known}")
    given = np.asarray(inputs[name])
    size = int(np.prod(shape, dtype=np.int64))
    fits = given.shape[-len(shape) :] == shape if shape else True
    if not size or given.size % size or not (fits or given.shape == program.file_shape(name)):
        raise EdgebedError(
            f"input {name!r} has shape {given.shape}", why=f"{shape} is needed, or N of them"
        )
    return given.reshape(-1, *shape)
