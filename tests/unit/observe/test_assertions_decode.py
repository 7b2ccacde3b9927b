"""Answers that do not follow from the outputs: which parameter of the decoding is wrong?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgebed.data.decode import decode as decode_real
from edgebed.data.fixed_decode import decode_fixed
from edgebed.observe.answers import overlap, overlap_of_best_size, suppressed
from edgebed.observe.assertions import ASSERTIONS, examine
from edgebed.observe.assertions.decode import decode
from edgebed.observe.observed import Observed
from edgebed.observe.recorders.described import answer_of, rows_of
from edgebed.observe.trace import Frame, Manifest, Tensor
from edgebed.observe.trace_reader import TraceReader
from edgebed.observe.trace_writer import TraceWriter
from edgebed.program.contract import Contract, GridDecode, ImageInput, Nms
from edgebed.program.types import Array

SCALE = 2.0**-12
NAMES = ("dog", "cat", "bird")
PRIORS = ((0.2, 0.25), (0.4, 0.3))
CONTRACT = Contract(
    ImageInput(96, 64),
    NAMES,
    GridDecode(8, 6, 2, PRIORS, size="squared", stretch=2.0),
    Nms(score=0.25, iou=0.45, maximum=200, candidates=1000),
)


def outputs(seed: int, frames: int = 4) -> list[Array]:
    """Maps with a few sure boxes in each picture, many of them overlapping."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(frames):
        real = rng.normal(0, 1.5, (CONTRACT.output_channels, 6, 8))
        real[[4, 9]] = real[[4, 9]] * 2 - 1
        found.append(np.rint(real / SCALE).astype(np.int32))
    return found


def answered(
    maps: Sequence[Array], contract: Contract = CONTRACT, factor: float = 1.0
) -> list[Any]:
    return [rows_of(decode_fixed(one, SCALE * factor, contract), contract) for one in maps]


def trace_of(maps: Sequence[Array], rows: Sequence[Array], scale: float | None = SCALE) -> Observed:
    frames = [
        Frame(number, (
            Tensor("head", "output", one.shape, str(one.dtype), scale, values=one),
            answer_of(answer),
        ))
        for number, (one, answer) in enumerate(zip(maps, rows, strict=True))
    ]  # fmt: skip
    return Observed.of(Manifest("device", "io", contract=CONTRACT.to_json()), frames)


def causes(maps: Sequence[Array], rows: Sequence[Array]) -> list[str]:
    reference = trace_of(maps, answered(maps))
    return [one.cause for one in decode(reference, trace_of(maps, rows))]


@pytest.mark.parametrize("seed", range(5))
def test_the_contracts_own_answers_are_no_fault(seed: int) -> None:
    maps = outputs(seed)
    assert causes(maps, answered(maps)) == []


@pytest.mark.parametrize("seed", range(5))
def test_a_decoder_in_real_numbers_is_no_fault(seed: int) -> None:
    maps = outputs(seed)
    size = np.array([96, 64] * 2)
    rows = [
        np.column_stack([one.labels, one.scores, one.boxes * size])
        for one in decode_real(np.stack(maps) * np.float32(SCALE), CONTRACT)
    ]
    assert causes(maps, rows) == []


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("score", [0.1, 0.15, 0.2, 0.3, 0.35, 0.4])
def test_another_least_score(seed: int, score: float) -> None:
    maps = outputs(seed)
    rows = answered(maps, replace(CONTRACT, nms=replace(CONTRACT.nms, score=score)))
    (found,) = decode(trace_of(maps, answered(maps)), trace_of(maps, rows))
    assert found.cause == "threshold" and found.layer == "head"
    assert found.settings["score"]["device"] == pytest.approx(score, abs=0.03)
    assert found.settings["score"]["contract"] == 0.25


def test_a_raw_threshold_of_the_confidence() -> None:
    maps = outputs(3)
    masked = [one.astype(np.int64) for one in maps]
    for one in masked:
        for row in (4, 9):
            one[row][one[row] < -1000] = np.iinfo(np.int32).min
    rows = answered(masked, replace(CONTRACT, nms=replace(CONTRACT.nms, score=0.0)))
    (found,) = decode(trace_of(maps, answered(maps)), trace_of(maps, rows))
    assert found.cause == "threshold" and "raw confidence" in found.evidence
    assert found.settings["confidence"]["device"] == pytest.approx(-1000, abs=300)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("shift", [-2, -1, 1, 2, 3])
def test_an_output_shift_left_out(seed: int, shift: int) -> None:
    maps = outputs(seed)
    (found,) = decode(
        trace_of(maps, answered(maps)), trace_of(maps, answered(maps, factor=2.0**shift))
    )
    assert found.cause == "output_scale"
    assert found.settings["scale"]["device"] == SCALE * 2.0**shift
    assert found.settings["scale"]["contract"] == SCALE


def test_another_scale_with_another_threshold_is_one_fault() -> None:
    maps = outputs(5)
    loose = replace(CONTRACT, nms=replace(CONTRACT.nms, score=0.12))
    (found,) = decode(trace_of(maps, answered(maps)), trace_of(maps, answered(maps, loose, 0.25)))
    assert found.cause == "output_scale"
    assert found.settings["scale"]["device"] == SCALE / 4
    assert found.settings["score"]["device"] == pytest.approx(0.12, abs=0.02)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("iou", [0.2, 0.3, 0.7, 1.0])
def test_another_limit_of_overlap(seed: int, iou: float) -> None:
    maps = outputs(seed)
    rows = answered(maps, replace(CONTRACT, nms=replace(CONTRACT.nms, iou=iou)))
    found = causes(maps, rows)
    same = all(np.array_equal(a, b) for a, b in zip(rows, answered(maps), strict=True))
    assert found == ([] if same else ["suppression"])


def test_suppression_across_classes_and_with_a_stale_size() -> None:
    maps = outputs(11)
    everything = replace(CONTRACT, nms=Nms(score=0.0, iou=1.0, maximum=4096, candidates=4096))
    candidates = answered(maps, everything)
    crossed = [suppressed(one, CONTRACT.nms, overlap, any_class=True) for one in candidates]
    (found,) = decode(trace_of(maps, answered(maps)), trace_of(maps, crossed))
    assert found.cause == "suppression" and "other classes" in found.evidence
    stale = [suppressed(one, CONTRACT.nms, overlap_of_best_size) for one in candidates]
    (found,) = decode(trace_of(maps, answered(maps)), trace_of(maps, stale))
    assert found.cause == "suppression" and "size of the picture's best" in found.evidence


def test_boxes_of_another_size() -> None:
    maps = outputs(12)
    wide = replace(CONTRACT, decode=replace(CONTRACT.decode, priors=((0.15, 0.25), (0.3, 0.3))))
    (found,) = decode(trace_of(maps, answered(maps)), trace_of(maps, answered(maps, wide)))
    assert found.cause == "box_size"
    assert found.settings["ratio"][0] == pytest.approx(0.75, abs=0.05)


def test_centres_stretched_otherwise() -> None:
    maps = outputs(13)
    other = replace(CONTRACT, decode=replace(CONTRACT.decode, stretch=1.0))
    assert causes(maps, answered(maps, other)) == ["box_place"]


def test_classes_in_another_order() -> None:
    maps = outputs(14)
    rows = [one.copy() for one in answered(maps)]
    for one in rows:
        one[:, 0] = np.array([1, 2, 0])[one[:, 0].astype(int)]
    (found,) = decode(trace_of(maps, answered(maps)), trace_of(maps, rows))
    assert found.cause == "class_order" and "'dog' is reported as 'cat'" in found.evidence


def test_a_device_that_reports_nothing() -> None:
    maps = outputs(19)
    (found,) = decode(trace_of(maps, answered(maps)), trace_of(maps, [np.zeros((0, 6))] * 4))
    assert found.cause == "decoding" and "reports nothing" in found.evidence


def test_nonsense_is_called_so() -> None:
    maps = outputs(15)
    rng = np.random.default_rng(0)
    rows = [rng.uniform(0, 1, (9, 6)) for _ in maps]
    assert causes(maps, rows) == ["decoding"]


def test_outputs_that_a_device_recorded_as_real_numbers() -> None:
    maps = outputs(16)
    real = [(one * SCALE).astype(np.float32) for one in maps]
    sound = trace_of(real, answered(maps), None)
    assert decode(sound, sound) == []
    shifted = trace_of(real, answered(maps, factor=4.0), None)
    assert [one.cause for one in decode(sound, shifted)] == ["output_scale"]


def test_answers_do_not_hide_other_faults_and_pass_through_files(tmp_path: Path) -> None:
    maps = outputs(17)
    observed = trace_of(maps, answered(maps, factor=0.5))
    path = tmp_path / "t.trace"
    with TraceWriter(path, observed.manifest) as writer:
        for frame in observed.frames:
            writer.write(frame)
    with TraceReader(path) as reader:
        again = Observed.of(reader.manifest, list(reader.frames()))
    assert [one.shape for one in again.answers["detections"].stored] == [
        one.shape for one in observed.answers["detections"].stored
    ]
    found = examine(trace_of(maps, answered(maps)), again)
    assert [one.cause for one in found] == ["output_scale"]
    assert "decode" in ASSERTIONS


def test_nothing_is_said_without_answers_or_contract() -> None:
    maps = outputs(18)
    full = trace_of(maps, answered(maps, factor=0.5))
    bare = [replace(one, tensors=one.of("output")) for one in full.frames]
    assert decode(full, Observed.of(full.manifest, bare)) == []
    silent = replace(full.manifest, contract=None)
    other = Observed.of(silent, full.frames)
    assert decode(other, other) == []
    strange = Observed.of(replace(full.manifest, contract={"features": {}}), full.frames)
    assert decode(strange, strange) == []
