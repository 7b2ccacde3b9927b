"""Faults in front of the network that `deployment_bugs.py` plants: pictures, sound, integers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from bug_networks import SETTINGS, Array, Network
from bug_pipeline import RATE, Bug, Pipeline, Planted, Step
from PIL import Image

Random = np.random.Generator


def pictures() -> list[Bug]:
    """Return the kinds of fault of a camera's pipeline."""
    return [*_orders(), *_ranges(), *_placings(), *_turns(), *_colours()]


def _fixed(name: str, cause: str, **change: Any) -> Bug:
    """A fault that is nothing but other settings."""
    return Bug(name, (cause,), lambda n, r: Planted(replace(Pipeline(n), **change)))


def _step(name: str, cause: str, draw: Any) -> Bug:
    """A fault of the real-valued input: draw(network, rng) gives the step."""
    return Bug(name, (cause,), lambda n, r: Planted(Pipeline(n, steps=(draw(n, r),))))


def _pixels(name: str, cause: str, change: Step) -> Bug:
    return _fixed(name, cause, pixels=(change,))


def _orders() -> list[Bug]:
    others = [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1]]

    def any_other(network: Network, rng: Random) -> Step:
        order = others[int(rng.integers(4))]
        return lambda x: x[order]

    def by_pixels(x: Array) -> Array:
        return np.ascontiguousarray(np.moveaxis(x, 0, -1)).reshape(x.shape)

    return [
        _step("red and blue swapped", "channel_order", lambda n, r: lambda x: x[::-1]),
        _step("channels in any other order", "channel_order", any_other),
        _step("HWC read as CHW", "layout", lambda n, r: by_pixels),
    ]


def _ranges() -> list[Bug]:
    def low_of(network: Network) -> float:
        return float(network.contract["input"].get("range", (0.0, 1.0))[0])

    def share(network: Network, x: Array) -> Array:
        low, high = network.contract["input"].get("range", (0.0, 1.0))
        return (x - low) / (high - low)

    def half(n: Network, r: Random) -> Step:
        return lambda x: 2 * share(n, x) - 1 if low_of(n) == 0 else share(n, x)

    def imagenet(n: Network, r: Random) -> Step:
        mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
        return lambda x: (share(n, x) - mean[:, None, None]) / deviation[:, None, None]

    def twice(n: Network, r: Random) -> Step:
        low, high = n.contract["input"].get("range", (0.0, 1.0))
        return lambda x: x / 255 * (high - low) + low

    return [
        _step("[-1, 1] for [0, 1], or the reverse", "normalisation", half),
        _step("bytes 0..255", "normalisation", lambda n, r: lambda x: 255 * share(n, x)),
        _step("ImageNet mean and deviation", "normalisation", imagenet),
        _step("normalised twice", "double_normalisation", twice),
    ]


def _placings() -> list[Bug]:
    def letterbox(network: Network, rng: Random) -> Planted:
        border = int(rng.choice([0, 114, 128]))
        return Planted(Pipeline(network, placing="letterbox", border=border))

    def moved(network: Network, rng: Random) -> Planted:
        down, right = (int(n) for n in rng.choice([-9, -7, -5, -3, 3, 5, 7, 9], 2))
        return Planted(Pipeline(network, window=(down, right)))

    return [
        _fixed("nearest for box", "resize_method", method="nearest"),
        _fixed("bilinear for box", "resize_method", method="bilinear"),
        _fixed("bicubic for box", "resize_method", method="smoothed bicubic"),
        Bug("letterbox for stretch", ("aspect",), letterbox),
        _fixed("centre crop for stretch", "crop", placing="crop"),
        Bug("crop moved", ("crop_offset",), moved),
    ]


def _turns() -> list[Bug]:
    def rotated(n: Network, rng: Random) -> Step:
        quarters = int(rng.integers(1, 4))
        return lambda x: np.rot90(x, quarters, (1, 2))

    def mirrored(n: Network, rng: Random) -> Step:
        axis = int(rng.integers(1, 3))
        return lambda x: np.flip(x, axis)

    return [
        _step("rotated", "rotation", rotated),
        _step("mirrored", "mirror", mirrored),
        _step("rows and columns swapped", "transposed",
              lambda n, r: lambda x: np.swapaxes(x, 1, 2)),
    ]  # fmt: skip


def _colours() -> list[Bug]:
    return [
        _pixels("YCbCr as RGB", "colour_space", lambda x: _as_pillow(x, "YCbCr")),
        _pixels("BT.709 decoded as BT.601", "colour_space", _matrix),
        _pixels("chroma planes swapped (NV21)", "colour_space", _chroma),
        _pixels("linear light", "colour_space", _linear),
        _pixels("limited range", "colour_range", lambda x: 16 + x * 219 / 255),
        _pixels("full range expanded again", "colour_range",
                lambda x: np.clip((x - 16) * 255 / 219, 0, 255)),
        _pixels("grey", "grey", _grey),
        _pixels("negative", "inverted", lambda x: 255 - x),
        _pixels("bytes of RGB565 swapped", "colour_depth", _swapped_565),
    ]  # fmt: skip


def _as_pillow(x: Array, mode: str) -> Array:
    picture = Image.fromarray(np.clip(np.rint(x), 0, 255).astype(np.uint8))
    return np.asarray(picture.convert(mode), np.float32)


def _chroma(x: Array) -> Array:
    planes = _as_pillow(x, "YCbCr")[..., [0, 2, 1]].astype(np.uint8)
    return np.asarray(Image.fromarray(planes, "YCbCr").convert("RGB"), np.float32)


def _matrix(x: Array) -> Array:
    luma = x @ np.array([0.2126, 0.7152, 0.0722])
    cb, cr = (x[..., 2] - luma) / 1.8556, (x[..., 0] - luma) / 1.5748
    parts = (luma + 1.402 * cr, luma - 0.344136 * cb - 0.714136 * cr, luma + 1.772 * cb)
    return np.clip(np.stack(parts, -1), 0, 255)


def _linear(x: Array) -> Array:
    """Undo the curve of IEC 61966-2-1."""
    part = x / 255
    return 255 * np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)


def _grey(x: Array) -> Array:
    return np.repeat((x @ np.array([0.299, 0.587, 0.114]))[..., None], 3, 2)


def _swapped_565(x: Array) -> Array:
    whole = np.clip(np.rint(x), 0, 255).astype(np.uint16)
    words = (whole[..., 0] >> 3) << 11 | (whole[..., 1] >> 2) << 5 | whole[..., 2] >> 3
    words = words.astype(np.uint16).byteswap()
    red, green, blue = words >> 11, words >> 5 & 63, words & 31
    return np.stack([red * 255 / 31, green * 255 / 63, blue * 255 / 31], -1)


def sounds() -> list[Bug]:
    """Return the kinds of fault of a microphone's pipeline."""
    return [*_rates(), *_samples(), *_settings(), *_tables()]


def _rates() -> list[Bug]:
    def rated(network: Network, rng: Random) -> Planted:
        return Planted(Pipeline(network, rate=int(rng.choice([11025, 22050, 32000, 48000]))))

    return [
        _fixed("sound sampled at 8 kHz", "audio_sample_rate", rate=8000),
        _fixed("sound sampled at 44.1 kHz", "audio_sample_rate", rate=44100),
        Bug("sound sampled at 11, 22, 32 or 48 kHz", ("audio_sample_rate",), rated),
        _feature("mel bands laid for 8 kHz sound", "audio_sample_rate", sample_rate=RATE // 2),
    ]


def _samples() -> list[Bug]:
    def sign(x: Array) -> Array:
        return (x.astype(int) + 65536) % 65536 - 32768

    def clipped(network: Network, rng: Random) -> Planted:
        gain = float(2 ** rng.uniform(1.5, 5))
        return _heard(network, lambda x: np.clip(x * gain, -32768, 32767))

    def moved(network: Network, rng: Random) -> Planted:
        offset = float(rng.choice([-1, 1]) * rng.integers(400, 6000))
        return _heard(network, lambda x: np.clip(x + offset, -32768, 32767))

    return [
        _fixed("bytes of samples swapped", "audio_samples",
               sound=(lambda x: np.frombuffer(x.astype("<i2").tobytes(), ">i2").astype(float),)),
        _fixed("samples without a sign", "audio_samples", sound=(sign,)),
        _fixed("two channels read as one", "audio_samples",
               sound=(lambda x: np.stack([x, x], 1).ravel()[: len(x)],)),
        Bug("sound clipped", ("audio_samples",), clipped),
        Bug("constant offset in sound", ("audio_samples",), moved),
    ]  # fmt: skip


def _heard(network: Network, change: Step) -> Planted:
    return Planted(Pipeline(network, sound=(change,)))


def _feature(name: str, cause: str = "audio_features", **change: Any) -> Bug:
    return _fixed(name, cause, settings=replace(SETTINGS, **change))


def _settings() -> list[Bug]:
    return [
        _feature("mel bands to 8 kHz", mel_high=8000.0),
        _feature("mel bands from 125 Hz", mel_low=125.0),
        _feature("64 mel bands", mel_bands=64),
        _feature("window of 640 samples", window=640),
        _feature("hop of 160 samples", hop=160),
        _feature("power for magnitude", power=2.0),
        _feature("logarithm of base 10", log="base10"),
        _feature("orthonormal cosine transform", cosine="orthonormal"),
        _feature("no cosine transform", coefficients=0),
        _feature("Slaney's mel scale", mel_scale="slaney"),
        _feature("rectangular window", shape="rectangular"),
        _feature("clip not scaled", level="none"),
    ]


def _tables() -> list[Bug]:
    return [
        _step("features halved", "normalisation", lambda n, r: lambda x: x / 2),
        _step("features centred", "normalisation", lambda n, r: lambda x: (x + 30) / 1.5),
        _step("table transposed", "layout",
              lambda n, r: lambda x: x.T.copy().reshape(x.shape)),
    ]  # fmt: skip


def integers() -> list[Bug]:
    """Return the kinds of fault of what is fed as integers."""

    def sign(x: Array) -> Array:
        return (x.view(np.uint8) ^ 0x80).view(np.int8)

    def zero(network: Network, rng: Random) -> Planted:
        step = int(rng.choice([-1, 1]) * rng.integers(4, 24))

        def moved(x: Array) -> Array:
            return np.clip(x.astype(int) + step, -128, 127).astype(np.int8)

        return Planted(Pipeline(network, casts=(moved,)))

    def cast(x: Array) -> Array:
        return np.clip(x, -128, 127).astype(np.int8)

    return [
        _fixed("uint8 read as int8", "dtype", casts=(sign,)),
        _fixed("real numbers cast without a scale", "dtype", cast=cast),
        Bug("zero point off", ("zero_point",), zero),
        Bug("frame before", ("stale_frame",), lambda n, r: Planted(Pipeline(n), stale=True)),
    ]
