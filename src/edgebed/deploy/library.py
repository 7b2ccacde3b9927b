"""A compiled folder that holds a library: built beside its place, tested, then put there whole.

program.onnx    the exact program, as optimised
plan.json       target, digest, layers, memories, sizes, cost
and the target's project: sources, header, manifest, static and shared library.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from edgebed import files
from edgebed.deploy import bundle
from edgebed.deploy.bundle import Bundle, fitting, own_names, plan_content
from edgebed.errors import BudgetMissedError, EdgebedError
from edgebed.events import Finished, Listener, Note, Started, ignore
from edgebed.observe.compare import (
    MOVES,
    Difference,
    answers,
    computed,
    differences,
    random_inputs,
)
from edgebed.program import to_onnx
from edgebed.program.run import run
from edgebed.program.types import Array, Program
from edgebed.targets.contract import Cost, Counted, LibraryTarget

SAMPLES: Final = 3
"""Random inputs of the self-test."""
LOCK: Final = ".lock"
_FLIPPED_QUANTA: Final = 0.05
"""Share of an output's range that values rounded to the other neighbour may move it."""
_LEAST_QUANTA: Final = 100.0
"""So wide is that range at least: random inputs may move an output very little."""
_SHAKE: Final = 1e-6
"""By so much of themselves reals are changed to see how far outputs move with them."""
_TREMBLES: Final = 4.0
"""So many times as far an output may be from the interpreter's."""
_DECISIONS: Final = frozenset({"argmax", "cast", "compare", "detection_post_process", "where"})
_STEPS: Final = frozenset({"ceil", "floor", "round", "sign"})


def build(
    program: Program,
    target: LibraryTarget,
    folder: Path,
    listener: Listener = ignore,
    *,
    reference: Program | None = None,
    only_generate: bool = False,
) -> Bundle:
    """Check, plan, write, build, and compare every variant of the build with the interpreter.

    Args:
        program: what to compile.
        target: whose builds are libraries.
        folder: where to; an earlier compile there is replaced once this one is complete, files
            of other origin in it are kept.
        listener: hears the steps.
        reference: the program before it was optimised; what the build must equal.
        only_generate: stop after writing the sources.

    Raises:
        DoesNotFitError: the target cannot compile it.
        EdgebedError: a file can't be written, no compiler is there, or the build answers wrongly.
    """
    listener(Started("compile", f"{program.name} for {target.name}, into {folder}"))
    for warning in fitting(program, target, program):
        listener(Note("compile", str(warning)))
    _say_real(program, listener)
    with _staged(folder) as stage:
        plan = target.plan(program)
        to_onnx.save(program, stage / bundle.PROGRAM)
        plan.write(stage)
        sizes, cost = {}, None
        if not only_generate:
            listener(Started("compile", "building the library"))
            sizes = _built(target, stage, folder)
            cost = self_test(reference or program, target, stage, listener)
        cost = cost or target.cost(program)
        content = plan_content(program, plan, target.layout(program), cost, sizes)
        artifacts = sorted({one.name for one in stage.iterdir()} | {bundle.PLAN})
        content["artifacts"] = artifacts
        files.write_text(stage / bundle.PLAN, json.dumps(content, indent=2) + "\n")
    listener(Finished("compile", _said(folder, sizes)))
    return Bundle(folder, program, content)


def self_test(
    program: Program, target: LibraryTarget, folder: Path, listener: Listener = ignore
) -> Cost | None:
    """Compare every variant that this processor can run with the interpreter, on random inputs.

    Returns:
        What a virtual device counted, where the library runs on one.

    Raises:
        EdgebedError: an integer differs, or a real number by more than the tolerance.
    """
    inputs = random_inputs(program, SAMPLES, seed=0)
    wanted = _interpreted(program, inputs)
    cost = None
    with _opened(target, folder) as library:
        variants = library.variants
    for isa in variants:
        with _opened(target, folder, isa) as library:
            answered = answers(library, program, inputs)
            cost = library.cost if isinstance(library, Counted) else None
        found = [one for one in differences(program, wanted, answered) if not one.equal]
        moved = _trembled(program, inputs, wanted) if found and _rounds_real(program) else {}
        for one in found:
            _judge(one, program, wanted[one.name], moved.get(one.name, 0.0), isa, listener)
    text = f"{', '.join(variants)}: equal to the interpreter on {SAMPLES} random inputs"
    listener(Note("compile", f"self-test: {text}"))
    return cost


def _built(target: LibraryTarget, stage: Path, folder: Path) -> dict[str, int]:
    """Build in the temporary folder; an error names the one that the user knows."""
    try:
        return dict(target.build(stage))
    except EdgebedError as error:
        where = (error.where or str(folder)).replace(str(stage), str(folder))
        kind = BudgetMissedError if isinstance(error, BudgetMissedError) else EdgebedError
        raise kind(error.what, where=where, why=error.why, try_=error.try_) from error


def _interpreted(program: Program, inputs: dict[str, Array]) -> dict[str, Array]:
    with np.errstate(all="ignore"):  # random inputs may lie outside a function's domain
        return run(program, inputs)


def _trembled(
    program: Program, inputs: dict[str, Array], wanted: dict[str, Array]
) -> dict[str, float]:
    """Return how far each output moves, in real units, when all reals change in a last digit.

    Where reals are rounded many times over, one value that falls to the other side moves others.
    """
    rng, known = np.random.default_rng(0), dict(inputs)
    with np.errstate(all="ignore"):
        for op in program.ops:
            values = computed(program, op, known, SAMPLES)
            if values.dtype == np.float32 and op.kind not in MOVES:
                shake = rng.uniform(-_SHAKE, _SHAKE, values.shape).astype(np.float32)
                values = values * (1 + shake)
            known[op.output] = values
    return {one.name: one.largest for one in differences(program, wanted, known)}


def _judge(
    one: Difference, program: Program, wanted: Array, moved: float, isa: str, listener: Listener
) -> None:
    """Refuse a difference, unless real numbers that were summed in another order may cause it."""
    text = f"{one.differing} of {one.values} values, at most {one.largest:.3g}"
    # A few values that moved by a step, or a few choices that fell otherwise; never most of them.
    allowed = max(_allowance(one, wanted), _TREMBLES * moved)
    flipped = _rounds_real(program) and one.largest <= allowed
    chosen = _chooses(program) and 2 * one.differing <= one.values
    if flipped or chosen:
        why = "real numbers, summed in another order, lie at a boundary there"
        listener(Note("compile", f"{isa}: output {one.name!r} differs in {text}: {why}"))
        return
    raise EdgebedError(
        f"the {isa} variant computes other values in output {one.name!r}",
        where=program.name,
        why=f"{text}; it must equal the program's interpreter",
        try_="report it with the model",
    )


def _allowance(one: Difference, wanted: Array) -> float:
    """Return how far, in real units, rounding to the other neighbour may move an output."""
    finite = wanted[np.isfinite(wanted)].astype(np.float64)
    integers = wanted.dtype.kind != "f"
    unit = one.largest / one.quanta if integers and one.quanta else 1.0
    reach = float(np.ptp(finite)) if finite.size else 0.0
    if not integers:
        reach = max(reach, float(np.abs(finite).max(initial=0.0)))
    return _FLIPPED_QUANTA * unit * max(reach, _LEAST_QUANTA if integers else 0.0)


def _rounds_real(program: Program) -> bool:
    """Say whether the results of real arithmetic are quantised anywhere."""
    for op in program.ops:
        if op.kind != "quantize":
            continue
        writer = program.writer(op.inputs[0])
        while writer is not None and writer.kind in MOVES:
            writer = program.writer(writer.inputs[0])
        if writer is not None and writer.kind != "dequantize":
            return True
    return False


def _chooses(program: Program) -> bool:
    """Say whether an op decides by real numbers: the least difference may change a decision."""
    return any(
        (op.kind in _DECISIONS or getattr(op, "function", "") in _STEPS)
        and any(program.types[name].is_float for name in op.inputs)
        for op in program.ops
    )


def _say_real(program: Program, listener: Listener) -> None:
    real = [op for op in program.ops if program.types[op.output].is_float and hasattr(op, "weight")]
    if real:
        text = f"{len(real)} layers with weights compute in float32"
        listener(Note("compile", f"{text}; edgebed compress makes them smaller and faster"))


@contextlib.contextmanager
def _opened(target: LibraryTarget, folder: Path, isa: str | None = None) -> Iterator[Any]:
    library = target.open(folder, isa=isa)
    try:
        yield library
    finally:
        library.close()


@contextlib.contextmanager
def _staged(folder: Path) -> Iterator[Path]:
    """Give an empty folder that takes the place of `folder` when the block ends without error."""
    place = folder.resolve()
    with _writing(place.parent):
        place.parent.mkdir(parents=True, exist_ok=True)
        stage = Path(tempfile.mkdtemp(prefix=f"{files.TEMPORARY}{place.name}-", dir=place.parent))
    try:
        yield stage
        with _writing(place):
            stage.chmod(0o755)
            _keep_foreign(place, stage)
            _put(stage, place)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def check_place(folder: Path) -> None:
    """Refuse a folder that cannot be exchanged for another.

    Raises:
        EdgebedError: it is a mount point, or the process is in it.
    """
    place = folder.resolve()
    if place == Path.cwd() or place in Path.cwd().parents or place.is_mount():
        raise EdgebedError(
            "cannot be replaced by a new folder",
            where=str(place),
            why="it is a mount point" if place.is_mount() else "you are in it",
            try_="a folder inside it for --out",
        )


def _keep_foreign(place: Path, stage: Path) -> None:
    """Copy what the user put into an earlier compile's folder."""
    if not place.is_dir():
        return
    ours = own_names(place) | {LOCK}
    for one in place.iterdir():
        if one.name in ours or one.name.startswith(files.TEMPORARY):
            continue
        if (stage / one.name).exists():
            raise EdgebedError("is yours and in the way", where=str(one), try_="another --out")
        if one.is_dir() and not one.is_symlink():
            shutil.copytree(one, stage / one.name, symlinks=True)
        else:
            shutil.copy2(one, stage / one.name, follow_symlinks=False)


def _put(stage: Path, place: Path) -> None:
    """Rename the finished folder; one that is there already is moved aside first, then removed."""
    old = stage.with_name(f"{stage.name}-old")
    try:
        while not _renamed(stage, place):
            with contextlib.suppress(FileNotFoundError):  # another compile just moved it
                shutil.rmtree(old, ignore_errors=True)
                place.rename(old)
    except BaseException:
        if old.exists() and not place.exists():
            old.rename(place)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _renamed(stage: Path, place: Path) -> bool:
    try:
        stage.rename(place)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EdgebedError(
            f"cannot write: {error.strerror or os.strerror(error.errno or 0)}",
            where=str(error.filename or path),
            try_="another --out folder",
        ) from error


def _said(folder: Path, sizes: dict[str, int]) -> str:
    table = ", ".join(f"{name} {size:,} bytes" for name, size in sizes.items())
    return f"{folder}: {table}" if sizes else f"sources in {folder}"
