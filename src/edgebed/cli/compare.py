"""`edgebed compare`: a library beside the reference interpreter, or a trace beside another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Group, Parameter

from edgebed.cli.text import json_text, say, table
from edgebed.errors import EdgebedError
from edgebed.figures import number

if TYPE_CHECKING:
    from edgebed.observe.compare import Difference, OpDifference, Runtime
    from edgebed.program.types import Array, Program
    from edgebed.targets.contract import Library

DIFFERS: Final = 2
FOLDER: Final = Parameter(group=Group("For a compiled library", sort_key=1))
TRACES: Final = Parameter(group=Group("For two traces", sort_key=2))


@dataclass(frozen=True)
class Pair:
    """Two ways to compute, and how far apart each output is."""

    reference: str
    answer: str
    outputs: tuple[Difference, ...]

    @property
    def equal(self) -> bool:
        """Nothing differs."""
        return all(one.equal for one in self.outputs)


@dataclass(frozen=True)
class Comparison:
    """Everything that was compared.

    Attributes:
        samples: how many inputs.
        pairs: the comparisons.
        ops: ops that differ from the file's own runtime.
        left_out: why a runtime is missing; None where it is there.
    """

    samples: int
    pairs: tuple[Pair, ...]
    ops: tuple[OpDifference, ...]
    left_out: str | None


def compare(
    model: Path,
    folder: Path,
    /,
    *,
    input: Annotated[Path | None, FOLDER] = None,
    count: Annotated[int, FOLDER] = 0,
    pixels: Annotated[str, FOLDER] = "0..1",
    input_shape: Annotated[tuple[str, ...], FOLDER] = (),
    html: Annotated[Path | None, TRACES] = None,
    assert_: Annotated[tuple[str, ...], TRACES, Parameter(name="--assert")] = (),
    layer: Annotated[str, TRACES] = "",
    frame: Annotated[int | None, TRACES] = None,
    force: Annotated[bool, TRACES] = False,
    exact: Annotated[bool | None, TRACES, Parameter(negative="--not-exact")] = None,
    program: Annotated[Path | None, TRACES] = None,
    json: bool = False,
) -> int:
    """Compare a compiled library with the interpreter, or one trace with another.

    edgebed compare MODEL DIR --input PATH

    edgebed compare REFERENCE.trace DEVICE.trace --html OUT.html

    Of a library: the interpreter computes MODEL as imported, before any optimisation. TensorFlow
    Lite Micro computes a .tflite file and ONNX Runtime an .onnx file, where they are installed
    (extra bench). Integers must be equal; real numbers may differ by 1e-4 of the output's largest.

    Of traces: tensors are matched by name, order, size and values; the first layer that departs is
    named, and so is the cause where an assertion recognises it.

    The exit code is 2 where something is wrong, so `edgebed compare ... && deploy` stops there.

    Args:
        model: the network's file, or the trace to trust.
        folder: what `edgebed compile` made of it, or the trace to examine.
        input: .npy or .npz in the network's shape and type, a picture, or a folder of pictures.
        count: at most so many inputs, drawn evenly; 0 = all.
        pixels: what a picture's bytes become: 0..1, 0..255, -1..1 or imagenet.
        input_shape: NAME=1,3,224,224 for an input whose size an ONNX file leaves open.
        html: write the report, one offline page, to this file.
        assert_: FILE.py:function, a check of your own: (reference, device) to a list of verdicts.
        layer: print this layer's largest differences, in --frame or where it is worst; a part of
            its name will do where only one layer has it.
        frame: look at this frame alone.
        force: compare traces that seem to be of different networks.
        exact: every integer has to be equal, or none has to; by default the same program's have.
        program: what the device runs, a compiled folder or a network's file: its ops are computed
            again from what the device recorded, so that the smallest fault of a kernel shows. A
            trace may name it, or lie beside it: then nothing need be said.
        json: print one JSON object.

    Returns:
        0 where everything is equal or sound, 2 where it is not.
    """
    from edgebed.cli.compare_traces import are_traces, compare_traces

    traces = {
        "html": html, "assert": assert_, "layer": layer, "force": force, "program": program,
    }  # fmt: skip
    if are_traces(model, folder):
        _check_unused({"input": input, "count": count, "input-shape": input_shape}, "a library")
        return compare_traces(
            model, folder, html=html, assertions=assert_, layer=layer, frame=frame, force=force,
            exact=exact, program=program, json=json,
        )  # fmt: skip
    given = {"frame": frame is not None, "exact": exact is not None}
    _check_unused({**traces, **given}, "two traces")
    if input is None:
        raise EdgebedError(
            "--input is missing", where=f"edgebed compare {model} {folder}",
            try_="--input PATH: .npy, .npz or pictures; see: edgebed compare --help",
        )  # fmt: skip
    return _compare_library(model, folder, input, count, pixels, input_shape, json=json)


def _check_unused(options: Mapping[str, object], owner: str) -> None:
    """Refuse options that mean something for the other kind of comparison only."""
    for name, value in options.items():
        if value:
            raise EdgebedError(f"--{name} is for {owner}", where="edgebed compare")


def _compare_library(
    model: Path, folder: Path, source: Path, count: int, pixels: str,
    input_shape: tuple[str, ...], *, json: bool,
) -> int:  # fmt: skip
    from edgebed.cli.model import read_model
    from edgebed.data.samples import PictureForm, check_pixels, read_samples
    from edgebed.deploy.bundle import find
    from edgebed.observe.compare import batch_inputs
    from edgebed.targets import open_library

    form = PictureForm(check_pixels(pixels))
    program = read_model(model, None, shapes=input_shape).program
    _check_types(source, program)
    samples = read_samples(source, _file_inputs(program), form, count=count).inputs
    if not samples:
        raise EdgebedError("holds no input", where=str(source))
    inputs = batch_inputs(program, [_own_shapes(program, one) for one in samples])
    with closing(open_library(find(folder) or folder)) as library:
        _check_same(program, library, model, folder)
        done = _compared(_file(model), program, library, inputs)
    say(json_text(_plain(done)) if json else "\n".join(_lines(done)))
    return 0 if all(pair.equal for pair in done.pairs) else DIFFERS


def _compared(
    model: Path, program: Program, library: Library, inputs: Mapping[str, Array]
) -> Comparison:
    from edgebed.observe.compare import answers, differences, op_by_op, own_runtime
    from edgebed.program.run import run

    ours, built = run(program, inputs), answers(library, program, inputs)
    name = f"library ({library.isa})"
    pairs = [Pair("interpreter", name, tuple(differences(program, ours, built)))]
    theirs = own_runtime(model, program, inputs)
    ops: Sequence[OpDifference] = ()
    if not isinstance(theirs, str):
        pairs.append(_pair(program, theirs, "interpreter", ours))
        pairs.append(_pair(program, theirs, name, built))
        ops = op_by_op(program, inputs, theirs.tensors)
    count = len(next(iter(inputs.values())))
    left_out = theirs if isinstance(theirs, str) else None
    return Comparison(count, tuple(pairs), tuple(ops), left_out)


def _pair(program: Program, theirs: Runtime, name: str, answer: Mapping[str, Array]) -> Pair:
    from edgebed.observe.compare import differences

    return Pair(theirs.name, name, tuple(differences(program, theirs.outputs, answer)))


def _file(model: Path) -> Path:
    from edgebed.deploy.bundle import PROGRAM

    return model / PROGRAM if model.is_dir() else model


def _check_types(source: Path, program: Program) -> None:
    """Refuse tensors of another type: a conversion would compare other inputs than were given."""
    from edgebed.cli.run_folder import read_tensor
    from edgebed.cli.run_library import read_archive

    arrays: Mapping[str, Array] = {}
    if source.suffix == ".npy" and source.is_file():
        arrays = dict.fromkeys(program.inputs, read_tensor(source))
    elif source.suffix == ".npz" and source.is_file():
        arrays = read_archive(source)
    for name, kind in program.inputs.items():
        if name in arrays and arrays[name].dtype != kind.dtype:
            raise EdgebedError(
                f"holds {arrays[name].dtype} for input {name!r}",
                where=str(source),
                why=f"the network takes {kind.dtype}",
            )


def _file_inputs(program: Program) -> dict[str, Any]:
    """Return the inputs' types in the shape of one sample of the file."""
    from edgebed.observe.compare import sample_shape

    return {
        name: kind.with_shape(sample_shape(program.file_shape(name)))
        for name, kind in program.inputs.items()
    }


def _own_shapes(program: Program, sample: Mapping[str, Array]) -> dict[str, Array]:
    return {name: sample[name].reshape(kind.shape) for name, kind in program.inputs.items()}


def _check_same(program: Program, library: Library, model: Path, folder: Path) -> None:
    """Refuse a library of another network before its outputs seem to be wrong.

    Raises:
        EdgebedError: inputs or outputs have other names, shapes or types.
    """
    for what, tensors, names in (
        ("inputs", library.inputs, tuple(program.inputs)),
        ("outputs", library.outputs, program.outputs),
    ):
        mine = [(n, program.file_shape(n), program.types[n].dtype) for n in names]
        if [(one.name, one.shape, one.dtype) for one in tensors] != mine:
            raise EdgebedError(
                f"was compiled from another network than {model.name}",
                where=str(folder),
                why=f"its {what} have other names, shapes or types",
                try_="compile this model again",
            )


def _plain(done: Comparison) -> dict[str, Any]:
    return {
        "equal": all(pair.equal for pair in done.pairs),
        "samples": done.samples,
        "compared": [
            {
                "reference": pair.reference,
                "answer": pair.answer,
                "equal": pair.equal,
                "outputs": [one.to_json() for one in pair.outputs],
            }
            for pair in done.pairs
        ],
        "ops": [one.to_json() for one in done.ops],
        "left_out": done.left_out,
    }


def _lines(done: Comparison) -> Iterator[str]:
    for pair in done.pairs:
        count = f"{done.samples} input{'s' if done.samples > 1 else ''}"
        yield f"{pair.answer} beside {pair.reference}, {count}:"
        yield from table([_row(one) for one in pair.outputs])
    if done.left_out:
        yield f"not compared with the file's own runtime: {done.left_out}"
    if done.ops:
        yield "ops that differ from it, each given its inputs:"
        yield from table(
            [{"layer": o.layer, "kind": o.kind, **_row(o.difference)} for o in done.ops]
        )
    yield "equal" if all(pair.equal for pair in done.pairs) else "NOT equal"


def _row(one: Difference) -> dict[str, str]:
    return {
        "output": one.name,
        "": "equal" if one.equal else "differs",
        "values": f"{one.values:,}",
        "differing": f"{one.differing:,}",
        "largest, quanta": "-" if one.quanta is None else f"{one.quanta:g}",
        "largest, real": number(one.largest),
    }
