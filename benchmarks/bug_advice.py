"""Follow a verdict's advice: mend a faulty deployment by what the verdict says, right or wrong.

Three ways, the first that applies: `undone`, the inverse of the named fault is put behind the
faulty step; `set`, a setting of the pipeline gets the value that the verdict gives; `replaced`,
the part at fault is replaced by a sound one (calibrated or generated again, another kernel).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from bug_networks import Array
from bug_pipeline import Pipeline, Planted, Step
from PIL import Image

from edgebed.observe.verdict import Verdict

REPLACED = {
    "range_too_narrow", "range_too_wide", "dead_channels", "saturated_channels", "kernel",
    "slow_layer", "operator_definition",
}  # fmt: skip
SHARES = {"BT.601": (0.299, 0.587, 0.114), "BT.709": (0.2126, 0.7152, 0.0722)}


def mended(planted: Planted, verdict: Verdict) -> tuple[Planted, str]:
    """Return the deployment after the advice, and the way; unchanged where it says nothing."""
    cause, settings = verdict.cause, verdict.settings
    if cause in REPLACED:
        sound = planted.layer == verdict.layer
        return (replace(planted, edit=None, slow=1.0) if sound else planted), "replaced"
    if cause == "class_names":
        if "classes" in settings:
            return replace(planted, classes=tuple(settings["classes"])), "set"
        order = settings["order"]
        if planted.order is None:
            return replace(planted, order=tuple(int(at) for at in np.argsort(order))), "undone"
        both = [planted.order[at] for at in np.argsort(order)]
        return replace(planted, order=tuple(both)), "undone"
    if cause == "stale_frame":
        return replace(planted, stale=False), "set"
    pipeline, way = _input(planted.pipeline, cause, settings)
    return replace(planted, pipeline=pipeline), way


def _input(one: Pipeline, cause: str, settings: Mapping[str, Any]) -> tuple[Pipeline, str]:
    if cause in ("resize_method", "aspect", "crop"):
        known = {key: settings[key] for key in ("method", "placing") if key in settings}
        return replace(one, **known), "set"
    if cause == "crop_offset":
        down, right = one.window
        window = (down - settings["down"], right - settings["right"])
        return replace(one, window=window), "set"
    if cause == "audio_sample_rate" and one.settings.sample_rate == settings["sample_rate"]:
        return replace(one, rate=settings["sample_rate"]), "set"
    if cause in ("audio_features", "audio_sample_rate"):
        return replace(one, settings=replace(one.settings, **settings)), "set"
    if cause == "audio_samples":
        return _sound(one, settings)
    if cause in ("dtype", "zero_point"):
        return _integers(one, cause, settings)
    if cause in ("colour_space", "colour_range", "colour_depth", "grey", "inverted"):
        if settings["pixels"] == "grey":
            return replace(one, pixels=()), "replaced"
        return replace(one, pixels=(*one.pixels, colours(settings))), "undone"
    step = _real(cause, settings)
    return (one, "none") if step is None else (replace(one, steps=(*one.steps, step)), "undone")


def _real(cause: str, settings: Mapping[str, Any]) -> Step | None:
    """Return the inverse of a fault of the real-valued input."""
    if cause == "channel_order":
        back = np.argsort(settings["order"])
        return lambda x: x[back]
    if cause in ("rotation", "mirror", "transposed"):
        axes = (-2, -1)
        return lambda x: np.rot90(
            x[..., ::-1] if settings["mirrored"] else x, -settings["quarters"], axes
        )
    if cause in ("normalisation", "double_normalisation"):
        factor, offset = (np.array(settings[key]) for key in ("factor", "offset"))
        return lambda x: (
            (x - _wide(offset, x)) / _wide(np.where(factor == 0, 1, factor), x)
        ).astype(np.float32)
    if cause == "layout":
        return _laid(settings["written"])
    return None


def _wide(values: Array, like: Array) -> Array:
    return values.reshape(-1, 1, 1) if like.ndim == 3 else values.reshape(1, 1)


def _laid(written: str) -> Step:
    def by_pixels(x: Array) -> Array:
        return np.moveaxis(x.reshape(*x.shape[1:], x.shape[0]), -1, 0)

    def by_planes(x: Array) -> Array:
        return np.moveaxis(x, 0, -1).reshape(x.shape)

    def by_columns(x: Array) -> Array:
        return np.ascontiguousarray(x).reshape(x.shape[::-1]).T

    return {"HWC": by_pixels, "CHW": by_planes, "by columns": by_columns}[written]


def _integers(one: Pipeline, cause: str, settings: Mapping[str, Any]) -> tuple[Pipeline, str]:
    if cause == "zero_point":
        steps = int(settings["steps"])

        def back(x: Array) -> Array:
            return np.clip(x.astype(int) - steps, -128, 127).astype(np.int8)

        return replace(one, casts=(*one.casts, back)), "undone"
    if settings["written"] == "real numbers":
        return replace(one, cast=None), "set"

    def converted(x: Array) -> Array:
        return (x.view(np.uint8) ^ 0x80).view(np.int8)

    return replace(one, casts=(*one.casts, converted)), "undone"


def _sound(one: Pipeline, settings: Mapping[str, Any]) -> tuple[Pipeline, str]:
    samples = settings["samples"]
    if samples in ("clipped", "8 bits", "interleaved"):  # what is lost comes back at the source
        return replace(one, sound=()), "replaced"
    if samples == "bytes swapped":
        return replace(one, sound=(*one.sound, _swapped)), "undone"
    if samples == "unsigned":
        return replace(one, sound=(*one.sound, _signed)), "undone"
    offset = settings["offset"]
    return replace(one, sound=(*one.sound, lambda x: x - offset)), "undone"


def _swapped(x: Array) -> Array:
    return x.astype(np.int16).byteswap().astype(float)


def _signed(x: Array) -> Array:
    return (x.astype(int) % 65536 ^ 0x8000).astype(np.uint16).view(np.int16).astype(float)


def colours(settings: Mapping[str, Any]) -> Step:
    """Return bytes (rows x columns x 3, real) to right ones."""
    pixels, matrix = settings["pixels"], settings.get("matrix", "BT.601")
    if pixels == "YCbCr":
        return lambda x: _converted(x, "YCbCr")
    if pixels == "chroma swapped":
        return _chroma
    if pixels == "limited range":
        return lambda x: np.clip((x - 16) * 255 / 219, 0, 255)
    if pixels == "expanded range":
        return lambda x: 16 + x * 219 / 255
    if pixels == "negative":
        return lambda x: 255 - x
    if "power" in settings:
        return lambda x: 255 * (x / 255) ** (1 / settings["power"])
    if pixels.startswith("decoded by"):
        other = pixels.removeprefix("decoded by ")
        return lambda x: np.clip(_decoded(_encoded(x, other), matrix), 0, 255)
    return _swapped_565


def _converted(x: Array, mode: str) -> Array:
    planes = np.clip(np.rint(x), 0, 255).astype(np.uint8)
    return np.asarray(Image.fromarray(planes, mode).convert("RGB"), np.float32)


def _chroma(x: Array) -> Array:
    planes = np.asarray(Image.fromarray(np.clip(np.rint(x), 0, 255).astype(np.uint8))
                        .convert("YCbCr"))  # fmt: skip
    return _converted(planes[..., [0, 2, 1]], "YCbCr")


def _encoded(x: Array, matrix: str) -> Array:
    red, green, blue = SHARES[matrix]
    luma = x @ np.array([red, green, blue])
    return np.stack(
        [luma, (x[..., 2] - luma) / (2 - 2 * blue), (x[..., 0] - luma) / (2 - 2 * red)], -1
    )


def _decoded(x: Array, matrix: str) -> Array:
    red, green, blue = SHARES[matrix]
    r = x[..., 0] + x[..., 2] * (2 - 2 * red)
    b = x[..., 0] + x[..., 1] * (2 - 2 * blue)
    return np.stack([r, (x[..., 0] - red * r - blue * b) / green, b], -1)


def _swapped_565(x: Array) -> Array:
    scaled = np.rint(np.clip(x, 0, 255) * np.array([31, 63, 31]) / 255).astype(np.uint16)
    words = (scaled[..., 0] << 11 | scaled[..., 1] << 5 | scaled[..., 2]).astype(np.uint16)
    words = words.byteswap()
    return np.stack(
        [(words >> 11) * 255 / 31, (words >> 5 & 63) * 255 / 63, (words & 31) * 255 / 31], -1
    )
