"""Resizing and folding of pictures."""

from __future__ import annotations

from typing import Any

from edgebed.program.tflite.layer import Layer
from edgebed.program.tflite.operators.unsigned import through_stored_bytes


def _size(layer: Layer) -> tuple[int, int]:
    size = layer.integers(1, "size", least=1)
    if len(size) != 2:
        raise layer.fail(f"its size is {list(size)}", why="rows and columns are needed")
    return size[0], size[1]


def _corners(layer: Layer) -> tuple[bool, bool]:
    align, half = layer.flag("AlignCorners"), layer.flag("HalfPixelCenters")
    if align and half:
        raise layer.fail("align_corners and half_pixel_centers exclude each other")
    return align, half


def resize_nearest(layer: Layer) -> None:
    """Convert RESIZE_NEAREST_NEIGHBOR."""
    align, half = _corners(layer)
    coordinates = "tf_half_pixel_for_nn" if half else "asymmetric"
    result = layer.emit(
        "resize", [layer.planes(layer.value(0))], mode="nearest", size=_size(layer),
        coordinates="align_corners" if align else coordinates,
        nearest="round_prefer_ceil" if align else "floor",
    )  # fmt: skip
    layer.give_planes(result)


def resize_bilinear(layer: Layer) -> None:
    """Convert RESIZE_BILINEAR."""
    x = layer.value(0)
    align, half = _corners(layer)
    coordinates = "align_corners" if align else "half_pixel" if half else "asymmetric"
    fields: dict[str, Any] = {"mode": "bilinear", "size": _size(layer), "coordinates": coordinates}
    planes, source = layer.planes(x), layer.type(x)
    if not layer.quantised(x):
        layer.give_planes(layer.emit("resize", [planes], **fields))
    elif layer.tensor(0).dtype == "UINT8":
        # The positions have no 10 bits as those of signed bytes: large steps would differ.
        layer.give_planes(
            through_stored_bytes(layer, planes, lambda x: layer.emit("resize", [x], **fields))
        )
    else:
        rule = layer.rule(scale=source.scale, zero_point=source.zero_point)
        layer.give_planes(layer.emit("resize", [planes], requantize=rule, **fields))


def space_to_depth(layer: Layer) -> None:
    """Convert SPACE_TO_DEPTH."""
    block = layer.integer("BlockSize", least=1)
    layer.give_planes(layer.emit("space_to_depth", [layer.planes(layer.value(0))], block=block))


def depth_to_space(layer: Layer) -> None:
    """Convert DEPTH_TO_SPACE."""
    block = layer.integer("BlockSize", least=1)
    layer.give_planes(layer.emit("depth_to_space", [layer.planes(layer.value(0))], block=block))
