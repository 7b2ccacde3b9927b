import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgebed.data import decode, fixed_decode, preprocess
from edgebed.errors import EdgebedError
from edgebed.program.contract import Contract, GridDecode, ImageInput, Nms

USUAL = Nms()
OPEN = Nms(score=0.0, iou=1.0, maximum=100_000, candidates=100_000)


def contract(
    grid: tuple[int, int] = (3, 2),
    boxes: int = 2,
    classes: int = 3,
    nms: Nms = USUAL,
    **options: object,
) -> Contract:
    priors = tuple((0.3 + 0.2 * i, 0.5 - 0.1 * i) for i in range(boxes))
    decoding = GridDecode(*grid, boxes, priors, **options)  # type: ignore[arg-type]
    names = tuple(f"c{i}" for i in range(classes))
    return Contract(ImageInput(96, 64), names, decoding, nms)


def by_hand(logits: np.ndarray, want: Contract) -> list[tuple[list[float], list[float]]]:
    """Boxes and class scores read straight off GridDecode's text."""

    def s(value: float) -> float:
        return 1 / (1 + math.exp(-value))

    grid, found = want.decode, []
    for row in range(grid.grid_height):
        for column in range(grid.grid_width):
            for b in range(grid.boxes):
                lx, ly, lw, lh, lc = logits[5 * b : 5 * b + 5, row, column]
                scores = logits[5 * grid.boxes :, row, column]
                x = (column + s(lx) * grid.stretch - (grid.stretch - 1) / 2) / grid.grid_width
                y = (row + s(ly) * grid.stretch - (grid.stretch - 1) / 2) / grid.grid_height
                gw, gh = (
                    (s(lw), s(lh))
                    if grid.size == "sigmoid"
                    else ((2 * s(lw)) ** 2, (2 * s(lh)) ** 2)
                )
                w, h = grid.priors[b][0] * gw, grid.priors[b][1] * gh
                if grid.class_score == "softmax":
                    total = sum(math.exp(v) for v in scores)
                    share = [math.exp(v) / total for v in scores]
                else:
                    share = [s(v) for v in scores]
                box = [min(max(v, 0), 1) for v in (x - w / 2, y - h / 2, x + w / 2, y + h / 2)]
                found.append((box, [s(lc) * p for p in share]))
    return found


FORMS = [
    {"size": size, "class_score": score, "stretch": stretch}
    for size in ("sigmoid", "squared")
    for score in ("softmax", "sigmoid")
    for stretch in (1.0, 2.0)
]


@pytest.mark.parametrize("form", FORMS)
def test_float_decode_follows_the_contract_text(form):
    want = contract(**form)
    logits = np.random.default_rng(0).normal(0, 2, (2, 13, 2, 3))
    boxes, scores = decode.boxes_and_scores(logits, want.decode, 3)
    for picture in range(2):
        hand = by_hand(logits[picture], want)
        np.testing.assert_allclose(boxes[picture], [b for b, _ in hand], atol=1e-12)
        np.testing.assert_allclose(scores[picture], [s for _, s in hand], atol=1e-12)


@given(
    st.sampled_from(FORMS),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.5, 2.0**-4, 2.0**-10, 0.0371, 3.1e-5]),
)
@settings(max_examples=60, deadline=None)
def test_fixed_point_agrees_with_float(form, seed, scale):
    """Every box of every class: scores within 5e-4, corners within 4e-4 of the picture's size."""
    want = contract((5, 4), 3, 4, OPEN, **form)
    rng = np.random.default_rng(seed)
    output = np.round(rng.normal(0, 4, (19, 4, 5)) / scale).astype(np.int32)
    fixed = fixed_decode.decode_fixed(output, scale, want)
    boxes, scores = decode.boxes_and_scores(output[None] * scale, want.decode, 4)
    table, integers = fixed_decode.tables(), fixed_decode.parameters(scale, want)
    assert len(table.sigmoid) == 257 and integers.shift >= 1
    # Match each integer detection with the float pair that has its label and nearest box.
    for label, score, box in zip(
        fixed.labels, fixed.scores_q15 / 32768, fixed.boxes_q16 / 65536, strict=True
    ):
        gap = np.abs(boxes[0] - box).max(-1) + np.abs(scores[0, :, label] - score)
        assert gap.min() < 9e-4
        nearest = gap.argmin()
        assert np.abs(boxes[0, nearest] - box).max() < 4e-4
        assert abs(scores[0, nearest, label] - score) < 5e-4
    visible = (boxes[0, :, 2] - boxes[0, :, 0] > 1e-3) & (boxes[0, :, 3] - boxes[0, :, 1] > 1e-3)
    sure = (scores[0] > 1e-3) & visible[:, None]
    assert len(fixed) >= sure.sum()


def test_sigmoid_table_error():
    logits = np.arange(-20 * 65536, 20 * 65536, 37, dtype=np.int64)
    got = fixed_decode.sigmoid_q15(logits, fixed_decode.tables()) / 32768
    assert np.abs(got - decode.sigmoid(logits / 65536)).max() < 1e-4


def test_sigmoid_is_odd_about_a_half_and_rises():
    logits = np.arange(0, 17 * 65536, 11, dtype=np.int64)
    table = fixed_decode.tables()
    up, down = fixed_decode.sigmoid_q15(logits, table), fixed_decode.sigmoid_q15(-logits, table)
    assert (up + down == 32768).all()
    assert (np.diff(up) >= 0).all()


def test_exponential_table_error():
    distance = np.arange(0, 20 * 65536, 37, dtype=np.int64)
    got = fixed_decode.exponential_q15(distance, fixed_decode.tables()) / 32768
    assert np.abs(got - np.exp(-distance / 65536)).max() < 6e-4


def test_softmax_of_huge_logits_keeps_their_difference():
    want = contract((1, 1), 1, 2, OPEN)
    output = np.array([0, 0, 0, 0, 900, 900, 890], np.int32).reshape(7, 1, 1)
    scores = fixed_decode.decode_fixed(output, 1.0, want).to_float().scores
    assert scores[0] == pytest.approx(1, abs=1e-3)


@given(st.integers(-(2**31), 2**31 - 1), st.floats(2.0**-47, 2.0**13))
def test_logit_is_the_product_rounded(value, scale):
    integers = fixed_decode.parameters(scale, contract())
    logit = fixed_decode.to_logits(np.array([value]), integers)[0]
    real = min(max(value * scale * 65536, -(2**30) + 1), 2**30 - 1)
    assert abs(int(logit) - real) <= 0.5 + abs(real) * 2.0**-30 + 1e-6
    assert 2**30 <= integers.multiplier < 2**31


def test_power_of_two_scale_is_exact():
    output = np.arange(-300, 300, dtype=np.int32)
    integers = fixed_decode.parameters(2.0**-6, contract())
    np.testing.assert_array_equal(fixed_decode.to_logits(output, integers), output << 10)


@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf, math.nan, 2.0**-60, 2.0**20])
def test_a_scale_out_of_range_is_refused(scale):
    with pytest.raises(EdgebedError, match="scale"):
        fixed_decode.parameters(scale, contract())


def naive_nms(boxes, scores, labels, nms):
    """Repeatedly take the best remaining box and remove what it overlaps."""
    left = sorted(range(len(boxes)), key=lambda i: -scores[i])[: nms.candidates]
    kept = []
    while left and len(kept) < nms.maximum:
        best = left.pop(0)
        kept.append(best)
        left = [
            i for i in left if labels[i] != labels[best] or iou(boxes[i], boxes[best]) <= nms.iou
        ]
    return kept


def iou(a, b):
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    inner = width * height
    return inner / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inner)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 40),
    st.integers(1, 300),
    st.sampled_from([0.125, 0.4375]),
)
@settings(max_examples=30, deadline=None)
def test_suppression_equals_the_naive_one(seed, maximum, candidates, threshold):
    nms = Nms(score=0.05, iou=threshold, maximum=maximum, candidates=candidates)
    want = contract((5, 4), 3, 4, nms, size="squared")
    output = np.random.default_rng(seed).integers(-128, 128, (19, 4, 5), np.int8)
    everything = fixed_decode.decode_fixed(
        output, 1 / 32, dataclasses.replace(want, nms=dataclasses.replace(OPEN, score=0.05))
    )
    got = fixed_decode.decode_fixed(output, 1 / 32, want)
    kept = naive_nms(
        everything.boxes_q16.tolist(),
        everything.scores_q15.tolist(),
        everything.labels.tolist(),
        nms,
    )
    np.testing.assert_array_equal(got.boxes_q16, everything.boxes_q16[kept])
    np.testing.assert_array_equal(got.labels, everything.labels[kept])
    np.testing.assert_array_equal(got.scores_q15, everything.scores_q15[kept])


def test_ties_go_to_the_lower_cell_then_class():
    want = contract((3, 2), 2, 2, OPEN, class_score="sigmoid")
    output = np.zeros((12, 2, 3), np.int32)
    for found in (
        fixed_decode.decode_fixed(output, 1.0, want).to_float(),
        decode.decode(output[None].astype(float), want)[0],
    ):
        assert found.labels.tolist() == [0, 1] * 12
        centres = (found.boxes[::4, 0] + found.boxes[::4, 2]) / 2
        np.testing.assert_allclose(centres, [1 / 6, 0.5, 5 / 6] * 2, atol=0.02)


def test_whole_decoders_agree_on_clear_detections():
    want = contract((6, 6), 1, 2)
    logits = np.full((1, 7, 6, 6), -6.0)
    for row, column, label in [(1, 1, 0), (4, 4, 1)]:
        logits[0, 4:, row, column] = [5, 3, -3] if label == 0 else [4, -3, 3]
    real = decode.decode(logits, want)[0]
    fixed = fixed_decode.decode_fixed(np.round(logits[0] * 16).astype(np.int8), 1 / 16, want)
    assert real.labels.tolist() == fixed.labels.tolist() == [0, 1]
    np.testing.assert_allclose(fixed.to_float().boxes, real.boxes, atol=4e-4)
    np.testing.assert_allclose(fixed.to_float().scores, real.scores, atol=5e-4)


def test_detections_map_back_to_the_picture():
    image_input = ImageInput(100, 100, resize="letterbox")
    place = preprocess.geometry(200, 100, image_input)
    found = decode.Detections(
        np.array([[0, 0.25, 0.5, 0.75], [0.5, 0, 1, 1]], np.float32),
        np.ones(2, np.float32),
        np.zeros(2, np.int64),
    )
    boxes = found.in_picture(image_input, place).boxes
    np.testing.assert_allclose(boxes, [[0, 0, 100, 100], [100, 0, 200, 100]], atol=1e-3)


def test_wrong_shape_names_the_needed_one():
    with pytest.raises(EdgebedError, match="13x2x3"):
        fixed_decode.decode_fixed(np.zeros((16, 2, 3), np.int8), 1.0, contract())


def test_missing_prior_is_refused():
    broken = contract()
    broken = dataclasses.replace(
        broken, decode=dataclasses.replace(broken.decode, priors=((1, 1),))
    )
    with pytest.raises(EdgebedError, match="1 priors for 2 boxes"):
        decode.decode(np.zeros((1, 13, 2, 3)), broken)
