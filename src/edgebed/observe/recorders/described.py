"""Tensors of a program with what its types say about them, as frames hold them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

import numpy as np

from edgebed.errors import EdgebedError
from edgebed.observe.trace import Level, Manifest, Role, Tensor
from edgebed.program import text
from edgebed.program.types import Array, Program

MEANINGLESS = frozenset({"bool", "int64"})
"""Types whose values are no steps of a real number."""

POINTWISE = frozenset({"quantize", "dequantize", "requantize", "lookup", "identity", "unary"})


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
    return Manifest(source, level, program.name, digest(program), contract, layers, notes)


def digest(program: Program) -> str:
    """Return the SHA-256 of all that decides what a program computes."""
    return hashlib.sha256(text.to_text(program, values=False).encode()).hexdigest()


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


def role_of(program: Program, name: str) -> Role:
    """Return what a tensor is to a program; an output that is an input too is an output."""
    if name in program.outputs:
        return "output"
    return "input" if name in program.inputs else "layer"


def own_layout(program: Program, name: str) -> str:
    """Return the axes of a map: CHW, or HWC where transposes stand because a file has it so."""
    if len(program.types[name].shape) != 3:
        return ""
    readers, writer = program.readers(name), program.writer(name)
    if writer is None:
        turned = readers and all(getattr(op, "perm", None) == (2, 0, 1) for op in readers)
        return "HWC" if turned else "CHW"
    if writer.kind == "transpose":
        return "HWC" if getattr(writer, "perm", None) == (1, 2, 0) else "CHW"
    if writer.kind in POINTWISE:
        return own_layout(program, writer.inputs[0])
    return "CHW"


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
