"""The list of passes as text, and what is said about each of them."""

from __future__ import annotations

import pytest
from affine_programs import assert_same
from hand_made import Hand, kinds

from edgebed.compile.passes import DEFAULT, PASSES, Pipeline, optimise, report
from edgebed.compile.passes.changes import constant_bytes
from edgebed.compile.passes.dead_channels import DeadChannels
from edgebed.compile.passes.fold_constants import FoldConstants
from edgebed.compile.passes.schedule import Schedule
from edgebed.errors import EdgebedError
from edgebed.events import Event, Note


def test_a_pipeline_prints_and_parses_back() -> None:
    assert Pipeline.parse(str(DEFAULT)) == DEFAULT
    mixed = Pipeline((Schedule(width=3), DeadChannels()), rounds=1)
    assert Pipeline.parse(str(mixed)) == mixed
    assert Pipeline.parse("# none\n\nschedule # last\n") == Pipeline((Schedule(),))


def test_every_pass_is_in_the_default_order() -> None:
    assert {one.name for one in DEFAULT.passes} == set(PASSES)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("shedule", "line 1: unknown pass 'shedule'; try: did you mean 'schedule'"),
        ("schedule(wide=3)", "line 1: pass 'schedule' has no setting 'wide'"),
        ("schedule(width='3')", "line 1: setting width of schedule (it is a int)"),
        ("\nfuse_pad(x=1)", "line 2: pass 'fuse_pad' has no setting 'x'"),
        ("schedule(", "line 1: not understood"),
        ("schedule(3)", "line 1: not understood"),
        ("rounds 0", "line 1: not understood"),
    ],
)
def test_a_wrong_line_is_named(text: str, says: str) -> None:
    with pytest.raises(EdgebedError) as caught:
        Pipeline.parse(text)
    assert says in str(caught.value)


def _wasteful() -> Hand:
    h = Hand()
    x = h.op("identity", "x")
    h.conv(h.conv(x, 3), 2, name="last")
    return h


def test_a_change_says_what_was_there_before_and_after() -> None:
    heard: list[Event] = []
    program = _wasteful().program("last")
    better, changes = optimise(program, heard.append)
    assert_same(program, better)
    assert kinds(better) == ["conv2d", "conv2d"]
    (change,) = changes
    assert (change.name, change.ops) == ("fold_constants", (3, 2))
    assert change.macs[0] == change.macs[1] == 30 * (4 * 3 + 3 * 2)
    assert change.constant_bytes == (constant_bytes(program), constant_bytes(better))
    assert str(change) == "fold_constants: removed 1 identity (ops 3 -> 2)"
    assert heard == [Note("compile", str(change))]
    assert report(program, better, changes) == f"{change}\nall passes: ops 3 -> 2"


def test_what_changed_inside_the_layers_is_said_too() -> None:
    h = Hand()
    x = h.conv("x", 5, bias=[0, 0, 10_000_000, 0, 0])
    _, changes = optimise(h.program(h.conv(x, 2)))
    assert [change.text for change in changes] == ["changed 2 conv2d, 1 channel fewer"]
    assert changes[0].macs == (30 * (4 * 5 + 5 * 2), 30 * (4 * 4 + 4 * 2))


def test_another_order_is_said_in_words() -> None:
    h = Hand()
    large = [h.conv("x", 9) for _ in range(3)]
    small = [h.conv(one, 1) for one in large]
    _, changes = Pipeline((Schedule(),)).run(h.program(h.op("concat", *small)))
    assert [change.text for change in changes] == ["another order of the ops"]
    assert changes[0].peak_bytes[1] < changes[0].peak_bytes[0]


def test_constants_kept_once_are_counted() -> None:
    h = Hand()
    x = h.conv(h.conv("x", 4, bias=[1, 2, 3, 4]), 4, bias=[1, 2, 3, 4])
    _, changes = Pipeline((FoldConstants(),)).run(h.program(x))
    assert changes[0].text == "equal constants kept once, 2 fewer"


def test_a_program_with_nothing_to_do_comes_back_as_it_is() -> None:
    h = Hand()
    program = h.program(h.conv("x", 3))
    assert optimise(program) == (program, [])
