"""Random programs: the interpreter and the generated code, in every instruction set, agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from drawn import programs
from hypothesis import HealthCheck, Phase, given, settings

from edgebed.program.run import run
from edgebed.program.types import Array, Program, TensorType
from edgebed.targets.host.build import compile_program
from edgebed.targets.host.kernels.isa import runnable
from edgebed.targets.host.session import load

SLOW = {"suppress_health_check": list(HealthCheck), "phases": (Phase.generate,)}


def samples(program: Program, count: int) -> dict[str, Array]:
    rng = np.random.default_rng(7)
    return {name: _sample(rng, kind, count) for name, kind in program.inputs.items()}


def _sample(rng: np.random.Generator, kind: TensorType, count: int) -> Array:
    shape = (count, *kind.shape)
    if kind.dtype == "float32":
        return rng.uniform(-3, 3, shape).astype(np.float32)
    info = np.iinfo(kind.dtype)
    return rng.integers(info.min, info.max + 1, shape).astype(kind.dtype)


def check(program: Program, folder: Path) -> None:
    compile_program(program, folder, passes=False)
    inputs = samples(program, 3)
    expected = run(program, inputs)
    reached = reached_by_floats(program)
    for isa in runnable():
        with load(folder, isa=isa.name) as session:
            found = session.run(inputs)
            for name, got in zip(program.outputs, _listed(found), strict=True):
                want = expected[name].reshape(got.shape)
                message = f"{isa.name}: {name}\n{program_text(program)}"
                if name not in reached:
                    np.testing.assert_array_equal(got, want, message)
                elif got.dtype == np.float32:
                    scale = max(1.0, float(np.abs(want).max(initial=0)))
                    assert np.abs(got - want).max(initial=0) <= 1e-4 * scale, message


def _listed(found: Array | tuple[Array, ...]) -> tuple[Array, ...]:
    return found if isinstance(found, tuple) else (found,)


def reached_by_floats(program: Program) -> set[str]:
    """Tensors that depend on real arithmetic, where the last bit is free."""
    inexact = (
        "unary", "softmax", "reduce", "avg_pool", "conv2d", "conv_transpose2d", "dense",
    )  # fmt: skip
    reached: set[str] = set()
    for op in program.ops:
        real = any(program.types[name].is_float for name in op.inputs)
        if any(name in reached for name in op.inputs) or (real and op.kind in inexact):
            reached.add(op.output)
    return reached


def program_text(program: Program) -> str:
    return "\n".join(
        f"{op.output} = {op.kind}({', '.join(op.inputs)}) -> {program.types[op.output]}  {op}"
        for op in program.ops
    )[:6000]


@settings(max_examples=3, **SLOW)
@given(program=programs())
def test_generated_code_equals_the_interpreter(
    program: Program, tmp_path_factory: pytest.TempPathFactory
) -> None:
    check(program, tmp_path_factory.mktemp("drawn"))


@pytest.mark.slow
@settings(max_examples=40, **SLOW)
@given(program=programs(chains=12, length=9))
def test_many_programs(program: Program, tmp_path_factory: pytest.TempPathFactory) -> None:
    check(program, tmp_path_factory.mktemp("drawn"))
