"""Small networks that the mutations start from: most operators, few bytes."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "program"))

from tflite_model import Operator, Tensor, build, constant, single

from edgebed.program.tflite import read
from edgebed.program.to_onnx import to_model

Q = {"dtype": "int8", "scale": 0.05, "zero_point": -3}
OUT = {"dtype": "int8", "scale": 0.11, "zero_point": 7}
U = {"dtype": "uint8", "scale": 0.05, "zero_point": 128}
REAL = {"dtype": "float32"}
STEP = {"StrideH": 1, "StrideW": 1, "Padding": 0, "FusedActivationFunction": 1}
Bytes = dict[str, bytes]


def tflite_seeds() -> Bytes:
    """Return files by a name that reports use."""
    return {**_weighted(), **_moves(), **_functions(), **_graphs()}


def _filled(name: str, shape: tuple[int, ...], dtype: str = "int8", **meaning: Any) -> Tensor:
    values = (np.arange(np.prod(shape)) % 11 - 5).astype(dtype).reshape(shape)
    return Tensor(name, shape, dtype, values=values, **meaning)


def _weighted() -> Bytes:
    x, map_ = Tensor("x", (1, 4, 4, 2), **Q), Tensor("y", (1, 4, 4, 4), **OUT)
    scales = {"scale": (0.01, 0.02, 0.01, 0.5), "zero_point": (0, 0, 0, 0)}
    filters = _filled("w", (4, 3, 3, 2), **scales, axis=0)
    depthwise = _filled("w", (1, 3, 3, 4), **scales, axis=3)
    bias = _filled("b", (4,), "int32", scale=(0.0005, 0.001, 0.0005, 0.025), zero_point=(0,) * 4)
    rows = _filled("w", (3, 8), scale=0.02)
    real = [Tensor("x", (1, 8), **REAL), _filled("w", (3, 8), "float32")]
    conv, depth = "Conv2DOptions", "DepthwiseConv2DOptions"
    return {
        "conv": single("CONV_2D", [x, filters, bias], [map_], conv, **STEP),
        "depthwise": single("DEPTHWISE_CONV_2D", [x, depthwise, bias], [map_], depth, **STEP),
        "dense": single(
            "FULLY_CONNECTED",
            [Tensor("x", (1, 8), **Q), rows, _filled("b", (3,), "int32", scale=0.001)],
            [Tensor("y", (1, 3), **OUT)], "FullyConnectedOptions", FusedActivationFunction=3,
        ),
        "real dense": single(
            "FULLY_CONNECTED", real, [Tensor("y", (1, 3), **REAL)], "FullyConnectedOptions"
        ),
        "transposed": single(
            "TRANSPOSE_CONV",
            [constant("s", [1, 8, 8, 4]), _filled("w", (4, 2, 2, 2), scale=0.02), x],
            [Tensor("y", (1, 8, 8, 4), **OUT)], "TransposeConvOptions", StrideH=2, StrideW=2,
        ),
        "matrices": single(
            "BATCH_MATMUL", [Tensor("a", (1, 2, 3), **Q), Tensor("b", (1, 3, 2), **Q)],
            [Tensor("y", (1, 2, 2), **OUT)], "BatchMatMulOptions", AdjX=False, AdjY=False,
        ),
    }  # fmt: skip


def _moves() -> Bytes:
    x, small = Tensor("x", (1, 4, 6), **Q), Tensor("x", (1, 2, 4, 4), **Q)

    def one(
        code: str, given: Sequence[Tensor], out: tuple[int, ...], *rest: str, **more: Any
    ) -> bytes:
        return single(code, given, [Tensor("y", out, **Q)], *rest, **more)

    pads = constant("p", [[0, 0], [1, 2], [0, 1]])
    bounds = [constant("b", [0, 1, 5]), constant("e", [1, 3, 0]), constant("t", [1, 1, -2])]
    strided = {"BeginMask": 1, "EndMask": 1, "ShrinkAxisMask": 0}
    return {
        "reshape": one("RESHAPE", [x, constant("s", [1, 24])], (1, 24)),
        "squeeze": one("SQUEEZE", [x], (4, 6), "SqueezeOptions", SqueezeDims=[0]),
        "expand": one("EXPAND_DIMS", [x, constant("a", [1])], (1, 1, 4, 6)),
        "transpose": one("TRANSPOSE", [x, constant("p", [0, 2, 1])], (1, 6, 4)),
        "pad": one("PAD", [x, pads], (1, 7, 7)),
        "mirror": one("MIRROR_PAD", [x, pads], (1, 7, 7), "MirrorPadOptions", Mode=1),
        "slice": one("SLICE", [x, constant("b", [0, 1, 2]), constant("n", [1, 2, -1])], (1, 2, 4)),
        "strided": one("STRIDED_SLICE", [x, *bounds], (1, 2, 3), "StridedSliceOptions", **strided),
        "gather": one("GATHER", [x, constant("i", [1, 0])], (1, 2, 6), "GatherOptions", Axis=1),
        "tile": one("TILE", [x, constant("m", [1, 2, 2])], (1, 8, 12)),
        "broadcast": one("BROADCAST_TO", [x, constant("s", [3, 4, 6])], (3, 4, 6)),
        "reverse": one("REVERSE_V2", [x, constant("a", [1])], (1, 4, 6)),
        "deeper": one("SPACE_TO_DEPTH", [small], (1, 1, 2, 16), "SpaceToDepthOptions", BlockSize=2),
        "wider": one("DEPTH_TO_SPACE", [small], (1, 4, 8, 1), "DepthToSpaceOptions", BlockSize=2),
        "split": single(
            "SPLIT", [constant("a", [2]), x], [Tensor(n, (1, 4, 3), **Q) for n in "yz"],
            "SplitOptions", NumSplits=2,
        ),
        "parts": single(
            "SPLIT_V", [x, constant("n", [1, 5]), constant("a", -1)],
            [Tensor("y", (1, 4, 1), **Q), Tensor("z", (1, 4, 5), **Q)], "SplitVOptions",
            NumSplits=2,
        ),
        "unpack": single(
            "UNPACK", [Tensor("x", (1, 2, 3), **Q)], [Tensor(n, (1, 3), **Q) for n in "yz"],
            "UnpackOptions", Axis=1, Num=2,
        ),
        "pack": one(
            "PACK", [Tensor("a", (1, 4), **Q), Tensor("b", (1, 4), **Q)], (1, 2, 4),
            "PackOptions", Axis=1, ValuesCount=2,
        ),
        "join": one(
            "CONCATENATION", [x, Tensor("z", (1, 4, 2), **Q)], (1, 4, 8),
            "ConcatenationOptions", Axis=2,
        ),
    }  # fmt: skip


def _functions() -> Bytes:
    x, map_ = Tensor("x", (1, 8), **Q), Tensor("x", (1, 4, 4, 2), **Q)
    y, half = Tensor("y", (1, 8), **OUT), Tensor("y", (1, 2, 2, 2), **Q)
    share = Tensor("y", (1, 8), "int8", 1 / 256, -128)
    window = {**STEP, "StrideH": 2, "StrideW": 2, "FilterWidth": 2, "FilterHeight": 2}
    size, two = constant("s", [7, 3]), Tensor("y", (1, 7, 3, 2), **Q)
    kept = {"KeepDims": True}
    plain = {
        code.lower(): single(code, [x], [y])
        for code in ("RELU", "RELU6", "ELU", "HARD_SWISH", "ABS", "NEG", "EXP", "RSQRT")
    }
    return {
        **plain,
        "logistic": single("LOGISTIC", [x], [share]),
        "softmax": single("SOFTMAX", [x], [share], "SoftmaxOptions", Beta=1.0),
        "log softmax": single("LOG_SOFTMAX", [x], [Tensor("y", (1, 8), "int8", 16 / 256, 127)]),
        "leaky": single("LEAKY_RELU", [x], [y], "LeakyReluOptions", Alpha=0.3),
        "prelu": single("PRELU", [x, _filled("a", (8,), scale=0.01)], [y]),
        "mean": single("MEAN", [map_, constant("a", [1, 2])], [Tensor("y", (1, 1, 1, 2), **OUT)],
                       "ReducerOptions", **kept),
        "most": single("REDUCE_MAX", [map_, constant("a", [3])], [Tensor("y", (1, 4, 4, 1), **Q)],
                       "ReducerOptions", **kept),
        "average": single("AVERAGE_POOL_2D", [map_], [half], "Pool2DOptions", **window),
        "max pool": single("MAX_POOL_2D", [map_], [half], "Pool2DOptions", **window),
        "bilinear": single("RESIZE_BILINEAR", [map_, size], [two], "ResizeBilinearOptions",
                           HalfPixelCenters=True),
        "nearest": single("RESIZE_NEAREST_NEIGHBOR", [map_, size], [two],
                          "ResizeNearestNeighborOptions", AlignCorners=True),
        "arg max": single("ARG_MAX", [x, constant("a", 1)], [Tensor("y", (1,), "int32")],
                          "ArgMaxOptions", OutputType=2),
        "quantize": single("QUANTIZE", [Tensor("x", (1, 8), **REAL)], [y]),
        "rescale": single("QUANTIZE", [Tensor("x", (1, 8), **U)], [y]),
        "dequantize": single("DEQUANTIZE", [x], [Tensor("y", (1, 8), **REAL)]),
        "cast": single("CAST", [x], [Tensor("y", (1, 8), **REAL)]),
        "unit": single("L2_NORMALIZATION", [x], [Tensor("y", (1, 8), "int8", 1 / 128, 0)]),
    }  # fmt: skip


def _graphs() -> Bytes:
    """Return networks of several operators."""
    x, flat = Tensor("x", (1, 4, 4, 2), **U), Tensor("f", (1, 32), **U)
    chain = [
        x, _filled("w", (2, 1, 1, 2), "uint8", scale=0.02, zero_point=120),
        _filled("b", (2,), "int32", scale=0.001), Tensor("c", (1, 4, 4, 2), **U),
        Tensor("s", (1, 4, 4, 2), **U), constant("shape", [1, 32]), flat,
        Tensor("y", (1, 32), "uint8", 1 / 256, 0),
    ]  # fmt: skip
    steps = [
        Operator("CONV_2D", ["x", "w", "b"], ["c"], "Conv2DOptions", STEP),
        Operator("ADD", ["x", "c"], ["s"], "AddOptions", {"FusedActivationFunction": 1}),
        Operator("RESHAPE", ["s", "shape"], ["f"]),
        Operator("SOFTMAX", ["f"], ["y"], "SoftmaxOptions", {"Beta": 1.0}),
    ]
    two = {
        code.lower(): single(
            code, [Tensor("a", (1, 2, 3), **Q), _filled("b", (3,), **Q)],
            [Tensor("y", (1, 2, 3), **OUT)], options,
        )
        for code, options in (
            ("ADD", "AddOptions"), ("SUB", "SubOptions"), ("MUL", "MulOptions"),
            ("MAXIMUM", "MaximumMinimumOptions"), ("SQUARED_DIFFERENCE", ""),
        )
    }  # fmt: skip
    batched = [
        Tensor("x", (1, 4, 4, 2), **Q), constant("block", [2, 2]),
        constant("pads", [[2, 2], [2, 2]]), constant("crops", [[0, 0], [0, 0]]),
        _filled("w", (1, 3, 3, 2), scale=0.02), _filled("b", (2,), "int32", scale=0.001),
        Tensor("s", (4, 4, 4, 2), **Q), Tensor("c", (4, 2, 2, 2), **OUT),
        Tensor("y", (1, 4, 4, 2), **OUT),
    ]  # fmt: skip
    valid = {**STEP, "Padding": 1, "DepthMultiplier": 1}
    dilated = [
        Operator("SPACE_TO_BATCH_ND", ["x", "block", "pads"], ["s"]),
        Operator("DEPTHWISE_CONV_2D", ["s", "w", "b"], ["c"], "DepthwiseConv2DOptions", valid),
        Operator("BATCH_TO_SPACE_ND", ["c", "block", "crops"], ["y"]),
    ]
    return {
        **two, "chain": build(chain, steps, ["x"], ["y"]),
        "dilated": build(batched, dilated, ["x"], ["y"]),
    }  # fmt: skip


def torch_seeds() -> Bytes:
    """Return programs that torch.export wrote."""
    import torch

    layers = [torch.nn.Conv2d(2, 3, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(12, 2)]
    models = {
        "network": (torch.nn.Sequential(*layers), torch.zeros(1, 2, 4, 4)),
        "linear": (torch.nn.Linear(4, 2), torch.zeros(1, 4)),
    }
    found = {}
    for name, (model, example) in models.items():
        made = io.BytesIO()
        torch.export.save(torch.export.export(model.eval(), (example,)), made)
        found[name] = made.getvalue()
    return found


Node = tuple[str, Sequence[str], Sequence[str], dict[str, Any]]


def _model(
    nodes: Sequence[Node],
    inputs: dict[str, Sequence[Any]],
    outputs: Sequence[str],
    constants: dict[str, Any],
    opset: int = 17,
) -> bytes:
    graph = helper.make_graph(
        [helper.make_node(kind, i, o, name=f"{kind}_{n}", **more)
         for n, (kind, i, o, more) in enumerate(nodes)],
        "seed",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()],
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    return bytes(made.SerializeToString())


def _reals(*shape: int) -> np.ndarray:
    return np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)


def _one(kind: str, shape: Sequence[int], *constants: Any, opset: int = 17, **more: Any) -> bytes:
    known = {f"c{i}": value for i, value in enumerate(constants)}
    return _model([(kind, ["x", *known], ["y"], more)], {"x": shape}, ["y"], known, opset)


def onnx_seeds() -> Bytes:
    """Return files by a name that reports use."""
    return {**_layers(), **_reshapings(), **_arithmetic(), **_networks(), **_own()}


def _layers() -> Bytes:
    map_, square = (1, 4, 5, 5), {"kernel_shape": [3, 3]}
    norm = [_reals(4) + 2 for _ in range(4)]
    return {
        "Conv": _one("Conv", map_, _reals(3, 4, 3, 3), _reals(3), pads=[1] * 4, strides=[2, 2]),
        "grouped": _one("Conv", map_, _reals(4, 1, 3, 3), group=4, auto_pad="SAME_UPPER"),
        "ConvTranspose": _one("ConvTranspose", map_, _reals(4, 2, 2, 2), strides=[2, 2]),
        "Gemm": _one("Gemm", (1, 4), _reals(3, 4), _reals(3), transB=1, alpha=0.5),
        "MatMul": _one("MatMul", (1, 2, 4), _reals(4, 3)),
        "MaxPool": _one("MaxPool", map_, **square, ceil_mode=1, strides=[2, 2]),
        "AveragePool": _one("AveragePool", map_, **square, pads=[1] * 4, count_include_pad=1),
        "GlobalAveragePool": _one("GlobalAveragePool", map_),
        "BatchNormalization": _one("BatchNormalization", map_, *norm, epsilon=1e-4),
        "LayerNormalization": _one("LayerNormalization", (1, 3, 4), norm[0], norm[1], axis=-1),
        "InstanceNormalization": _one("InstanceNormalization", map_, norm[0], norm[1]),
        "LRN": _one("LRN", map_, size=3),
        "LSTM": _one("LSTM", (2, 1, 3), _reals(1, 8, 3), _reals(1, 8, 2), hidden_size=2),
        "GRU": _one("GRU", (2, 1, 3), _reals(1, 6, 3), _reals(1, 6, 2), hidden_size=2),
    }


def _reshapings() -> Bytes:
    def whole(*values: int) -> np.ndarray:
        return np.array(values, np.int64)

    shape = (1, 4, 6)
    scales = np.array([1, 1, 2, 1.5], np.float32)
    return {
        "Reshape": _one("Reshape", shape, whole(0, -1)),
        "Transpose": _one("Transpose", shape, perm=[0, 2, 1]),
        "Flatten": _one("Flatten", shape, axis=1),
        "Squeeze": _one("Squeeze", (1, 1, 6), whole(1)),
        "Unsqueeze": _one("Unsqueeze", shape, whole(1, 4)),
        "Slice": _one("Slice", shape, whole(-1), whole(-9), whole(2), whole(-2)),
        "Split": _model([("Split", ["x", "n"], ["y", "z"], {"axis": 2})], {"x": shape},
                        ["y", "z"], {"n": whole(2, 4)}),
        "Gather": _one("Gather", shape, whole(2, -1), axis=1),
        "Pad": _one("Pad", shape, whole(0, 1, 2, 0, 0, 1), np.float32(0.5), mode="constant"),
        "Tile": _one("Tile", shape, whole(1, 2, 2)),
        "Expand": _one("Expand", (1, 4, 1), whole(1, 4, 3)),
        "DepthToSpace": _one("DepthToSpace", (1, 8, 2, 3), blocksize=2, mode="CRD"),
        "SpaceToDepth": _one("SpaceToDepth", (1, 2, 4, 4), blocksize=2),
        "Resize": _one("Resize", (1, 2, 4, 4), np.zeros(0, np.float32), scales, mode="linear"),
        "Concat": _model([("Concat", ["x", "z"], ["y"], {"axis": -1})],
                         {"x": shape, "z": (1, 4, 2)}, ["y"], {}),
    }  # fmt: skip


def _arithmetic() -> Bytes:
    shape = (1, 3, 4)
    functions = ("Relu", "LeakyRelu", "Sigmoid", "HardSigmoid", "HardSwish", "Elu", "Erf", "Exp")
    pairs = ("Add", "Sub", "Mul", "Div", "Pow", "Max", "PRelu")
    return {
        **{kind: _one(kind, shape) for kind in functions},
        **{kind: _one(kind, shape, _reals(3, 1)) for kind in pairs},
        "Clip": _one("Clip", shape, np.float32(-1), np.float32(0.5)),
        "Softmax": _one("Softmax", shape, axis=-1),
        "Softmax 11": _one("Softmax", shape, opset=11, axis=1),
        "ReduceMean": _one("ReduceMean", shape, axes=[1, 2], keepdims=0),
        "ReduceSum": _one("ReduceSum", shape, np.array([1])),
        "ArgMax": _one("ArgMax", shape, axis=1),
        "TopK": _model([("TopK", ["x", "k"], ["y", "i"], {})], {"x": shape}, ["y"],
                       {"k": np.array([2])}),
        "Einsum": _model([("Einsum", ["x", "c"], ["y"], {"equation": "abc,cd->abd"})],
                         {"x": shape}, ["y"], {"c": _reals(4, 2)}),
    }  # fmt: skip


def _networks() -> Bytes:
    """Return a float network, one with quantised layers, and arithmetic on shapes."""
    conv = ("Conv", ["x", "w", "b"], ["c"], {"pads": [1] * 4})
    q = {"s": np.float32(0.05), "z": np.int8(-3), "ws": np.array([0.01, 0.02], np.float32),
         "wz": np.zeros(2, np.int8), "w": (np.arange(36) - 18).astype(np.int8).reshape(2, 2, 3, 3),
         "b": np.array([50, -7], np.int32), "bs": np.array([0.0005, 0.001], np.float32),
         "bz": np.zeros(2, np.int32)}  # fmt: skip
    quantised: list[Node] = [
        ("QuantizeLinear", ["x", "s", "z"], ["xq"], {}),
        ("DequantizeLinear", ["xq", "s", "z"], ["xd"], {}),
        ("DequantizeLinear", ["w", "ws", "wz"], ["wd"], {"axis": 0}),
        ("DequantizeLinear", ["b", "bs", "bz"], ["bd"], {"axis": 0}),
        ("Conv", ["xd", "wd", "bd"], ["c"], {"pads": [1] * 4}),
        ("Relu", ["c"], ["r"], {}),
        ("QuantizeLinear", ["r", "s", "z"], ["rq"], {}),
        ("DequantizeLinear", ["rq", "s", "z"], ["y"], {}),
    ]
    float_: list[Node] = [
        conv, ("Relu", ["c"], ["r"], {}), ("Add", ["r", "x"], ["a"], {}),
        ("GlobalAveragePool", ["a"], ["p"], {}), ("Flatten", ["p"], ["f"], {}),
        ("Gemm", ["f", "m"], ["y"], {}),
    ]  # fmt: skip
    shapes: list[Node] = [
        ("Shape", ["x"], ["n"], {}), ("Gather", ["n", "one"], ["g"], {}),
        ("Mul", ["g", "two"], ["t"], {}), ("Concat", ["first", "t"], ["s"], {"axis": 0}),
        ("Reshape", ["x", "s"], ["y"], {}),
    ]  # fmt: skip
    sizes = {"one": np.array([1]), "two": np.array([18]), "first": np.array([1])}
    known = {"w": _reals(2, 2, 3, 3), "b": _reals(2), "m": _reals(2, 3)}
    return {
        "network": _model(float_, {"x": (1, 2, 4, 4)}, ["y"], known),
        "quantised": _model(quantised, {"x": (1, 2, 4, 4)}, ["y"], q),
        "shapes": _model(shapes, {"x": ("N", 2, 18)}, ["y"], sizes),
    }


def _own() -> Bytes:
    """Return edgebed's own saved programs."""
    found = {}
    for name in ("conv", "dense", "bilinear", "softmax", "split"):
        path = Path(__file__).parent / f".seed-{name.replace(' ', '-')}.tflite"
        path.write_bytes(tflite_seeds()[name])
        try:
            found[f"own {name}"] = saved(path)
        finally:
            path.unlink()
    return found


def saved(path: Path) -> bytes:
    """Return a .tflite file as the .onnx file that edgebed writes for it."""
    model: ModelProto = to_model(read(path))
    return bytes(model.SerializeToString())
