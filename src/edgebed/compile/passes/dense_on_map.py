"""A fully connected layer reads a map as it lies; its weights' columns follow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgebed.compile.passes.draft import Draft
from edgebed.program.ops.dense import Dense
from edgebed.program.ops.reshape import Reshape
from edgebed.program.ops.transpose import Transpose
from edgebed.program.types import Op


def read_map(draft: Draft, op: Op, *, through_transposes: bool) -> bool:
    """Let a layer that reads all values of a map read it without the reshape before.

    Its output becomes O x 1 x 1, with a reshape behind where it had another shape.

    Args:
        draft: the program.
        op: any op; others than fully connected layers of a whole tensor are left alone.
        through_transposes: where a transpose stands between, put the weights' columns in the
            order of the tensor before it; otherwise only maps of C x H x W behind reshapes are
            looked for.

    Returns:
        Whether anything changed.
    """
    if not isinstance(op, Dense):
        return False
    source, moved = _origin(draft, op.inputs[0])
    kind, columns = draft.types[source], draft.constants[op.weight].values.shape[1]
    if source == op.inputs[0] or kind.size != columns:
        return False
    if not (moved and through_transposes) and (moved or len(kind.shape) != 3):
        return False
    weight = draft.constants[op.weight]
    order = np.argsort(_columns(draft, source, op.inputs[0]))
    name = draft.store(op.weight, weight.values[:, order], like=weight)
    flat = replace(op, inputs=(source,), weight=name, last_axis=False)
    if not op.last_axis:
        draft.replace(op, flat)
        return True
    early = draft.fresh(f"{op.output}.map")
    shape = draft.types[op.output].shape
    late = Reshape(
        name=draft.fresh(f"{op.name}.reshape"), inputs=(early,), output=op.output, shape=shape
    )
    draft.replace(op, replace(flat, output=early), late)
    return True


def _origin(draft: Draft, tensor: str) -> tuple[str, bool]:
    """Follow reshapes and transposes upwards; say whether a transpose was among them."""
    moved = False
    while isinstance(writer := draft.writer(tensor), Reshape | Transpose):
        moved = moved or isinstance(writer, Transpose)
        tensor = writer.inputs[0]
    return tensor, moved


def _columns(draft: Draft, source: str, tensor: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return where in `source` each value of `tensor` lies, both in row-major order."""
    steps: list[Op] = []
    while tensor != source:
        writer = draft.writer(tensor)
        assert writer is not None
        steps.append(writer)
        tensor = writer.inputs[0]
    kind = draft.types[source]
    index = np.arange(kind.size).reshape(1, *kind.shape)
    for step in reversed(steps):
        index = step.run([index], {}, draft.types_of(step))
    result: np.ndarray[tuple[int], np.dtype[np.int64]] = index.reshape(-1)
    return result
