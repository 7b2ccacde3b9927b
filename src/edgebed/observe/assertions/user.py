"""Assertions of a user: plain functions `name(reference, device) -> list[Verdict]` in a file."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable
from pathlib import Path

from edgebed.errors import EdgebedError, did_you_mean
from edgebed.observe.observed import Observed
from edgebed.observe.verdict import Verdict

Assertion = Callable[[Observed, Observed], list[Verdict]]
SHAPE = "def NAME(reference, device): return [Verdict(...)]"


def load_user(text: str) -> Assertion:
    """Return the function that `FILE.py:function` names. The file is executed.

    Raises:
        EdgebedError: the text has another form, the file cannot be run, or has no such function
            of two arguments.
    """
    path_text, _, name = text.rpartition(":")
    if not path_text or not name.isidentifier():
        raise EdgebedError(f"{text!r} names no function", where="--assert", try_="FILE.py:function")
    path = Path(path_text)
    if not path.is_file():
        raise EdgebedError("is no file", where=str(path), try_="FILE.py:function")
    found = _module(path).get(name)
    if not callable(found):
        known = [key for key, one in _module(path).items() if inspect.isfunction(one)]
        raise EdgebedError(
            f"has no function {name!r}",
            where=str(path),
            try_=did_you_mean(name, known) if known else SHAPE,
        )
    try:
        inspect.signature(found).bind(None, None)
    except TypeError as error:
        raise EdgebedError(
            f"{name} does not take two arguments", where=str(path), why=str(error), try_=SHAPE
        ) from error

    def checked(reference: Observed, device: Observed) -> list[Verdict]:
        return _answer(found, f"{path}:{name}", reference, device)

    checked.__name__ = name
    return checked


def _module(path: Path) -> dict[str, object]:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise EdgebedError("is no Python file", where=str(path), try_="FILE.py:function")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise EdgebedError(
            "cannot be read as Python", where=f"{path}:{error.lineno}", why=error.msg
        ) from error
    except Exception as error:  # a user's file may raise anything
        raise EdgebedError(
            "fails when it is loaded", where=str(path), why=f"{type(error).__name__}: {error}"
        ) from error
    return vars(module)


def _answer(
    function: Callable[..., object], where: str, reference: Observed, device: Observed
) -> list[Verdict]:
    try:
        found = function(reference, device)
    except EdgebedError:
        raise
    except Exception as error:  # a user's function may raise anything
        raise EdgebedError("fails", where=where, why=f"{type(error).__name__}: {error}") from error
    if found is None:
        return []
    if not isinstance(found, (list, tuple)) or any(not isinstance(one, Verdict) for one in found):
        raise EdgebedError(
            f"answers {type(found).__name__}", where=where,
            why="an assertion returns a list of Verdict", try_=SHAPE,
        )  # fmt: skip
    return list(found)
