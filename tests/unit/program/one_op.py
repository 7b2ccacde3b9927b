"""Runs a single op through the interpreter, as programs do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgebed.program.arithmetic import Affine
from edgebed.program.ops import by_kind
from edgebed.program.run import run
from edgebed.program.types import Constant, Program, TensorType


def program(
    kind: str,
    types: Sequence[TensorType],
    constants: Mapping[str, Constant] | None = None,
    **attributes: Any,
) -> Program:
    """Return a program of one op that reads inputs a, b, ... and writes y."""
    inputs = dict(zip("abcd", types, strict=False))
    op = by_kind(kind)(name="one", inputs=tuple(inputs), output="y", **attributes)
    return Program("one op", inputs, (op,), ("y",), constants=dict(constants or {}))


def compute(
    kind: str,
    inputs: Sequence[tuple[np.ndarray, TensorType]],
    constants: Mapping[str, Constant] | None = None,
    **attributes: Any,
) -> np.ndarray:
    """Return the op's output for batches; checks that it has the type that was inferred."""
    made = program(kind, [x for _, x in inputs], constants, **attributes)
    given = {name: values for name, (values, _) in zip("abcd", inputs, strict=False)}
    result = run(made, given)["y"]
    expected = made.types["y"]
    assert result.shape[1:] == expected.shape
    assert result.dtype == expected.dtype
    return result


def affine(scale: float, zero_point: int, dtype: str = "int8", **more: Any) -> Affine:
    """Return a rule that uses the whole range of a type."""
    limits = np.iinfo(dtype)
    return Affine(scale, zero_point, low=int(limits.min), high=int(limits.max), dtype=dtype, **more)


def single(value: float) -> float:
    """Return the nearest float32, as files store scales."""
    return float(np.float32(value))
