"""Rarer forms of the operators of .tflite files, and operands that contradict each other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tflite")
pytest.importorskip("ai_edge_litert")

from flatbuffers import flexbuffers
from tflite_model import Operator, Tensor, build, constant, single
from tflite_oracles import OUT, REAL, Q, answer, draw, equal_to_lite

from edgebed.errors import EdgebedError
from edgebed.program.tflite import read

X = Tensor("x", (1, 7, 6), **Q)
STRIDED: dict[str, tuple[list[list[int]], tuple[int, ...], dict[str, int]]] = {
    "ellipsis": ([[0, 1], [0, 5], [1, 2]], (1, 7, 2), {"EllipsisMask": 1}),
    "new axis": ([[0, 0, 2], [1, 1, 5], [1, 1, 1]], (1, 1, 3, 6), {"NewAxisMask": 2}),
    "few entries": ([[0, 1], [1, 4], [1, 2]], (1, 2, 6), {}),
    "backwards to the start": ([[0, 5, 0], [1, 0, 6], [1, -2, 1]], (1, 3, 6), {"EndMask": 2}),
    "beyond the ends": ([[0, -90, 0], [9, 90, 6], [1, 3, 1]], (1, 3, 6), {}),
    "shrinks from the end": ([[0, -1, 0], [1, 0, 6], [1, 1, 1]], (1, 6), {"ShrinkAxisMask": 2}),
    "lengths": ([[0, 1, 0], [1, 3, 6], [1, 1, 1]], (1, 3, 6), {"Offset": 1}),
}  # fmt: skip


@pytest.mark.parametrize("name", list(STRIDED))
def test_strided_slices(name: str, tmp_path: Path) -> None:
    specs, shape, masks = STRIDED[name]
    tensors = [X, *(constant(n, spec) for n, spec in zip("bet", specs, strict=True))]
    model = single("STRIDED_SLICE", tensors, [Tensor("y", shape, **Q)], "StridedSliceOptions",
                   **masks)  # fmt: skip
    equal_to_lite(model, tmp_path)


@pytest.mark.parametrize("meaning", [Q, REAL], ids=["int8", "float32"])
def test_fully_connected_with_weights_that_the_network_computes(
    meaning: dict, tmp_path: Path
) -> None:
    out = {**OUT, "scale": 0.5} if meaning is Q else REAL
    symmetric = {**Q, "zero_point": 0} if meaning is Q else REAL
    tensors = [Tensor("x", (3, 8), **meaning), Tensor("w", (5, 8), **symmetric)]
    model = single("FULLY_CONNECTED", tensors, [Tensor("y", (3, 5), **out)],
                   "FullyConnectedOptions", FusedActivationFunction=1)  # fmt: skip
    equal_to_lite(model, tmp_path, tolerance=0 if meaning is Q else 1e-5)


def test_ranges_and_fills_are_computed_when_the_file_is_read(tmp_path: Path) -> None:
    tensors = [
        Tensor("x", (1, 6), **REAL), constant("a", 0), constant("b", 6), constant("c", 2),
        Tensor("r", (3,), "int32"), constant("s", [1, 3]), constant("v", 2.5, "float32"),
        Tensor("f", (1, 3), **REAL), Tensor("g", (1, 3), **REAL), Tensor("y", (1, 3), **REAL),
    ]  # fmt: skip
    steps = [
        Operator("RANGE", ["a", "b", "c"], ["r"]),
        Operator("GATHER", ["x", "r"], ["g"], "GatherOptions", {"Axis": 1}),
        Operator("FILL", ["s", "v"], ["f"], "FillOptions"),
        Operator("MUL", ["g", "f"], ["y"], "MulOptions"),
    ]
    program = equal_to_lite(build(tensors, steps, ["x"], ["y"]), tmp_path, tolerance=1e-6)
    assert [op.kind for op in program.ops] == ["gather", "constant", "multiply"]


def test_a_move_to_another_scale_keeps_the_bytes(tmp_path: Path) -> None:
    """The runtimes copy; the file's scale says what the copy means."""
    tensors = [Tensor("x", (1, 12), **Q), constant("s", [1, 3, 4]), Tensor("m", (1, 3, 4), **OUT),
               Tensor("y", (1, 3, 4), **REAL)]  # fmt: skip
    steps = [Operator("RESHAPE", ["x", "s"], ["m"]), Operator("DEQUANTIZE", ["m"], ["y"])]
    equal_to_lite(build(tensors, steps, ["x"], ["y"]), tmp_path, tolerance=1e-6)


def test_unsigned_bytes_as_numbers(tmp_path: Path) -> None:
    model = single("CAST", [Tensor("x", (1, 9), "uint8", 0.1, 7)], [Tensor("y", (1, 9), **REAL)],
                   "CastOptions")  # fmt: skip
    equal_to_lite(model, tmp_path)


def test_a_quotient_of_bytes_is_computed_in_real_numbers(tmp_path: Path) -> None:
    tensors = [Tensor("a", (1, 50), **Q), Tensor("b", (1, 50), "int8", 0.03, -128),
               Tensor("y", (1, 50), **OUT)]  # fmt: skip
    model = build(tensors, [Operator("DIV", ["a", "b"], ["y"], "DivOptions")], ["a", "b"], ["y"])
    (tmp_path / "network.tflite").write_bytes(model)
    program = read(tmp_path / "network.tflite")
    a, b = draw(program, 0)
    b = np.maximum(b, -127)  # not 0.0
    real = (a.astype(float) + 3) * 0.05 / ((b.astype(float) + 128) * 0.03)
    expected = np.clip(np.round(real / 0.11) + 7, -128, 127)
    assert np.abs(answer(program, [a, b])[0] - expected).max() <= 1


def test_a_function_of_scales_at_the_ends_of_float32(tmp_path: Path) -> None:
    """Such scales overflow on the way and clamp; nothing is printed or raised."""
    tensors = [Tensor("x", (1, 4), "int8", 3e38, 0)]
    model = single("ELU", tensors, [Tensor("y", (1, 4), "int8", 1e-38, 0)])
    (tmp_path / "network.tflite").write_bytes(model)
    program = read(tmp_path / "network.tflite")
    found = answer(program, [np.array([[-128, 0, 1, 127]], np.int8)])[0]
    assert found.ravel().tolist() == [-128, 0, 127, 127]


def _row(**changes: Tensor) -> list[Tensor]:
    return [changes.get("x", Tensor("x", (1, 4, 6), **Q))]


def _one(
    code: str, more: list[Tensor], out: tuple[int, ...], options: str = "", **fields: int
) -> Callable[[], bytes]:
    return lambda: single(code, [*_row(), *more], [Tensor("y", out, **Q)], options, **fields)


def _slices(*specs: list[int], **masks: int) -> Callable[[], bytes]:
    more = [constant(n, spec) for n, spec in zip("bet", specs, strict=True)]
    return _one("STRIDED_SLICE", more, (1, 4, 6), "StridedSliceOptions", **masks)


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "stride": (_slices([0], [1], [0]), "its stride is 0"),
    "lengths": (_slices([0], [1, 2], [1]), "differ in length"),
    "entries": (_slices([0] * 4, [1] * 4, [1] * 4), "4 entries on [1, 4, 6]"),
    "index": (_slices([0, 9], [1, 10], [1, 1], ShrinkAxisMask=2), "index 9 of an axis of 4"),
    "nothing": (_slices([0, 3], [1, 2], [1, 1]), "takes nothing"),
    "ellipses": (_slices([0] * 3, [1] * 3, [1] * 3, EllipsisMask=7), "masks name more axes"),
    "begin": (_one("SLICE", [constant("b", [0, 1]), constant("n", [1, 1])], (1, 1)),
              "on [1, 4, 6]"),
    "permutation": (_one("TRANSPOSE", [constant("p", [0, 1, 1])], (1, 4, 6)), "permutation"),
    "squeeze": (_one("SQUEEZE", [], (4, 6), "SqueezeOptions", SqueezeDims=[1]), "not all are 1"),
    "splits": (lambda: single(
        "SPLIT", [constant("a", 1), *_row()], [Tensor(n, (1, 1, 6), **Q) for n in "yzw"],
        "SplitOptions"), "3 parts of an axis of 4"),
    "parts": (lambda: single(
        "SPLIT_V", [*_row(), constant("n", [1, 1]), constant("a", 1)],
        [Tensor(n, (1, 1, 6), **Q) for n in "yz"], "SplitVOptions"), "parts [1, 1]"),
    "unpack": (_one("UNPACK", [], (1, 6), "UnpackOptions", Axis=1), "4 parts for 1 outputs"),
    "pads": (_one("PAD", [constant("p", [[0, 0], [-1, 0], [0, 0]])], (1, 3, 6)), "its padding is"),
    "tile": (_one("TILE", [constant("m", [2])], (2, 4, 6), "TileOptions"), "multiples [2]"),
    "times": (_one("TILE", [constant("m", [1, 1, 9999])], (1, 4, 59994), "TileOptions"),
              "it repeats 9999 times"),
    "broadcast": (_one("BROADCAST_TO", [constant("s", [1, 5, 6])], (1, 5, 6)), "cannot become"),
    "gather": (_one("GATHER", [constant("i", [0])], (1, 4, 6), "GatherOptions", BatchDims=1),
               "batch dimensions"),
    "reduced": (_one("MEAN", [constant("a", [3])], (1, 4), "ReducerOptions"), "its axes are [3]"),
    "resized": (_one("RESIZE_BILINEAR", [constant("s", [2, 2])], (1, 2, 2),
                     "ResizeBilinearOptions"), "1 x rows x columns x channels"),
    "corners": (_one("RESIZE_BILINEAR", [constant("s", [2, 2])], (1, 2, 2),
                     "ResizeBilinearOptions", AlignCorners=1, HalfPixelCenters=1), "exclude"),
    "size": (_one("RESIZE_BILINEAR", [constant("s", [2])], (1, 2, 2), "ResizeBilinearOptions"),
             "its size is [2]"),
    "pool": (_one("MAX_POOL_2D", [], (1, 2, 2), "Pool2DOptions", FilterHeight=2, FilterWidth=2,
                  StrideH=2, StrideW=2), "1 x rows x columns"),
    "matrices": (lambda: single(
        "BATCH_MATMUL", [Tensor("a", (4,), **Q), Tensor("b", (4,), **Q)],
        [Tensor("y", (1,), **Q)], "BatchMatMulOptions"), "2 axes are needed"),
    "rows": (lambda: single(
        "FULLY_CONNECTED", [*_row(), Tensor("w", (2, 5), "int8", 0.1, values=np.ones(
            (2, 5), np.int8))], [Tensor("y", (1, 2), **Q)], "FullyConnectedOptions"),
        "rows of 5 are needed"),
    "shuffled": (_one("FULLY_CONNECTED", [], (1, 2), "FullyConnectedOptions", WeightsFormat=1),
                 "shuffled"),
    "cast": (lambda: single("CAST", _row(), [Tensor("y", (1, 4, 6), "uint8")]), "cast to UINT8"),
    "index type": (lambda: single(
        "ARG_MAX", [*_row(), constant("a", 1)], [Tensor("y", (1, 6), **Q)], "ArgMaxOptions"),
        "INT32 or INT64"),
    "types": (lambda: single(
        "CONCATENATION", [*_row(), Tensor("z", (1, 4, 6), **REAL)], [Tensor("y", (1, 8, 6), **Q)],
        "ConcatenationOptions", Axis=1), "an operand is float32"),
    "sizes": (lambda: single(
        "CONCATENATION", [*_row(), Tensor("z", (1, 5, 5), **Q)], [Tensor("y", (1, 9, 6), **Q)],
        "ConcatenationOptions", Axis=1), "along axis 1"),
    "wide prelu": (lambda: single(
        "PRELU", [Tensor("x", (1, 2), "int16", 0.1), Tensor("a", (2,), "int8", 0.1, values=np.ones(
            2, np.int8))], [Tensor("y", (1, 2), "int16", 0.1)]), "PRELU on int16"),
    "wide relabel": (lambda: single(
        "RESHAPE", [Tensor("x", (1, 2), "int16", 0.1), constant("s", [2])],
        [Tensor("y", (2,), "int16", 0.2)]), "must stay"),
    "function of int32": (lambda: single(
        "RELU", [Tensor("x", (1, 2), "int32")], [Tensor("y", (1, 2), "int32")]), "on int32"),
    "settings": (lambda: build(
        [Tensor("b", (1, 2, 4), **REAL), Tensor("s", (1, 2, 2), **REAL),
         constant("a", np.ones((2, 4)), "float32"), Tensor("y", (1, 1, 4), **REAL)],
        [Operator("CUSTOM", ["b", "s", "a"], ["y"], custom_code="TFLite_Detection_PostProcess",
                  custom_options=bytes(flexbuffers.Dumps({"num_classes": 1})))],
        ["b", "s"], ["y"]), "max_detections is None"),
    "damaged settings": (lambda: build(
        [Tensor("b", (1, 2, 4), **REAL), Tensor("s", (1, 2, 2), **REAL),
         constant("a", np.ones((2, 4)), "float32"), Tensor("y", (1, 1, 4), **REAL)],
        [Operator("CUSTOM", ["b", "s", "a"], ["y"], custom_code="TFLite_Detection_PostProcess",
                  custom_options=b"\x01\x02")], ["b", "s"], ["y"]), "its options"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(REFUSED))
def test_operands_that_contradict_each_other(name: str, tmp_path: Path) -> None:
    make, message = REFUSED[name]
    path = tmp_path / "network.tflite"
    path.write_bytes(make())
    with pytest.raises(EdgebedError) as caught:
        read(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith("network.tflite: ")
