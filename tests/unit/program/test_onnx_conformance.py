"""The node tests that come with ONNX: what is imported answers as the standard says."""

from __future__ import annotations

import warnings
from collections import Counter
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgebed.errors import EdgebedError
from edgebed.program.onnx_graph import from_model
from edgebed.program.run import run

# The tests give weights, shapes and scales as inputs; a network has them as constants.
WEIGHTED = {
    "BatchNormalization", "Clip", "Conv", "ConvInteger", "ConvTranspose", "DequantizeLinear",
    "GroupNormalization", "InstanceNormalization", "LayerNormalization", "MatMulInteger", "PRelu",
    "Pad", "QLinearConv", "QLinearMatMul", "QuantizeLinear", "RMSNormalization", "Resize",
    "Upsample", "GRU", "LSTM", "RNN",
}  # fmt: skip
OTHERWISE = {
    # ONNX Runtime, which is followed, takes the whole output size here, the standard its fraction.
    "test_resize_downsample_scales_linear_align_corners",
    "test_resize_downsample_scales_cubic_align_corners",
    # A program takes finite numbers and has at least one op.
    "test_constant",
}
LOOSE = ("float16", "bfloat16")


def prepared(case: Any) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """The model with its integer and parameter inputs as constants, and the other inputs."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    names = [value.name for value in model.graph.input]
    arrays = dict(zip(names, case.data_sets[0][0], strict=True))
    feeds = {}
    for index, (name, array) in enumerate(arrays.items()):
        weighted = model.graph.node[0].op_type in WEIGHTED
        if index > 0 and (weighted or array.dtype.kind in "iub"):
            model.graph.initializer.append(numpy_helper.from_array(array, name))
        else:
            feeds[name] = array
    return model, feeds


def answers(case: Any) -> bool | None:
    """Whether the program answers as the standard says; None where it is refused."""
    model, feeds = prepared(case)
    try:
        program = from_model(model, case.name)
        given = {
            name: (a.astype(np.float32) if program.inputs[name].is_float else a).reshape(
                1, *program.inputs[name].shape
            )
            for name, a in feeds.items()
        }
        found = run(program, given)
    except EdgebedError:
        return None
    for name, wanted in zip(program.outputs, case.data_sets[0][1], strict=True):
        mine = found[name].reshape(program.file_shape(name))
        rtol = 3e-3 if str(wanted.dtype) in LOOSE else max(case.rtol, 1e-4)
        close = np.allclose(
            mine.astype(np.float64), wanted.astype(np.float64), rtol=rtol, atol=1e-4
        )
        if mine.shape != wanted.shape or not close:
            return False
    return True


@pytest.mark.slow
def test_the_standard_s_own_node_tests() -> None:
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = [
            case
            for case in collect_testcases()
            if case.name not in OTHERWISE
            and all(isinstance(a, np.ndarray) for part in case.data_sets[0] for a in part)
        ]
    verdicts = {case.name: answers(case) for case in cases}
    wrong = [name for name, verdict in verdicts.items() if verdict is False]
    assert not wrong
    assert Counter(verdicts.values())[True] > 600
