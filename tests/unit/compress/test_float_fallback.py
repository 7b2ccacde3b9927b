"""Where 8 bits are not enough, a target without 16 bits computes layers in float32."""

from __future__ import annotations

from dataclasses import replace

import pytest
from float_networks import mobile, pictures
from hypothesis import given, settings
from hypothesis import strategies as st

from edgebed.compress.budget import Choice, Remedy
from edgebed.compress.imported import Data, compress
from edgebed.compress.scheme import Settings
from edgebed.program.types import Program

PLAIN = Settings(equalise=False, correct_bias=False)
DATA = Data(pictures(8), pictures(12, seed=5))


def choice(program: Program, remedy: Remedy, max_drop: float = 0.0) -> Choice:
    return compress(program, DATA, PLAIN, max_drop, remedy=remedy).choice


def types_of(choice: Choice) -> set[str]:
    return {kind.dtype for kind in choice.program.types.values()}


@settings(max_examples=4)
@given(seed=st.integers(0, 1000), uneven=st.sampled_from([300.0, 3000.0]))
def test_float_layers_repair_what_8_bits_break(seed: int, uneven: float) -> None:
    program = mobile(seed, uneven=uneven)
    found = choice(program, Remedy("float32"))
    narrow = choice(program, Remedy("none"))
    assert "int16" not in types_of(found) and found.wide == ()
    assert found.drop <= narrow.drop
    assert narrow.floats == narrow.wide == ()
    if narrow.drop > 0.01:
        assert found.floats and found.drop < narrow.drop
    made = {op.name: op for op in found.program.ops}
    for layer in found.floats:
        if layer in made and hasattr(made[layer], "weight"):
            assert found.program.types[made[layer].output].is_float


def test_the_default_stays_16_bits() -> None:
    found = choice(mobile(uneven=3000.0), Remedy())
    assert found.wide and not found.floats
    assert "int16" in types_of(found)


def test_only_layers_that_the_target_can_compute_are_tried() -> None:
    program = mobile(uneven=3000.0)
    first, *_ = choice(program, Remedy("float32")).floats
    asked: list[bool] = []

    def possible(candidate: Program) -> bool:
        floats = {op.name for op in candidate.ops if candidate.types[op.output].is_float}
        asked.append(first not in floats)
        return asked[-1]

    found = choice(program, Remedy("float32", possible))
    assert True in asked and asked.count(False) == 1
    assert first not in found.floats


def test_layers_that_the_user_keeps_real_stay_so() -> None:
    asked = replace(PLAIN, floats=frozenset({"scores"}))
    done = compress(mobile(uneven=3000.0), DATA, asked, 0.0, remedy=Remedy("float32"))
    made = {op.name: op for op in done.choice.program.ops}
    assert done.choice.program.types[made["scores"].output].is_float
    assert "scores" not in {op.name for op in done.narrow.ops if op.output.endswith(".q")}


@pytest.mark.parametrize("kind", ["float32", "int16", "none"])
def test_nothing_is_changed_within_the_budget(kind: str) -> None:
    found = choice(mobile(), Remedy(kind), max_drop=0.5)  # type: ignore[arg-type]
    assert found.floats == found.wide == ()
