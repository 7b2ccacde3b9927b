"""Resize and Upsample, of rows and columns."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edgebed.program.onnx_graph.convolution import picture
from edgebed.program.onnx_graph.draft import LARGEST_TENSOR, Draft
from edgebed.program.onnx_graph.movement import identity
from edgebed.program.onnx_graph.node import Node
from edgebed.program.onnx_graph.scales import end, tail_of
from edgebed.program.onnx_graph.values import Value
from edgebed.program.ops.resize import Resize

_COORDINATES = (
    "half_pixel",
    "asymmetric",
    "align_corners",
    "pytorch_half_pixel",
    "tf_half_pixel_for_nn",
)
_NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


def upsample(net: Draft, node: Node) -> None:
    """Upsample, the older Resize: asymmetric coordinates."""
    value = net.value(node, 0)
    if node.has(1):
        scales = [float(x) for x in net.known(node, 1, "scales").reshape(-1)]
    elif "scales" in node.attributes:
        scales = [float(x) for x in node.attributes["scales"]]
    else:
        scales = [1.0, 1.0, node.real("height_scale", 1.0), node.real("width_scale", 1.0)]
    _resized(net, node, value, _sizes(node, value, scales), scales, _old(node))


def _old(node: Node) -> dict[str, Any]:
    mode = {"nearest": "nearest", "linear": "bilinear", "bilinear": "bilinear"}
    word = node.word("mode", "nearest")
    if word not in mode:
        raise node.fail(f"mode {word!r}", try_="nearest or linear")
    return {"mode": mode[word], "coordinates": "asymmetric", "nearest": "floor"}


def resize(net: Draft, node: Node) -> None:
    """Resize by known scales or to known sizes."""
    value = net.value(node, 0)
    if node.version < 11:
        scales = [float(x) for x in net.known(node, 1, "scales").reshape(-1)]
        _resized(net, node, value, _sizes(node, value, scales), scales, _old(node))
        return
    rank = len(value.shape)
    axes = [node.axis(a, rank) for a in node.integers("axes", tuple(range(rank)))]
    sizes: list[int] = list(value.shape)
    scales = [1.0] * rank
    if node.has(3):
        given = [int(n) for n in net.known(node, 3, "sizes").reshape(-1)]
        _put(node, sizes, axes, given)
        sizes, scales = _by_policy(node, value, sizes, axes)
    else:
        _put(node, scales, axes, [float(x) for x in net.known(node, 2, "scales").reshape(-1)])
        sizes = _sizes(node, value, scales)
    _resized(net, node, value, sizes, scales, _attributes(node))


def _put(node: Node, row: list[Any], axes: list[int], given: list[Any]) -> None:
    if len(given) != len(axes):
        raise node.fail(f"{given} for {len(axes)} axes")
    for axis, one in zip(axes, given, strict=True):
        row[axis] = one


def _by_policy(
    node: Node, value: Value, sizes: list[int], axes: list[int]
) -> tuple[list[int], list[float]]:
    """Return sizes and scales; a policy keeps the picture's proportions."""
    policy = node.word("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch":
        return sizes, []
    ratios = [sizes[axis] / value.shape[axis] for axis in axes]
    if policy not in ("not_larger", "not_smaller"):
        raise node.fail(f"keep_aspect_ratio_policy {policy!r}")
    ratio = min(ratios) if policy == "not_larger" else max(ratios)
    for axis in axes:
        sizes[axis] = math.floor(ratio * value.shape[axis] + 0.5)
    return sizes, [ratio if axis in axes else 1.0 for axis in range(len(sizes))]


def _sizes(node: Node, value: Value, scales: list[float]) -> list[int]:
    if len(scales) != len(value.shape):
        raise node.fail(f"scales {scales} on shape {value.shape}", why="one an axis is needed")
    if not all(math.isfinite(s) and 0 < s < 1e6 for s in scales):
        raise node.fail(f"scales {scales}", why="positive numbers are needed")
    return [
        math.floor(np.float32(n) * np.float32(s)) for n, s in zip(value.shape, scales, strict=True)
    ]


def _attributes(node: Node) -> dict[str, Any]:
    mode = {"nearest": "nearest", "linear": "bilinear", "cubic": "cubic"}
    found = {
        "mode": node.word("mode", "nearest"),
        "coordinates": node.word("coordinate_transformation_mode", "half_pixel"),
        "nearest": node.word("nearest_mode", "round_prefer_floor"),
    }
    if found["mode"] not in mode:
        raise node.fail(f"mode {found['mode']!r}", try_="nearest, linear or cubic")
    if found["coordinates"] not in _COORDINATES:
        raise node.fail(
            f"coordinate_transformation_mode {found['coordinates']!r}",
            why=f"known are {', '.join(_COORDINATES)}",
            try_="half_pixel",
        )
    if found["nearest"] not in _NEAREST:
        raise node.fail(f"nearest_mode {found['nearest']!r}", try_=", ".join(_NEAREST))
    if node.integer("antialias", 0) or node.integer("exclude_outside", 0):
        raise node.fail("antialias or exclude_outside is set", try_="0 for both")
    return {
        **found,
        "mode": mode[found["mode"]],
        "cubic": node.real("cubic_coeff_a", -0.75),
    }


def _resized(
    net: Draft,
    node: Node,
    value: Value,
    sizes: list[int],
    scales: list[float],
    attributes: dict[str, Any],
) -> None:
    if tuple(sizes) == value.shape and all(s == 1 for s in scales):
        identity(net, node)
        return
    if len(value.shape) not in (3, 4) or tuple(sizes[:2]) != value.shape[:2]:
        raise node.fail(
            f"resizes {value.shape} to {tuple(sizes)}", why="only rows and columns can change"
        )
    if min(sizes) < 1 or math.prod(sizes) > LARGEST_TENSOR:
        raise node.fail(f"resizes {value.shape} to {tuple(sizes)}")
    moves = attributes["mode"] == "nearest"
    tail = tail_of(net, node, [value]) if not moves and value.tensor is not None else None
    start = net.carrier(value) if moves or tail is not None else net.real(value)
    if not scales:  # what ONNX Runtime makes of sizes
        pairs = zip(sizes, value.shape, strict=True)
        scales = [float(np.float32(out) / np.float32(size)) for out, size in pairs]
    tensor, _ = picture(net, node, value, start)
    tensor = net.emit(
        node,
        Resize,
        [tensor],
        size=(*sizes[2:], 1)[:2],
        scales=(*scales[2:], 1.0)[:2] if scales else (),
        requantize=tail.rule if tail is not None else None,
        **attributes,
    )
    if tail is not None:
        end(net, node, tensor, sizes, tail)
    else:
        net.define(node, tensor, sizes, value.dtype)


OPERATORS: dict[str, Any] = {"Resize": resize, "Upsample": upsample}
