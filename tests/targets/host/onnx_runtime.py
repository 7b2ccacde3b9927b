"""Run one of ONNX Runtime's quantised operators, the oracle of the float rules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


def quantised_operator(name: str, operands: list[Any], **attributes: Any) -> Any:
    """The result of a com.microsoft operator; scalars become constants."""
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    helper = onnx.helper
    inputs, constants, feed = [], [], {}
    for i, value in enumerate(np.asarray(operand) for operand in operands):
        if value.ndim:
            kind = helper.np_dtype_to_tensor_dtype(value.dtype)
            inputs.append(helper.make_tensor_value_info(f"x{i}", kind, value.shape))
            feed[f"x{i}"] = value
        else:
            constants.append(onnx.numpy_helper.from_array(value, f"x{i}"))
    names = [f"x{i}" for i in range(len(operands))]
    node = helper.make_node(name, names, ["y"], domain="com.microsoft", **attributes)
    kind = helper.np_dtype_to_tensor_dtype(np.asarray(operands[0]).dtype)
    output = helper.make_tensor_value_info("y", kind, None)
    graph = helper.make_graph([node], "one", inputs, [output], constants)
    domains = [helper.make_opsetid("", 13), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=domains, ir_version=8)
    session = runtime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, feed)[0]
