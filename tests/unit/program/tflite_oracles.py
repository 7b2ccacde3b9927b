"""The interpreters that imported .tflite networks are held against."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tflite_model import Tensor, micro

from edgebed.program.run import run
from edgebed.program.tflite import read
from edgebed.program.types import Program

Q = {"dtype": "int8", "scale": 0.05, "zero_point": -3}
OUT = {"dtype": "int8", "scale": 0.11, "zero_point": 7}
REAL = {"dtype": "float32"}
Outputs = list[np.ndarray]


def draw(program: Program, seed: int) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    drawn = []
    for name, kind in program.inputs.items():
        shape = program.file_shape(name)
        if kind.is_float:
            drawn.append(random.normal(size=shape).astype(np.float32) * 2)
        else:
            info = np.iinfo(kind.dtype)
            drawn.append(random.integers(info.min, info.max + 1, shape).astype(kind.dtype))
    return drawn


def answer(program: Program, samples: Sequence[np.ndarray]) -> Outputs:
    given = {
        name: x.reshape(1, *kind.shape)
        for (name, kind), x in zip(program.inputs.items(), samples, strict=True)
    }
    found = run(program, given)
    return [found[name].reshape(program.file_shape(name)) for name in program.outputs]


def both(model: bytes, path: Path, seed: int = 0) -> tuple[Outputs, Outputs, Program]:
    path = path / "network.tflite"
    path.write_bytes(model)
    program = read(path)
    samples = draw(program, seed)
    return answer(program, samples), micro(model, *samples), program


def equal(model: bytes, path: Path, *, rounds: int = 2, tolerance: float = 0.0) -> Program:
    for seed in range(rounds):
        ours, theirs, program = both(model, path, seed)
        for a, b in zip(ours, theirs, strict=True):
            assert a.dtype == b.dtype
            assert a.shape == b.shape
            if tolerance:
                np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
            else:
                np.testing.assert_array_equal(a, b)
    return program


def lite(model: bytes, samples: Sequence[np.ndarray]) -> Outputs:
    """Return what TensorFlow Lite's reference kernels compute."""
    lite = pytest.importorskip("ai_edge_litert.interpreter")
    kernels = lite.OpResolverType.BUILTIN_REF
    interpreter = lite.Interpreter(model_content=model, experimental_op_resolver_type=kernels)
    interpreter.allocate_tensors()
    for detail, values in zip(interpreter.get_input_details(), samples, strict=True):
        interpreter.set_tensor(detail["index"], values)
    interpreter.invoke()
    return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]


def equal_to_lite(
    model: bytes, path: Path, *, quanta: int = 0, tolerance: float = 0.0, rounds: int = 2
) -> Program:
    path = path / "network.tflite"
    path.write_bytes(model)
    program = read(path)
    for seed in range(rounds):
        samples = draw(program, seed)
        for a, b in zip(answer(program, samples), lite(model, samples), strict=True):
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
            allowed = quanta if a.dtype.kind in "iu" else tolerance
            np.testing.assert_allclose(
                a.astype(np.float64), b.astype(np.float64), rtol=tolerance, atol=allowed
            )
    return program


def weights(shape: tuple[int, ...], axis: int, seed: int = 1, channels: bool = True) -> Tensor:
    random = np.random.default_rng(seed)
    values = random.integers(-127, 128, shape).astype(np.int8)
    count = shape[axis] if channels else 1
    scales = tuple(float(s) for s in random.uniform(0.001, 0.02, count))
    return Tensor("w", shape, "int8", scales, (0,) * count, values=values, axis=axis)


def bias(count: int, dtype: str = "int32") -> Tensor:
    values = np.random.default_rng(2).integers(-3000, 3000, count).astype(dtype)
    return Tensor("b", (count,), dtype, values=values)
