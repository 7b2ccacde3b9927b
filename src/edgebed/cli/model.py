"""Finds the program that a user means: a folder, an ONNX file, a foreign project."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgebed.deploy.bundle import PROGRAM
from edgebed.errors import EdgebedError, did_you_mean
from edgebed.events import Listener, ignore
from edgebed.program import from_onnx
from edgebed.program.types import Program

ONNX: Final = ".onnx"
OPTIONS: Final = (
    *("--target", "--out", "--weights", "--replan", "--only-generate", "--json", "--quiet"),
    *("--debug", "--help"),
)
"""Options of the verbs that take a model, for the help on a mistyped one."""
_NEAR: Final = 0.8  # so alike are a name and its mistyped form


@dataclass(frozen=True)
class Model:
    """What goes into a target's compiler.

    Attributes:
        program: exact integers.
        source: what the target's `plan` takes: the program, or a project with its own layout.
    """

    program: Program
    source: Any


def read_model(
    path: Path,
    target: str,
    *,
    weights: Path | None = None,
    replan: bool = False,
    options: Sequence[str] = (),
    listener: Listener = ignore,
) -> Model:
    """Read a model in any form that `target` takes.

    Args:
        path: run folder, compiled folder, `.onnx` file, or a project file of the target's.
        target: name of the device.
        weights: weights of a project file.
        replan: ignore the project's own layout.
        options: further words of the command line, for a project.
        listener: hears notes of the reader.

    Raises:
        EdgebedError: the file is missing, of no known form, damaged, or an option is unknown.
    """
    from edgebed.targets import projects

    if not path.exists():
        raise EdgebedError("no such file or folder", where=str(path))
    reader = projects(target)
    if reader is not None and path.suffix in reader.SUFFIXES:
        flags = reader.parse_flags(options, OPTIONS)
        project = reader.read_project(path, weights, flags, listener)
        return Model(project.program, project.program if replan else project)
    _check_unused(path, weights, replan, options)
    file = _program_file(path)
    if file.suffix != ONNX:
        known = (ONNX, *(reader.SUFFIXES if reader else ()))
        raise EdgebedError(
            f"a model of type {file.suffix or 'unknown'} cannot be read",
            where=str(path),
            try_=f"a run folder or one of {', '.join(known)}",
        )
    program = from_onnx.load(file)
    return Model(program, program)


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
    reader = projects(target or only_target())
    if reader is None:
        raise _unknown(words[0])
    place = reader.first_free(words, OPTIONS)
    if place is None:
        raise EdgebedError("the model is missing", try_="a run folder, .onnx or .yaml file")
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
        raise EdgebedError(
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
    return EdgebedError(f"unknown option {word!r}", try_=did_you_mean(word, OPTIONS))
