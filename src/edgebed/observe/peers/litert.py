"""LiteRT (TensorFlow Lite) with XNNPACK, its default."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

Array = Any


class LiteRt:
    """An interpreter; `compute` is `invoke` alone."""

    version = importlib.metadata.version("ai-edge-litert")

    def __init__(self, path: Path, threads: int) -> None:
        self.interpreter = Interpreter(model_path=str(path), num_threads=threads)
        self.interpreter.allocate_tensors()

    def inputs(self) -> list[tuple[str, tuple[int, ...], str]]:
        """Return name, shape and dtype of each input."""
        return [
            (one["name"], tuple(int(n) for n in one["shape"]), np.dtype(one["dtype"]).name)
            for one in self.interpreter.get_input_details()
        ]

    def give(self, inputs: list[Array]) -> None:
        """Copy the inputs into the interpreter."""
        for one, x in zip(self.interpreter.get_input_details(), inputs, strict=True):
            self.interpreter.set_tensor(one["index"], x)

    def compute(self) -> None:
        """Invoke."""
        self.interpreter.invoke()

    def outputs(self) -> list[Array]:
        """Return the outputs."""
        details = self.interpreter.get_output_details()
        return [self.interpreter.get_tensor(one["index"]) for one in details]


def open_model(path: Path, threads: int) -> LiteRt:
    """Open a .tflite file."""
    return LiteRt(path, threads)
