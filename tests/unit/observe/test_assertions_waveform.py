"""Samples of sound that are spoilt before the features are named, with how to mend them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from observations import frame
from test_assertions_sound import OWN, ROWS, pair, sound

from edgebed.observe.assertions import examine
from edgebed.observe.assertions.waveform import amplified, moved, swapped, unsigned
from edgebed.observe.observed import Observed
from edgebed.observe.spectral import features
from edgebed.observe.trace import Frame, Manifest
from edgebed.observe.verdict import Verdict

Array = np.ndarray
SAMPLES = st.lists(st.integers(-32768, 32767), min_size=1, max_size=50)


def said(change: Callable[[Array], Array], step: float | None = None, seed: int = 0) -> Verdict:
    heard = [features(change(sound(seed + at)), OWN, ROWS) for at in range(4)]
    (found,) = examine(*pair(heard, seed, step))
    assert found.cause == "audio_samples"
    return found


@pytest.mark.parametrize("step", [None, 0.6])
@pytest.mark.parametrize("seed", [0, 20])
@pytest.mark.parametrize(
    ("samples", "change"),
    [
        ("bytes swapped", lambda x: np.frombuffer(x.astype("<i2").tobytes(), ">i2")),
        ("unsigned", lambda x: (x.astype(int) + 65536) % 65536 - 32768),
        ("interleaved", lambda x: np.stack([x, x], 1).ravel()[: len(x)]),
    ],
)
def test_what_the_samples_are_is_named(
    samples: str, change: Callable[[Array], Array], seed: int, step: float | None
) -> None:
    assert said(change, step, seed).settings["samples"] == samples


@pytest.mark.parametrize("gain", [3.0, 7.3, 29.0])
def test_clipping_is_named_with_its_gain(gain: float) -> None:
    found = said(lambda x: np.clip(x * gain, -32768, 32767))
    assert found.settings["samples"] == "clipped"
    assert found.settings["gain"] == pytest.approx(gain, rel=0.02)


@pytest.mark.parametrize("offset", [-5200.0, 900.0, 3100.0])
def test_an_offset_is_named_with_its_size(offset: float) -> None:
    found = said(lambda x: np.clip(x + offset, -32768, 32767))
    assert found.settings["offset"] == pytest.approx(offset, rel=0.02)


def test_sound_in_real_numbers_has_no_bytes_to_swap() -> None:
    heard = [features(sound(at), OWN, ROWS) for at in range(4)]
    assert examine(*pair(heard)) == []


@given(SAMPLES)
def test_swapping_twice_changes_nothing(samples: list[int]) -> None:
    wave = np.array(samples)
    assert (swapped(swapped(wave)) == wave).all()
    assert (unsigned(unsigned(wave)) == wave).all()


@given(SAMPLES, st.floats(1, 64), st.floats(-30000, 30000))
def test_samples_stay_within_16_bits(samples: list[int], gain: float, offset: float) -> None:
    for found in (amplified(np.array(samples), gain), moved(np.array(samples), offset)):
        assert found.min() >= -32768 and found.max() <= 32767


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("factor", [0.5, 1.0, 1.6])
def test_features_scaled_in_quiet_sound(factor: float, seed: int) -> None:
    """Most values lie close together there, so the ends of the range say little."""
    rng = np.random.default_rng(seed)
    sides: tuple[list[Frame], list[Frame]] = ([], [])
    for at in range(6):
        right = rng.normal(0, 3, (ROWS, 10)).astype(np.float32)
        right[rng.random(right.shape) < 0.03] = -120
        stored = np.clip(np.rint(right * factor) + 20, -128, 127).astype(np.int8)
        sides[0].append(frame(at, None, right, None))
        sides[1].append(frame(at, None, stored, (1.0, 20)))
    found = examine(*(Observed.of(Manifest(n), s) for n, s in zip("ab", sides, strict=True)))
    causes = [one.cause for one in found if one.cause != "range_too_narrow"]
    assert causes == ([] if factor == 1 else ["normalisation"])
