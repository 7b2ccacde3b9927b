"""Ops with code of their own, all in one program: the interpreter and every variant agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chain import Chain

from edgebed.program.arithmetic import Affine
from edgebed.program.ops import KINDS
from edgebed.program.ops.avg_pool import AvgPool
from edgebed.program.ops.batch_matmul import BatchMatmul
from edgebed.program.ops.cast import Cast
from edgebed.program.ops.detection_post_process import DetectionPostProcess
from edgebed.program.ops.l2_normalize import L2Normalize
from edgebed.program.ops.power import Power
from edgebed.program.ops.prelu import Prelu
from edgebed.program.ops.resize import Resize
from edgebed.program.ops.softmax import Softmax
from edgebed.program.ops.unary import Unary
from edgebed.program.run import run
from edgebed.program.types import Program, TensorType
from edgebed.targets.host.build import compile_program
from edgebed.targets.host.kernels.isa import runnable
from edgebed.targets.host.lowering import LOWERINGS
from edgebed.targets.host.session import load

REAL = TensorType((4, 7, 6), "float32", 1.0)
BYTES = TensorType((4, 7, 6), "int8", 0.05, -9)


def chain() -> Chain:
    return Chain(lambda strategy: pytest.fail("nothing is drawn here"))


def resizes(c: Chain, real: str, whole: str) -> None:
    for coordinates in ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"):
        for mode in ("bilinear", "cubic", "nearest"):
            place: dict[str, Any] = {"size": (10, 9), "mode": mode, "coordinates": coordinates}
            c.add(Resize, (real,), **place)
            rule = None if mode == "nearest" else Affine(0.07, 3, "float", -100, 120)
            c.add(Resize, (whole,), **place, requantize=rule)
        if coordinates != "pytorch_half_pixel":
            rule = Affine(BYTES.scale, BYTES.zero_point)
            place = {"size": (5, 13), "coordinates": coordinates}
            c.add(Resize, (whole,), mode="bilinear", **place, requantize=rule)


def detections(c: Chain, codes: str, scores: str, name: str) -> None:
    rng = np.random.default_rng(3)
    anchors = rng.uniform(0.1, 0.9, (30, 4)).astype(np.float32)
    c.constant(name, anchors, 32)
    for regular in (False, True):
        for part in ("boxes", "classes", "scores", "count"):
            c.add(
                DetectionPostProcess, (codes, scores), part=part, anchors=name, regular=regular,
                max_detections=8, num_classes=5, max_classes_per_detection=2,
                detections_per_class=4, score_threshold=0.3, iou_threshold=0.4,
                scales=(10.0, 10.0, 5.0, 5.0),
            )  # fmt: skip


def everything() -> Chain:
    c = chain()
    real, whole = c.input(REAL), c.input(BYTES)
    for name, shape in (("real2", (4, 8, 6)), ("whole2", (4, 8, 6))):
        kind = REAL if name == "real2" else BYTES
        c.inputs[name] = c.types[name] = kind.with_shape(shape)
    for name, shape in (("in0t", (4, 6, 7)), ("in1t", (4, 6, 7)),
                        ("real2t", (4, 6, 8)), ("whole2t", (4, 6, 8))):  # fmt: skip
        kind = REAL if name in ("in0t", "real2t") else BYTES
        c.inputs[name] = c.types[name] = kind.with_shape(shape)
    resizes(c, real, whole)
    mixed(c, real, whole)
    return c


def mixed(c: Chain, real: str, whole: str) -> None:
    c.add(L2Normalize, (real,), axis=1)
    c.add(L2Normalize, (whole,), axis=2, requantize=Affine(1 / 128, 0))
    rule = Affine(0.9, 5, "fixed_point")
    for a, b, r in ((real, "real2t", None), (whole, "whole2t", rule)):
        c.add(BatchMatmul, (a, b), requantize=r)
    for a, b, r in ((real, "real2", None), (whole, "whole2", rule)):
        c.add(BatchMatmul, (a, b), transpose_b=True, requantize=r)
    for a, b, r in (("in0t", "real2t", None), ("in1t", "whole2t", rule)):
        c.add(BatchMatmul, (a, b), transpose_a=True, requantize=r)
        c.add(BatchMatmul, (a, b[:-1]), transpose_a=True, transpose_b=True, requantize=r)
    for rounding in ("half_away", "truncate", "half_up"):
        c.add(AvgPool, (whole,), kernel=(3, 2), stride=(2, 1), padding=(1, 0, 2, 1),
              include_padding=True, rounding=rounding, low=-100)  # fmt: skip
    c.add(Softmax, (whole,), axis=0, requantize=Affine(1 / 256, -128))
    c.inputs["codes"] = c.types["codes"] = TensorType((30, 4), "float32", 1.0)
    c.inputs["scores"] = c.types["scores"] = TensorType((30, 6), "uint8", 1 / 255, 0)
    detections(c, "codes", "scores", "anchors")
    for function in ("leaky_relu", "elu", "celu", "selu", "gelu", "gelu_tanh", "softplus", "mish",
                     "softsign", "sign", "square", "sin", "cos", "exp", "floor", "ceil", "round",
                     "neg", "hard_sigmoid"):  # fmt: skip
        c.add(Unary, (real,), function=function, alpha=0.3, beta=0.4)
    c.add(Unary, (real,), function="clip", low=-0.5, high=None)
    c.add(Prelu, (real,), slope=c.constant("slope", np.full((4, 1, 1), 0.2, np.float32), 32))
    positive = c.add(Unary, (real,), function="exp")
    for function in ("log", "sqrt", "rsqrt", "reciprocal"):
        c.add(Unary, (positive,), function=function)
    c.add(Power, (positive, real))
    for dtype in ("int32", "int64", "bool", "int8", "uint8"):
        c.add(Cast, (real,), dtype=dtype)
    c.add(Cast, (whole,), dtype="float32")


def test_every_op_can_be_compiled() -> None:
    assert set(KINDS) == set(LOWERINGS)


def test_rare_ops_equal_the_interpreter(tmp_path: Path) -> None:
    c = everything()
    read = {name for op in c.ops for name in op.inputs}
    outputs = tuple(op.output for op in c.ops if op.output not in read)
    drawn = Program("rare", c.inputs, tuple(c.ops), outputs, c.constants)
    compile_program(drawn, tmp_path, passes=False)
    rng = np.random.default_rng(1)
    inputs: dict[str, Any] = {}
    for name, kind in drawn.inputs.items():
        shape = (5, *kind.shape)
        if kind.is_float:
            inputs[name] = rng.uniform(-3, 3, shape).astype(np.float32)
        else:
            info = np.iinfo(kind.dtype)
            inputs[name] = rng.integers(info.min, info.max + 1, shape).astype(kind.dtype)
    expected = run(drawn, inputs)
    kinds = {op.output: op for op in drawn.ops}
    for isa in runnable():
        with load(tmp_path, isa=isa.name) as session:
            for name, got in zip(outputs, session.run(inputs), strict=True):
                want = expected[name].reshape(got.shape)
                if got.dtype == np.float32:
                    np.testing.assert_allclose(got, want, 2e-6, 2e-6, err_msg=str(kinds[name]))
                else:
                    np.testing.assert_array_equal(got, want, f"{isa.name} {kinds[name]}")
