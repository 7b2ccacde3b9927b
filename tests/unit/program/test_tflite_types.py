"""Number types of .tflite files: unsigned bytes, 16-bit activations, halves, hybrid layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tflite")
pytest.importorskip("ai_edge_litert")

import tflite
import tflite_model
from flatbuffers import flexbuffers
from tflite_model import Operator, Tensor, build, constant, single
from tflite_oracles import OUT, REAL, Q, answer, bias, draw, equal, equal_to_lite, lite, weights

from edgebed.errors import EdgebedError
from edgebed.program.tflite import read

U = {"dtype": "uint8", "scale": 0.05, "zero_point": 121}
U_OUT = {"dtype": "uint8", "scale": 0.11, "zero_point": 9}
WIDE = {"dtype": "int16", "scale": 0.0007}
WIDE_OUT = {"dtype": "int16", "scale": 0.0011}


def _unsigned_weights(shape: tuple[int, ...]) -> Tensor:
    values = np.random.default_rng(5).integers(0, 256, shape).astype(np.uint8)
    return Tensor("w", shape, "uint8", 0.011, 131, values=values)


def _unsigned_bias(count: int) -> Tensor:
    values = np.random.default_rng(2).integers(-3000, 3000, count).astype(np.int32)
    return Tensor("b", (count,), "int32", 0.05 * 0.011, 0, values=values)


@pytest.mark.parametrize("code", ["CONV_2D", "DEPTHWISE_CONV_2D"])
@pytest.mark.parametrize("activation", [0, 1, 3])
def test_unsigned_convolutions(code: str, activation: int, tmp_path: Path) -> None:
    plain = code == "CONV_2D"
    shape = (6, 3, 3, 3) if plain else (1, 3, 3, 6)
    x, y = Tensor("x", (1, 8, 8, 3), **U), Tensor("y", (1, 4, 4, 6), **U_OUT)
    extra = {} if plain else {"DepthMultiplier": 2}
    model = single(
        code, [x, _unsigned_weights(shape), _unsigned_bias(6)], [y],
        "Conv2DOptions" if plain else "DepthwiseConv2DOptions", StrideH=2, StrideW=2, Padding=0,
        FusedActivationFunction=activation, **extra,
    )  # fmt: skip
    program = equal_to_lite(model, tmp_path)
    assert program.inputs["x"].dtype == program.types["y"].dtype == "uint8"
    assert program.types["y"].zero_point == 9


def test_unsigned_fully_connected(tmp_path: Path) -> None:
    x, y = Tensor("x", (1, 20), **U), Tensor("y", (1, 7), **U_OUT)
    model = single("FULLY_CONNECTED", [x, _unsigned_weights((7, 20)), _unsigned_bias(7)], [y],
                   "FullyConnectedOptions", FusedActivationFunction=1)  # fmt: skip
    equal_to_lite(model, tmp_path)


UNSIGNED: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "LOGISTIC": ({"dtype": "uint8", "scale": 1 / 256, "zero_point": 0}, "", {}),
    "TANH": ({"dtype": "uint8", "scale": 1 / 128, "zero_point": 128}, "", {}),
    "SOFTMAX": ({"dtype": "uint8", "scale": 1 / 256, "zero_point": 0}, "SoftmaxOptions",
                {"Beta": 1.0}),
    "LOG_SOFTMAX": ({"dtype": "uint8", "scale": 16 / 256, "zero_point": 255}, "", {}),
    "RELU": (U_OUT, "", {}),
    "RELU6": (U_OUT, "", {}),
    "RELU_N1_TO_1": (U_OUT, "", {}),
    "LEAKY_RELU": (U_OUT, "LeakyReluOptions", {"Alpha": 0.2}),
    "HARD_SWISH": (U_OUT, "", {}),
    "L2_NORMALIZATION": ({"dtype": "uint8", "scale": 1 / 128, "zero_point": 128}, "L2NormOptions",
                         {}),
    "QUANTIZE": (U_OUT, "", {}),
}  # fmt: skip


@pytest.mark.parametrize("code", list(UNSIGNED))
def test_unsigned_functions(code: str, tmp_path: Path) -> None:
    meaning, options, fields = UNSIGNED[code]
    model = single(code, [Tensor("x", (1, 4, 64), **U)], [Tensor("y", (1, 4, 64), **meaning)],
                   options, **fields)  # fmt: skip
    equal_to_lite(model, tmp_path, quanta=int(code == "L2_NORMALIZATION"), rounds=4)


@pytest.mark.parametrize("code", ["ADD", "SUB", "MUL", "CONCATENATION"])
def test_unsigned_operands(code: str, tmp_path: Path) -> None:
    tensors = [Tensor("a", (1, 4, 6), **U), Tensor("b", (1, 4, 6), "uint8", 0.02, 3)]
    joined = code == "CONCATENATION"
    options = {"ADD": "AddOptions", "SUB": "SubOptions", "MUL": "MulOptions"}.get(
        code, "ConcatenationOptions"
    )
    y = Tensor("y", (1, 4, 12 if joined else 6), **U_OUT)
    model = single(code, tensors, [y], options, **({"Axis": 2} if joined else {}))
    equal_to_lite(model, tmp_path)


def test_unsigned_means_and_pools(tmp_path: Path) -> None:
    tensors = [Tensor("x", (1, 6, 6, 3), **U), Tensor("p", (1, 3, 3, 3), **U),
               constant("axes", [1, 2]), Tensor("y", (1, 3), **U_OUT)]  # fmt: skip
    pool = {"FilterHeight": 2, "FilterWidth": 2, "StrideH": 2, "StrideW": 2, "Padding": 1}
    steps = [
        Operator("AVERAGE_POOL_2D", ["x"], ["p"], "Pool2DOptions", pool),
        Operator("MEAN", ["p", "axes"], ["y"], "ReducerOptions"),
    ]
    equal_to_lite(build(tensors, steps, ["x"], ["y", "p"]), tmp_path)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("size", [(2, 2), (2, 4), (3, 2), (3, 3)])
def test_averages_of_bytes_are_one_op(dtype: str, size: tuple[int, int], tmp_path: Path) -> None:
    """Halves go up in uint8 and away from zero in int8, also where a window is cut."""
    kind = {"dtype": dtype, "scale": 0.05, "zero_point": 121 if dtype == "uint8" else -7}
    pool = {"FilterHeight": size[0], "FilterWidth": size[1], "StrideH": 1, "StrideW": 1}
    tensors = [Tensor("x", (1, 16, 16, 8), **kind)]
    y = Tensor("y", (1, 16, 16, 8), **kind)
    model = single("AVERAGE_POOL_2D", tensors, [y], "Pool2DOptions", Padding=0, **pool)
    program = equal_to_lite(model, tmp_path)
    assert [op.kind for op in program.ops if op.kind not in ("transpose", "requantize")] == [
        "avg_pool"
    ]
    if dtype == "int8":
        equal(model, tmp_path)


@pytest.mark.parametrize("code", ["CONV_2D", "DEPTHWISE_CONV_2D"])
@pytest.mark.parametrize("activation", [0, 3])
def test_wide_convolutions(code: str, activation: int, tmp_path: Path) -> None:
    plain = code == "CONV_2D"
    w = weights((6, 3, 3, 3) if plain else (1, 3, 3, 3), 0 if plain else 3)
    count = 6 if plain else 3
    x, y = Tensor("x", (1, 8, 8, 3), **WIDE), Tensor("y", (1, 4, 4, count), **WIDE_OUT)
    extra = {} if plain else {"DepthMultiplier": 1}
    model = single(
        code, [x, w, bias(count, "int64")], [y],
        "Conv2DOptions" if plain else "DepthwiseConv2DOptions", StrideH=2, StrideW=2, Padding=0,
        FusedActivationFunction=activation, **extra,
    )  # fmt: skip
    equal(model, tmp_path)


def test_wide_fully_connected(tmp_path: Path) -> None:
    x, y = Tensor("x", (1, 20), **WIDE), Tensor("y", (1, 7), **WIDE_OUT)
    w = weights((7, 20), 0, channels=False)
    model = single("FULLY_CONNECTED", [x, w, bias(7, "int64")], [y], "FullyConnectedOptions")
    equal(model, tmp_path)


@pytest.mark.parametrize("code", ["ADD", "SUB", "MUL", "MAXIMUM"])
def test_wide_operands(code: str, tmp_path: Path) -> None:
    options = {"ADD": "AddOptions", "SUB": "SubOptions", "MUL": "MulOptions"}.get(code, "")
    same = code == "MAXIMUM"
    tensors = [Tensor("a", (1, 40), **WIDE), Tensor("b", (1, 40), **(WIDE if same else WIDE_OUT))]
    out = WIDE if same else {"dtype": "int16", "scale": 0.01}
    equal(single(code, tensors, [Tensor("y", (1, 40), **out)], options), tmp_path)


@pytest.mark.parametrize("code", ["RESHAPE", "AVERAGE_POOL_2D", "MAX_POOL_2D", "PAD", "TRANSPOSE"])
def test_wide_moves(code: str, tmp_path: Path) -> None:
    pool = {"FilterHeight": 2, "FilterWidth": 2, "StrideH": 2, "StrideW": 2}
    cases = {
        "RESHAPE": ([constant("s", [1, 32])], (1, 32), "", {}),
        "AVERAGE_POOL_2D": ([], (1, 2, 2, 2), "Pool2DOptions", pool),
        "MAX_POOL_2D": ([], (1, 2, 2, 2), "Pool2DOptions", pool),
        "PAD": ([constant("p", [[0, 0], [1, 1], [0, 0], [0, 0]])], (1, 6, 4, 2), "", {}),
        "TRANSPOSE": ([constant("p", [0, 3, 1, 2])], (1, 2, 4, 4), "", {}),
    }
    more, shape, options, fields = cases[code]
    tensors = [Tensor("x", (1, 4, 4, 2), **WIDE), *more]
    equal(single(code, tensors, [Tensor("y", shape, **WIDE)], options, **fields), tmp_path)


@pytest.mark.parametrize(
    ("code", "out"), [("LOGISTIC", 1 / 32768), ("TANH", 1 / 32768), ("RELU", 0.0011)]
)
def test_wide_functions(code: str, out: float, tmp_path: Path) -> None:
    model = single(code, [Tensor("x", (1, 300), **WIDE)], [Tensor("y", (1, 300), "int16", out)])
    equal_to_lite(model, tmp_path, quanta=4)


def test_half_precision_constants_become_float32(tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(size=(4, 6)).astype(np.float16)
    tensors = [Tensor("x", (1, 6), **REAL), Tensor("h", (4, 6), "float16", values=values),
               Tensor("w", (4, 6), **REAL), Tensor("y", (1, 4), **REAL)]  # fmt: skip
    steps = [
        Operator("DEQUANTIZE", ["h"], ["w"]),
        Operator("FULLY_CONNECTED", ["x", "w"], ["y"], "FullyConnectedOptions"),
    ]
    program = equal_to_lite(build(tensors, steps, ["x"], ["y"]), tmp_path, tolerance=1e-5)
    assert [op.kind for op in program.ops] == ["dense"]


def test_hybrid_weights_are_dequantised_and_noted(tmp_path: Path) -> None:
    """The runtimes quantise the activations for each run; the program keeps them real."""
    w = weights((4, 6), 0, channels=False)
    x, y = Tensor("x", (1, 6), **REAL), Tensor("y", (1, 4), **REAL)
    model = single("FULLY_CONNECTED", [x, w], [y], "FullyConnectedOptions")
    (tmp_path / "network.tflite").write_bytes(model)
    program = read(tmp_path / "network.tflite")
    (sample,) = draw(program, 0)
    assert w.values is not None
    real = sample @ (w.values.astype(np.float32) * np.float32(w.scales[0])).T
    np.testing.assert_allclose(answer(program, [sample])[0], real, rtol=1e-5)
    np.testing.assert_allclose(lite(model, [sample])[0], real, atol=0.02 * np.abs(real).max())
    assert "dequantised" in program.notes["hybrid layers"]


@pytest.mark.parametrize("regular", [False, True])
def test_detections(regular: bool, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    anchors = random.uniform(0.2, 0.8, (30, 4)).astype(np.float32)
    options = flexbuffers.Dumps({
        "max_detections": 5, "max_classes_per_detection": 1, "detections_per_class": 4,
        "use_regular_nms": regular, "nms_score_threshold": 0.1, "nms_iou_threshold": 0.5,
        "num_classes": 3, "y_scale": 10.0, "x_scale": 10.0, "h_scale": 5.0, "w_scale": 5.0,
    })  # fmt: skip
    tensors = [
        Tensor("boxes", (1, 30, 4), **REAL), Tensor("scores", (1, 30, 4), **REAL),
        constant("anchors", anchors, "float32"), Tensor("b", (1, 5, 4), **REAL),
        Tensor("c", (1, 5), **REAL), Tensor("s", (1, 5), **REAL), Tensor("n", (1,), **REAL),
    ]  # fmt: skip
    step = Operator(
        "CUSTOM", ["boxes", "scores", "anchors"], ["b", "c", "s", "n"],
        custom_code="TFLite_Detection_PostProcess", custom_options=bytes(options),
    )  # fmt: skip
    model = build(tensors, [step], ["boxes", "scores"], ["b", "c", "s", "n"])
    (tmp_path / "network.tflite").write_bytes(model)
    program = read(tmp_path / "network.tflite")
    samples = draw(program, 3)
    for ours, theirs in zip(answer(program, samples), lite(model, samples), strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_detections_of_unsigned_bytes(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    options = flexbuffers.Dumps({
        "max_detections": 4, "max_classes_per_detection": 1, "nms_score_threshold": 0.2,
        "nms_iou_threshold": 0.6, "num_classes": 2, "y_scale": 10.0, "x_scale": 10.0,
        "h_scale": 5.0, "w_scale": 5.0,
    })  # fmt: skip
    anchors = random.integers(0, 256, (20, 4)).astype(np.uint8)
    tensors = [
        Tensor("boxes", (1, 20, 4), "uint8", 0.06, 130),
        Tensor("scores", (1, 20, 3), "uint8", 1 / 256, 0),
        Tensor("anchors", (20, 4), "uint8", 0.004, 1, values=anchors),
        Tensor("b", (1, 4, 4), **REAL), Tensor("c", (1, 4), **REAL), Tensor("s", (1, 4), **REAL),
        Tensor("n", (1,), **REAL),
    ]  # fmt: skip
    step = Operator(
        "CUSTOM", ["boxes", "scores", "anchors"], ["b", "c", "s", "n"],
        custom_code="TFLite_Detection_PostProcess", custom_options=bytes(options),
    )  # fmt: skip
    model = build(tensors, [step], ["boxes", "scores"], ["b", "c", "s", "n"])
    equal_to_lite(model, tmp_path, tolerance=1e-5, rounds=4)


def test_a_scalar_is_a_reshape_to_no_axes(tmp_path: Path) -> None:
    shape = Tensor("s", (0,), "int32", values=np.zeros(0, np.int32))
    model = single("RESHAPE", [Tensor("x", (1, 1), **Q), shape], [Tensor("y", (), **Q)])
    (tmp_path / "network.tflite").write_bytes(model)
    program = read(tmp_path / "network.tflite")
    assert program.file_shape("y") == ()


@pytest.mark.parametrize("code", ["LOGISTIC", "SOFTMAX"])
def test_layers_that_differ_from_the_kernels_are_named(code: str, tmp_path: Path) -> None:
    out = {"dtype": "int16", "scale": 1 / 32768}
    model = single(code, [Tensor("x", (1, 8), **WIDE)], [Tensor("y", (1, 8), **out)],
                   "SoftmaxOptions" if code == "SOFTMAX" else "")  # fmt: skip
    (tmp_path / "network.tflite").write_bytes(model)
    assert "real numbers" in read(tmp_path / "network.tflite").notes[f"layer {code.lower()}_0"]


def test_a_constant_operand_is_computed_once(tmp_path: Path) -> None:
    """SHAPE, arithmetic on it and a reshape by it leave nothing but the reshape."""
    tensors = [
        Tensor("x", (1, 4, 6), **Q), Tensor("shape", (3,), "int32"), constant("b", [1]),
        constant("e", [2]), constant("t", [1]), Tensor("rows", (1,), "int32"),
        constant("two", [2]), Tensor("double", (1,), "int32"), constant("rest", [-1]),
        Tensor("new", (2,), "int32"), Tensor("y", (8, 3), **Q),
    ]  # fmt: skip
    steps = [
        Operator("SHAPE", ["x"], ["shape"], "ShapeOptions", {"OutType": 2}),
        Operator("STRIDED_SLICE", ["shape", "b", "e", "t"], ["rows"], "StridedSliceOptions"),
        Operator("MUL", ["rows", "two"], ["double"], "MulOptions"),
        Operator("CONCATENATION", ["double", "rest"], ["new"], "ConcatenationOptions", {"Axis": 0}),
        Operator("RESHAPE", ["x", "new"], ["y"]),
    ]
    model = build(tensors, steps, ["x"], ["y"])
    (tmp_path / "network.tflite").write_bytes(model)
    program = read(tmp_path / "network.tflite")
    assert [op.kind for op in program.ops] == ["reshape"]
    assert program.file_shape("y") == (8, 3)


def test_a_constant_that_a_layer_reads_may_be_folded_too(tmp_path: Path) -> None:
    c = Tensor("c", (1, 4), values=np.array([[1, 2, 3, 4]], np.int8), **Q)
    tensors = [Tensor("x", (1, 4), **Q), c, Tensor("a", (1, 4), **Q), constant("s", [4]),
               Tensor("d", (4,), **Q), Tensor("y", (1, 4), **Q)]  # fmt: skip
    steps = [
        Operator("ADD", ["x", "c"], ["a"], "AddOptions"),
        Operator("RESHAPE", ["c", "s"], ["d"]),
        Operator("ADD", ["a", "d"], ["y"], "AddOptions"),
    ]
    program = equal(build(tensors, steps, ["x"], ["y"]), tmp_path)
    assert [op.kind for op in program.ops] == ["constant", "add", "constant", "add"]


def test_weights_of_four_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tflite_model.TYPES, "int4", tflite.TensorType.INT4)
    packed = np.random.default_rng(0).integers(0, 256, 30).astype(np.uint8)
    w = Tensor("w", (6, 10), "int4", 0.02, 0, values=packed)
    x, y = Tensor("x", (1, 10), **Q), Tensor("y", (1, 6), **OUT)
    model = single("FULLY_CONNECTED", [x, w, bias(6)], [y], "FullyConnectedOptions")
    program = equal(model, tmp_path)
    assert program.constants["fully_connected_0.weight"].bits == 4


@pytest.mark.parametrize("corners", [(False, False), (False, True), (True, False)])
def test_unsigned_pictures_are_resized(corners: tuple[bool, bool], tmp_path: Path) -> None:
    tensors = [Tensor("x", (1, 5, 4, 3), **U), constant("s", [9, 7])]
    model = single(
        "RESIZE_BILINEAR", tensors, [Tensor("y", (1, 9, 7, 3), **U)], "ResizeBilinearOptions",
        AlignCorners=corners[0], HalfPixelCenters=corners[1],
    )  # fmt: skip
    equal_to_lite(model, tmp_path, quanta=1)


def test_unsigned_to_signed_bytes_costs_one_step(tmp_path: Path) -> None:
    same = {"dtype": "int8", "scale": 0.05, "zero_point": -7}
    model = single("QUANTIZE", [Tensor("x", (1, 9), **U)], [Tensor("y", (1, 9), **same)])
    program = equal_to_lite(model, tmp_path)
    assert [op.kind for op in program.ops] == ["requantize"]


def test_one_tensor_may_be_two_outputs(tmp_path: Path) -> None:
    """A reshape that only drops the batch axis is no work; both names still exist."""
    tensors = [Tensor("x", (1, 4), **Q), Tensor("a", (1, 4), **OUT), constant("s", [4]),
               Tensor("b", (4,), **OUT)]  # fmt: skip
    steps = [Operator("RELU", ["x"], ["a"]), Operator("RESHAPE", ["a", "s"], ["b"])]
    program = equal(build(tensors, steps, ["x"], ["a", "b"]), tmp_path)
    assert program.outputs == ("a", "b")
    single_output = equal(build(tensors, steps, ["x"], ["b"]), tmp_path)
    assert [op.kind for op in single_output.ops] == ["lookup"]


def test_an_output_that_another_layer_reads_keeps_its_name(tmp_path: Path) -> None:
    tensors = [Tensor("x", (1, 8), **U), Tensor("m", (1, 8), **U_OUT), Tensor("y", (1, 8), **U_OUT)]
    steps = [Operator("RELU", ["x"], ["m"]), Operator("RELU", ["m"], ["y"])]
    program = equal_to_lite(build(tensors, steps, ["x"], ["m", "y"]), tmp_path)
    assert program.outputs == ("m", "y")


def test_an_input_may_be_an_output(tmp_path: Path) -> None:
    tensors = [Tensor("x", (1, 8), **Q), Tensor("y", (1, 8), **OUT)]
    model = build(tensors, [Operator("RELU", ["x"], ["y"])], ["x"], ["x", "y"])
    (tmp_path / "network.tflite").write_bytes(model)
    program = read(tmp_path / "network.tflite")
    samples = draw(program, 0)
    np.testing.assert_array_equal(answer(program, samples)[0], samples[0])


def test_sums_whose_scales_the_fixed_point_cannot_hold(tmp_path: Path) -> None:
    """TensorFlow Lite's kernels stop where 2 max(s) / (2**20 s_out) is not below 1."""
    x = [Tensor(n, (1, 4), "int8", 0.5, 0) for n in "ab"]
    for scale, fits in ((1.1e-6, True), (0.9e-6, False)):
        model = single("ADD", x, [Tensor("y", (1, 4), "int8", scale, 0)], "AddOptions")
        (tmp_path / "network.tflite").write_bytes(model)
        if fits:
            read(tmp_path / "network.tflite")
        else:
            with pytest.raises(EdgebedError, match="too far apart"):
                read(tmp_path / "network.tflite")
