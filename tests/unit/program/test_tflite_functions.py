"""Functions, moves and conversions of .tflite files, against TensorFlow Lite Micro."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tflite")
pytest.importorskip("tflite_micro")

from hypothesis import given, settings
from hypothesis import strategies as st
from tflite_model import Operator, Tensor, build, constant, single
from tflite_oracles import OUT, REAL, Q, equal, equal_to_lite

UNARY = {
    "LOGISTIC": ({"dtype": "int8", "scale": 1 / 256, "zero_point": -128}, "", {}),
    "TANH": ({"dtype": "int8", "scale": 1 / 128, "zero_point": 0}, "", {}),
    "HARD_SWISH": ({"dtype": "int8", "scale": 0.04, "zero_point": -100}, "HardSwishOptions", {}),
    "RELU": (OUT, "", {}),
    "RELU6": (Q, "", {}),
    "LEAKY_RELU": (OUT, "LeakyReluOptions", {"Alpha": 0.3}),
    "ELU": (OUT, "", {}),
    "ABS": (OUT, "AbsOptions", {}),
}


@pytest.mark.parametrize("code", list(UNARY))
def test_functions_of_int8(code: str, tmp_path: Path) -> None:
    meaning, options, fields = UNARY[code]
    model = single(code, [Tensor("x", (1, 16, 16), **Q)], [Tensor("y", (1, 16, 16), **meaning)],
                   options, **fields)  # fmt: skip
    equal(model, tmp_path, rounds=4)


def test_relu6_to_another_scale_is_read_as_it_is_stored(tmp_path: Path) -> None:
    model = single("RELU6", [Tensor("x", (1, 256), **Q)], [Tensor("y", (1, 256), **OUT)])
    equal(model, tmp_path)


FLOAT_UNARY = ["LOGISTIC", "TANH", "HARD_SWISH", "RELU", "RELU6", "LEAKY_RELU", "ELU", "ABS", "NEG",
               "EXP", "SQUARE", "FLOOR", "CEIL", "ROUND", "SIN", "COS"]  # fmt: skip


@pytest.mark.parametrize("code", FLOAT_UNARY)
def test_functions_of_float32(code: str, tmp_path: Path) -> None:
    options, fields = UNARY.get(code, ({}, "", {}))[1:]
    model = single(code, [Tensor("x", (1, 50), **REAL)], [Tensor("y", (1, 50), **REAL)],
                   options, **fields)  # fmt: skip
    equal(model, tmp_path, tolerance=1e-5)


@pytest.mark.parametrize("code", ["SQRT", "RSQRT", "LOG"])
def test_functions_of_positive_numbers(code: str, tmp_path: Path) -> None:
    tensors = [Tensor("x", (1, 50), **REAL), Tensor("p", (1, 50), **REAL),
               Tensor("y", (1, 50), **REAL)]  # fmt: skip
    steps = [Operator("SQUARE", ["x"], ["p"]), Operator(code, ["p"], ["y"])]
    equal(build(tensors, steps, ["x"], ["y"]), tmp_path, tolerance=1e-5)


@settings(max_examples=60, deadline=None)
@given(st.floats(0.002, 1.0), st.floats(0.002, 1.0), st.integers(-128, 127))
def test_roots_of_int8(scale: float, out: float, zero: int) -> None:
    """LiteRT cuts them; Micro knows roots of float32 only."""
    x = {"dtype": "int8", "scale": scale, "zero_point": -128}
    y = {"dtype": "int8", "scale": out, "zero_point": zero}
    model = single("SQRT", [Tensor("x", (1, 400), **x)], [Tensor("y", (1, 400), **y)])
    with tempfile.TemporaryDirectory() as folder:
        equal_to_lite(model, Path(folder))


@pytest.mark.parametrize("shape", [(1, 1, 3), (3,), (1,)])
def test_prelu(shape: tuple[int, ...], tmp_path: Path) -> None:
    values = np.array([-128, 20, 127][: shape[-1]], np.int8).reshape(shape)
    alpha = Tensor("alpha", shape, "int8", 0.007, -9, values=values)
    x, y = Tensor("x", (1, 8, 9, 3), **Q), Tensor("y", (1, 8, 9, 3), **OUT)
    equal(single("PRELU", [x, alpha], [y]), tmp_path, rounds=4)


def test_prelu_float(tmp_path: Path) -> None:
    alpha = constant("alpha", [[[0.5, -2.0, 0.0]]], "float32")
    x, y = Tensor("x", (1, 4, 4, 3), **REAL), Tensor("y", (1, 4, 4, 3), **REAL)
    equal(single("PRELU", [x, alpha], [y]), tmp_path, tolerance=1e-6)


MOVES: dict[str, Callable[[dict], bytes]] = {
    "reshape": lambda q: single("RESHAPE", [Tensor("x", (1, 4, 6), **q), constant("s", [1, -1])],
                                [Tensor("y", (1, 24), **q)]),
    "reshape to rows": lambda q: single(
        "RESHAPE", [Tensor("x", (1, 4, 6), **q), constant("s", [8, 3])],
        [Tensor("y", (8, 3), **q)]),
    "squeeze": lambda q: single("SQUEEZE", [Tensor("x", (1, 1, 6), **q)],
                                [Tensor("y", (1, 6), **q)], "SqueezeOptions", SqueezeDims=[1]),
    "squeeze all": lambda q: single("SQUEEZE", [Tensor("x", (1, 1, 6), **q)],
                                    [Tensor("y", (6,), **q)], "SqueezeOptions"),
    "expand": lambda q: single("EXPAND_DIMS", [Tensor("x", (1, 6), **q), constant("a", [1])],
                               [Tensor("y", (1, 1, 6), **q)]),
    "expand batch": lambda q: single("EXPAND_DIMS", [Tensor("x", (3, 6), **q), constant("a", [0])],
                                     [Tensor("y", (1, 3, 6), **q)]),
    "transpose": lambda q: single(
        "TRANSPOSE", [Tensor("x", (1, 2, 3, 4), **q), constant("p", [0, 3, 1, 2])],
        [Tensor("y", (1, 4, 2, 3), **q)], "TransposeOptions"),
    "transpose batch": lambda q: single(
        "TRANSPOSE", [Tensor("x", (1, 2, 3), **q), constant("p", [1, 2, 0])],
        [Tensor("y", (2, 3, 1), **q)], "TransposeOptions"),
    "pack": lambda q: single("PACK", [Tensor("a", (1, 4), **q), Tensor("b", (1, 4), **q)],
                             [Tensor("y", (1, 2, 4), **q)], "PackOptions", Axis=1, ValuesCount=2),
    "pack batch": lambda q: single(
        "PACK", [Tensor("a", (1, 4), **q), Tensor("b", (1, 4), **q)],
        [Tensor("y", (2, 1, 4), **q)], "PackOptions", Axis=0, ValuesCount=2),
    "unpack": lambda q: single("UNPACK", [Tensor("x", (1, 2, 3), **q)],
                               [Tensor("y", (1, 3), **q), Tensor("z", (1, 3), **q)],
                               "UnpackOptions", Axis=1, Num=2),
    "split": lambda q: single(
        "SPLIT", [constant("a", [2]), Tensor("x", (1, 2, 6), **q)],
        [Tensor(n, (1, 2, 2), **q) for n in "yzw"], "SplitOptions", NumSplits=3),
    "split_v": lambda q: single(
        "SPLIT_V", [Tensor("x", (1, 2, 6), **q), constant("n", [1, 5]), constant("a", -1)],
        [Tensor("y", (1, 2, 1), **q), Tensor("z", (1, 2, 5), **q)], "SplitVOptions", NumSplits=2),
    "slice": lambda q: single(
        "SLICE", [Tensor("x", (1, 5, 6), **q), constant("b", [0, 2, 1]), constant("n", [1, 2, -1])],
        [Tensor("y", (1, 2, 5), **q)]),
    "strided slice": lambda q: single(
        "STRIDED_SLICE", [Tensor("x", (1, 7, 6), **q), constant("b", [0, -2, 1]),
                          constant("e", [1, -8, 6]), constant("t", [1, -2, 2])],
        [Tensor("y", (1, 3, 3), **q)], "StridedSliceOptions"),
    "strided slice shrinks": lambda q: single(
        "STRIDED_SLICE", [Tensor("x", (1, 7, 6), **q), constant("b", [0, 3, 1]),
                          constant("e", [0, 4, 3]), constant("t", [1, 1, 1])],
        [Tensor("y", (1, 5), **q)], "StridedSliceOptions", BeginMask=1, EndMask=5,
        ShrinkAxisMask=2),
    "gather": lambda q: single(
        "GATHER", [Tensor("x", (1, 5, 3), **q), constant("i", [4, 0, 0, 2])],
        [Tensor("y", (1, 4, 3), **q)], "GatherOptions", Axis=1),
    "pad": lambda q: single(
        "PAD", [Tensor("x", (1, 3, 4, 2), **q), constant("p", [[0, 0], [1, 2], [0, 3], [0, 0]])],
        [Tensor("y", (1, 6, 7, 2), **q)], "PadOptions"),
    "mirror pad": lambda q: single(
        "MIRROR_PAD",
        [Tensor("x", (1, 4, 4, 2), **q), constant("p", [[0, 0], [1, 2], [3, 0], [0, 0]])],
        [Tensor("y", (1, 7, 7, 2), **q)], "MirrorPadOptions", Mode=0),
    "symmetric pad": lambda q: single(
        "MIRROR_PAD",
        [Tensor("x", (1, 4, 4, 2), **q), constant("p", [[0, 0], [1, 2], [3, 0], [0, 0]])],
        [Tensor("y", (1, 7, 7, 2), **q)], "MirrorPadOptions", Mode=1),
    "space to depth": lambda q: single(
        "SPACE_TO_DEPTH", [Tensor("x", (1, 4, 6, 3), **q)], [Tensor("y", (1, 2, 3, 12), **q)],
        "SpaceToDepthOptions", BlockSize=2),
    "depth to space": lambda q: single(
        "DEPTH_TO_SPACE", [Tensor("x", (1, 2, 3, 12), **q)], [Tensor("y", (1, 4, 6, 3), **q)],
        "DepthToSpaceOptions", BlockSize=2),
    "tile": lambda q: single("TILE", [Tensor("x", (1, 2, 3), **q), constant("m", [1, 3, 2])],
                             [Tensor("y", (1, 6, 6), **q)], "TileOptions"),
    "broadcast": lambda q: single(
        "BROADCAST_TO", [Tensor("x", (2, 1), **q), constant("s", [3, 2, 4])],
        [Tensor("y", (3, 2, 4), **q)]),
    "reverse": lambda q: single("REVERSE_V2", [Tensor("x", (1, 2, 3), **q), constant("a", [2])],
                                [Tensor("y", (1, 2, 3), **q)]),
    "concatenation": lambda q: single(
        "CONCATENATION", [Tensor("a", (1, 3, 4), **q), Tensor("b", (1, 3, 2), **q)],
        [Tensor("y", (1, 3, 6), **q)], "ConcatenationOptions", Axis=-1),
    "concatenation of batches": lambda q: single(
        "CONCATENATION", [Tensor("a", (1, 3), **q), Tensor("b", (1, 3), **q)],
        [Tensor("y", (2, 3), **q)], "ConcatenationOptions", Axis=0),
}  # fmt: skip


ONLY_LITE = ("mirror pad", "symmetric pad", "tile", "reverse")


@pytest.mark.parametrize("name", list(MOVES))
@pytest.mark.parametrize("meaning", [Q, REAL], ids=["int8", "float32"])
def test_moves(name: str, meaning: dict, tmp_path: Path) -> None:
    model = MOVES[name](meaning)
    if name in ONLY_LITE:  # with kernels that TensorFlow Lite Micro lacks, or lacks for int8
        equal_to_lite(model, tmp_path, tolerance=1e-7)
        return
    equal(model, tmp_path, tolerance=0 if meaning is Q else 1e-7)


def test_padv2(tmp_path: Path) -> None:
    value = Tensor("v", (1,), "int8", 0.05, -3, values=np.array([77], np.int8))
    tensors = [Tensor("x", (1, 3, 2), **Q), constant("p", [[0, 0], [1, 0], [0, 2]]), value]
    equal(single("PADV2", tensors, [Tensor("y", (1, 4, 4), **Q)]), tmp_path)


@pytest.mark.parametrize("code", ["RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR"])
@pytest.mark.parametrize("size", [(7, 9), (8, 10), (2, 3), (1, 1)])
@pytest.mark.parametrize("corners", [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize("meaning", [Q, REAL], ids=["int8", "float32"])
def test_resizes(
    code: str, size: tuple[int, int], corners: tuple[bool, bool], meaning: dict, tmp_path: Path
) -> None:
    bilinear = code == "RESIZE_BILINEAR"
    options = "ResizeBilinearOptions" if bilinear else "ResizeNearestNeighborOptions"
    model = single(
        code, [Tensor("x", (1, 4, 5, 2), **meaning), constant("s", size)],
        [Tensor("y", (1, *size, 2), **meaning)], options,
        AlignCorners=corners[0], HalfPixelCenters=corners[1],
    )  # fmt: skip
    equal(model, tmp_path, tolerance=0 if meaning is Q else 1e-5)


@pytest.mark.parametrize("shape", [(1, 10), (1, 4, 6), (3, 5)])
@pytest.mark.parametrize("meaning", [Q, REAL], ids=["int8", "float32"])
def test_softmax(shape: tuple[int, ...], meaning: dict, tmp_path: Path) -> None:
    out = {"dtype": "int8", "scale": 1 / 256, "zero_point": -128} if meaning is Q else REAL
    model = single("SOFTMAX", [Tensor("x", shape, **meaning)], [Tensor("y", shape, **out)],
                   "SoftmaxOptions", Beta=0.7)  # fmt: skip
    equal(model, tmp_path, rounds=5, tolerance=0 if meaning is Q else 1e-6)


@pytest.mark.parametrize("meaning", [Q, REAL], ids=["int8", "float32"])
def test_log_softmax(meaning: dict, tmp_path: Path) -> None:
    out = {"dtype": "int8", "scale": 16 / 256, "zero_point": 127} if meaning is Q else REAL
    model = single("LOG_SOFTMAX", [Tensor("x", (1, 10), **meaning)], [Tensor("y", (1, 10), **out)],
                   "LogSoftmaxOptions")  # fmt: skip
    equal(model, tmp_path, rounds=5, tolerance=0 if meaning is Q else 1e-5)


@pytest.mark.parametrize("meaning", [Q, REAL], ids=["int8", "float32"])
def test_l2_normalization(meaning: dict, tmp_path: Path) -> None:
    out = {"dtype": "int8", "scale": 1 / 128, "zero_point": 0} if meaning is Q else REAL
    model = single("L2_NORMALIZATION", [Tensor("x", (1, 2, 10), **meaning)],
                   [Tensor("y", (1, 2, 10), **out)], "L2NormOptions")  # fmt: skip
    equal(model, tmp_path, rounds=5, tolerance=0 if meaning is Q else 1e-5)


@pytest.mark.parametrize("code", ["ARG_MAX", "ARG_MIN"])
@pytest.mark.parametrize("axis", [-1, 1])
def test_index_of_the_extreme(code: str, axis: int, tmp_path: Path) -> None:
    out = (1, 4) if axis == -1 else (1, 5)
    options = "ArgMaxOptions" if code == "ARG_MAX" else "ArgMinOptions"
    model = single(code, [Tensor("x", (1, 4, 5), **Q), constant("a", axis)],
                   [Tensor("y", out, "int32")], options, OutputType=2)  # fmt: skip
    equal(model, tmp_path)


@pytest.mark.parametrize(
    ("source", "target"),
    [(REAL, Q), (Q, REAL), (Q, OUT), (REAL, {"dtype": "int16", "scale": 0.001}),
     (Q, {"dtype": "int16", "scale": 0.001}), ({"dtype": "int16", "scale": 0.001}, OUT)],
)  # fmt: skip
def test_quantisation(source: dict, target: dict, tmp_path: Path) -> None:
    code = "DEQUANTIZE" if target is REAL else "QUANTIZE"
    model = single(code, [Tensor("x", (1, 64), **source)], [Tensor("y", (1, 64), **target)])
    equal(model, tmp_path, tolerance=1e-6 if target is REAL else 0)


def test_cast(tmp_path: Path) -> None:
    model = single("CAST", [Tensor("x", (1, 9), **Q)], [Tensor("y", (1, 9), **REAL)], "CastOptions")
    equal(model, tmp_path)
