"""Operators of .tflite files that multiply, pool and reduce, against TensorFlow Lite Micro."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tflite")
pytest.importorskip("tflite_micro")

from tflite_model import Operator, Tensor, build, constant, micro, single
from tflite_oracles import OUT, REAL, Q, bias, equal, equal_to_lite, weights

CONVOLUTIONS = [
    # rows, columns, channels, kernel, stride, padding (0 SAME), dilation, activation
    (7, 9, 3, (3, 3), (1, 1), 0, (1, 1), 0),
    (8, 8, 4, (3, 3), (2, 2), 0, (1, 1), 1),
    (7, 8, 2, (2, 5), (2, 3), 0, (1, 1), 3),
    (9, 9, 3, (3, 2), (2, 1), 1, (1, 1), 2),
    (11, 10, 2, (3, 3), (1, 1), 0, (2, 3), 0),
    (12, 9, 2, (3, 2), (1, 1), 1, (2, 1), 1),
    (5, 5, 8, (1, 1), (1, 1), 1, (1, 1), 3),
]


def _window(kernel: object, stride: tuple[int, int], padding: int, act: int) -> dict[str, int]:
    return {"StrideH": stride[0], "StrideW": stride[1], "Padding": padding,
            "FusedActivationFunction": act}  # fmt: skip


def _out_size(size: int, kernel: int, stride: int, padding: int, dilation: int = 1) -> int:
    reach = (kernel - 1) * dilation + 1
    return -(-size // stride) if padding == 0 else (size - reach) // stride + 1


def _convolution(
    code: str, case: tuple, *, outputs: int, groups: int = 1, channels: bool = True, **types: dict
) -> bytes:
    rows, columns, depth, kernel, stride, padding, dilation, act = case
    shape = (outputs, *kernel, depth // groups)
    axis, options, extra = 0, "Conv2DOptions", {}
    if code == "DEPTHWISE_CONV_2D":
        shape, axis = (1, *kernel, outputs), 3
        options, extra = "DepthwiseConv2DOptions", {"DepthMultiplier": outputs // depth}
    size = [
        _out_size(n, k, s, padding, d)
        for n, k, s, d in zip((rows, columns), kernel, stride, dilation, strict=True)
    ]
    x = Tensor("x", (1, rows, columns, depth), **types.get("x", Q))
    y = Tensor("y", (1, *size, outputs), **types.get("y", OUT))
    return single(
        code, [x, weights(shape, axis, channels=channels), bias(outputs)], [y], options,
        **_window(kernel, stride, padding, act), **extra,
        DilationHFactor=dilation[0], DilationWFactor=dilation[1],
    )  # fmt: skip


@pytest.mark.parametrize("case", CONVOLUTIONS)
@pytest.mark.parametrize("channels", [True, False])
def test_conv_2d(case: tuple, channels: bool, tmp_path: Path) -> None:
    equal(_convolution("CONV_2D", case, outputs=5, channels=channels), tmp_path)


@pytest.mark.parametrize("case", CONVOLUTIONS)
@pytest.mark.parametrize("multiplier", [1, 3])
def test_depthwise_conv_2d(case: tuple, multiplier: int, tmp_path: Path) -> None:
    model = _convolution("DEPTHWISE_CONV_2D", case, outputs=case[2] * multiplier)
    equal(model, tmp_path)


def test_conv_2d_in_groups(tmp_path: Path) -> None:
    case = (6, 6, 4, (3, 3), (1, 1), 0, (1, 1), 0)
    equal(_convolution("CONV_2D", case, outputs=6, groups=2), tmp_path)


def test_conv_2d_without_bias(tmp_path: Path) -> None:
    x, y = Tensor("x", (1, 5, 5, 2), **Q), Tensor("y", (1, 5, 5, 3), **OUT)
    model = single("CONV_2D", [x, weights((3, 3, 3, 2), 0)], [y], "Conv2DOptions",
                   **_window(None, (1, 1), 0, 0))  # fmt: skip
    equal(model, tmp_path)


@pytest.mark.parametrize("code", ["CONV_2D", "DEPTHWISE_CONV_2D"])
def test_float_convolutions(code: str, tmp_path: Path) -> None:
    options, axis = ("Conv2DOptions", 0) if code == "CONV_2D" else ("DepthwiseConv2DOptions", 3)
    shape = (4, 3, 3, 2) if axis == 0 else (1, 3, 3, 4)
    w = constant("w", np.random.default_rng(3).normal(size=shape), "float32")
    b = constant("b", [0.5, -1, 2, 0], "float32")
    x, y = Tensor("x", (1, 6, 7, 2), **REAL), Tensor("y", (1, 3, 4, 4), **REAL)
    extra = {"DepthMultiplier": 2} if axis else {}
    model = single(code, [x, w, b], [y], options, **_window(None, (2, 2), 0, 3), **extra)
    equal(model, tmp_path, tolerance=1e-5)


@pytest.mark.parametrize("kernel", [(3, 3), (2, 2), (4, 3), (1, 1), (5, 5)])
@pytest.mark.parametrize("stride", [(2, 2), (1, 1), (3, 2)])
@pytest.mark.parametrize("padding", [0, 1])
def test_transpose_conv(
    kernel: tuple[int, int], stride: tuple[int, int], padding: int, tmp_path: Path
) -> None:
    rows, columns = 4, 5
    size = [
        n * s if padding == 0 else n * s + max(k - s, 0)
        for n, s, k in zip((rows, columns), stride, kernel, strict=True)
    ]
    shape = constant("shape", [1, *size, 3])
    x, y = Tensor("x", (1, rows, columns, 2), **Q), Tensor("y", (1, *size, 3), **OUT)
    model = single("TRANSPOSE_CONV", [shape, weights((3, *kernel, 2), 0), x, bias(3)], [y],
                   "TransposeConvOptions", **_window(kernel, stride, padding, 0))  # fmt: skip
    equal(model, tmp_path)


@pytest.mark.parametrize(
    ("shape", "keep", "out"),
    [((1, 12), False, (1, 4)), ((1, 2, 2, 3), False, (1, 4)), ((5, 12), False, (5, 4)),
     ((1, 5, 12), True, (1, 5, 4)), ((1, 5, 12), False, (5, 4)), ((2, 3, 12), True, (2, 3, 4))],
)  # fmt: skip
@pytest.mark.parametrize("channels", [False, True])
def test_fully_connected(
    shape: tuple[int, ...], keep: bool, out: tuple[int, ...], channels: bool, tmp_path: Path
) -> None:
    x, y = Tensor("x", shape, **Q), Tensor("y", out, **OUT)
    w = weights((4, 12), 0, channels=channels)
    model = single(
        "FULLY_CONNECTED", [x, w, bias(4)], [y], "FullyConnectedOptions",
        KeepNumDims=keep, FusedActivationFunction=1,
    )  # fmt: skip
    equal(model, tmp_path)


def test_fully_connected_float(tmp_path: Path) -> None:
    w = constant("w", np.random.default_rng(1).normal(size=(3, 6)), "float32")
    x, y = Tensor("x", (1, 6), **REAL), Tensor("y", (1, 3), **REAL)
    model = single("FULLY_CONNECTED", [x, w], [y], "FullyConnectedOptions",
                   FusedActivationFunction=1)  # fmt: skip
    equal(model, tmp_path, tolerance=1e-5)


@pytest.mark.parametrize("adjoint", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("types", ["int8", "float32"])
def test_batch_matmul(adjoint: tuple[bool, bool], types: str, tmp_path: Path) -> None:
    a = (1, 2, 5, 3) if adjoint[0] else (1, 2, 3, 5)
    b = (1, 2, 4, 5) if adjoint[1] else (1, 2, 5, 4)
    meanings = (Q, OUT, {**OUT, "scale": 0.9}) if types == "int8" else (REAL, REAL, REAL)
    tensors = [Tensor("a", a, **meanings[0]), Tensor("b", b, **meanings[1])]
    model = single("BATCH_MATMUL", tensors, [Tensor("y", (1, 2, 3, 4), **meanings[2])],
                   "BatchMatMulOptions", AdjX=adjoint[0], AdjY=adjoint[1])  # fmt: skip
    equal(model, tmp_path, tolerance=0 if types == "int8" else 1e-5)


@pytest.mark.parametrize("code", ["AVERAGE_POOL_2D", "MAX_POOL_2D"])
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("activation", [0, 1, 3])
@pytest.mark.parametrize("meaning", [Q, REAL])
def test_pools(code: str, padding: int, activation: int, meaning: dict, tmp_path: Path) -> None:
    size = [_out_size(7, 3, 2, padding), _out_size(8, 2, 2, padding)]
    x, y = Tensor("x", (1, 7, 8, 3), **meaning), Tensor("y", (1, *size, 3), **meaning)
    model = single(code, [x], [y], "Pool2DOptions", FilterHeight=3, FilterWidth=2,
                   **_window(None, (2, 2), padding, activation))  # fmt: skip
    equal(model, tmp_path, tolerance=0 if meaning is Q else 1e-6)


@pytest.mark.parametrize("code", ["MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"])
@pytest.mark.parametrize("axes", [[1, 2], [-1], [0, 1], [2]])
@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("meaning", [(Q, OUT), (REAL, REAL)])
def test_reductions(code: str, axes: list[int], keep: bool, meaning: tuple, tmp_path: Path) -> None:
    if code in ("REDUCE_MAX", "REDUCE_MIN") and meaning[0] is Q:
        meaning = (Q, Q)
    shape = (1, 4, 3, 5)
    kept = {a % 4 for a in axes}
    out = tuple(1 if a in kept else n for a, n in enumerate(shape) if keep or a not in kept)
    model = single(code, [Tensor("x", shape, **meaning[0]), constant("axes", axes)],
                   [Tensor("y", out, **meaning[1])], "ReducerOptions", KeepDims=keep)  # fmt: skip
    try:
        micro(model, np.zeros(shape, meaning[0]["dtype"]))
    except Exception:
        pytest.skip(f"TensorFlow Lite Micro has no {code} of {meaning[0]['dtype']}")
    equal(model, tmp_path, tolerance=0 if meaning[0] is Q else 1e-5)


SHAPES = [((1, 4, 5, 3), (1, 4, 5, 3)), ((1, 4, 5, 3), (3,)), ((1, 4, 5, 3), (1, 1, 1, 3)),
          ((1, 1, 5, 1), (1, 4, 1, 3)), ((1, 6), (1, 1))]  # fmt: skip
_ACTIVATED = {"ADD": "AddOptions", "SUB": "SubOptions", "MUL": "MulOptions"}


@pytest.mark.parametrize("code", ["ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM"])
@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("second", ["input", "constant"])
def test_two_operands(code: str, shapes: tuple, second: str, tmp_path: Path) -> None:
    options = _ACTIVATED.get(code, "MaximumMinimumOptions")
    fields = {"FusedActivationFunction": 1} if code in _ACTIVATED else {}
    same = code not in _ACTIVATED
    a = Tensor("a", shapes[0], **Q)
    meaning = Q if same else {"dtype": "int8", "scale": 0.03, "zero_point": 5}
    values = np.random.default_rng(4).integers(-128, 128, shapes[1]).astype(np.int8)
    b = Tensor("b", shapes[1], values=values if second == "constant" else None, **meaning)
    y = Tensor("y", np.broadcast_shapes(*shapes), **(Q if same else OUT))
    equal(single(code, [a, b], [y], options, **fields), tmp_path)


@pytest.mark.parametrize("code", ["ADD", "SUB", "MUL", "DIV", "MAXIMUM", "SQUARED_DIFFERENCE"])
def test_two_float_operands(code: str, tmp_path: Path) -> None:
    tensors = [Tensor("a", (1, 3, 4), **REAL), Tensor("b", (4,), **REAL)]
    options = {**_ACTIVATED, "DIV": "DivOptions"}.get(code, "")
    fields = {"FusedActivationFunction": 3} if options else {}
    model = single(code, tensors, [Tensor("y", (1, 3, 4), **REAL)], options, **fields)
    equal(model, tmp_path, tolerance=1e-6)


def test_an_operand_used_twice(tmp_path: Path) -> None:
    model = build([Tensor("x", (1, 6), **Q), Tensor("y", (1, 6), **OUT)],
                  [Operator("ADD", ["x", "x"], ["y"], "AddOptions")], ["x"], ["y"])  # fmt: skip
    equal(model, tmp_path)


@pytest.mark.parametrize("block", [(2, 2), (3, 2)])
@pytest.mark.parametrize("code", ["CONV_2D", "DEPTHWISE_CONV_2D"])
def test_dilation_through_batches(block: tuple[int, int], code: str, tmp_path: Path) -> None:
    """A 3 x 3 convolution whose taps lie `block` apart, on 7 x 8 pixels that it does not divide."""
    rows, columns, depth = 7, 8, 3
    pads = [[b, b + -(n + 2 * b) % b] for n, b in zip((rows, columns), block, strict=True)]
    inner = [(n + sum(p)) // b for n, p, b in zip((rows, columns), pads, block, strict=True)]
    crops = [[0, p[1] - b] for p, b in zip(pads, block, strict=True)]
    batch = block[0] * block[1]
    small = (batch, inner[0] - 2, inner[1] - 2, depth)
    plain = code == "CONV_2D"
    w = weights((depth, 3, 3, depth) if plain else (1, 3, 3, depth), 0 if plain else 3)
    tensors = [
        Tensor("x", (1, rows, columns, depth), **Q), constant("block", block),
        constant("pads", pads), constant("crops", crops), w, bias(depth),
        Tensor("s", (batch, *inner, depth), **Q), Tensor("c", small, **OUT),
        Tensor("y", (1, rows, columns, depth), **OUT),
    ]  # fmt: skip
    options = "Conv2DOptions" if plain else "DepthwiseConv2DOptions"
    extra = {} if plain else {"DepthMultiplier": 1}
    steps = [
        Operator("SPACE_TO_BATCH_ND", ["x", "block", "pads"], ["s"]),
        Operator(code, ["s", "w", "b"], ["c"], options, {**_window(None, (1, 1), 1, 1), **extra}),
        Operator("BATCH_TO_SPACE_ND", ["c", "block", "crops"], ["y"]),
    ]
    # TensorFlow Lite Micro's SPACE_TO_BATCH_ND pads with memory it has not written.
    program = equal_to_lite(build(tensors, steps, ["x"], ["y"]), tmp_path)
    assert [op.dilation for op in program.ops if op.kind == "conv2d"] == [block]
