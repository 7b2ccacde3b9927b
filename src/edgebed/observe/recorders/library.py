"""Frames from a compiled library: on this computer, or on a virtual device.

Inner tensors come from the library itself where it can show them (`contract.Watchable`). Otherwise
the folder's program is compiled once more with every inner tensor as an output; its outputs must
equal the library's, or the frame is refused.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Final

import numpy as np

from edgebed.errors import EdgebedError
from edgebed.figures import Figure
from edgebed.observe.compare import sample_shape
from edgebed.observe.recorders.described import manifest_of, own_layout, samples, tensor_of
from edgebed.observe.trace import Frame, Level, Manifest, Tensor
from edgebed.program import from_onnx, to_onnx
from edgebed.program.types import Array, Program
from edgebed.targets.contract import Cost, Counted, Inner, Library, LibraryTarget, Watchable

PROGRAM: Final = "program.onnx"
REPEATS: Final = 5
"""Timed runs of each frame; their median is its latency."""


def program_of(folder: Path) -> Program:
    """Return the program of a compiled folder.

    Raises:
        EdgebedError: it holds none.
    """
    path = folder / PROGRAM
    if not path.is_file():
        raise EdgebedError(f"has no {PROGRAM}", where=str(folder), try_="compile it again")
    return from_onnx.load(path)


def manifest(folder: Path, library: Library, level: Level) -> Manifest:
    """Return what a trace of a compiled folder begins with."""
    from edgebed.targets import library_target

    source = library_target(folder) or "library"
    home = str((folder / PROGRAM).resolve())
    program = program_of(folder)
    return manifest_of(program, source, level, processor=library.isa, model=home)


def record(
    folder: Path,
    inputs: Mapping[str, Array],
    level: Level = "full",
    *,
    library: Library | None = None,
) -> Iterator[Frame]:
    """Compute one frame a sample.

    Args:
        folder: a compiled library.
        inputs: by name, N x the shape in the file less its batch axis, or one sample.
        level: what is kept; from `statistics` on inner tensors, and figures of each layer.
        library: opened from the folder already; it stays open.

    Raises:
        EdgebedError: the folder is damaged, an input does not fit, or what shows the inner
            tensors gives other outputs.
    """
    from edgebed.targets import open_library

    program = program_of(folder)
    with ExitStack() as stack:
        used = library or stack.enter_context(closing(open_library(folder)))
        inside = _Inside(program, folder, used, stack) if level not in ("off", "io") else None
        given = _in_program_shapes(program, used, inputs)
        for number, sample in enumerate(samples(program, given)):
            yield _frame(program, used, inside, sample, number)


def _in_program_shapes(
    program: Program, library: Library, inputs: Mapping[str, Array]
) -> dict[str, Array]:
    """Return N x the program's shapes from N x the file's."""
    found = dict(inputs)
    for one in library.inputs:
        if one.name in inputs:
            values, own = inputs[one.name], sample_shape(one.shape)
            if values.shape[-len(own) :] == own or values.shape == one.shape or not own:
                found[one.name] = values.reshape(-1, *program.types[one.name].shape)
    return found


def _frame(
    program: Program,
    library: Library,
    inside: _Inside | None,
    sample: Mapping[str, Array],
    number: int,
) -> Frame:
    given = {one.name: sample[one.name].reshape(one.shape) for one in library.inputs}
    begun = time.time_ns()
    result = library.run(given)
    values = result if isinstance(result, tuple) else (result,)
    outputs = {
        one.name: part.reshape(program.types[one.name].shape)
        for one, part in zip(library.outputs, values, strict=True)
    }
    figures = _figures(library)
    tensors = [tensor_of(program, name, one, "input") for name, one in sample.items()]
    layers: Mapping[str, Mapping[str, Figure]] = {}
    if inside is not None:
        layers = _layer_figures(program, library, given)
        tensors += inside.tensors(given, outputs)
    tensors += [tensor_of(program, name, one, "output") for name, one in outputs.items()]
    return Frame(number, tuple(tensors), figures, layers, time_ns=begun)


def _figures(library: Library) -> Mapping[str, Figure]:
    if isinstance(library, Counted):
        return library.figures
    median = float(np.median(library.time_runs(REPEATS))) / 1000
    return {"latency": Figure(median, "us", "measured", f"median of {REPEATS} runs, {library.isa}")}


def _layer_figures(
    program: Program, library: Library, given: Mapping[str, Array]
) -> dict[str, dict[str, Figure]]:
    """Return figures by the tensor that a layer writes; stages of one layer are added up."""
    written = {op.name: op.output for op in program.ops}
    found: dict[str, dict[str, Figure]] = {}
    for name, figures in _costs(library, given):
        layer = name if name in written else name.rpartition(" ")[0]  # "mean sums" is part of mean
        sums = found.setdefault(written.get(layer, name), {})
        for key, one in figures.items():
            before = sums[key].value if key in sums else 0.0
            sums[key] = Figure(before + one.value, one.unit, one.kind, one.source)
    return found


def _costs(
    library: Library, given: Mapping[str, Array]
) -> Iterator[tuple[str, Mapping[str, Figure]]]:
    cost: Any = (
        library.cost if isinstance(library, Counted) else library.profile(given, repeats=REPEATS)
    )
    if isinstance(cost, Cost):
        yield from ((one.name, one.figures) for one in cost.layers)
        return
    source = f"median of {REPEATS} runs, {library.isa}"
    for one in cost.layers:
        spent = Figure(one.nanoseconds / 1000, "us", "measured", source)
        yield one.layer.name, {"latency": spent}


class _Inside:
    """What shows a library's inner tensors: itself, or a build with all of them as outputs."""

    def __init__(self, program: Program, folder: Path, library: Library, stack: ExitStack) -> None:
        self._program, self._library, self._folder = program, library, folder
        self._twin: Library | None = None
        if not isinstance(library, Watchable):
            self._twin = stack.enter_context(closing(_twin(program, folder, library, stack)))

    def tensors(self, given: Mapping[str, Array], outputs: Mapping[str, Array]) -> Iterator[Tensor]:
        """Give the inner tensors of a sample.

        Raises:
            EdgebedError: the build that shows them has other outputs.
        """
        if self._twin is None:
            yield from self._watched(given)
            return
        result = self._twin.run(given)
        names = [one.name for one in self._twin.outputs]
        found = dict(zip(names, result if isinstance(result, tuple) else (result,), strict=True))
        for name, values in outputs.items():
            shown = found.pop(name)
            if not np.array_equal(
                shown.ravel(), values.ravel(), equal_nan=values.dtype.kind == "f"
            ):
                raise EdgebedError(
                    "the build that shows inner tensors has other outputs",
                    where=f"{self._folder}, output {name!r}",
                    why="its sources differ from the program beside them, or reals were summed "
                    "in another order",
                    try_="--level io",
                )
        for op in self._program.ops:
            if op.output in found:
                shape = self._program.types[op.output].shape
                yield tensor_of(self._program, op.output, found[op.output].reshape(shape))

    def _watched(self, given: Mapping[str, Array]) -> Iterator[Tensor]:
        assert isinstance(self._library, Watchable)  # or there would be a twin
        for one in self._library.watch(given):
            if one.name not in self._program.outputs:
                yield seen(self._program, one)


def seen(program: Program, one: Inner) -> Tensor:
    """Return what a library showed of a program's tensor, with its axes named."""
    own = own_layout(program, one.name)
    layout = "".join(own[axis] for axis in one.axes) if own else ""
    return tensor_of(program, one.name, one.values, None, layout)


def _twin(program: Program, folder: Path, library: Library, stack: ExitStack) -> Library:
    """Compile the program with its inner tensors as outputs, for the same processor."""
    from edgebed.targets import library_target, load

    target = load(library_target(folder) or "")
    assert isinstance(target, LibraryTarget)  # it opened the library
    inner = tuple(op.output for op in program.ops if op.output not in program.outputs)
    whole = program.with_(outputs=(*program.outputs, *inner))
    place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgebed-observed-")))
    to_onnx.save(whole, place / PROGRAM)
    target.plan(whole).write(place)
    target.build(place)
    return target.open(place, isa=library.isa)
