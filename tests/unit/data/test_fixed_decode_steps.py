"""The module's numbered steps, worked one integer at a time, as generated C does.

Every intermediate value is checked against the width the text gives it.
"""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgebed.data import fixed_decode
from edgebed.program.contract import Contract, GridDecode, ImageInput, Nms


def i32(value: int) -> int:
    assert -(2**31) <= value < 2**31
    return value


def i64(value: int) -> int:
    assert -(2**63) <= value < 2**63
    return value


def u32(value: int) -> int:
    assert 0 <= value < 2**32
    return value


def over(dividend: int, divisor: int) -> int:
    """C's division: only the same as Python's for non-negative operands."""
    assert dividend >= 0 and divisor > 0
    return dividend // divisor


SIGMOID = [round(32768 / (1 + math.exp(-i / 16))) for i in range(257)]
EXPONENTIAL = [round(32768 * math.exp(-i / 16)) for i in range(257)]


def logit(value: int, p: fixed_decode.FixedParameters) -> int:
    product = i64(i64(value * p.multiplier) + (1 << (p.shift - 1)))
    return i32(max(min(product >> p.shift, 2**30 - 1), -(2**30 - 1)))


def look_up(table: list[int], a: int, beyond: int) -> int:
    if a >= 16 << 16:
        return beyond
    i, f = a >> 12, a & 4095
    return i32(table[i] + (i32((table[i + 1] - table[i]) * f + 2048) >> 12))


def sigmoid(value: int) -> int:
    s = look_up(SIGMOID, i32(abs(value)), 32768)
    return 32768 - s if value < 0 else s


def shares(logits: list[int], grid: GridDecode) -> list[int]:
    if grid.class_score == "sigmoid":
        return [sigmoid(v) for v in logits]
    best = max(logits)
    powers = [look_up(EXPONENTIAL, i32(best - v), 0) for v in logits]
    total = u32(sum(powers))
    return [over(u32(e * 32768 + total // 2), total) for e in powers]


def centre(s: int, cell: int, cells: int, stretch: int) -> int:
    n = i32((cell << 16) + (i64(s * stretch + 16384) >> 15) - ((stretch - 65536) >> 1))
    return over(i32(n + (cells << 16) + cells // 2), cells) - 65536


def extent(s: int, prior: int, grid: GridDecode) -> int:
    g = s if grid.size == "sigmoid" else i32(s * s + 4096) >> 13
    return i32(i64(prior * g + 16384) >> 15)


def cut(value: int) -> int:
    return max(0, min(value, 65536))


def candidates(output, contract, p):
    grid, classes = contract.decode, len(contract.classes)
    for row in range(grid.grid_height):
        for column in range(grid.grid_width):
            values = [logit(int(v), p) for v in output[:, row, column]]
            share = shares(values[5 * grid.boxes :], grid)
            for b in range(grid.boxes):
                x, y, w, h, confidence = (sigmoid(v) for v in values[5 * b : 5 * b + 5])
                width, height = extent(w, p.priors[b][0], grid), extent(h, p.priors[b][1], grid)
                x1 = centre(x, column, grid.grid_width, p.stretch) - (width >> 1)
                y1 = centre(y, row, grid.grid_height, p.stretch) - (height >> 1)
                box = cut(x1), cut(y1), cut(i32(x1 + width)), cut(i32(y1 + height))
                for k in range(classes):
                    score = i32(confidence * share[k] + 16384) >> 15
                    if score >= p.least_score and box[2] > box[0] and box[3] > box[1]:
                        yield k, score, box


def drops(a, b, iou: int) -> bool:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    inner = i64(max(width, 0) * max(height, 0))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inner
    return i64(inner * 65536) > i64(iou * union)


def step_by_step(output, scale, contract):
    p = fixed_decode.parameters(scale, contract)
    ordered = sorted(candidates(output, contract, p), key=lambda c: -c[1])  # stable
    kept = []
    for candidate in ordered[: contract.nms.candidates]:
        if len(kept) == contract.nms.maximum:
            break
        if not any(k[0] == candidate[0] and drops(k[2], candidate[2], p.iou) for k in kept):
            kept.append(candidate)
    return kept


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(["sigmoid", "squared"]),
    st.sampled_from(["softmax", "sigmoid"]),
    st.sampled_from([1.0, 1.3, 2.0, 3.0]),
    st.sampled_from([(1 / 16, np.int8), (0.0217, np.int8), (2.0**-13, np.int32), (3e-8, np.int32)]),
    st.sampled_from([Nms(), Nms(0.01, 0.6, 5, 40), Nms(0.3, 0.2, 100, 10)]),
)
@settings(max_examples=40, deadline=None)
def test_steps_give_the_same_integers(seed, size, score, stretch, kind, nms):
    scale, dtype = kind
    grid = GridDecode(4, 3, 2, ((0.2, 0.4), (1.0, 1.0)), size, stretch, score)
    contract = Contract(ImageInput(64, 48), ("a", "b", "c"), grid, nms)
    limit = np.iinfo(dtype)
    output = np.random.default_rng(seed).integers(limit.min, limit.max, (13, 3, 4), dtype, True)
    found = fixed_decode.decode_fixed(output, scale, contract)
    got = list(
        zip(
            found.labels.tolist(),
            found.scores_q15.tolist(),
            map(tuple, found.boxes_q16.tolist()),
            strict=True,
        )
    )
    assert got == step_by_step(output, scale, contract)


@pytest.mark.parametrize("value", [-(2**31), 2**31 - 1])
@pytest.mark.parametrize("scale", [2.0**-47, 2.0**-16, 1.0, 2.0**13])
def test_extremes_stay_in_range(value, scale):
    grid = GridDecode(1, 1, 1, ((1.0, 1.0),), "squared", 3.0)
    contract = Contract(ImageInput(8, 8), ("a", "b"), grid, Nms(score=0.0))
    output = np.full((7, 1, 1), value, np.int32)
    found = fixed_decode.decode_fixed(output, scale, contract)
    got = list(
        zip(
            found.labels.tolist(),
            found.scores_q15.tolist(),
            map(tuple, found.boxes_q16.tolist()),
            strict=True,
        )
    )
    assert got == step_by_step(output, scale, contract)


def test_tables_are_the_stated_ones():
    tables = fixed_decode.tables()
    assert tables.sigmoid.tolist() == SIGMOID and tables.exponential.tolist() == EXPONENTIAL
    assert tables.sigmoid.dtype == tables.exponential.dtype == np.uint16
