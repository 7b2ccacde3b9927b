"""Finds the program that a user means: a folder, a network file, a foreign project."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from edgebed.deploy.bundle import PROGRAM
from edgebed.errors import EdgebedError, did_you_mean
from edgebed.events import Listener, ignore
from edgebed.program.foreign import recognised
from edgebed.program.to_onnx import METADATA_KEY
from edgebed.program.types import Program

SUFFIXES: Final = (".onnx", ".tflite", ".pt2")
OPTIONS: Final = (
    *("--target", "--out", "--weights", "--replan", "--only-generate", "--json", "--quiet"),
    *("--debug", "--help", "--input-shape", "--no-passes", "--passes"),
)
"""Options of the verbs that take a model, for the help on a mistyped one."""
_NEAR: Final = 0.8  # so alike are a name and its mistyped form


@dataclass(frozen=True)
class Model:
    """What goes into a target's compiler.

    Attributes:
        program: exact.
        source: what the target's `plan` takes: the program, or a project with its own layout.
        imported: another tool wrote the file, so nothing in it is shaped for a device yet.
    """

    program: Program
    source: Any
    imported: bool = False


def read_model(
    path: Path,
    target: str | None,
    *,
    weights: Path | None = None,
    replan: bool = False,
    options: Sequence[str] = (),
    shapes: Sequence[str] = (),
    listener: Listener = ignore,
) -> Model:
    """Read a model in any form that `target` takes.

    Args:
        path: run folder, compiled folder, network file, or a project file of the target's.
        target: name of the device; None reads network files only.
        weights: weights of a project file.
        replan: ignore the project's own layout.
        options: further words of the command line, for a project.
        shapes: `NAME=1,3,224,224` for inputs whose size a file leaves open; for a project the
            values of its tools' `--input-shape`.
        listener: hears notes of the reader.

    Raises:
        EdgebedError: the file is missing, of no known form, damaged, or an option is unknown.
    """
    from edgebed.program import read
    from edgebed.targets import projects

    if not path.exists():
        raise EdgebedError("no such file or folder", where=str(path))
    reader = projects(target) if target else None
    if reader is not None and path.suffix in reader.SUFFIXES:
        # the tools of a project have an option of this name themselves, as C,H,W
        given = (word for one in shapes for word in ("--input-shape", one))
        flags = reader.parse_flags((*options, *given), OPTIONS)
        project = reader.read_project(path, weights, flags, listener)
        return Model(project.program, project.program if replan else project)
    _check_unused(path, weights, replan, options)
    file = _program_file(path)
    sizes = input_shapes(shapes)
    _check_kind(file, target, reader)
    program = read.read_model(file, sizes or None)
    _check_shapes(program, sizes, file)
    return Model(program, program, imported=not is_own(file))


def is_own(file: Path) -> bool:
    """Say whether edgebed saved a file."""
    return METADATA_KEY.encode() in file.read_bytes()


def input_shapes(words: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Return shapes by input name.

    Args:
        words: `NAME=1,3,224,224` each.

    Raises:
        EdgebedError: a word has another form, or a size is not positive.
    """
    found = {}
    for word in words:
        name, _, sizes = word.rpartition("=")
        numbers = [one.strip() for one in sizes.replace("x", ",").split(",")]
        if not name or not all(one.isdecimal() and int(one) for one in numbers):
            raise EdgebedError(f"--input-shape {word}", try_="--input-shape NAME=1,3,224,224")
        found[name] = tuple(map(int, numbers))
    return found


def _check_shapes(program: Program, sizes: Mapping[str, tuple[int, ...]], file: Path) -> None:
    """Refuse a shape that had no effect: its name is unknown, or the file fixes another one."""
    for name, shape in sizes.items():
        if name not in program.inputs:
            raise EdgebedError(
                f"has no input {name!r}", where=str(file), try_=did_you_mean(name, program.inputs)
            )
        if program.file_shape(name) != shape:
            fixed = ",".join(map(str, program.file_shape(name)))
            raise EdgebedError(
                f"input {name!r} has the fixed shape {fixed}",
                where=str(file),
                why="only sizes that a file leaves open can be set",
                try_="without --input-shape",
            )


def _check_kind(file: Path, target: str | None, reader: ModuleType | None) -> None:
    """Refuse a file whose name says that it is none of ours, before its content is read.

    Raises:
        EdgebedError: the ending is unknown, or belongs to another target's projects.
    """
    if file.suffix.lower() in SUFFIXES:
        return
    other = project_target((str(file),))
    if other is not None and other != target:
        raise EdgebedError(f"is a project for {other}", where=str(file), try_=f"--target {other}")
    known = (*SUFFIXES, *(reader.SUFFIXES if reader else ()))
    raise recognised(file) or EdgebedError(
        f"a model of type {file.suffix or 'unknown'} cannot be read",
        where=str(file),
        try_=f"a run folder or one of {', '.join(known)}",
    )


def project_target(words: Sequence[str]) -> str | None:
    """Return the target whose projects one of the words ends like; None for none, or several."""
    from edgebed.targets import names, projects

    endings = {Path(word).suffix for word in words if not word.startswith("-")} - {""}
    found = []
    for name in names() if endings else ():
        reader = None
        with contextlib.suppress(EdgebedError):  # a broken target is not in the others' way
            reader = projects(name)
        if reader is not None and endings & set(reader.SUFFIXES):
            found.append(name)
    return found[0] if len(found) == 1 else None


def model_first(
    model: Path, options: Sequence[str], target: str | None
) -> tuple[Path, tuple[str, ...]]:
    """Return the model and the options of its tools, where an option may come first.

    Args:
        model: the first word of the command line that is no option of ours.
        options: the words after it.
        target: name of the device; None where there is just one.

    Raises:
        EdgebedError: there is no model among the words, or an option before it is unknown.
    """
    from edgebed.cli.compile import only_target
    from edgebed.targets import projects

    words = (str(model), *options)
    if not words[0].startswith("-"):
        return model, tuple(options)
    reader = projects(target or only_target(words))
    if reader is None:
        raise _unknown(words[0])
    place = reader.first_free(words, OPTIONS)
    if place is None:
        raise EdgebedError("the model is missing", try_="a run folder or a network file")
    return Path(words[place]), (*words[:place], *words[place + 1 :])


def check_own_options(words: Sequence[str]) -> None:
    """Refuse a word that is nearly one of our options.

    Raises:
        EdgebedError: there is one; its message has the right name.
    """
    for word in words:
        if word.startswith("--") and difflib.get_close_matches(word, OPTIONS, 1, _NEAR):
            raise _unknown(word)


def _program_file(path: Path) -> Path:
    if not path.is_dir():
        return path
    if not (path / PROGRAM).is_file():
        raise recognised(path) or EdgebedError(
            "holds no program", where=str(path), why=f"no {PROGRAM}", try_="a finished run's folder"
        )
    return path / PROGRAM


def _check_unused(path: Path, weights: Path | None, replan: bool, options: Sequence[str]) -> None:
    if options:
        raise _unknown(options[0])
    for name, given in (("--weights", weights is not None), ("--replan", replan)):
        if given:
            raise EdgebedError(
                f"{name} has no meaning for {path.name}", why="its weights and layout are inside"
            )


def _unknown(word: str) -> EdgebedError:
    if word in OPTIONS:  # of another verb
        return EdgebedError(f"this verb has no option {word}", try_="--help, which lists them")
    return EdgebedError(f"unknown option {word!r}", try_=did_you_mean(word, OPTIONS))
