"""Pictures turned, mirrored or moved, and frames that are those of before.

Settings of the verdicts: `quarters` to the left, then whether `mirrored` left to right; `down` and
`right`, in pixels, of a picture that is moved.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from edgebed.observe.assertions.explanation import Suspect, explain
from edgebed.observe.assertions.scene import Scene
from edgebed.observe.observed import Observed
from edgebed.observe.verdict import Verdict
from edgebed.program.types import Array

TURNS: Final = (
    ("rotation", "turns the picture a quarter to the left", "a quarter to the right", 1, False),
    ("rotation", "turns the picture by half a turn", "by half a turn", 2, False),
    ("rotation", "turns the picture a quarter to the right", "a quarter to the left", 3, False),
    ("mirror", "mirrors the picture left to right", "", 0, True),
    ("mirror", "mirrors the picture top to bottom", "", 2, True),
    ("transposed", "swaps rows and columns", "", 1, True),
    ("transposed", "swaps rows and columns about the other diagonal", "", 3, True),
)  # fmt: skip
FARTHEST: Final = 0.25
"""Of a side: shifts beyond are not looked for."""


def orientation(reference: Observed, device: Observed) -> list[Verdict]:
    """Name a rotation, a mirror image or swapped axes."""
    found = explain(reference, device)
    return found.verdicts("rotation", "mirror", "transposed") if found else []


def shifted(reference: Observed, device: Observed) -> list[Verdict]:
    """Name an offset between two pictures cut from the same place."""
    found = explain(reference, device)
    return found.verdicts("crop_offset") if found else []


def stale_frame(reference: Observed, device: Observed) -> list[Verdict]:
    """Say that the device's input is the one of the frame before."""
    found = explain(reference, device)
    return found.verdicts("stale_frame") if found else []


def suspects(scene: Scene) -> Iterator[Suspect]:
    """Give the seven turns and mirrors of a picture, its best shift, and the frame before."""
    rows = list(scene.rows)
    for cause, text, back, quarter, mirrored in TURNS:
        turned = np.rot90(scene.expected, quarter, (2, 3))
        turned = turned[..., ::-1] if mirrored else turned
        if turned.shape == scene.given.shape:
            undo = {"rotation": f"Turn it {back}.", "mirror": "Undo the mirroring."}
            fix = undo.get(cause, "Check width and height of the buffer and the order of loops.")
            yield Suspect(cause, text, fix, turned[:, :, rows],
                          settings={"quarters": quarter, "mirrored": mirrored})  # fmt: skip
    if not scene.same_shape:
        return
    yield from _shift(scene)
    yield from _before(scene)


def _shift(scene: Scene) -> Iterator[Suspect]:
    down, right = _offset(scene.expected, scene.given)
    if (down, right) == (0, 0):
        return
    moved = np.full_like(scene.expected, np.nan)
    height, width = moved.shape[2:]
    to = (slice(max(down, 0), height + min(down, 0)), slice(max(right, 0), width + min(right, 0)))
    of = (slice(max(-down, 0), height - max(down, 0)), slice(max(-right, 0), width - max(right, 0)))
    moved[:, :, to[0], to[1]] = scene.expected[:, :, of[0], of[1]]
    yield Suspect(
        "crop_offset",
        f"shows the picture {abs(right)} pixels further {'right' if right > 0 else 'left'} and "
        f"{abs(down)} further {'down' if down > 0 else 'up'}",
        f"Move the window that is cut out by {right} columns and {down} rows.",
        moved[:, :, list(scene.rows)],
        1.5,
        settings={"down": down, "right": right},
    )


def _offset(expected: Array, given: Array) -> tuple[int, int]:
    """Return rows and columns by which the second is moved, by phase correlation."""
    height, width = expected.shape[2:]
    one, two = (np.fft.rfft2(x - x.mean((2, 3), keepdims=True)) for x in (expected, given))
    cross = (two * np.conj(one)).sum((0, 1))
    peak = np.fft.irfft2(cross / (np.abs(cross) + 1e-12), (height, width))
    limits = int(height * FARTHEST), int(width * FARTHEST)
    far_down = np.abs(np.fft.fftfreq(height, 1 / height)) > limits[0]
    far_right = np.abs(np.fft.fftfreq(width, 1 / width)) > limits[1]
    peak[far_down] = peak[:, far_right] = -np.inf
    down, right = np.unravel_index(int(peak.argmax()), peak.shape)
    return _signed(int(down), height), _signed(int(right), width)


def _signed(at: int, size: int) -> int:
    return at - size if at > size // 2 else at


def _before(scene: Scene) -> Iterator[Suspect]:
    """Give the frames before, where the sample has neighbours."""
    if scene.follows.sum() < 2 or scene.follows.mean() < 0.5:
        return
    before = np.where(scene.follows[:, None, None, None], scene.before, np.nan)
    yield Suspect(
        "stale_frame",
        "feeds the frame before",
        "Wait for the new frame, or swap the buffers before the network starts.",
        before[:, :, list(scene.rows)],
        2.0,
    )
