"""What the values of a layer say about the defect of its kernel, and when they say nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgebed.observe.signature import FIXES, Signature, signature, together

Array = npt.NDArray[Any]
ENDS = (-128.0, 127.0)
SHAPE = (8, 12, 10)
few = settings(max_examples=20, deadline=None)
HALF = 40  # half of the jump of sums that wrap, in steps


def sums(seed: int, scale: float = 30.0) -> Array:
    """Real accumulators in steps of the output, channels with means of their own."""
    rng = np.random.default_rng(seed)
    means = rng.normal(0, 10, (SHAPE[0], 1, 1))
    found: Array = rng.normal(means, scale, SHAPE)
    return found


def stored(values: Array, relu: bool = False) -> Array:
    low = 0 if relu else -128
    found: Array = np.clip(np.floor(values + 0.5), low, 127).astype(np.int64)
    return found


def seen(reference: Array, device: Array, **more: Any) -> Signature:
    found = signature(reference, device, ends=ENDS, step=1.0, channels=0, **more)
    assert found is not None and found.defect in FIXES
    return found


def wrapped(values: Array) -> Array:
    found: Array = (values + HALF) % (2 * HALF) - HALF
    return found


@pytest.mark.parametrize("relu", [False, True])
@few
@given(seed=st.integers(0, 1000))
def test_sums_that_wrap_are_an_overflow(relu: bool, seed: int) -> None:
    y = sums(seed)
    found = seen(stored(y, relu), stored(wrapped(y), relu))
    assert found.defect == "overflow" and found.proven


@few
@given(seed=st.integers(0, 1000))
def test_an_overflow_beyond_the_range_is_one_too(seed: int) -> None:
    y = sums(seed, 90.0)
    far = np.where(np.abs(y) > 150, y - np.sign(y) * 300, y)
    assert seen(stored(y), stored(far)).defect == "overflow"


@few
@given(seed=st.integers(0, 1000))
def test_factors_of_the_neighbours_are_scales(seed: int) -> None:
    factors = np.random.default_rng(seed).uniform(0.5, 1.5, (SHAPE[0], 1, 1))
    y = sums(seed) / 1.5
    found = seen(stored(y * factors), stored(y * np.roll(factors, -1, 0)))
    assert found.defect == "scale"


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_one_factor_of_all_is_given(factor: float) -> None:
    y = sums(3) / 2
    found = seen(stored(y), stored(y * factor))
    said = re.search(r"each ([\d.]+) times", found.text)
    assert found.defect == "scale" and said is not None
    assert float(said[1]) == pytest.approx(factor, rel=0.02)


@few
@given(seed=st.integers(0, 1000))
def test_a_constant_of_each_channel_is_a_bias(seed: int) -> None:
    biases = np.random.default_rng(seed).integers(5, 25, (SHAPE[0], 1, 1))
    y = sums(seed)
    assert seen(stored(y), stored(y + biases)).defect == "bias"


ROUNDINGS: dict[str, Callable[[Array], Array]] = {
    "down": np.floor, "towards zero": np.trunc, "half to even": lambda v: np.round(v),
}  # fmt: skip


@pytest.mark.parametrize("rule", ROUNDINGS)
@few
@given(seed=st.integers(0, 1000))
def test_a_step_up_or_down_is_rounding(rule: str, seed: int) -> None:
    y = np.round(sums(seed) * 4) / 4  # halves are frequent
    device = np.clip(ROUNDINGS[rule](y), -128, 127).astype(np.int64)
    assert seen(stored(y), device).defect == "rounding"


def test_a_wrong_rim_is_the_border() -> None:
    y = sums(5)
    wrong = y + 9
    wrong[:, 1:-1, 1:-1] = y[:, 1:-1, 1:-1]
    assert seen(stored(y), stored(wrong)).defect == "border"


def test_a_map_one_row_further_is_the_border() -> None:
    y = sums(6)
    found = seen(stored(y), stored(np.roll(y, 1, 1)))
    assert found.defect == "border" and "one row down" in found.text


def test_a_wrong_channel_is_the_channel() -> None:
    y = sums(7)
    wrong = y.copy()
    wrong[3] = sums(8)[3]
    found = seen(stored(y), stored(wrong))
    assert found.defect == "channel" and "index 3 of axis 0" in found.text


def test_rows_that_nobody_wrote_are_a_part() -> None:
    y, other = sums(9), sums(10)
    wrong = y.copy()
    wrong[:, 4:6] = other[:, 4:6]
    found = seen(stored(y), stored(wrong))
    assert found.defect == "part" and "4 to 5 of axis 1" in found.text


def test_rows_of_the_frame_before_are_a_stale_buffer() -> None:
    before, now = stored(sums(11)), stored(sums(12))
    device = now.copy()
    device[:, 2:7] = before[:, 2:7]
    found = seen(now, device, before=before, reference_before=before)
    assert found.defect == "stale_buffer" and found.proven


def test_values_that_never_change_are_not_stale() -> None:
    """A bias far too large saturates most channels in every frame."""
    before, now = sums(13), sums(14)
    far = np.where(np.arange(SHAPE[0]) % 2, 300, 0)[:, None, None]
    found = seen(stored(now), stored(now + far), before=stored(before + far),
                 reference_before=stored(before))  # fmt: skip
    assert found.defect != "stale_buffer"


@few
@given(seed=st.integers(0, 1000))
def test_other_weights_are_nothing_in_particular(seed: int) -> None:
    found = seen(stored(sums(seed)), stored(sums(seed + 5000)))
    assert found.defect == "spread" and not found.proven


@few
@given(seed=st.integers(0, 1000), count=st.integers(1, 6))
def test_few_differences_have_no_place(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    device = stored(y := sums(seed))
    for at in rng.choice(device.size, count, replace=False):
        device.flat[at] += 40 if device.flat[at] < 0 else -40
    assert seen(stored(y), device).defect == "spread"


def test_dead_channels_are_no_evidence_for_the_one_that_lives() -> None:
    """Rounding shows only where values are; that this is one channel says nothing about it."""
    y = np.full(SHAPE, -300.0)
    y[2] = sums(15)[2]
    found = seen(stored(y, relu=True), np.clip(np.floor(y), 0, 127).astype(np.int64))
    assert found.defect == "rounding"


def test_frames_that_contradict_each_other_name_no_place() -> None:
    def one(defect: Any, count: int = 100, proven: bool = False) -> Signature:
        return Signature(defect, f"{count} of 500 values differ, somewhere", 0.2, count, proven)

    def said(*found: Signature) -> str:
        both = together(list(found))
        assert both is not None
        return both.defect

    assert said(one("border"), one("part")) == "spread"
    assert said(one("border"), one("spread", 3)) == "border"
    assert said(one("spread"), one("overflow", proven=True)) == "overflow"
    assert said(one("overflow", proven=True), one("stale_buffer", proven=True)) == "stale_buffer"
    assert together([]) is None


def test_equal_tensors_have_no_signature() -> None:
    assert signature(stored(sums(0)), stored(sums(0)), ends=ENDS, step=1.0) is None


@few
@given(st.integers(0, 1000))
def test_real_numbers_nan_and_infinities_are_looked_at_too(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a = rng.normal(size=SHAPE)
    b = a.copy()
    b[:, rng.integers(12), rng.integers(10)] = rng.choice([np.nan, np.inf, -np.inf])
    for pair in ((a, b), (b, a), (a, np.full(SHAPE, np.nan)), (np.full(SHAPE, np.inf), b)):
        for step in (0.0, 0.1):
            found = signature(*pair, step=step, before=a, channels=0)
            assert found is not None and found.defect in FIXES
