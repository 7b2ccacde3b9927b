"""Faults in the way from sound to features are named; clean pairs are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from observations import Array, frame

from edgebed.errors import EdgebedError
from edgebed.observe.assertions import examine
from edgebed.observe.observed import Observed
from edgebed.observe.spectral import Features, features
from edgebed.observe.trace import Manifest

OWN = Features(level="maximum")
ROWS = 49


def sound(seed: int, rate: int = 16000) -> Array:
    """A second of gliding tones with noise, 16-bit."""
    rng = np.random.default_rng(seed)
    time = np.arange(rate) / rate
    clip = rng.normal(0, 0.02, rate)
    for _ in range(5):
        start, glide = rng.uniform(150, 2500), rng.uniform(-400, 900)
        loud = np.exp(-((time - rng.uniform(0.2, 0.8)) ** 2) / 0.02)
        clip += loud * np.sin(2 * np.pi * (start * time + glide * time**2 / 2))
    return (clip / np.abs(clip).max() * 20000).astype(np.int16)


def pair(given: list[Array], seed: int = 0, step: float | None = None) -> tuple[Observed, Observed]:
    """Observe right features of drawn sound, and the given ones, quantised with `step`."""
    rows: tuple[list[object], list[object]] = ([], [])
    for at, one in enumerate(given):
        raw = sound(seed + at)
        rows[0].append(frame(at, raw, features(raw, OWN, ROWS), None))
        steps = None if step is None else (step, 20)
        stored = one if step is None else np.clip(np.rint(one / step) + 20, -128, 127)
        rows[1].append(
            frame(at, None, stored.astype(np.float32 if step is None else np.int8), steps)
        )
    contract = {"features": {"level": "maximum"}}
    sides = [
        Observed.of(Manifest(name, contract=contract), r)
        for name, r in zip("ab", rows, strict=True)
    ]  # type: ignore[arg-type]
    return sides[0], sides[1]


def with_settings(seed: int, **change: object) -> list[Array]:
    other = replace(OWN, **change)  # type: ignore[arg-type]
    return [features(sound(seed + at), other, ROWS)[:, :10] for at in range(4)]


@pytest.mark.parametrize("seed", [0, 10])
@pytest.mark.parametrize("step", [None, 0.6])
@pytest.mark.parametrize(
    ("name", "value"),
    [("window", 640), ("hop", 160), ("mel_high", 8000.0), ("mel_low", 125.0), ("mel_bands", 64),
     ("mel_scale", "slaney"), ("log", "base10"), ("log", "decibel"), ("power", 2.0),
     ("cosine", "orthonormal"), ("cosine", "none"), ("coefficients", 0), ("level", "none")],
)  # fmt: skip
def test_a_setting_is_named(name: str, value: object, step: float | None, seed: int) -> None:
    (found,) = examine(*pair(with_settings(seed, **{name: value}), seed, step))
    assert found.cause == "audio_features"
    assert found.fix.startswith(f"Set {name} to ")


@pytest.mark.parametrize("rate", [8000, 44100])
def test_a_sample_rate_is_named(rate: int) -> None:
    clips = [sound(at) for at in range(4)]
    times = np.arange(rate) / rate
    heard = [np.interp(times, np.arange(16000) / 16000, one) for one in clips]
    (found,) = examine(*pair([features(one, OWN, ROWS) for one in heard]))
    assert found.cause == "audio_sample_rate" and f"{rate} Hz" in found.evidence


def test_bands_laid_for_another_rate() -> None:
    (found,) = examine(*pair(with_settings(0, sample_rate=8000)))
    assert found.cause == "audio_sample_rate" and "8000 Hz" in found.evidence


def test_a_table_written_by_columns() -> None:
    given = [one.T.copy().reshape(one.shape) for one in with_settings(0)]
    assert [one.cause for one in examine(*pair(given))] == ["layout"]


def test_features_scaled() -> None:
    given = [one * 0.7 + 4 for one in with_settings(0)]
    assert [one.cause for one in examine(*pair(given))] == ["normalisation"]


@pytest.mark.parametrize("seed", range(0, 40, 4))
@pytest.mark.parametrize("step", [None, 0.6, 1.2])
def test_clean_pairs_are_silent(seed: int, step: float | None) -> None:
    assert examine(*pair(with_settings(seed), seed, step)) == []


def test_a_tone_lies_in_the_band_of_its_frequency() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)
    bands = features(tone, replace(OWN, coefficients=0, log="none"))
    edges = np.linspace(*(2595 * np.log10(1 + f / 700) for f in (20, 4000)), 42)
    nearest = int(np.abs(edges[1:-1] - 2595 * np.log10(1 + 1000 / 700)).argmin())
    assert (bands.argmax(1) == nearest).all()


@given(st.floats(0.1, 100))
def test_levels_by_peak_forget_loudness(gain: float) -> None:
    clip = sound(3).astype(np.float64)
    quiet = features(clip * gain, replace(OWN, level="peak"))
    assert quiet == pytest.approx(features(clip, replace(OWN, level="peak")), abs=1e-3)


def test_the_features_of_the_keyword_set_are_reproduced(data_dir) -> None:  # type: ignore[no-untyped-def]
    import io
    import wave
    import zipfile

    known = np.load(data_dir / "speech_commands" / "mfcc_49x10.npz")
    place = {str(path): at for at, path in enumerate(known["path"])}
    with zipfile.ZipFile(data_dir / "speech_commands" / "wav_subset.zip") as archive:
        for name in [one for one in archive.namelist() if one in place][:12]:
            with wave.open(io.BytesIO(archive.read(name))) as file:
                clip = np.frombuffer(file.readframes(16000), "<i2")
            if len(clip) == 16000:
                found = features(clip, OWN, ROWS)
                assert found == pytest.approx(known["x"][place[name]].astype(float), abs=0.02)


@pytest.mark.parametrize("data", [{"windw": 400}, {"log": "binary"}])
def test_settings_that_do_not_exist(data: dict[str, object]) -> None:
    with pytest.raises(EdgebedError, match=r"window|natural"):
        Features.from_json(data)
