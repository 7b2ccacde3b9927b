"""What a user gives a session, brought to the library's inputs or refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgebed.errors import EdgebedError
from edgebed.targets.host.manifest import TensorFacts

Array = npt.NDArray[Any]
Inputs = Array | Sequence[Array] | Mapping[str, Array]
"""The input, or all in order, or by name."""


def by_order(x: Inputs, tensors: Sequence[TensorFacts]) -> list[Array]:
    """Return one array for each tensor, in their order.

    Raises:
        EdgebedError: a name is missing or unknown, or the number is another one.
    """
    if isinstance(x, Mapping):
        missing = [tensor.name for tensor in tensors if tensor.name not in x]
        extra = [name for name in x if name not in {tensor.name for tensor in tensors}]
        if missing or extra:
            word = f"input {(missing or extra)[0]!r} is {'missing' if missing else 'unknown'}"
            raise EdgebedError(word, try_=f"the names {', '.join(t.name for t in tensors)}")
        return [np.asarray(x[tensor.name]) for tensor in tensors]
    given = list(x) if isinstance(x, list | tuple) else [x]
    if len(given) != len(tensors):
        needed = ", ".join(f"{t.name!r} of {t.dtype} {t.shape}" for t in tensors)
        raise EdgebedError(
            f"the list holds {len(given)} array{'' if len(given) == 1 else 's'}",
            why=f"the network has {len(tensors)} input{'' if len(tensors) == 1 else 's'}: {needed}",
            try_="one array for each, in this order, or a mapping by name",
        )
    return [np.asarray(one) for one in given]


def as_batch(array: Array, tensor: TensorFacts) -> Array:
    """Return an input as samples of the file's shape less its batch axis.

    Raises:
        EdgebedError: its shape or type is another one, or a number is not finite.
    """
    if array.dtype != np.dtype(tensor.dtype):
        raise EdgebedError(
            f"input {tensor.name!r} holds {array.dtype}", why=f"{tensor.dtype} is needed"
        )
    if array.dtype.kind == "f":
        check_finite(array, tensor)
    if array.shape == tensor.shape:
        return array.reshape(1, *tensor.shape)
    own = tensor.shape[1:] if tensor.shape[:1] == (1,) else tensor.shape
    if array.ndim == len(own) + 1 and array.shape[1:] == own and len(array):
        return array
    raise EdgebedError(
        f"input {tensor.name!r} has shape {array.shape}",
        why=f"{tensor.shape} is needed, or several samples along the first axis",
    )


def check_finite(array: Array, tensor: TensorFacts) -> None:
    """Refuse NaN and infinity.

    Raises:
        EdgebedError: there is one.
    """
    if not np.isfinite(array).all():
        raise EdgebedError(
            f"input {tensor.name!r} holds values that are not finite (NaN or infinity)"
        )
