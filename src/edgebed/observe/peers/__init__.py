"""Other runtimes, each behind one small class: what edgebed is compared with.

A peer opens a model file, takes inputs once, and then computes as often as it is told with the
least overhead that its Python interface allows.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from edgebed.errors import EdgebedError, did_you_mean

Array = npt.NDArray[Any]


class Peer(Protocol):
    """A runtime with one model in it."""

    version: str

    def inputs(self) -> list[tuple[str, tuple[int, ...], str]]:
        """Return name, shape and dtype of each input."""

    def give(self, inputs: list[Array]) -> None:
        """Set the inputs."""

    def compute(self) -> None:
        """Compute once."""

    def outputs(self) -> list[Array]:
        """Return copies of the outputs."""


MODULES: Final = {
    "edgebed": ("compiled", "edgebed's own library for this computer"),
    "onnxruntime": ("onnx_runtime", "pip install onnxruntime"),
    "litert": ("litert", "pip install ai-edge-litert"),
    "openvino": ("open_vino", "pip install openvino"),
}
READS: Final = {
    "edgebed": ("folder",),
    "onnxruntime": (".onnx",),
    "litert": (".tflite",),
    "openvino": (".tflite", ".onnx"),
}
"""What each peer opens: suffixes, or a compiled folder."""


def check_name(name: str) -> str:
    """Return a peer's name.

    Raises:
        EdgebedError: there is no such peer.
    """
    if name not in MODULES or name == "edgebed":
        others = [one for one in MODULES if one != "edgebed"]
        raise EdgebedError(f"unknown runtime {name!r}", try_=did_you_mean(name, others))
    return name


def open_peer(name: str, path: Path, threads: int) -> Peer:
    """Open a model in a runtime.

    Raises:
        EdgebedError: the runtime is not installed, or refuses the model.
    """
    module, install = MODULES[name]
    try:
        found = importlib.import_module(f"{__name__}.{module}")
    except ImportError as error:
        raise EdgebedError(f"{name} is not installed", why=str(error), try_=install) from error
    try:
        peer: Peer = found.open_model(path, threads)
    except EdgebedError:
        raise
    except Exception as error:  # each runtime has exceptions of its own
        line = " ".join(str(error).split())[:160]
        raise EdgebedError(f"{name} refuses the model", where=str(path), why=line) from error
    return peer


def random_inputs(inputs: list[tuple[str, tuple[int, ...], str]], seed: int = 0) -> list[Array]:
    """Return uniformly random inputs: whole range for integers, 0..1 for reals."""
    rng = np.random.default_rng(seed)
    found: list[Array] = []
    for _, shape, dtype in inputs:
        if np.issubdtype(np.dtype(dtype), np.integer):
            limits = np.iinfo(dtype)
            drawn = rng.integers(limits.min, limits.max, shape, endpoint=True)
            found.append(drawn.astype(dtype))
        else:
            found.append(rng.random(shape).astype(dtype))
    return found
