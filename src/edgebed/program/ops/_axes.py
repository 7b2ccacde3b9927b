"""Axes and shapes of tensors of any rank; axis 0 is the first after the batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgebed.program.types import Array, Op


def check_axis(op: Op, axis: int, shape: Sequence[int]) -> int:
    """Return the axis.

    Raises:
        EdgebedError: the shape has no such axis.
    """
    if not 0 <= axis < len(shape):
        raise op.fail(f"axis {axis} of shape {tuple(shape)}", why=f"0 to {len(shape) - 1} exist")
    return axis


def broadcast_shape(op: Op, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Return the common shape by numpy's broadcasting.

    Raises:
        EdgebedError: the shapes do not fit.
    """
    try:
        return tuple(np.broadcast_shapes(*shapes))
    except ValueError:
        listed = " and ".join(map(str, shapes))
        raise op.fail(
            f"operands have shapes {listed}", why="equal sizes or 1 are needed, from the last axis"
        ) from None


def aligned(inputs: Sequence[Array]) -> list[Array]:
    """Return the batches with axes of size 1 put behind the batch axis, so that all broadcast."""
    rank = max(x.ndim for x in inputs)
    return [x.reshape(len(x), *(1,) * (rank - x.ndim), *x.shape[1:]) for x in inputs]
