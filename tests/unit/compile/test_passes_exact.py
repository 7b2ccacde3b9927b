"""Every pass keeps every output, on random programs: integers bit for bit."""

from __future__ import annotations

from typing import Any

import pytest
from affine_programs import assert_same, programs
from hypothesis import HealthCheck, given, settings

from edgebed.compile.passes import DEFAULT, PASSES, optimise
from edgebed.program.types import Program

EXAMPLES = settings(max_examples=60, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("name", PASSES)
@EXAMPLES
@given(program=programs())
def test_a_pass_alone_keeps_integers(name: str, program: Program) -> None:
    assert_same(program, PASSES[name]().run(program))


@pytest.mark.parametrize("name", PASSES)
@settings(EXAMPLES, max_examples=25)
@given(program=programs(real=True))
def test_a_pass_alone_keeps_reals(name: str, program: Program) -> None:
    assert_same(program, PASSES[name]().run(program))


@settings(EXAMPLES, max_examples=150)
@given(program=programs(largest=9))
def test_all_passes_together_keep_integers(program: Program) -> None:
    assert_same(program, optimise(program)[0])


@settings(EXAMPLES, max_examples=50)
@given(program=programs(real=True, largest=9))
def test_all_passes_together_keep_reals(program: Program) -> None:
    assert_same(program, optimise(program)[0])


@settings(EXAMPLES, max_examples=50)
@given(program=programs(largest=9))
def test_a_second_run_finds_nothing(program: Program) -> None:
    """Nobody has to guess how often to optimise, unless the rounds ran out."""
    better, changes = optimise(program)
    rounds = sum(change.name == changes[0].name for change in changes) if changes else 0
    if rounds < DEFAULT.rounds:
        assert optimise(better)[1] == []


@settings(EXAMPLES, max_examples=50)
@given(program=programs(largest=9))
def test_the_passes_never_make_it_worse(program: Program) -> None:
    def size(one: Any) -> int:
        return sum(one.macs().values())

    assert size(optimise(program)[0]) <= size(program)
