"""Features of sound: cepstra (MFCC) and log-mel spectra, with every setting that pipelines mix up.

A clip is scaled, cut into windows, and the magnitude or power of each window's spectrum is summed
in triangular bands of the mel scale; of the logarithm of these, a cosine transform keeps the first
coefficients. The mel scale `htk` is 2595 log10(1 + f / 700); `slaney` is linear to 1 kHz.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np

from edgebed.errors import EdgebedError, did_you_mean
from edgebed.program.types import Array


@dataclass(frozen=True)
class Features:
    """How a waveform becomes the network's input, frames x coefficients.

    Attributes:
        sample_rate: of the clip that is expected, Hz.
        window: samples of a frame.
        hop: samples between frames.
        transform: points of the Fourier transform.
        shape: of the window.
        mel_bands: number of bands.
        mel_low: lower end of the lowest band, Hz.
        mel_high: upper end of the highest band, Hz.
        mel_scale: which mel scale.
        power: exponent of the magnitude: 1 magnitude, 2 power.
        log: natural, base 10, decibel (10 log10), or none.
        offset: added before the logarithm.
        coefficients: of the cosine transform that are kept; 0 keeps the bands as they are.
        cosine: scale of the transform: 1/sqrt(2 bands), orthonormal, or none.
        level: `peak` divides the clip by its largest magnitude, `maximum` by its largest value
            (as the keyword features of MLPerf Tiny do), `full_scale` 16-bit integers by 32768,
            `none` leaves it.
    """

    sample_rate: int = 16000
    window: int = 480
    hop: int = 320
    transform: int = 512
    shape: Literal["hann", "hamming", "rectangular"] = "hann"
    mel_bands: int = 40
    mel_low: float = 20.0
    mel_high: float = 4000.0
    mel_scale: Literal["htk", "slaney"] = "htk"
    power: float = 1.0
    log: Literal["natural", "base10", "decibel", "none"] = "natural"
    offset: float = 1e-6
    coefficients: int = 10
    cosine: Literal["half", "orthonormal", "none"] = "half"
    level: Literal["peak", "maximum", "full_scale", "none"] = "peak"

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Features:
        """Read settings of a contract; what is not given has the value above.

        Raises:
            EdgebedError: a name or a word is unknown.
        """
        known = {field.name for field in fields(Features)}
        hints = get_type_hints(Features)
        for key, value in data.items():
            if key not in known:
                raise EdgebedError(
                    f"unknown setting {key!r}", where="features", try_=did_you_mean(key, known)
                )
            choices = get_args(hints[key]) if get_origin(hints[key]) is Literal else ()
            if choices and value not in choices:
                raise EdgebedError(
                    f"{value!r} is not possible",
                    where=f"features.{key}",
                    try_=did_you_mean(str(value), choices),
                )
        return Features(**data)


def features(wave: Array, settings: Features, frames: int | None = None) -> Array:
    """Return a clip's features, float32, frames x coefficients (or bands).

    Args:
        wave: samples of one channel, any numbers.
        settings: see above.
        frames: cut or padded with the last one to this many; None keeps all.
    """
    clip = _levelled(np.asarray(wave, np.float64).ravel(), settings.level)
    if len(clip) < settings.window:
        clip = np.pad(clip, (0, settings.window - len(clip)))
    cut = np.lib.stride_tricks.sliding_window_view(clip, settings.window)[:: settings.hop]
    points = max(settings.transform, settings.window)
    spectrum = np.abs(np.fft.rfft(cut * _window(settings.shape, settings.window), points))
    bands = spectrum**settings.power @ _mel(points, settings)
    found = _cepstrum(_logarithm(bands, settings), settings).astype(np.float32)
    if frames is None:
        return found
    found = found[:frames]
    return np.pad(found, ((0, frames - len(found)), (0, 0)), mode="edge")


def _levelled(clip: Array, level: str) -> Array:
    if level == "peak":
        return np.asarray(clip / (np.abs(clip).max(initial=0.0) or 1.0))
    if level == "maximum":
        return np.asarray(clip / (clip.max(initial=0.0) or 1.0))
    return np.asarray(clip / 32768) if level == "full_scale" else clip


@lru_cache(maxsize=16)
def _window(shape: str, length: int) -> Array:
    if shape == "rectangular":
        return np.ones(length)
    base = 0.5 if shape == "hann" else 0.54
    return np.asarray(base - (1 - base) * np.cos(2 * np.pi * np.arange(length) / length))


def _to_mel(hertz: Array, scale: str) -> Array:
    if scale == "htk":
        return np.asarray(2595 * np.log10(1 + hertz / 700))
    linear = hertz * 3 / 200
    steep = 15 + 27 * np.log(np.maximum(hertz, 1e-9) / 1000) / np.log(6.4)
    return np.asarray(np.where(hertz < 1000, linear, steep))


@lru_cache(maxsize=64)
def _mel(points: int, settings: Features) -> Array:
    hertz = np.arange(points // 2 + 1) * settings.sample_rate / points
    place = _to_mel(hertz, settings.mel_scale)
    ends = _to_mel(np.array([settings.mel_low, settings.mel_high]), settings.mel_scale)
    edges = np.linspace(ends[0], ends[1], settings.mel_bands + 2)
    rise = (place[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - place[:, None]) / (edges[2:] - edges[1:-1])
    bands = np.maximum(np.minimum(rise, fall), 0)
    bands[0] = 0  # the constant part of a window is no sound
    return np.asarray(bands)


def _logarithm(bands: Array, settings: Features) -> Array:
    if settings.log == "none":
        return bands
    natural = np.log(bands + settings.offset)
    factor = {"natural": 1.0, "base10": np.log10(np.e), "decibel": 10 * np.log10(np.e)}
    return np.asarray(natural * factor[settings.log])


def _cepstrum(logs: Array, settings: Features) -> Array:
    if not settings.coefficients:
        return logs
    size = logs.shape[1]
    angle = np.pi / size * (np.arange(size) + 0.5)[:, None] * np.arange(settings.coefficients)
    basis = 2 * np.cos(angle)
    if settings.cosine == "half":
        basis /= np.sqrt(2 * size)
    elif settings.cosine == "orthonormal":
        basis /= np.sqrt(2 * size)
        basis[:, 0] /= np.sqrt(2)
    return np.asarray(logs @ basis)
