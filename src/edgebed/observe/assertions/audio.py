"""Features of sound with another sample rate or setting: recomputed from the raw waveform.

Settings of the verdicts: the right `sample_rate`, or the right value of the setting by its name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from edgebed.observe.assertions.explanation import Suspect, explain
from edgebed.observe.assertions.fits import affine, root_mean_square
from edgebed.observe.assertions.scene import Scene
from edgebed.observe.observed import Observed
from edgebed.observe.spectral import Features, features
from edgebed.observe.verdict import Verdict
from edgebed.program.types import Array

REPRODUCED: Final = 0.01
"""Share of unexplained variance below which settings count as the reference's own."""
MOST_CEPSTRA: Final = 20
"""Wider tables are taken for mel bands where no contract says so."""
KERNELS: Final = ("linear", "Lanczos", "band-limited")
LOBES: Final = 3
SKETCHED: Final = 2
KEPT: Final = 8
RATES: Final = (8000, 11025, 16000, 22050, 32000, 44100, 48000)
OTHERS: Final[Mapping[str, tuple[Any, ...]]] = {
    "window": (256, 320, 400, 480, 512, 640, 1024),
    "hop": (128, 160, 256, 320, 480, 512),
    "transform": (256, 512, 1024, 2048),
    "shape": ("hann", "hamming", "rectangular"),
    "mel_bands": (10, 20, 26, 32, 40, 64, 80, 128),
    "mel_low": (0.0, 20.0, 60.0, 80.0, 125.0, 300.0),
    "mel_high": (3800.0, 4000.0, 7500.0, 7600.0, 8000.0),
    "mel_scale": ("htk", "slaney"),
    "power": (1.0, 2.0),
    "log": ("natural", "base10", "decibel", "none"),
    "offset": (1e-12, 1e-6, 1e-3, 1e-2, 1.0),
    "coefficients": (0,),
    "cosine": ("half", "orthonormal", "none"),
    "level": ("peak", "maximum", "full_scale", "none"),
}
"""Values that pipelines in the field use."""


def sample_rate(reference: Observed, device: Observed) -> list[Verdict]:
    """Name sound of another sample rate than the features are made for."""
    found = explain(reference, device)
    return found.verdicts("audio_sample_rate") if found else []


def feature_settings(reference: Observed, device: Observed) -> list[Verdict]:
    """Name the one setting of the features that differs."""
    found = explain(reference, device)
    return found.verdicts("audio_features") if found else []


@dataclass(frozen=True)
class Way:
    """Another way from sound to features.

    Attributes:
        cause: of the verdict.
        text: what the device does.
        fix: what to change.
        right: settings of the verdict.
        features: settings that the device has.
        ratio: of the device's sample rate to the right one.
        kernel: one of KERNELS, that sound is resampled with.
        affine: whether it may stand under an affine map.
    """

    cause: str
    text: str
    fix: str
    right: Mapping[str, Any]
    features: Features
    ratio: float = 1.0
    kernel: str = "linear"
    affine: bool = False

    def planes(self, scene: Scene, waves: list[Array]) -> Array | None:
        """Return what it makes of the raw sounds."""
        heard = (
            waves
            if self.ratio == 1
            else [_resampled(one, self.ratio, self.kernel) for one in waves]
        )
        return table_of(scene, heard, self.features)


def suspects(scene: Scene) -> Iterator[Suspect]:
    """Give features of the raw sound with one setting changed, and of other rates.

    Settings are tried on the SKETCHED frames that depart the most, the KEPT closest on every frame.
    """
    waves = waves_of(scene)
    if waves is None or scene.given.shape[1] != 1 or not scene.same_shape:
        return
    own = settings_of(scene, waves)
    if own is None:
        return
    others = sorted(_others(own), key=lambda one: _distance(scene, waves, one))[:KEPT]
    for way in (*_rates(own), *others):
        planes = way.planes(scene, waves)
        if planes is not None:
            cost = 1.2 if way.cause == "audio_sample_rate" else 1.0
            yield Suspect(way.cause, way.text, way.fix, planes, cost, way.affine, way.right)


def _distance(scene: Scene, waves: list[Array], way: Way) -> float:
    """Return how far a way is from the device's input on a few frames, real units."""
    rows = list(scene.rows)
    gaps = np.square(scene.seen - scene.expected[:, :, rows]).mean((1, 2, 3))
    chosen = np.argsort(-gaps)[:SKETCHED]
    planes = way.planes(scene, [waves[at] for at in chosen])
    if planes is None:
        return float("inf")
    return root_mean_square(scene.quantiser(planes) - scene.seen[chosen])


def _others(own: Features) -> Iterator[Way]:
    for name, values in OTHERS.items():
        right = getattr(own, name)
        for value in values:
            if value != right:
                text = f"computes features with {name} {value} where the reference has {right}"
                changed = replace(own, **{name: value})
                yield Way("audio_features", text, f"Set {name} to {right}.", {name: right}, changed)


def _rates(own: Features) -> Iterator[Way]:
    right = {"sample_rate": own.sample_rate}
    for rate in RATES:
        if rate == own.sample_rate:
            continue
        yield Way(
            "audio_sample_rate",
            f"lays its mel bands for {rate} Hz while sound comes with {own.sample_rate} Hz",
            f"Compute the bands for {own.sample_rate} Hz.",
            right, replace(own, sample_rate=rate),
        )  # fmt: skip
        for kernel in KERNELS if rate > own.sample_rate else KERNELS[:1]:
            yield Way(
                "audio_sample_rate",
                f"feeds sound sampled at {rate} Hz into features for {own.sample_rate} Hz",
                f"Sample at {own.sample_rate} Hz, or resample.",
                right, own, rate / own.sample_rate, kernel, affine=True,
            )  # fmt: skip


def waves_of(scene: Scene) -> list[Array] | None:
    """Return the raw sounds of the looked-at frames; None where neither trace has them."""
    found = scene.reference.waveform or scene.device.waveform
    return None if found is None else [found.real[at] for at in scene.places]


def settings_of(scene: Scene, waves: list[Array]) -> Features | None:
    """Return settings that reproduce the reference's input, the contract's first."""
    manifest = scene.reference.manifest
    given = scene.reference.contract.get("features") or manifest.notes.get("features")
    tried = [Features.from_json(given)] if given else []
    width = scene.expected.shape[3]
    cepstra = width <= MOST_CEPSTRA
    plain = Features(coefficients=width) if cepstra else Features(coefficients=0, mel_bands=width)
    for level in OTHERS["level"]:
        tried.append(replace(plain, level=level))
    expected = scene.expected[:, :, list(scene.rows)]
    for one in tried:
        planes = table_of(scene, waves, one)
        if planes is None:
            continue
        a, b, left = affine(planes, expected)
        if left <= REPRODUCED and abs(a[0] - 1) < 0.02 and abs(b[0]) < 0.02 * scene.span:
            return one
    return None


def table_of(scene: Scene, waves: list[Array], settings: Features) -> Array | None:
    """Return features as planes of the device's shape, the compared rows.

    NaN beyond the sound's end; None where the settings give fewer columns.
    """
    height, width = scene.given.shape[2:]
    if settings.mel_high > settings.sample_rate / 2 + 1 or settings.window > 4096:
        settings = replace(settings, mel_high=settings.sample_rate / 2)
    planes = np.full((len(waves), 1, height, width), np.nan)
    for at, wave in enumerate(waves):
        found = features(wave, settings)[:height, :width]
        if found.shape[1] < width:
            return None
        planes[at, 0, : len(found)] = found
    return planes[:, :, list(scene.rows)]


def _resampled(wave: Array, ratio: float, kernel: str) -> Array:
    """Return sound as a device with another rate takes it, as far as the clip's samples go.

    What a lower rate cannot carry is filtered before it is sampled. What an interpolation leaves
    above the old rate's half decides the quiet bands, so each kernel is another prediction.
    """
    wave = np.asarray(wave, np.float64).ravel()
    size = int(len(wave) * ratio)
    if kernel == "band-limited":
        return np.asarray(np.fft.irfft(np.fft.rfft(wave), size) * (size / len(wave)))
    if ratio < 1:
        spectrum = np.fft.rfft(wave)
        spectrum[int(len(spectrum) * ratio) :] = 0
        wave = np.fft.irfft(spectrum, len(wave))
    if kernel == "linear":
        return np.interp(np.arange(size) / ratio, np.arange(len(wave)), wave)
    place = (np.arange(size) + 0.5) / ratio - 0.5
    taps = np.floor(place).astype(int)[:, None] + np.arange(1 - LOBES, LOBES + 1)
    away = place[:, None] - taps
    inside = (taps >= 0) & (taps < len(wave))
    weights = np.where(inside, np.sinc(away) * np.sinc(away / LOBES), 0)
    near = wave[np.clip(taps, 0, len(wave) - 1)]
    return np.asarray((weights * near).sum(1) / weights.sum(1))
