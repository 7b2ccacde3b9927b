"""Random programs: the interpreter and the row-wise C, under every goal, give the same bytes."""

from __future__ import annotations

import numpy as np
import pytest
from drawn import programs
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from native_network import NativeNetwork, program_inputs
from test_drawn_programs import program_text, reached_by_floats

from edgebed.program.run import run
from edgebed.program.types import Program
from edgebed.targets._shared.rows.kernels.portable import PORTABLE
from edgebed.targets._shared.rows.kernels.sets import Goal
from edgebed.targets._shared.rows.lowering import refusals
from edgebed.targets._shared.rows.project import make

GOALS: tuple[Goal, ...] = ("time", "balanced", "ram")
SLOW = {"suppress_health_check": list(HealthCheck), "phases": (Phase.generate,)}


def supported(program: Program) -> Program | None:
    """The ops that have kernels, and what depends on nothing else; None where none is left."""
    refused = {name for name, _ in refusals(program, PORTABLE)}
    known, kept = set(program.inputs), []
    for op in program.ops:
        if op.name not in refused and all(name in known for name in op.inputs):
            kept.append(op)
            known.add(op.output)
    read = {name for op in kept for name in op.inputs}
    loose = [op.output for op in kept if op.output not in read]
    outputs = [name for name in program.outputs if name in known and name not in program.inputs]
    if not kept:
        return None
    found = tuple(dict.fromkeys([*outputs, *loose]))
    inputs = {name: kind for name, kind in program.inputs.items() if name in read}
    return program.with_(inputs=inputs, ops=tuple(kept), outputs=found, file_shapes={})


def check(program: Program, goal: Goal) -> None:
    project = make(program, PORTABLE, goal)
    native = NativeNetwork(project)
    reached = reached_by_floats(program)
    for seed in range(2):
        inputs = program_inputs(program, seed)
        expected = run(program, {name: value[None] for name, value in inputs.items()})
        for name, got in native.run(inputs).items():
            want = expected[name][0].reshape(got.shape)
            if name not in reached:
                np.testing.assert_array_equal(got, want, f"{goal} {name}\n{program_text(program)}")


@settings(max_examples=12, deadline=None, **SLOW)
@given(programs(chains=4, length=6), st.sampled_from(GOALS))
def test_drawn_programs(program: Program, goal: Goal) -> None:
    part = supported(program)
    if part is not None:
        check(part, goal)


@pytest.mark.slow
@settings(max_examples=150, deadline=None, **SLOW)
@given(programs(chains=5, length=9), st.sampled_from(GOALS))
def test_many_drawn_programs(program: Program, goal: Goal) -> None:
    part = supported(program)
    if part is not None:
        check(part, goal)
