"""Samples of sound spoilt before any feature is computed: bytes, channels, level.

Settings of the verdict: `samples`, what the device feeds where 16-bit sound of one channel is
right, and the `gain` or `offset` (in steps of 16 bits) that was found.

A gain or an offset is searched for, on a few frames among values an octave apart, on all of them
down to 0.2 %.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from edgebed.observe.assertions.audio import settings_of, table_of, waves_of
from edgebed.observe.assertions.explanation import Suspect, explain
from edgebed.observe.assertions.scene import Scene
from edgebed.observe.observed import Observed
from edgebed.observe.spectral import Features, features
from edgebed.observe.verdict import Verdict
from edgebed.program.types import Array

FULL: Final = 32768
GAINS: Final = tuple(2.0**k for k in range(1, 8))
OFFSETS: Final = tuple(sign * 125.0 * 2**k for k in range(8) for sign in (-1, 1))
FEW: Final = 2
"""Frames that a search looks at."""
HALVINGS: Final = 9

Change = Callable[[Array], Array]


def sound_samples(reference: Observed, device: Observed) -> list[Verdict]:
    """Name swapped bytes, a sign, interleaved channels, clipping, an offset or lost bits."""
    found = explain(reference, device)
    return found.verdicts("audio_samples") if found else []


def suspects(scene: Scene) -> Iterator[Suspect]:
    """Give features of the raw sound with its samples spoilt in each way."""
    waves = waves_of(scene)
    if waves is None or scene.given.shape[1] != 1 or not scene.same_shape:
        return
    if not _are_samples(waves):
        return
    own = settings_of(scene, waves)
    if own is None:
        return
    for text, fix, samples, change in KNOWN:
        yield from _suspect(scene, waves, own, change, text, fix, {"samples": samples})
    gain = _searched(scene, waves, own, GAINS, amplified)
    yield from _suspect(
        scene, waves, own, lambda one: amplified(one, gain),
        f"clips sound that is amplified {gain:.3g} times",
        f"Lower the gain {gain:.3g} times, so that no sample is cut.",
        {"samples": "clipped", "gain": gain},
    )  # fmt: skip
    offset = _searched(scene, waves, own, OFFSETS, moved)
    yield from _suspect(
        scene, waves, own, lambda one: moved(one, offset),
        f"feeds sound with a constant offset of about {offset:+.0f}",
        f"Subtract {offset:+.0f} from every sample, or filter out what is constant.",
        {"samples": "offset", "offset": offset},
    )  # fmt: skip


def _suspect(
    scene: Scene, waves: list[Array], own: Features, change: Change, text: str, fix: str,
    settings: dict[str, object],
) -> Iterator[Suspect]:  # fmt: skip
    planes = table_of(scene, [change(one) for one in waves], own)
    if planes is not None:
        yield Suspect("audio_samples", text, fix, planes, 1.2, affine=False, settings=settings)


def _are_samples(waves: list[Array]) -> bool:
    """Say whether sounds are whole numbers of 16 bits with a sign."""
    return all(
        float(np.abs(one).max(initial=0)) <= FULL and np.array_equal(one, np.rint(one))
        for one in waves
    )


def swapped(wave: Array) -> Array:
    """Return samples with their two bytes in the other order."""
    return np.asarray(wave.astype(np.int16).byteswap().astype(np.float64))


def unsigned(wave: Array) -> Array:
    """Return samples that have their zero at 32768, read as if they had a sign."""
    return np.asarray((wave.astype(np.int32) ^ 0x8000).astype(np.uint16).view(np.int16), np.float64)


def doubled(wave: Array) -> Array:
    """Return two interleaved channels read as one."""
    return np.repeat(np.asarray(wave, np.float64), 2)[: len(wave)]


def cut(wave: Array) -> Array:
    """Return samples without their lower byte."""
    return np.asarray(np.floor(np.asarray(wave, np.float64) / 256) * 256)


def amplified(wave: Array, gain: float) -> Array:
    """Return samples times a gain, cut to 16 bits."""
    return np.asarray(np.clip(np.asarray(wave, np.float64) * gain, -FULL, FULL - 1))


def moved(wave: Array, offset: float) -> Array:
    """Return samples plus an offset, cut to 16 bits."""
    return np.asarray(np.clip(np.asarray(wave, np.float64) + offset, -FULL, FULL - 1))


KNOWN: Final[tuple[tuple[str, str, str, Change], ...]] = (
    ("reads 16-bit samples with their bytes swapped", "Read them little-endian.",
     "bytes swapped", swapped),
    ("reads samples without a sign as if they had one", "Subtract 32768 from every sample.",
     "unsigned", unsigned),
    ("reads two interleaved channels as one", "Take every other sample.", "interleaved", doubled),
    ("feeds sound cut to 8 bits", "Keep the lower byte of every sample.", "8 bits", cut),
)  # fmt: skip


def _searched(
    scene: Scene, waves: list[Array], own: Features, values: tuple[float, ...],
    change: Callable[[Array, float], Array],
) -> float:  # fmt: skip
    """Return the value whose features come closest to the device's."""
    rows, (height, width) = list(scene.rows), scene.given.shape[2:]
    gaps = np.square(scene.seen - scene.expected[:, :, rows]).mean((1, 2, 3))
    order = np.argsort(-gaps)  # frames that show the fault first: quiet sound is not clipped
    seen, waves = scene.seen[order, 0], [waves[at] for at in order]

    def error(value: float, count: int) -> float:
        # Untrimmed: in quiet sound a few places tell nearly all.
        parts = [features(change(one, value), own, height)[rows, :width] for one in waves[:count]]
        return float(np.square(scene.quantiser(np.stack(parts)) - seen[:count]).mean())

    best, ratio = min(values, key=lambda one: error(one, FEW)), 2.0**0.5
    for halving in range(HALVINGS):
        count = FEW if halving < HALVINGS // 2 else len(waves)
        best = min((best, best / ratio, best * ratio), key=lambda one: error(one, count))
        ratio **= 0.5
    return best
