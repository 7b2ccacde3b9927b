"""Another colour space, another range of luma, fewer bits, another gamma.

Settings of the verdicts: `pixels`, what the device feeds where RGB is right, and the `matrix` of
luma and chroma that is meant where there is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from edgebed.observe.assertions.explanation import Suspect, explain
from edgebed.observe.assertions.normalisation import is_sound
from edgebed.observe.assertions.scene import Scene
from edgebed.observe.observed import Observed
from edgebed.observe.verdict import Verdict
from edgebed.program.types import Array

LUMA: Final = {"BT.601": (0.299, 0.587, 0.114), "BT.709": (0.2126, 0.7152, 0.0722)}
"""Shares of red, green and blue, from the two recommendations of the ITU."""
CAUSES: Final = ("colour_space", "grey", "inverted")


def colour_space(reference: Observed, device: Observed) -> list[Verdict]:
    """Name luma and chroma read as RGB, BT.601 for BT.709, grey, another gamma, or a negative."""
    found = explain(reference, device)
    return found.verdicts(*CAUSES) if found else []


def colour_range(reference: Observed, device: Observed) -> list[Verdict]:
    """Name limited range (16..235) taken for full range, or the reverse."""
    found = explain(reference, device)
    return found.verdicts("colour_range") if found else []


def colour_depth(reference: Observed, device: Observed) -> list[Verdict]:
    """Name pictures that lost bits, or whose 16-bit pixels have their bytes swapped."""
    found = explain(reference, device)
    return found.verdicts("colour_depth") if found else []


def suspects(scene: Scene) -> Iterator[Suspect]:
    """Give each mix-up applied to the reference's pixels."""
    if not scene.same_shape or scene.expected.shape[1] not in (1, 3) or is_sound(scene):
        return
    pixels = scene.bytes_[:, :, list(scene.rows)]
    contract = scene.reference.contract.get("input")
    if isinstance(contract, dict) and contract.get("channels") == "bgr":
        for one in _mixed(pixels[:, ::-1]):
            yield _seen(scene, one, reverse=True)
        return
    for one in _mixed(pixels):
        yield _seen(scene, one, reverse=False)


def _seen(scene: Scene, one: Suspect, reverse: bool) -> Suspect:
    planes = one.planes[:, ::-1] if reverse else one.planes
    return Suspect(one.cause, one.text, one.fix, scene.encoded(planes), one.cost, one.affine,
                   one.settings)  # fmt: skip


def _mixed(rgb: Array) -> Iterator[Suspect]:
    yield from _ranges(rgb)
    yield Suspect("inverted", "feeds the negative", "Feed pixels, not 255 less pixels.", 255 - rgb,
                  1.5, affine=False, settings={"pixels": "negative"})  # fmt: skip
    for text, power in (("linear light", 2.2), ("a gamma applied twice", 1 / 2.2)):
        yield Suspect(
            "colour_space", f"feeds {text} where the reference feeds sRGB",
            "Convert to sRGB once.", 255 * (rgb / 255) ** power, 2.0,
            settings={"pixels": text, "power": power},
        )  # fmt: skip
    if rgb.shape[1] == 3:
        yield from _spaces(rgb)
        yield from _bits(rgb)


def _ranges(rgb: Array) -> Iterator[Suspect]:
    yield Suspect(
        "colour_range", "feeds limited range (16..235) where the reference feeds full range",
        "Expand: (value - 16) * 255 / 219.", 16 + rgb * 219 / 255, 0.9, affine=False,
        settings={"pixels": "limited range"},
    )  # fmt: skip
    yield Suspect(
        "colour_range", "expands a full range as if it were limited (16..235)",
        "Leave full range pixels as they are.", np.clip((rgb - 16) * 255 / 219, 0, 255), 0.9,
        affine=False, settings={"pixels": "expanded range"},
    )  # fmt: skip


def _spaces(rgb: Array) -> Iterator[Suspect]:
    for name, shares in LUMA.items():
        luma = np.tensordot(np.array(shares), rgb, (0, 1))
        grey = np.repeat(luma[:, None], 3, 1)
        yield Suspect(
            "grey", f"feeds grey ({name} luma) in all channels", "Keep the colours.", grey, 1.2,
            settings={"pixels": "grey", "matrix": name},
        )  # fmt: skip
        yield Suspect(
            "colour_space", f"feeds luma and chroma ({name}) as if they were RGB",
            "Convert YCbCr to RGB first.", to_ycc(rgb, name), 1.5,
            settings={"pixels": "YCbCr", "matrix": name},
        )  # fmt: skip
        other = "BT.709" if name == "BT.601" else "BT.601"
        mixed = np.clip(to_rgb(to_ycc(rgb, name), other), 0, 255)
        yield Suspect(
            "colour_space", f"decodes {name} chroma with the matrix of {other}",
            f"Decode with the matrix of {name}.", mixed, 1.5, affine=False,
            settings={"pixels": f"decoded by {other}", "matrix": name},
        )  # fmt: skip
    yield Suspect("grey", "feeds the mean of the channels in all of them", "Keep the colours.",
                  np.repeat(rgb.mean(1, keepdims=True), 3, 1), 1.2,
                  settings={"pixels": "grey"})  # fmt: skip
    swapped = to_rgb(to_ycc(rgb, "BT.601")[:, [0, 2, 1]], "BT.601")
    yield Suspect("colour_space", "swaps the two chroma planes (NV12 for NV21)",
                  "Swap Cb and Cr when decoding.", np.clip(swapped, 0, 255), 1.5,
                  settings={"pixels": "chroma swapped", "matrix": "BT.601"})  # fmt: skip


def _bits(rgb: Array) -> Iterator[Suspect]:
    whole = np.rint(rgb).astype(np.uint16)
    red, green, blue = whole[:, 0] >> 3, whole[:, 1] >> 2, whole[:, 2] >> 3
    yield Suspect(
        "colour_depth", "feeds pictures cut to 5, 6 and 5 bits (RGB565)",
        "Capture 8 bits a channel, or train with the same cut.", _from_565(red, green, blue), 1.5,
        affine=False, settings={"pixels": "RGB565"},
    )  # fmt: skip
    words = red << 11 | green << 5 | blue
    words = (words >> 8 | words << 8) & 0xFFFF
    yield Suspect(
        "colour_depth", "swaps the two bytes of RGB565 pixels",
        "Swap the bytes of each 16-bit pixel.",
        _from_565(words >> 11, words >> 5 & 0x3F, words & 0x1F), 2.0,
        settings={"pixels": "RGB565 with its bytes swapped"},
    )  # fmt: skip


def _from_565(red: Array, green: Array, blue: Array) -> Array:
    parts = (red << 3 | red >> 2, green << 2 | green >> 4, blue << 3 | blue >> 2)
    return np.stack(parts, 1).astype(np.float64)


def to_ycc(rgb: Array, name: str) -> Array:
    """Return full range luma and chroma of N x 3 x ... bytes, as real numbers."""
    red, _, blue = (rgb[:, at] for at in range(3))
    shares = LUMA[name]
    luma = np.tensordot(np.array(shares), rgb, (0, 1))
    cb = 128 + (blue - luma) / (2 - 2 * shares[2])
    cr = 128 + (red - luma) / (2 - 2 * shares[0])
    return np.stack([luma, cb, cr], 1)


def to_rgb(ycc: Array, name: str) -> Array:
    """Return what `to_ycc` was given."""
    kr, kg, kb = LUMA[name]
    luma, cb, cr = ycc[:, 0], ycc[:, 1] - 128, ycc[:, 2] - 128
    red, blue = luma + cr * (2 - 2 * kr), luma + cb * (2 - 2 * kb)
    return np.stack([red, (luma - kr * red - kb * blue) / kg, blue], 1)
