"""Frames from LiteRT (TensorFlow Lite), with its optimised kernels or its reference ones."""

from __future__ import annotations

import hashlib
import time
import warnings
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from edgebed.errors import EdgebedError
from edgebed.figures import Figure
from edgebed.observe.trace import Frame, Level, Manifest, Role, Tensor
from edgebed.program.types import Array

SOURCE: Final = "litert"
Kernels = Literal["delegated", "optimised", "reference"]
RESOLVERS: Final[Mapping[Kernels, str]] = {
    "delegated": "AUTO",
    "optimised": "BUILTIN_WITHOUT_DEFAULT_DELEGATES",
    "reference": "BUILTIN_REF",
}
"""What an application gets by itself (XNNPACK), the runtime's own fast kernels, its plain ones."""
CONSTANT: Final = frozenset({"DELEGATE"})
Row = tuple[dict[str, Any], Role, str]
"""A tensor's details, its role and its op's kind."""


def interpreter_of(path: Path, level: Level = "full", kernels: Kernels = "optimised") -> Any:
    """Return an interpreter, allocated; inner tensors are kept from level `statistics` on.

    Raises:
        EdgebedError: the runtime is not installed, or refuses the file.
    """
    try:
        from ai_edge_litert import interpreter as runtime
    except ImportError as error:
        raise EdgebedError(
            "needs the package ai-edge-litert", try_="pip install 'edgebed[bench]'"
        ) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that inner tensors take memory: they are asked for
            found = runtime.Interpreter(
                model_path=str(path),
                num_threads=1,
                experimental_op_resolver_type=runtime.OpResolverType[RESOLVERS[kernels]],
                experimental_preserve_all_tensors=level not in ("off", "io"),
            )
        found.allocate_tensors()
    except Exception as error:  # the runtime has exceptions of its own
        why = " ".join(str(error).split())[:200]
        raise EdgebedError("its runtime refuses it", where=str(path), why=why) from error
    return found


def manifest(path: Path, level: Level, kernels: Kernels = "optimised") -> Manifest:
    """Return what a trace of LiteRT begins with."""
    import importlib.metadata

    version = importlib.metadata.version("ai-edge-litert")
    notes = {"runtime": f"ai-edge-litert {version}", "kernels": kernels}
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    layers = tuple(name for _, name, _ in layers_of(interpreter_of(path, "full", kernels)))
    return Manifest(SOURCE, level, path.stem, digest, None, layers, notes)


def record(
    source: Path,
    inputs: Mapping[str, Array],
    level: Level = "full",
    *,
    kernels: Kernels = "optimised",
) -> Iterator[Frame]:
    """Compute one frame a sample.

    Args:
        source: a TensorFlow Lite file.
        inputs: by name, N x the file's shape (its first axis 1, or left out).
        level: what is kept.
        kernels: which of the runtime's.

    Raises:
        EdgebedError: the file is refused, or the inputs do not fit.
    """
    interpreter = interpreter_of(source, level, kernels)
    details = interpreter.get_input_details()
    rows = rows_of(interpreter, inner=level not in ("off", "io"))
    for number, sample in enumerate(_samples(details, inputs)):
        _fill(interpreter, details, sample, source)
        begun, clock = time.time_ns(), time.perf_counter_ns()
        interpreter.invoke()
        spent = Figure((time.perf_counter_ns() - clock) / 1000, "us", "measured", "one thread")
        given = tuple(_tensor(one, "input", sample[one["name"]]) for one in details)
        tensors = given + read_rows(interpreter, rows)
        yield Frame(number, tensors, {"latency": spent}, time_ns=begun)


def tensors_of(interpreter: Any, *, inner: bool = True) -> tuple[Tensor, ...]:
    """Return what an interpreter computed last: layers in the order of execution, then outputs.

    Args:
        interpreter: of LiteRT or TensorFlow Lite; inner tensors are right only where it was made
            with `experimental_preserve_all_tensors`.
        inner: with the inner tensors.
    """
    return read_rows(interpreter, rows_of(interpreter, inner=inner))


def rows_of(interpreter: Any, *, inner: bool = True) -> tuple[Row, ...]:
    """Return which tensors `tensors_of` reads; asking for that takes longer than reading them."""
    outputs = {one["index"] for one in interpreter.get_output_details()}
    details = {one["index"]: one for one in interpreter.get_tensor_details()}
    rows: list[Row] = []
    kinds = {}
    for index, _, kind in layers_of(interpreter):
        kinds[index] = kind
        if index not in outputs and inner:
            rows.append((details[index], "layer", kind))
    rows += [(details[index], "output", kinds.get(index, "")) for index in sorted(outputs)]
    return tuple(rows)


def check_kept(interpreter: Any, rows: tuple[Row, ...]) -> None:
    """Refuse an interpreter whose inner tensors are gone once it has computed.

    Without `experimental_preserve_all_tensors` a delegate shows none, and the other kernels put
    later tensors where earlier ones were: what is read there is another layer's.

    Raises:
        EdgebedError: it is one.
    """
    spans = []
    for facts, _, _ in rows:
        try:
            view = interpreter.tensor(facts["index"])()
        except ValueError as error:  # a delegate computed it inside
            raise _not_kept(facts["name"]) from error
        begin = view.__array_interface__["data"][0]
        spans.append((begin, begin + view.nbytes, facts["name"]))
        del view  # the interpreter refuses to compute while somebody looks
    spans.sort()
    for (_, end, _), (begin, _, name) in pairwise(spans):
        if begin < end:
            raise _not_kept(name)


def _not_kept(name: str) -> EdgebedError:
    return EdgebedError(
        "the interpreter keeps no inner tensors", where="watch.layers",
        why=f"{name.split(';')[0]!r} shares its memory with another layer or is inside a delegate",
        try_="Interpreter(path, experimental_preserve_all_tensors=True), or level io",
    )  # fmt: skip


def read_rows(interpreter: Any, rows: tuple[Row, ...]) -> tuple[Tensor, ...]:
    """Return the tensors of `rows_of` as they are now."""
    return tuple(
        _tensor(facts, role, interpreter.get_tensor(facts["index"]), kind)
        for facts, role, kind in rows
    )


def layers_of(interpreter: Any) -> list[tuple[int, str, str]]:
    """Return index, name and op kind of what each op writes, in the order of execution."""
    names = {one["index"]: one["name"] for one in interpreter.get_tensor_details()}
    try:
        ops = interpreter._get_ops_details()
    except AttributeError:  # an interpreter of another version: outputs only
        return []
    return [
        (int(index), names[int(index)], str(op["op_name"]))
        for op in ops
        if op["op_name"] not in CONSTANT
        for index in op["outputs"]
        if int(index) in names
    ]


def _tensor(facts: Mapping[str, Any], role: Role, values: Array, kind: str = "") -> Tensor:
    scales = facts["quantization_parameters"]["scales"]
    zeros = facts["quantization_parameters"]["zero_points"]
    steps = values.dtype.kind in "iu" and len(scales) == 1
    values = values[0] if values.ndim > 1 and values.shape[0] == 1 else values
    return Tensor(
        facts["name"], role, tuple(values.shape), str(values.dtype),
        float(scales[0]) if steps else None, int(zeros[0]) if steps else 0,
        "HWC" if values.ndim == 3 else "", kind, values,
    )  # fmt: skip


def _samples(
    details: list[dict[str, Any]], inputs: Mapping[str, Array]
) -> Iterator[dict[str, Array]]:
    batches = {}
    for one in details:
        shape, name = tuple(map(int, one["shape"])), one["name"]
        if name not in inputs:
            raise EdgebedError(
                f"input {name!r} is missing", why=f"there are {', '.join(map(repr, inputs))}"
            )
        size = int(np.prod(shape, dtype=np.int64))
        if inputs[name].size % size:
            raise EdgebedError(
                f"input {name!r} has shape {inputs[name].shape}", why=f"{shape} is needed"
            )
        batches[name] = inputs[name].reshape(-1, *shape)
    for index in range(min(map(len, batches.values()), default=0)):
        yield {name: batch[index] for name, batch in batches.items()}


def _fill(
    interpreter: Any, details: list[dict[str, Any]], sample: Mapping[str, Array], where: Path
) -> None:
    for one in details:
        values = sample[one["name"]]
        if values.dtype != one["dtype"]:
            raise EdgebedError(
                f"input {one['name']!r} holds {values.dtype}",
                where=str(where),
                why=f"{np.dtype(one['dtype'])} is needed",
            )
        interpreter.set_tensor(one["index"], values)
