"""Programs of one op, lowered and run here or on a virtual core, against the interpreter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from native_network import NativeNetwork, program_inputs

from edgebed.program.run import run
from edgebed.program.types import Constant, Op, Program, TensorType
from edgebed.targets._shared.bare_metal import Ran, run_c
from edgebed.targets._shared.rows.emit import Project, files
from edgebed.targets._shared.rows.kernels.portable import PORTABLE
from edgebed.targets._shared.rows.kernels.sets import Goal
from edgebed.targets._shared.rows.project import make

ONE = {"name": "l", "inputs": ("a",), "output": "o"}
TWO = {"name": "l", "inputs": ("a", "b"), "output": "o"}


def byte(shape, scale=0.05, zero=3, dtype="int8") -> TensorType:
    return TensorType(tuple(shape), dtype, scale, zero)


def real(shape) -> TensorType:
    return TensorType(tuple(shape), "float32", 1.0)


def one_op(
    op: Op, kinds: Sequence[TensorType], constants: Mapping[str, Constant] | None = None
) -> Program:
    """Return a program that is one op on inputs of these types."""
    inputs = dict(zip(dict.fromkeys(op.inputs), kinds, strict=True))
    return Program("one", inputs, (op,), (op.output,), constants or {})


def several(
    ops: Sequence[Op], kinds: Sequence[TensorType], constants: Mapping[str, Constant] | None = None
) -> Program:
    """Return a program of ops that all read its inputs a, b, ...; every result is an output."""
    named = [
        replace(op, name=f"{op.kind}{i}", output=f"o{i}", inputs=op.inputs)
        for i, op in enumerate(ops)
    ]
    inputs = dict(zip("abc", kinds, strict=False))
    outputs = tuple(op.output for op in named)
    return Program("several", inputs, tuple(named), outputs, constants or {})


def check(
    program: Program, *, goal: Goal = "balanced", samples: int = 2, close: bool = False
) -> Project:
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


def check_on(core: str, program: Program, kernels=PORTABLE, compiler: str = "") -> Ran:
    """Assert that a virtual core computes what the interpreter does; return what it did."""
    project = make(program, kernels, "balanced")
    given = program_inputs(program, 0)
    arena = np.zeros(project.placement.peak, np.uint8)
    for name, storage in zip(given, project.network.inputs, strict=True):
        data = np.ascontiguousarray(given[name]).view(np.uint8).reshape(-1)
        arena[project.offset(storage) :][: data.size] = data
    texts = {
        path.removeprefix("edgebed/"): data.decode().replace('"edgebed/', '"')
        for path, data in files(project).items()
    }
    main = f"""#include "{project.name}.h"
uint8_t arena[{len(arena)}] __attribute__((aligned(16))) = {{1}};
void bench(void) {{ {project.name}_run(arena); }}
"""
    sources = {name: text for name, text in texts.items() if name.endswith(".c")}
    headers = {name: text for name, text in texts.items() if name.endswith(".h")}
    ran = run_c(
        core,
        {**sources, "main.c": main},
        headers=headers,
        inputs={"arena": arena.tobytes()},
        outputs=["arena"],
        compiler=compiler,
    )
    memory = np.frombuffer(ran.outputs["arena"], np.uint8)
    for name, storage in zip(program.outputs, project.network.outputs, strict=True):
        kind = program.types[name]
        found = memory[project.offset(storage) :][: kind.nbytes].copy().view(kind.dtype)
        right, close = run(program, given)[name], 1e-6 if kind.is_float else 0.0
        assert np.allclose(found.reshape(kind.shape), right, rtol=close, atol=close), name
    return ran
