"""Every pass keeps every output, on random programs: integers bit for bit."""

from __future__ import annotations

from typing import Any

import pytest
from affine_programs import assert_same, programs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgebed.compile.passes import DEFAULT, PASSES, optimise
from edgebed.program.ops.identity import Identity
from edgebed.program.text import parse, to_text
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


@settings(EXAMPLES, max_examples=60)
@given(program=programs(largest=9), data=st.data())
def test_outputs_may_be_inputs_inner_tensors_or_other_names_of_them(
    program: Program, data: st.DataObject
) -> None:
    seen = st.sampled_from(list(program.types))
    shown = data.draw(st.lists(seen, unique=True, max_size=3))
    alias = Identity(name="alias", inputs=(data.draw(seen),), output="alias")
    again = Identity(name="again", inputs=("alias",), output="again")
    names = dict.fromkeys((*program.outputs, *shown, "alias", "again"))
    outputs = data.draw(st.permutations(list(names)))
    before = program.with_(ops=(*program.ops, alias, again), outputs=tuple(outputs))
    after, _ = optimise(before)
    assert_same(before, after)
    assert parse(to_text(after)) == after
