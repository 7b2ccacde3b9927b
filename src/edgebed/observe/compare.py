"""Differences between two ways to compute the same network: per output, and op by op."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from edgebed.program.types import Array, Op, Program
from edgebed.targets.contract import Library

TOLERANCE: Final = 1e-4
"""Real numbers are equal when they differ by at most this share of the largest one."""
MOVES: Final = frozenset({"identity", "reshape", "transpose", "strided_slice", "slice", "crop"})
"""Ops that pass every value on as it is."""


@dataclass(frozen=True)
class Difference:
    """How far an output is from its reference.

    Attributes:
        name: of the output.
        values: how many were compared.
        differing: how many of them differ; real numbers by more than the tolerance.
        largest: largest difference in real units.
        quanta: the same in steps of the output's scale; None where it has none.
        equal: nothing differs.
    """

    name: str
    values: int
    differing: int
    largest: float
    quanta: float | None
    equal: bool

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


def difference(
    name: str, reference: Array, answer: Array, scale: float | None = None
) -> Difference:
    """Compare two arrays of one shape.

    Args:
        name: for the result.
        reference: what is right.
        answer: what was computed.
        scale: real value of one step, where the values are steps or were made from steps.
    """
    if reference.shape != answer.shape:
        return Difference(name, reference.size, reference.size, float("inf"), None, False)
    a, b = (one.astype(np.float64) for one in (reference, answer))
    with np.errstate(invalid="ignore"):
        gap = np.asarray(np.abs(a - b))
    gap[(a == b) | (np.isnan(a) & np.isnan(b))] = 0.0
    gap[np.isnan(gap)] = np.inf
    integers = reference.dtype.kind != "f"
    finite = np.abs(a[np.isfinite(a)])
    allowed = 0.0 if integers else TOLERANCE * float(finite.max(initial=0.0))
    largest = float(gap.max(initial=0.0))
    count = int((gap > allowed).sum())
    unit = scale or 1.0
    if integers:
        return Difference(name, a.size, count, largest * unit, largest, count == 0)
    return Difference(name, a.size, count, largest, largest / scale if scale else None, count == 0)


def differences(
    program: Program, reference: Mapping[str, Array], answer: Mapping[str, Array]
) -> list[Difference]:
    """Compare all outputs of a program, each N x its shape."""
    return [
        difference(name, reference[name], answer[name], step(program, name))
        for name in program.outputs
    ]


def step(program: Program, tensor: str) -> float | None:
    """Return the real value of one step of a tensor; None where it has no steps."""
    kind = program.types[tensor]
    if not kind.is_float:
        return None if kind.dtype == "bool" else kind.scale
    writer = program.writer(tensor)
    while writer is not None and writer.kind in MOVES:
        writer = program.writer(writer.inputs[0])
    if writer is None or writer.kind != "dequantize":
        return None
    return program.types[writer.inputs[0]].scale


def batch_inputs(program: Program, samples: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """Stack samples of the program's own shapes along a new first axis."""
    return {name: np.stack([one[name] for one in samples]) for name in program.inputs}


def random_inputs(program: Program, count: int, seed: int) -> dict[str, Array]:
    """Return inputs N x shape: integers from the whole range of their type, reals in -1..1."""
    rng = np.random.default_rng(seed)
    found: dict[str, Array] = {}
    for name, kind in program.inputs.items():
        shape = (count, *kind.shape)
        if kind.is_float:
            found[name] = rng.uniform(-1, 1, shape).astype(np.float32)
        elif kind.dtype == "bool":
            found[name] = rng.random(shape) < 0.5
        else:
            limits = np.iinfo(kind.dtype)
            drawn = rng.integers(limits.min, limits.max, shape, dtype=np.int64, endpoint=True)
            found[name] = drawn.astype(kind.dtype)
    return found


def answers(library: Library, program: Program, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Run a library on a batch.

    Args:
        library: compiled from the program.
        program: gives shapes.
        inputs: N x the program's shapes.

    Returns:
        The outputs by name, N x the program's shapes.
    """
    count = len(next(iter(inputs.values())))
    given = {
        one.name: inputs[one.name].reshape(count, *sample_shape(one.shape))
        for one in library.inputs
    }
    result = library.run(given)
    outputs = result if isinstance(result, tuple) else (result,)
    return {
        one.name: values.reshape(count, *program.types[one.name].shape)
        for one, values in zip(library.outputs, outputs, strict=True)
    }


def sample_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a file's shape less its batch axis, if it has one."""
    return shape[1:] if shape[:1] == (1,) else shape


@dataclass(frozen=True)
class OpDifference:
    """An op that answers otherwise than the file's own runtime, given that runtime's inputs.

    Attributes:
        layer: the op's name.
        kind: of the op.
        tensor: its output, by the name in the file.
        difference: how far its answer is from the runtime's.
    """

    layer: str
    kind: str
    tensor: str
    difference: Difference

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {"layer": self.layer, "kind": self.kind, **self.difference.to_json()}


def op_by_op(
    program: Program, inputs: Mapping[str, Array], theirs: Mapping[str, Array]
) -> list[OpDifference]:
    """Return the ops that differ from another runtime.

    After each op whose tensor the runtime has too, the runtime's values replace ours: so an op is
    named for its own difference, not for one that it was handed.

    Args:
        program: as imported.
        inputs: N x the program's shapes.
        theirs: the runtime's tensors by name, N x anything of the same number of values.
    """
    known: dict[str, Array] = dict(inputs)
    count = len(next(iter(inputs.values())))
    found = []
    for op in program.ops:
        ours = computed(program, op, known, count)
        known[op.output] = ours
        given = _same_layout(theirs.get(op.output), ours)
        if given is None:
            continue
        one = difference(op.output, given, ours, step(program, op.output))
        if not one.equal:
            found.append(OpDifference(op.name, op.kind, op.output, one))
        known[op.output] = given
    return found


def computed(program: Program, op: Op, known: Mapping[str, Array], count: int) -> Array:
    """Return an op's output for a batch of `count`, from the tensors known so far."""
    types = [program.types[name] for name in op.inputs]
    result = op.run([known[name] for name in op.inputs], program.constants, types)
    return result if op.inputs else np.broadcast_to(result, (count, *result.shape[1:]))


def _same_layout(values: Array | None, ours: Array) -> Array | None:
    """Return a runtime's tensor in our shape and type; unsigned bytes become signed ones."""
    if values is None or values.size != ours.size:
        return None
    values = values.reshape(ours.shape)
    if values.dtype == np.uint8 and ours.dtype == np.int8:
        return (values.astype(np.int16) - 128).astype(np.int8)
    return values if values.dtype == ours.dtype else None


def integer_tensors(program: Program) -> Iterator[str]:
    """Give the names of the quantised tensors that ops write."""
    for op in program.ops:
        if program.types[op.output].dtype in ("int8", "uint8", "int16"):
            yield op.output


def is_quantised(program: Program) -> bool:
    """Say whether any op works on quantised values."""
    return next(integer_tensors(program), None) is not None


@dataclass(frozen=True)
class Runtime:
    """The runtime a file was made for, which computed a batch.

    Attributes:
        name: its name and version.
        outputs: by name, N x the program's shapes.
        tensors: inner tensors by name, N x the file's shapes; empty where it shows none.
    """

    name: str
    outputs: Mapping[str, Array]
    tensors: Mapping[str, Array]


def own_runtime(path: Path, program: Program, inputs: Mapping[str, Array]) -> Runtime | str:
    """Compute a batch in the runtime that a file was made for.

    Args:
        path: a TensorFlow Lite or ONNX file.
        program: as imported from it.
        inputs: N x the program's shapes.

    Returns:
        What it computed, or why it did not.
    """
    from edgebed.observe import file_runtimes

    found = file_runtimes.of(path)
    if found is None:
        return "the file has no runtime of its own"
    try:
        return found(path, program, inputs)
    except ImportError as error:
        return f"{error.name or error} is not installed; pip install 'edgebed[bench]' installs it"
    except Exception as error:  # each runtime has exceptions of its own
        return f"its runtime refuses it: {' '.join(str(error).split())[:200]}"
