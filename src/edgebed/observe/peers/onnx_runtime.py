"""ONNX Runtime on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

Array = Any
_DTYPES = {"tensor(float)": "float32", "tensor(double)": "float64"}


class OnnxRuntime:
    """A session with its inputs and outputs bound, so that a run copies nothing."""

    version = onnxruntime.__version__

    def __init__(self, path: Path, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self.binding = self.session.io_binding()
        self.kept: list[Any] = []

    def inputs(self) -> list[tuple[str, tuple[int, ...], str]]:
        """Return name, shape and dtype of each input; a free axis is 1."""
        found = []
        for one in self.session.get_inputs():
            shape = tuple(n if isinstance(n, int) else 1 for n in one.shape)
            dtype = _DTYPES.get(one.type) or one.type.removeprefix("tensor(").rstrip(")")
            found.append((one.name, shape, dtype))
        return found

    def give(self, inputs: list[Array]) -> None:
        """Bind the inputs and let the runtime allocate the outputs."""
        self.kept = [
            onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(x)) for x in inputs
        ]
        for (name, _, _), value in zip(self.inputs(), self.kept, strict=True):
            self.binding.bind_ortvalue_input(name, value)
        for one in self.session.get_outputs():
            self.binding.bind_output(one.name, "cpu")

    def compute(self) -> None:
        """Run once."""
        self.session.run_with_iobinding(self.binding)

    def outputs(self) -> list[Array]:
        """Return the outputs."""
        return list(self.binding.copy_outputs_to_cpu())


def open_model(path: Path, threads: int) -> OnnxRuntime:
    """Open an ONNX file."""
    return OnnxRuntime(path, threads)
