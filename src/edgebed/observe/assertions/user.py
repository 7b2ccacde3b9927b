"""Assertions of a user: plain functions `name(reference, device) -> list[Verdict]` in a file."""

from __future__ import annotations

import importlib.util
import inspect
import traceback
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
    held = _module(path)
    found = held.get(name)
    if not callable(found):
        known = [key for key, one in held.items() if inspect.isfunction(one)]
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
        line = f":{error.lineno}" if error.lineno else ""
        raise EdgebedError(
            "cannot be read as Python", where=f"{path}{line}", why=error.msg
        ) from error
    except (Exception, SystemExit) as error:  # a user's file may raise anything
        raise EdgebedError("fails when it is loaded", where=str(path), why=_told(error)) from error
    return vars(module)


def _answer(
    function: Callable[..., object], where: str, reference: Observed, device: Observed
) -> list[Verdict]:
    try:
        found = function(reference, device)
    except (Exception, SystemExit) as error:  # a user's function may raise anything
        raise EdgebedError("fails", where=where, why=_told(error)) from error
    if found is None:
        return []
    if not isinstance(found, (list, tuple)):
        raise _no_list(type(found).__name__, where)
    for one in found:
        if not isinstance(one, Verdict):
            raise _no_list(f"a {type(found).__name__} with {type(one).__name__} in it", where)
        _check(one, where)
    return list(found)


def _check(one: Verdict, where: str) -> None:
    """Refuse a verdict that cannot be printed, before a table of others is half printed."""
    for field in ("cause", "layer", "evidence", "fix", "command"):
        value = getattr(one, field)
        if not isinstance(value, str):
            raise EdgebedError(
                f"gives a verdict whose {field} is {value!r}", where=where, why="it is a text"
            )


def _no_list(found: str, where: str) -> EdgebedError:
    return EdgebedError(
        f"answers {found}", where=where, why="an assertion returns a list of Verdict", try_=SHAPE
    )


def _told(error: BaseException) -> str:
    """Return an exception and the line of the user's file where it began."""
    text = f"{type(error).__name__}: {error}"
    frames = [
        one for one in traceback.extract_tb(error.__traceback__)
        if one.filename != __file__ and not one.filename.startswith("<frozen")
    ]  # fmt: skip
    own = [one.lineno for one in frames if one.filename == frames[0].filename]
    return f"{text}, line {own[-1]}" if own else text
