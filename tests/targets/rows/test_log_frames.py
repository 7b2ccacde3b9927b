"""A damaged log gives exactly the frames that arrived whole, and says in words what is lost."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edgebed.targets._shared.rows.log_frames import LoggedFrame, Losses, frames
from edgebed.targets._shared.rows.log_records import MAGIC, MOST_BYTES, Record, split

NETWORK = 0x42
PLAN = b"0123456789abcdef"


def records_of(number: int, parts: list[bytes]) -> list[Record]:
    """Return a frame as a device sends it: a reading, the begin, layers, the end."""
    begin = struct.pack("<4B16sI", 1, 3, 0, 0, PLAN, 0)
    made = [("U", struct.pack("<i", number) + b"light"), ("F", begin)]
    made += [("L", struct.pack("<HHI", 0, 0, 0) + part) for part in parts]
    made.append(("E", struct.pack("<IQ", len(made), 0)))
    return [Record(kind, NETWORK, number & 0xFFFF, payload) for kind, payload in made]


def read(data: bytes, cuts: list[int] | None = None) -> tuple[list[LoggedFrame], Losses]:
    ends = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts or [])})
    losses = Losses()
    chunks = [data[a:b] for a, b in pairwise(ends)]
    return list(frames(split(chunks), NETWORK, losses)), losses


# Text may hold anything but a whole record; payloads may look like the start of one.
texts = st.one_of(
    st.binary(max_size=40), st.just(b"printf: 42\r\n"), st.just(MAGIC), st.just(b"\xeb")
)
parts = st.lists(st.one_of(st.binary(max_size=60), st.just(MAGIC * 9)), max_size=4)


@st.composite
def logs(draw: st.DrawFn) -> list[tuple[int, bytes]]:
    """Draw pieces of a log: a frame's number and a record, or -1 and text."""
    pieces = []
    for number in range(draw(st.integers(1, 6))):
        for record in records_of(number, draw(parts)):
            pieces.append((-1, draw(texts)))
            pieces.append((number, record.to_bytes()))
    pieces.append((-1, draw(texts)))
    return pieces


@given(logs(), st.lists(st.integers(0, 1 << 16)))
@settings(max_examples=150, deadline=None)
def test_text_between_records_and_cuts_anywhere_change_nothing(
    pieces: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    found, losses = read(b"".join(data for _, data in pieces), cuts)
    wanted = max(number for number, _ in pieces) + 1
    assert [one.number for one in found] == list(range(wanted))
    assert not losses.notes and not losses.frames
    assert losses.passed == sum(len(data) for number, data in pieces if number < 0)
    assert all(one.plan == PLAN.decode() and one.level == 3 for one in found)


@st.composite
def damages(draw: st.DrawFn) -> tuple[list[tuple[int, bytes]], set[int]]:
    """Draw a log of which bytes are lost, changed or added; return the frames that are hit."""
    pieces, hit, whole_ones = list(draw(logs())), set(), []
    places = [at for at, (number, _) in enumerate(pieces) if number >= 0]
    for at in draw(st.lists(st.sampled_from(places), max_size=4, unique=True)):
        number, data = pieces[at]
        first = draw(st.integers(0, len(data) - 1))
        last = draw(st.integers(first + 1, len(data)))
        what = draw(st.sampled_from(["lost", "flipped", "added"]))
        if what == "lost":
            changed = data[:first] + data[last:]
        elif what == "added":
            changed = data[:first] + draw(st.binary(min_size=1, max_size=9)) + data[first:]
        else:
            changed = bytearray(data)
            changed[first] ^= draw(st.integers(1, 255))
        if bytes(changed) == data or data in bytes(changed):
            continue  # as much was added as was there
        pieces[at] = (number, bytes(changed))
        whole_ones.append(data)
        hit.add(number)
    log = b"".join(piece for _, piece in pieces)
    assume(not any(data in log for data in whole_ones))  # text may stand in for what was lost
    return pieces, hit


@given(damages(), st.lists(st.integers(0, 1 << 16)))
@settings(max_examples=300, deadline=None)
def test_damage_costs_the_frames_that_it_hits_and_no_others(
    damaged: tuple[list[tuple[int, bytes]], set[int]], cuts: list[int]
) -> None:
    pieces, hit = damaged
    data = b"".join(piece for _, piece in pieces)
    found, losses = read(data, cuts)
    count = max(number for number, _ in pieces) + 1
    assert [one.number for one in found] == [n for n in range(count) if n not in hit]
    told = set(named(losses.notes))
    # Of frames lost altogether before the first or behind the last record nobody knows.
    arrived = {n for n, _ in pieces if n >= 0} - {n for n in hit if not whole(pieces, n)}
    between = set(range(min(arrived, default=count), max(arrived, default=-1) + 1))
    assert hit & between <= told <= hit
    assert losses.frames == len(told)


def whole(pieces: list[tuple[int, bytes]], number: int) -> bool:
    """Say whether a record of a frame arrived whole."""
    items = list(split([b"".join(piece for n, piece in pieces if n == number)]))
    return any(isinstance(one, Record) for one in items)


def named(notes: list[str]) -> Iterator[int]:
    for note in notes:
        if found := re.match(r"frames (\d+) to (\d+) are missing", note):
            yield from range(int(found[1]), int(found[2]) + 1)
        elif found := re.match(r"frame (\d+) is", note):
            yield int(found[1])
        else:
            assert note.startswith("the log begins with frame"), note


@given(st.binary(max_size=3000), st.lists(st.integers(0, 1 << 16)))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_read_to_their_end(data: bytes, cuts: list[int]) -> None:
    found, losses = read(data, cuts)
    assert not found and losses.passed == len(data)


@pytest.mark.parametrize("number", [65534, 65535, 131071])
def test_numbers_go_on_beyond_sixteen_bits(number: int) -> None:
    sent = [records_of(n, [b"x"]) for n in range(number, number + 4)]
    found, losses = read(b"".join(one.to_bytes() for records in sent for one in records))
    first = number & 0xFFFF
    assert [one.number for one in found] == list(range(first, first + 4))
    assert losses.notes == [f"the log begins with frame {first}"]


def test_a_device_that_starts_again_goes_on_counting() -> None:
    sent = [records_of(n, []) for n in (0, 1, 2, 0, 1)]
    found, losses = read(b"".join(one.to_bytes() for records in sent for one in records))
    assert [one.number for one in found] == [0, 1, 2, 3, 4]
    (note,) = losses.notes
    assert note == "the device started again behind frame 2; its frame 0 is frame 3 here"


def test_a_reset_within_a_frame_costs_that_frame() -> None:
    sent = [
        records_of(0, [b"a", b"b"]),
        records_of(1, [])[:2],
        records_of(0, []),
        records_of(1, []),
    ]
    found, losses = read(b"".join(one.to_bytes() for records in sent for one in records))
    assert [len(one.records) for one in found] == [3, 1, 1]
    assert any("frame 1 is left out: its end did not arrive" in note for note in losses.notes)
    assert any("started again" in note for note in losses.notes)


def test_a_cut_log_says_so() -> None:
    data = b"".join(one.to_bytes() for n in range(2) for one in records_of(n, [b"abc"]))
    found, losses = read(data[:-20])
    assert [one.number for one in found] == [0]
    assert losses.notes == ["frame 1 is cut: the log ends behind 3 records of it"]


def test_records_of_another_network_are_counted_and_passed_over() -> None:
    mine = records_of(0, [b"abc"])
    others = [Record(r.type, 7, r.frame, r.payload) for r in records_of(9, [b"x"])]
    mixed = [one for pair in zip(mine, others, strict=True) for one in pair]
    found, losses = read(b"".join(one.to_bytes() for one in mixed))
    assert [one.number for one in found] == [0] and not losses.notes
    assert losses.strangers == len(others)


def test_a_head_that_claims_too_much_holds_nothing_up() -> None:
    fake = struct.pack("<2sBBHH", MAGIC, ord("L"), NETWORK, 0, MOST_BYTES + 1)
    data = fake + b"".join(one.to_bytes() for one in records_of(0, []))
    items = split(iter([data]))
    assert any(isinstance(one, Record) for one in (next(items), next(items), next(items)))


def test_thousands_of_losses_are_counted_but_not_all_listed() -> None:
    sent = [records_of(n, [])[:-1] for n in range(300)]
    _, losses = read(b"".join(one.to_bytes() for records in sent for one in records))
    assert losses.frames == 300 and len(losses.notes) == 100 and losses.more == 200
