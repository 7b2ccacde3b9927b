"""What devices report is found, judged, and refused in words where it is none."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_drift import frames, scenes, write

from edgebed.cli import execute
from edgebed.errors import EdgebedError
from edgebed.observe.drift_profile import Profile, profile_of
from edgebed.observe.drift_sketches import drift_of_reports, drift_of_sketches
from edgebed.observe.sketch import BINS, BYTES, MOST, Report, Sketch, captured, pack, unpack
from edgebed.observe.trace import Frame
from edgebed.program.types import Array


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a profile, as a compiled one has it."""
    folder = tmp_path_factory.mktemp("compiled")
    profile_of(write(folder / "r.trace", frames(scenes(0, 300)))).save(folder / "profile.json")
    return folder


@pytest.fixture(scope="module")
def profile(place: Path) -> Profile:
    return Profile.load(place / "profile.json")


def sketches(source: Iterator[Frame]) -> dict[str, Sketch]:
    found: dict[str, Sketch] = {}
    for frame in source:
        for key, tensor in zip(("input x", "half"), frame.tensors, strict=False):
            assert tensor.values is not None
            one = Sketch.of(tensor.values)
            found[key] = found[key] + one if key in found else one
    return found


def clean(seed: int, count: int = 60) -> bytes:
    return pack(sketches(frames(scenes(seed, count))))


def dark(seed: int, count: int = 60) -> bytes:
    return pack(sketches(frames(0.5 * one for one in scenes(seed, count))))


def judged(
    capsys: pytest.CaptureFixture[str], place: Path, *captures: bytes
) -> tuple[int, dict[str, object]]:
    paths = []
    for at, data in enumerate(captures):
        paths.append(place / f"line{at}.bin")
        paths[-1].write_bytes(data)
    words = ["observe", *map(str, paths), "--profile", str(place / "profile.json"), "--json"]
    code = execute(words)
    return code, json.loads(capsys.readouterr().out)


def test_packets_are_judged_wherever_they_stand_in_a_captured_line(
    capsys: pytest.CaptureFixture[str], place: Path
) -> None:
    line = b"boot ok\r\n" + clean(1) + b"\r\n21 C, EBSK soon\r\n" + clean(2) + b"\r\nbye"
    code, said = judged(capsys, place, line)
    assert (code, said["verdicts"], said["windows"], said["frames"]) == (0, [], 2, 120)
    code, said = judged(capsys, place, line, b"x" + dark(3), clean(4) + dark(5))
    (verdict,) = said["verdicts"]  # type: ignore[misc]
    assert (code, said["windows"]) == (2, 5)
    assert (verdict["cause"], verdict["layer"]) == ("brightness_shift", "input x")
    assert verdict["evidence"].startswith("In 2 of 5 reports, first in number 3: Over 120 frames")


def test_a_damaged_packet_is_left_out_and_said(
    capsys: pytest.CaptureFixture[str], place: Path
) -> None:
    broken = bytearray(clean(2))
    broken[100] ^= 4
    code, said = judged(capsys, place, bytes(broken) + clean(1) + clean(3)[:200])
    assert (code, said["windows"]) == (0, 1)
    assert "left out: 2 packets" in str(said["notes"])


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert execute(["observe", *words]) == 1
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    return said


def test_what_cannot_be_judged_is_refused_in_one_sentence(
    capsys: pytest.CaptureFixture[str], place: Path, tmp_path: Path
) -> None:
    kept = ("--profile", str(place / "profile.json"))
    good, broken, other = (tmp_path / f"{name}.bin" for name in ("good", "broken", "other"))
    good.write_bytes(clean(1))
    broken.write_bytes(clean(1)[:-1])
    other.write_bytes(pack({"input y": Sketch(1, (1,) * BINS)}))
    assert "compared with a profile" in refused(capsys, str(good))
    assert "no whole report" in refused(capsys, str(broken), *kept)
    assert "reports no tensor of the profile" in refused(capsys, str(other), *kept)
    newer = bytearray(clean(1))
    newer[4] = 9
    broken.write_bytes(bytes(newer))
    assert "format 9 of sketches" in refused(capsys, str(broken), *kept)
    trace = write(tmp_path / "t.trace", frames(scenes(0, 20)))
    assert "one is examined at a time" in refused(capsys, str(trace), str(trace))
    assert "one is examined at a time" in refused(capsys, str(trace), str(good), *kept)


def test_full_counters_and_unknown_tensors_are_said(profile: Profile) -> None:
    found = sketches(frames(scenes(1, 60)))
    full = {name: replace(one, full=True) for name, one in found.items()}
    seen = drift_of_reports([Report(full, (7,)), Report({"input x": Sketch(0, (0,) * BINS)})],
                            profile)  # fmt: skip
    assert not seen.verdicts
    assert any("full counters" in note for note in seen.notes)
    assert any("no counts of 1 reported tensors (CRC 00000007)" in note for note in seen.notes)


def test_a_report_without_frames_says_nothing_and_says_so(profile: Profile) -> None:
    seen = drift_of_reports([Report({"input x": Sketch(0, (0,) * BINS)})], profile)
    assert not seen.verdicts and "counted no frame" in seen.notes[0]


def test_a_lens_cap_is_named_from_counts_alone(profile: Profile) -> None:
    capped = sketches(frames(np.full_like(one, 4) for one in scenes(1, 60)))
    (verdict,) = drift_of_sketches(capped, profile)
    assert (verdict.cause, verdict.layer) == ("dead_sensor", "input x")


def test_a_layer_that_moves_alone_is_named_from_counts(profile: Profile) -> None:
    moved = sketches(frames(scenes(1, 60)))
    half = moved["half"]
    moved["half"] = replace(half, bins=(*half.bins[4:], 0, 0, 0, 0))
    (verdict,) = drift_of_sketches(moved, profile)
    assert (verdict.cause, verdict.layer) == ("layer_shift", "half")


def test_clean_reports_raise_nothing_in_a_thousand(profile: Profile) -> None:
    pool = [sketches(iter([one])) for one in frames(scenes(11, 300))]
    random = np.random.default_rng(0)
    for _ in range(1000):
        chosen = [pool[at] for at in random.choice(len(pool), random.choice([8, 32, 64]))]
        total: dict[str, Sketch] = {}
        for one in chosen:
            total = {k: total[k] + s if k in total else s for k, s in one.items()}
        assert not drift_of_sketches(total, profile)


def test_counts_beyond_32_bits_are_not_sent_as_smaller_ones() -> None:
    from edgebed.errors import EdgebedError

    with pytest.raises(EdgebedError, match="beyond what 32 bits count"):
        Sketch(1, (MOST + 1, *(0,) * (BINS - 1))).to_bytes()


@given(st.lists(st.one_of(st.binary(max_size=40), st.just(b"EBSK"), st.integers(0, 3)), max_size=8))
def test_every_whole_packet_is_found_in_any_noise(parts: list[bytes | int]) -> None:
    packets = [pack({"a": Sketch(n, (n,) * BINS)}) for n in range(4)]
    line = b"".join(packets[part] if isinstance(part, int) else part for part in parts)
    wanted = [part for part in parts if isinstance(part, int)]
    try:
        found = [one.sketches["a"].frames for one in captured(line, ["a"])[0]]
    except Exception as error:  # noise may be a report of another version, if its checksum fits
        assert "of sketches" in str(error)
        assert _forged(line)
        return
    assert found == wanted or _forged(line)


def _forged(line: bytes) -> bool:
    """Whether noise makes a head whose checksum fits: only one of no tensors can be drawn."""
    at = line.find(b"EBSK")
    while at >= 0:
        head = line[at : at + 12]
        if len(head) == 12:
            _, _, tensors, crc = struct.unpack("<4sHHI", head)
            if not tensors and crc == zlib.crc32(b""):
                return True
        at = line.find(b"EBSK", at + 1)
    return False


def test_arrays_of_sixteen_bits_have_groups_of_2048() -> None:
    values: Array = np.array([-32768, -30721, -30720, 0, 32767], np.int16)
    one = Sketch.of(values)
    assert (one.bins[0], one.bins[1], one.bins[16], one.bins[31]) == (2, 1, 1, 1)
    assert (one.at_low, one.at_high) == (1, 1)


def test_a_devices_sketches_show_drift_and_clean_ones_none(profile: Profile) -> None:
    assert not drift_of_sketches(sketches(frames(scenes(6, 100))), profile)
    (verdict,) = drift_of_sketches(sketches(frames(0.5 * p for p in scenes(6, 100))), profile)
    assert verdict.layer == "input x"
    assert "over 100 frames" in verdict.evidence.lower()


int8s = st.lists(st.integers(-128, 127), min_size=1, max_size=300)


@given(int8s, int8s)
def test_sketches_merge_by_adding_and_survive_their_bytes(one: list[int], other: list[int]) -> None:
    a, b = (Sketch.of(np.array(values, np.int8)) for values in (one, other))
    both = Sketch.of(np.array(one + other, np.int8))
    merged = a + b
    assert (merged.bins, merged.at_low, merged.at_high) == (both.bins, both.at_low, both.at_high)
    assert merged.frames == 2
    assert Sketch.from_bytes(merged.to_bytes()) == merged
    assert len(merged.to_bytes()) == BYTES
    report = pack({"x": a, "layer": b})
    assert unpack(report, ["layer", "x", "other"]) == {"x": a, "layer": b}


@given(st.binary(max_size=400))
def test_no_bytes_at_all_bring_a_report_down(data: bytes) -> None:
    for given_bytes in (data, b"EBSK" + data, pack({"x": Sketch(1, (0,) * BINS)})[:-1] + data):
        try:
            unpack(given_bytes, ["x"])
        except EdgebedError:
            continue
        assert zlib.crc32(given_bytes[12:]) == int.from_bytes(given_bytes[8:12], "little")
