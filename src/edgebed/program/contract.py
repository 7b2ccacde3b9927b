"""The contract: what happens before and after the network, as data that travels in the program.

Half of all deployment bugs are a swapped colour channel, another resize or a decode that differs
by one shift. So the steps are values, one implementation (`edgebed.data.preprocess`,
`edgebed.data.decode`) serves training, scoring and the reference, and devices get them as
generated C that must agree with it in every integer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from edgebed.errors import EdgebedError, did_you_mean


@dataclass(frozen=True)
class ImageInput:
    """How a picture becomes the network's input tensor, int8, C x H x W.

    The steps, in order: resize, camera bits, channel order, offset; their integer formulas are in
    `edgebed.data.preprocess`.

    Attributes:
        width: network input width in pixels.
        height: network input height in pixels.
        channels: order along C. A device that captures another order reorders.
        resize: `stretch` ignores the aspect ratio; `letterbox` keeps it and fills with `fill`;
            `crop` keeps it and cuts the longer side.
        interpolation: `area` averages when shrinking (bilinear when enlarging).
        camera_bits: bits of each channel that survive the camera: `rgb565` cuts every channel to
            5/6/5 bits and refills by bit replication, `rgb888` keeps all. Training sees what the
            device sees.
        offset: added to the byte, so input integer = byte + offset.
        fill: byte value of letterbox borders.
    """

    width: int
    height: int
    channels: Literal["rgb", "bgr"] = "rgb"
    resize: Literal["stretch", "letterbox", "crop"] = "stretch"
    interpolation: Literal["area", "bilinear", "nearest"] = "area"
    camera_bits: Literal["rgb565", "rgb888"] = "rgb565"
    offset: int = -128
    fill: int = 128


@dataclass(frozen=True)
class GridDecode:
    """How the output tensor (C x grid_height x grid_width) becomes scored boxes.

    Per cell, channels are `boxes` times (x, y, w, h, confidence) followed by one score per class,
    which the boxes of the cell share: 5 boxes + classes channels in all.
    With logit l and s(l) = 1 / (1 + exp(-l)), all coordinates as fractions of the input picture:
    centre x = (column + s(lx) * stretch - (stretch - 1) / 2) / grid_width, y likewise by row;
    width  = prior_width * g(lw), height = prior_height * g(lh), where g = s for
    `size="sigmoid"` and g(l) = (2 s(l))^2 for `size="squared"`.
    Score of class k: s(confidence) * p_k with p = softmax over the class scores
    (`class_score="softmax"`) or s(l_k) (`"sigmoid"`). Boxes are cut to the picture; one that has
    no area left is none. Every pair of box and class is scored on its own.

    Attributes:
        grid_width: columns of the output map.
        grid_height: rows of the output map.
        boxes: boxes per cell.
        priors: one (width, height) per box, fractions of the picture; (1, 1) without priors.
        size: form of g above.
        stretch: how far a centre may leave its cell; 1.0 = not at all, 2.0 = half a cell.
        class_score: form of p above.
    """

    grid_width: int
    grid_height: int
    boxes: int
    priors: tuple[tuple[float, float], ...]
    size: Literal["sigmoid", "squared"] = "sigmoid"
    stretch: float = 1.0
    class_score: Literal["softmax", "sigmoid"] = "softmax"


@dataclass(frozen=True)
class Nms:
    """Greedy suppression per class: boxes with IoU above `iou` to a better one are dropped.

    Attributes:
        score: least score that is kept.
        iou: overlap above which the weaker box of the same class is dropped.
        maximum: at most this many boxes are kept in a picture, best first.
        candidates: at most this many boxes enter suppression, best first (ties: lower cell and
            box index, then lower class, first).
    """

    score: float = 0.25
    iou: float = 0.45
    maximum: int = 32
    candidates: int = 256


@dataclass(frozen=True)
class Contract:
    """Input, class names and output decoding of a detector."""

    input: ImageInput
    classes: tuple[str, ...]
    decode: GridDecode
    nms: Nms = Nms()

    @property
    def output_channels(self) -> int:
        """Channels of the output map that `decode` reads."""
        return 5 * self.decode.boxes + len(self.classes)

    def to_json(self) -> dict[str, Any]:
        """Return the plain form stored in a saved program."""
        return asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Contract:
        """Read what `to_json` wrote.

        Raises:
            EdgebedError: a field is unknown or missing, or its value is not one it can have.
        """
        top = _checked(Contract, data, "contract")
        decode = _checked(GridDecode, top["decode"], "contract.decode")
        decode["priors"] = tuple((float(w), float(h)) for w, h in decode["priors"])
        return Contract(
            input=ImageInput(**_checked(ImageInput, top["input"], "contract.input")),
            classes=tuple(top["classes"]),
            decode=GridDecode(**decode),
            nms=Nms(**_checked(Nms, top["nms"], "contract.nms")),
        )


def _checked(kind: type, data: Mapping[str, Any], where: str) -> dict[str, Any]:
    known = {field.name for field in fields(kind)}
    for key in data:
        if key not in known:
            raise EdgebedError(f"unknown field {key!r}", where=where, try_=did_you_mean(key, known))
    missing = sorted(known - set(data))
    if missing:
        raise EdgebedError(f"field {missing[0]!r} is missing", where=where)
    for key, hint in get_type_hints(kind).items():
        _check_value(data[key], hint, f"{where}.{key}")
    return dict(data)


def _check_value(value: Any, hint: Any, where: str) -> None:
    """Refuse a word that is none of the choices, or something else than the number expected."""
    choices = get_args(hint) if get_origin(hint) is Literal else ()
    if choices and value not in choices:
        raise EdgebedError(
            f"{value!r} is not possible", where=where, try_=did_you_mean(str(value), choices)
        )
    numbers = {int: (int,), float: (int, float)}.get(hint)
    if numbers and (isinstance(value, bool) or not isinstance(value, numbers)):
        raise EdgebedError(f"{value!r} is not a number of type {hint.__name__}", where=where)
