"""The reference interpreter: the one definition of what a program computes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from edgebed.errors import EdgebedError
from edgebed.program.types import Array, Program, TensorType


def run(program: Program, inputs: Array | Mapping[str, Array]) -> dict[str, Array]:
    """Compute a program's outputs.

    Args:
        program: what to compute.
        inputs: of the inputs' types and shapes, with or without a batch axis in front, alone or
            by input name.

    Returns:
        The outputs by name, with a batch axis exactly when the input had one.

    Raises:
        EdgebedError: an input has another shape or type, or values that its type cannot hold.
    """
    found = {name: one for name, one in trace(program, inputs) if name in program.outputs}
    return {name: found[name] for name in program.outputs}


def trace(program: Program, inputs: Array | Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
    """Yield every tensor by name as it is computed, inputs first; see `run`."""
    given = inputs if isinstance(inputs, Mapping) else dict.fromkeys(program.inputs, inputs)
    known = {n: _checked(n, given, kind) for n, kind in program.inputs.items()}
    batched = {np.ndim(given[n]) > len(kind.shape) for n, kind in program.inputs.items()}
    if len(batched) > 1:
        raise EdgebedError("some inputs have a batch axis and some have none")
    keep = batched == {True}
    batch = {len(array) for array in known.values()} or {1}
    if len(batch) > 1:
        raise EdgebedError(f"the inputs hold {', '.join(map(str, sorted(batch)))} samples")
    last_use = {tensor: op.name for op in program.ops for tensor in op.inputs}
    for name, array in known.items():
        yield name, array if keep else array[0]
    for op in program.ops:
        types = [program.types[name] for name in op.inputs]
        # What exceeds float32 is infinite, as it is on the device.
        with np.errstate(all="ignore"):
            result = op.run([known[name] for name in op.inputs], program.constants, types)
        if not op.inputs:
            result = np.broadcast_to(result, (*batch, *result.shape[1:]))
        known[op.output] = result
        for tensor in set(op.inputs):
            if last_use[tensor] == op.name:
                del known[tensor]
        yield op.output, result if keep else result[0]


def _checked(name: str, given: Mapping[str, Array], kind: TensorType) -> Array:
    if name not in given:
        raise EdgebedError(f"input {name!r} is missing", try_=f"one of {', '.join(given)}")
    array = np.asarray(given[name])
    batch = array if array.ndim > len(kind.shape) else array[None]
    if batch.shape[1:] != kind.shape:
        raise EdgebedError(f"input {name!r} has shape {array.shape}", why=f"{kind.shape} is needed")
    if kind.is_float:
        return _checked_reals(name, batch)
    if not (np.issubdtype(array.dtype, np.integer) or array.dtype == kind.dtype):
        raise EdgebedError(
            f"input {name!r} holds {array.dtype}", why=f"{kind.dtype} integers are needed"
        )
    if kind.dtype == "bool":
        return batch.astype(np.bool_)
    limits = np.iinfo(kind.dtype)
    if batch.size and (batch.min() < limits.min or batch.max() > limits.max):
        raise EdgebedError(
            f"input {name!r} holds {batch.min()}..{batch.max()}",
            why=f"{kind.dtype} holds {limits.min}..{limits.max}",
        )
    return batch.astype(kind.dtype, copy=False)


def _checked_reals(name: str, batch: Array) -> Array:
    if not np.issubdtype(batch.dtype, np.floating):
        raise EdgebedError(f"input {name!r} holds {batch.dtype}", why="float32 is needed")
    if not np.isfinite(batch).all():
        raise EdgebedError(f"input {name!r} holds values that are not finite (NaN or infinity)")
    return batch.astype(np.float32, copy=False)
