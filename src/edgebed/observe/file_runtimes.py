"""The runtimes that files are made for: TensorFlow Lite Micro and ONNX Runtime."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

import numpy as np

from edgebed.observe.compare import Runtime, integer_tensors, is_quantised
from edgebed.program.read import TFLITE_MARK
from edgebed.program.to_onnx import METADATA_KEY
from edgebed.program.types import Array, Program

Compute = Callable[[Path, Program, Mapping[str, Array]], Runtime]


def of(path: Path) -> Compute | None:
    """Return how a file's own runtime computes; None for one that only edgebed reads."""
    content = path.read_bytes()
    if content[4:8] == TFLITE_MARK:
        return tflite_micro
    if path.suffix.lower() != ".onnx" or METADATA_KEY.encode() in content:
        return None
    return onnx_runtime


def tflite_micro(path: Path, program: Program, inputs: Mapping[str, Array]) -> Runtime:
    """Compute in TensorFlow Lite Micro's reference kernels.

    Raises:
        ImportError: it is not installed.
        Exception: it refuses the file.
    """
    from tflite_micro import runtime

    interpreter = runtime.Interpreter.from_file(str(path))
    outputs: dict[str, list[Array]] = {name: [] for name in program.outputs}
    for index in range(_count(inputs)):
        for place, name in enumerate(program.inputs):
            shape = program.file_shape(name)
            interpreter.set_input(inputs[name][index].reshape(shape), place)
        interpreter.invoke()
        for place, name in enumerate(program.outputs):
            values = interpreter.get_output(place)
            outputs[name].append(values.reshape(program.types[name].shape))
    version = importlib.metadata.version("tflite-micro")
    return Runtime(f"tflite-micro {version}", _stacked(outputs), {})


def onnx_runtime(path: Path, program: Program, inputs: Mapping[str, Array]) -> Runtime:
    """Compute in ONNX Runtime; the inner tensors are those of a quantised network.

    Raises:
        ImportError: it is not installed.
        Exception: it refuses the file.
    """
    import onnxruntime

    plain = _run(onnxruntime, str(path), list(program.outputs), program, inputs)
    shaped = {
        name: [one.reshape(program.types[name].shape) for one in values]
        for name, values in plain.items()
    }
    tensors = _inner(onnxruntime, path, program, inputs) if is_quantised(program) else {}
    name = f"onnxruntime {onnxruntime.__version__}"
    return Runtime(name, _stacked(shaped), tensors)


def _inner(
    onnxruntime: ModuleType, path: Path, program: Program, inputs: Mapping[str, Array]
) -> dict[str, Array]:
    """Return the quantised tensors of an ONNX graph, made outputs of a copy of it."""
    import onnx

    model = onnx.load(str(path))
    written = {name for node in model.graph.node for name in node.output}
    outputs = {one.name for one in model.graph.output}
    wanted = [name for name in integer_tensors(program) if name in written]
    for name in wanted:
        if name not in outputs:
            model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    return _stacked(_run(onnxruntime, model.SerializeToString(), wanted, program, inputs))


def _run(
    onnxruntime: ModuleType,
    model: str | bytes,
    wanted: list[str],
    program: Program,
    inputs: Mapping[str, Array],
) -> dict[str, list[Array]]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    found: dict[str, list[Array]] = {name: [] for name in wanted}
    for index in range(_count(inputs)):
        given = {
            name: values[index].reshape(program.file_shape(name)) for name, values in inputs.items()
        }
        for name, values in zip(wanted, session.run(wanted, given), strict=True):
            found[name].append(values)
    return found


def _count(inputs: Mapping[str, Array]) -> int:
    return len(next(iter(inputs.values())))


def _stacked(parts: Mapping[str, list[Array]]) -> dict[str, Array]:
    return {name: np.stack(values) for name, values in parts.items()}
