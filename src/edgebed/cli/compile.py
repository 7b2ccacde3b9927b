"""`edgebed compile`: a model becomes firmware that booted, or a library that was tested."""

from __future__ import annotations

import contextlib
import json as json_format
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from edgebed.cli.device_options import DEVICE, chosen_goal, configured
from edgebed.errors import EdgebedError

if TYPE_CHECKING:
    from edgebed.cli.model import Model
    from edgebed.deploy.bundle import Bundle
    from edgebed.events import Listener
    from edgebed.program.types import Program
    from edgebed.targets.contract import Target


def compile(
    model: Annotated[Path, Parameter(allow_leading_hyphen=True)],
    /,
    *options: Annotated[str, Parameter(allow_leading_hyphen=True, show=False)],
    target: str | None = None,
    out: Path | None = None,
    input_shape: tuple[str, ...] = (),
    no_passes: bool = False,
    weights: Path | None = None,
    replan: bool = False,
    cpu: Annotated[str | None, DEVICE] = None,
    balanced: Annotated[bool, DEVICE] = False,
    time: Annotated[bool, DEVICE] = False,
    ram: Annotated[bool, DEVICE] = False,
    max_ram: Annotated[str | None, DEVICE] = None,
    max_flash: Annotated[str | None, DEVICE] = None,
    defect: Annotated[str | None, DEVICE] = None,
    profile: Path | None = None,
    only_generate: bool = False,
    json: bool = False,
    quiet: bool = False,
) -> None:
    """Turn a model into firmware or a library.

    A model is a .tflite, .onnx or .pt2 file, a run folder, or a network description (YAML) of the
    ai8x tools. For the last, the options of those tools are accepted under their own names.

    Firmware has booted on the virtual board, and a library has answered like the reference
    interpreter in every variant that this computer can run, before the command says done.

    Args:
        model: a .tflite, .onnx or .pt2 file, a run folder, or a network description (YAML).
        options: options of the ai8x tools.
        target: host (a library for this computer) or a device; see `edgebed targets`. A network
            description has its own.
        out: where to write; its contents from an earlier compile are replaced.
        input_shape: NAME=1,3,224,224 for an input whose size an ONNX file leaves open; C,H,W for a
            network description.
        no_passes: compile the network as the file has it, without optimisation.
        weights: checkpoint or integer weights of a network description.
        replan: place the network anew instead of as its description says.
        cpu: the core; `edgebed targets` lists them.
        balanced: little memory at nearly full speed; the default.
        time: fewest instructions, for more flash and RAM.
        ram: least RAM, for more instructions; inputs may come row by row.
        max_ram: refuse a build that needs more, e.g. 64KB: activations, stack and all.
        max_flash: refuse a build that needs more, e.g. 256KB: weights and code.
        defect: build a known defect in on purpose, to try `edgebed compare` out or to teach, never
            for use: biases, colours, normalisation, weights, threshold or overlap.
        profile: good frames whose statistics go into the folder, for `edgebed observe --program`:
            a .trace, .npy or .npz file, or a folder of pictures.
        only_generate: stop after writing the sources; nothing is built or run.
        json: print one JSON object on standard output; progress goes to standard error.
        quiet: no progress.
    """
    from edgebed.cli.compile_profile import check_profile, write_profile
    from edgebed.cli.model import model_first, read_model
    from edgebed.cli.progress import listening
    from edgebed.deploy.library import check_place
    from edgebed.targets import load as load_target
    from edgebed.targets.contract import LibraryTarget

    folder = _folder(out)
    check_profile(profile, only_generate)
    goal = chosen_goal(balanced=balanced, time=time, ram=ram)
    settings = {
        "cpu": cpu,
        "goal": goal,
        "max_ram": max_ram,
        "max_flash": max_flash,
        "defect": defect,
    }
    name = target or only_target((str(model), *options))
    model, options = model_first(model, options, name)
    with listening(quiet=quiet, json=json) as listener:
        device = configured(load_target(name), name, settings)
        found = read_model(
            model,
            name,
            weights=weights,
            replan=replan,
            options=options,
            shapes=input_shape,
            listener=listener,
        )
        if isinstance(device, LibraryTarget):
            check_place(folder)
        with _claimed(folder):
            built = _built(found, device, folder, listener, not no_passes, only_generate)
            write_profile(built, profile, listener)
    print(json_format.dumps(_plain(built), indent=2) if json else "\n".join(_lines(built)))


def _built(
    found: Model,
    device: Target,
    folder: Path,
    listener: Listener,
    passes: bool,
    only_generate: bool,
) -> Bundle:
    """Compile in the way of the target: a library, or firmware that boots."""
    from edgebed.deploy import bundle, library
    from edgebed.targets.contract import LibraryTarget

    program, source = prepared(found, device, listener, passes=passes)
    if isinstance(device, LibraryTarget):
        return library.build(
            program,
            device,
            folder,
            listener,
            reference=found.program,
            only_generate=only_generate,
        )
    return bundle.build(
        program, device, folder, listener, source=source, only_generate=only_generate
    )


def prepared(
    found: Model, device: Target, listener: Listener, *, passes: bool = True
) -> tuple[Program, Any]:
    """Return the program that a device compiles, and what its `plan` takes.

    What edgebed trained for a board is laid out for it already and stays as it is.
    """
    from edgebed.compile.passes import optimise
    from edgebed.targets.contract import LibraryTarget

    wanted = found.imported or isinstance(device, LibraryTarget)
    if not passes or found.source is not found.program or not wanted:
        return found.program, found.source
    program, _ = optimise(found.program, listener)
    return program, program


@contextlib.contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """Keep others out of the folder; a failure leaves nothing of this behind."""
    from edgebed.recipes.folder import LOCK, RunFolder

    new, lock = not folder.exists(), folder / LOCK
    unlocked = not lock.exists()
    try:
        with RunFolder(folder).locked():
            yield
    except BaseException:
        with contextlib.suppress(OSError):
            if unlocked:
                lock.unlink(missing_ok=True)
            if new:
                folder.rmdir()  # refused, rightly, where a board's sources are in it
        raise


def only_target(words: Sequence[str] = ()) -> str:
    """Return the device's name where there is just one, or one whose projects are like a word.

    Args:
        words: of the command line; a mistyped option among them may be why no device is named.

    Raises:
        EdgebedError: there are several.
    """
    from edgebed.cli.model import check_own_options, project_target
    from edgebed.targets import names

    known = list(names())
    if len(known) != 1:
        check_own_options(words)
        own = project_target(words)
        if own is not None:
            return own
        raise EdgebedError("--target is missing", try_=f"one of {', '.join(known)}")
    return known[0]


def _folder(out: Path | None) -> Path:
    from edgebed.deploy.bundle import is_ours
    from edgebed.recipes.folder import LOCK

    if out is None:
        raise EdgebedError("--out is missing", where="edgebed compile", try_="--out DIR")
    if out.exists() and not out.is_dir():
        raise EdgebedError("is a file, not a folder", where=str(out), try_="another --out")
    if out.is_dir() and any(one.name != LOCK for one in out.iterdir()) and not is_ours(out):
        raise EdgebedError(
            "is not empty and was not written by edgebed compile",
            where=str(out),
            why="nothing of yours is ever overwritten",
            try_="an empty or new folder for --out",
        )
    return out


def _plain(built: Bundle) -> dict[str, Any]:
    plan = dict(built.plan)
    return {
        "folder": str(built.folder),
        "target": built.target,
        "digest": plan["digest"],
        "sizes": plan["sizes"],
        "figures": plan["cost"]["total"],
    }


def _lines(built: Bundle) -> list[str]:
    from edgebed.deploy.bundle import SOURCES

    lines = [f"  {name:<24} {size:>9,} bytes" for name, size in built.sizes.items()]
    lines += [f"  {name:<24} {figure}" for name, figure in built.cost.total.items()]
    firmware = "artifacts" not in built.plan  # which a library's folder lists
    sources = built.folder / SOURCES if firmware else built.folder
    lines.append(f"plan {built.plan['digest'][:16]}, sources: {sources}")
    if built.sizes:
        lines += _firmware_lines(built) if firmware else _library_lines(built)
    return lines


def _firmware_lines(built: Bundle) -> list[str]:
    from edgebed.deploy.bundle import BUILD

    passed = "passed its self-test on the virtual board"
    if defect := built.plan.get("defect"):
        passed = f"HAS THE DEFECT {defect!r} ON PURPOSE: to try edgebed compare out, never for use"
    return [
        f"done: {built.folder / BUILD} {passed}",
        f"next: edgebed run {shlex.quote(str(built.folder))} --input PATH",
    ]


def _library_lines(built: Bundle) -> list[str]:
    inputs = (f"{name}: {_shaped(built, name)}" for name in built.program.inputs)
    return [
        f"done: {built.folder} equals the interpreter; input {'; '.join(inputs)}",
        f"next: edgebed run {shlex.quote(str(built.folder))} --input X.npy --profile",
    ]


def _shaped(built: Bundle, tensor: str) -> str:
    shape = " x ".join(map(str, built.program.file_shape(tensor)))
    return f"{built.program.types[tensor].dtype} {shape or 'of one number'}"
