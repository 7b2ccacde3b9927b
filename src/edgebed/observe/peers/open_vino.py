"""OpenVINO on the CPU, latency hint."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any

import numpy as np
import openvino

Array = Any


class OpenVino:
    """A compiled model and one request whose tensors are shared with numpy."""

    version = importlib.metadata.version("openvino")

    def __init__(self, path: Path, threads: int) -> None:
        core = openvino.Core()
        model = core.read_model(str(path))
        if any(one.partial_shape.is_dynamic for one in model.inputs):
            model.reshape({one: _fixed(one.partial_shape) for one in model.inputs})
        settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
        self.model = core.compile_model(model, "CPU", settings)
        self.request = self.model.create_infer_request()

    def inputs(self) -> list[tuple[str, tuple[int, ...], str]]:
        """Return name, shape and dtype of each input."""
        return [
            (one.any_name, tuple(one.shape), np.dtype(one.element_type.to_dtype()).name)
            for one in self.model.inputs
        ]

    def give(self, inputs: list[Array]) -> None:
        """Share the inputs with the request."""
        for index, x in enumerate(inputs):
            tensor = openvino.Tensor(np.ascontiguousarray(x), shared_memory=False)
            self.request.set_input_tensor(index, tensor)

    def compute(self) -> None:
        """Infer once."""
        self.request.infer(share_inputs=True, share_outputs=True)

    def outputs(self) -> list[Array]:
        """Return the outputs."""
        return [
            np.array(self.request.get_output_tensor(index).data)
            for index in range(len(self.model.outputs))
        ]


def _fixed(shape: Any) -> list[int]:
    return [one.get_length() if one.is_static else 1 for one in shape]


def open_model(path: Path, threads: int) -> OpenVino:
    """Open a .tflite or .onnx file."""
    return OpenVino(path, threads)
