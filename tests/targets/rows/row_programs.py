"""Programs of one op, lowered and run on this machine against the interpreter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from native_network import NativeNetwork, program_inputs

from edgebed.program.run import run
from edgebed.program.types import Constant, Op, Program, TensorType
from edgebed.targets._shared.rows.kernels.portable import PORTABLE
from edgebed.targets._shared.rows.project import make


def one_op(
    op: Op, kinds: Sequence[TensorType], constants: Mapping[str, Constant] | None = None
) -> Program:
    """Return a program that is one op on inputs of these types."""
    inputs = dict(zip(dict.fromkeys(op.inputs), kinds, strict=True))
    return Program("one", inputs, (op,), (op.output,), constants or {})


def check(program: Program, *, goal: str = "balanced", samples: int = 2, close: bool = False):
    """Assert that the C of a program computes what the interpreter does; return the project."""
    project = make(program, PORTABLE, goal)
    native = NativeNetwork(project)
    for seed in range(samples):
        given = program_inputs(program, seed)
        right = run(program, given)
        found = native.run(given)
        for name, values in right.items():
            if close:
                assert np.allclose(found[name], values, rtol=1e-5, atol=1e-6), name
            else:
                assert np.array_equal(found[name], values), name
    return project
