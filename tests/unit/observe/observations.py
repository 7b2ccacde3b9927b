"""Pairs of observations made from drawn pictures and sounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from edgebed.observe.observed import Observed
from edgebed.observe.trace import Frame, Manifest, Tensor

Array = np.ndarray
SIZE = 48


def picture(seed: int, width: int = 88, height: int = 66) -> Array:
    """Blobs of colour on a gradient with fine grain: uint8, height x width x 3."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    result = np.zeros((height, width, 3))
    result += rng.uniform(30, 120, 3) + np.linspace(0, 60, height)[:, None, None]
    for _ in range(9):
        near = np.exp(-((x - rng.uniform(0, width)) ** 2 + (y - rng.uniform(0, height)) ** 2)
                      / rng.uniform(20, 300))  # fmt: skip
        result += near[..., None] * rng.uniform(-140, 160, 3)
    result += rng.normal(0, 9, (height, width, 1))
    return np.clip(np.rint(result), 0, 255).astype(np.uint8)


def scaled(raw: Array, way: Image.Resampling = Image.Resampling.BILINEAR) -> Array:
    """Pillow's resize to the network's size, planes of 0..255."""
    small = np.asarray(Image.fromarray(raw).resize((SIZE, SIZE), way), np.float32)
    return np.moveaxis(small, -1, 0)


def usual(raw: Array) -> Array:
    """What the reference feeds: planes in [0, 1]."""
    return scaled(raw) / np.float32(255)


def pair(
    seed: int,
    change: Callable[[Array], Array] = usual,
    *,
    integers: Callable[[Array], Array] | None = None,
    frames: int = 4,
    quantised: bool = True,
    prepare: Callable[[Array], Array] = usual,
    noise: float = 0.0,
    raws: Sequence[Array] | None = None,
    raw_of_reference: bool = True,
) -> tuple[Observed, Observed]:
    """Observe a right pipeline and one that feeds `change(raw)`.

    Args:
        seed: of the pictures.
        change: raw to the device's real-valued input.
        integers: raw to the device's integers; `change` is ignored then.
        frames: how many.
        quantised: whether the device has int8 inputs of step 1/255 from -128.
        prepare: the reference's way.
        noise: deviation of what another decoder adds to the device's pictures.
        raws: other raw data than drawn pictures.
        raw_of_reference: whether the reference recorded its raw data.
    """
    rng = np.random.default_rng(seed + 1000)
    sides: tuple[list[Frame], list[Frame]] = ([], [])
    for at in range(frames):
        raw = raws[at] if raws is not None else picture(100 * seed + at)
        seen = raw
        if noise:
            seen = np.clip(np.rint(raw + rng.normal(0, noise, raw.shape)), 0, 255).astype(np.uint8)
        given = integers(seen) if integers else change(seen)
        kept = raw if raw_of_reference else None
        sides[0].append(frame(at, kept, prepare(raw), None))
        sides[1].append(frame(at, None, to_int8(given) if quantised and not integers else given,
                              (1 / 255, -128) if quantised else None))  # fmt: skip
    return tuple(  # type: ignore[return-value]
        Observed.of(Manifest(source, "full"), rows)
        for source, rows in zip(("reference", "device"), sides, strict=True)
    )


def to_int8(real: Array) -> Array:
    """Quantise [0, 1]."""
    return np.clip(np.rint(real * 255) - 128, -128, 127).astype(np.int8)


def frame(
    number: int, raw: Array | None, given: Array, steps: tuple[float, int] | None, **more: Any
) -> Frame:
    """A frame with a raw picture or sound and an input."""
    tensors = []
    if raw is not None:
        layout = "T" if raw.ndim == 1 else "HWC"
        tensors.append(Tensor("raw", "raw", raw.shape, str(raw.dtype), layout=layout, values=raw))
    scale, zero = steps or (None, 0)
    layout = "CHW" if given.ndim == 3 else "HW"
    tensors.append(Tensor("x", "input", given.shape, str(given.dtype), scale, zero, layout,
                          values=np.ascontiguousarray(given)))  # fmt: skip
    return Frame(number, tuple(tensors), **more)


def layered(
    expected: Sequence[Array],
    given: Sequence[Array],
    scales: Sequence[tuple[float, int]] = (),
    frames: int = 4,
    **manifest: Any,
) -> tuple[Observed, Observed]:
    """Observe layers: N x C x H x W real values on one side, real values or int8 on the other.

    Args:
        expected: one array a layer, real values, N frames.
        given: the device's, real values; quantised where a scale is given.
        scales: step and zero point a layer.
        frames: N.
        manifest: of both sides.
    """
    sides: list[Observed] = []
    for source, arrays in (("reference", expected), ("device", given)):
        rows = []
        for at in range(frames):
            tensors = [Tensor("x", "input", (4,), "float32", values=np.arange(4, dtype=np.float32))]
            for index, array in enumerate(arrays):
                step = scales[index] if scales and source == "device" else None
                tensors.append(_layer(index, array[at], step))
            rows.append(Frame(at, tuple(tensors)))
        sides.append(Observed.of(Manifest(source, "full", **manifest), rows))
    return sides[0], sides[1]


def _layer(index: int, values: Array, step: tuple[float, int] | None) -> Tensor:
    layout = "CHW" if values.ndim == 3 else ""
    name = f"layer{index}"
    if step is None:
        return Tensor(name, "layer", values.shape, "float32", layout=layout,
                      values=values.astype(np.float32))  # fmt: skip
    scale, zero = step
    stored = np.clip(np.rint(values / scale) + zero, -128, 127).astype(np.int8)
    return Tensor(name, "layer", values.shape, "int8", scale, zero, layout, values=stored)
