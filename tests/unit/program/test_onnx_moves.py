"""ONNX operators that move values give what ONNX Runtime gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from onnx_model import Sketch, check, randoms

RNG = np.random.default_rng(7)


def reals(*shape: int) -> np.ndarray:
    return RNG.normal(0, 0.5, shape).astype(np.float32)


def whole(*values: Any) -> np.ndarray:
    return np.array(values, np.int64)


MOVES: list[tuple[tuple[int, ...], str, dict[str, Any]]] = [
    ((1, 3, 4, 5), "Transpose", {"perm": [0, 2, 3, 1]}),
    ((1, 3, 4), "Transpose", {"perm": [2, 0, 1]}),
    ((2, 3, 4), "Transpose", {"perm": [1, 0, 2]}),
    ((1, 3, 4), "Transpose", {}),
    ((1, 3, 4, 5), "Flatten", {"axis": 2}),
    ((1, 3, 4, 5), "Flatten", {"axis": 0}),
    ((1, 3, 4, 5), "Flatten", {}),
    ((1, 8, 2, 3), "DepthToSpace", {"blocksize": 2}),
    ((1, 8, 2, 3), "DepthToSpace", {"blocksize": 2, "mode": "CRD"}),
    ((1, 3, 4, 6), "SpaceToDepth", {"blocksize": 2}),
    ((1, 3, 1, 5), "Squeeze", {}),
    ((1, 3, 4, 5), "Dropout", {}),
]


@pytest.mark.parametrize(("shape", "kind", "more"), MOVES)
def test_moves(shape: tuple[int, ...], kind: str, more: dict[str, Any]) -> None:
    sketch = Sketch()
    check(sketch.model(sketch.node(kind, sketch.input(shape), **more)), randoms(sketch))


@pytest.mark.parametrize("shape", [(1, -1), (0, 0, -1), (-1, 4), (3, 4, 5), (60,), (1, 1, 3, 20)])
def test_reshape(shape: tuple[int, ...]) -> None:
    sketch = Sketch()
    out = sketch.node("Reshape", sketch.input((1, 3, 4, 5)), sketch.constant(whole(*shape)))
    check(sketch.model(out), randoms(sketch))


SLICES = [
    ([1], [3], [1], [1]), ([0, 1], [9, -1], [2, 3], [2, 1]), ([-1], [-99], [3], [-1]),
    ([4], [0], [-1], [-2]), ([0], [1], [0], [1]), ([0], [2**62], [1], [1]),
]  # fmt: skip


@pytest.mark.parametrize("bounds", SLICES)
def test_slice(bounds: tuple[list[int], ...]) -> None:
    sketch = Sketch()
    given = [sketch.constant(whole(*row)) for row in bounds]
    out = sketch.node("Slice", sketch.input((1, 3, 4, 5)), *given)
    check(sketch.model(out), randoms(sketch))


@pytest.mark.parametrize(("axis", "sizes"), [(1, (1, 2)), (2, (2, 2)), (-1, (4, 1)), (2, None)])
def test_split(axis: int, sizes: tuple[int, ...] | None) -> None:
    sketch = Sketch()
    given = [sketch.constant(whole(*sizes))] if sizes else []
    parts = sketch.node("Split", sketch.input((1, 3, 4, 5)), *given, outputs=2, axis=axis)
    check(sketch.model(*parts), randoms(sketch))


INDICES = [
    ((1, 3, 4), 1, np.int64(1)), ((1, 3, 4), 2, whole(3, -1, 0)), ((2, 3, 4), 0, np.int64(1)),
    ((2, 3, 4), 0, whole(1, 0)), ((1, 3, 4), 1, whole([0, 2], [1, 1])), ((1, 3, 4), 0, np.int64(0)),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "axis", "indices"), INDICES)
def test_gather(shape: tuple[int, ...], axis: int, indices: np.ndarray) -> None:
    sketch = Sketch()
    out = sketch.node("Gather", sketch.input(shape), sketch.constant(indices), axis=axis)
    check(sketch.model(out), randoms(sketch))


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("known", [True, False])
def test_concat(axis: int, known: bool) -> None:
    sketch = Sketch()
    parts = [
        sketch.input((1, 3, 4)),
        sketch.constant(reals(1, 3, 4)) if known else sketch.input((1, 3, 4)),
    ]
    check(sketch.model(sketch.node("Concat", *parts, axis=axis)), randoms(sketch))


PADS: list[tuple[list[int], dict[str, Any], float | None]] = [
    ([0, 0, 1, 2, 0, 0, 3, 0], {}, None),
    ([0, 1, 1, 0, 0, 0, 0, 2], {}, 1.5),
    ([0, 0, 1, 2, 0, 0, 2, 1], {"mode": "reflect"}, None),
    ([0, 0, 1, 2, 0, 0, 2, 1], {"mode": "edge"}, None),
    ([0, 0, -1, 2, 0, 0, 0, -2], {}, None),
    ([1, 0, 0, 0, 0, 0, 0, 0], {}, None),
]


@pytest.mark.parametrize(("widths", "more", "value"), PADS)
def test_pad(widths: list[int], more: dict[str, Any], value: float | None) -> None:
    sketch = Sketch()
    given = [sketch.constant(whole(*widths))]
    given += [sketch.constant(np.float32(value))] if value is not None else []
    out = sketch.node("Pad", sketch.input((1, 2, 4, 5)), *given, **more)
    check(sketch.model(out), randoms(sketch))


RESIZES: list[dict[str, Any]] = [
    {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
    {"mode": "nearest"},
    {"mode": "nearest", "nearest_mode": "ceil"},
    {"mode": "linear"},
    {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
    {"mode": "linear", "coordinate_transformation_mode": "pytorch_half_pixel"},
    {"mode": "cubic", "cubic_coeff_a": -0.5},
]


@pytest.mark.parametrize("more", RESIZES)
@pytest.mark.parametrize("scales", [(2.0, 2.0), (0.6, 1.7)])
@pytest.mark.parametrize("by", ["scales", "sizes"])
def test_resize(more: dict[str, Any], scales: tuple[float, float], by: str) -> None:
    sketch = Sketch()
    x = sketch.input((1, 2, 5, 6))
    sizes = [1, 2, int(5 * scales[0]), int(6 * scales[1])]
    given = [sketch.constant(np.array([1, 1, *scales], np.float32))]
    if by == "sizes":
        given = ["", sketch.constant(whole(*sizes))]
    check(sketch.model(sketch.node("Resize", x, "", *given, **more)), randoms(sketch))
