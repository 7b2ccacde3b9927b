"""A buffer of one layout read as the other.

Settings of the verdict: how it is `written` and `read`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgebed.observe.assertions.explanation import Suspect, explain
from edgebed.observe.assertions.scene import Scene
from edgebed.observe.observed import Observed
from edgebed.observe.verdict import Verdict


def layout(reference: Observed, device: Observed) -> list[Verdict]:
    """Name pixels lying channel by channel where they are read pixel by pixel, or the reverse."""
    found = explain(reference, device)
    return found.verdicts("layout") if found else []


def suspects(scene: Scene) -> Iterator[Suspect]:
    """Give the two ways to mix up planes and pixels."""
    frames, channels, height, width = scene.expected.shape
    if channels == 1 and scene.same_shape:
        yield _columns_first(scene)
    if channels < 2 or scene.given.shape[1:] != (channels, height, width):
        return
    rows = list(scene.rows)
    pixels = np.ascontiguousarray(np.moveaxis(scene.expected, 1, -1))
    as_planes = pixels.reshape(frames, channels, height, width)
    yield Suspect(
        "layout",
        "fills its buffer pixel by pixel (HWC) where it is read channel by channel (CHW)",
        "Transpose to CHW with np.moveaxis(picture, -1, 0); a reshape is not enough.",
        as_planes[:, :, rows],
        1.5,
        settings={"written": "HWC", "read": "CHW"},
    )
    as_pixels = np.ascontiguousarray(scene.expected).reshape(frames, height, width, channels)
    yield Suspect(
        "layout",
        "fills its buffer channel by channel (CHW) where it is read pixel by pixel (HWC)",
        "Transpose to HWC with np.moveaxis(planes, 0, -1); a reshape is not enough.",
        np.moveaxis(as_pixels, -1, 1)[:, :, rows],
        1.5,
        settings={"written": "CHW", "read": "HWC"},
    )


def _columns_first(scene: Scene) -> Suspect:
    """Return a table written column by column."""
    turned = np.swapaxes(scene.expected, 2, 3).reshape(scene.expected.shape)
    return Suspect(
        "layout",
        "fills its buffer column by column where it is read row by row",
        "Transpose the table before the network; a reshape is not enough.",
        turned[:, :, list(scene.rows)],
        1.5,
        settings={"written": "by columns", "read": "by rows"},
    )
