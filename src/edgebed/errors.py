"""Errors a user can act on: what is wrong, where, why, and the nearest change that would work."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final

LISTED: Final = 20
"""So many known names an error lists at most."""


class EdgebedError(Exception):
    """A mistake the user can fix; the command line prints it as one sentence, without a traceback.

    Args:
        what: what is wrong, as a sentence without a full stop.
        where: the file, line, layer or field.
        why: the rule that was broken, with its number.
        try_: the nearest change that would work.
    """

    exit_code = 1

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        why: str | None = None,
        try_: str | None = None,
    ) -> None:
        self.what, self.where, self.why, self.try_ = what, where, why, try_
        super().__init__(str(self))

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        if self.why:
            text += f" ({self.why})"
        if self.try_:
            text += f"; try: {self.try_}"
        return text


class BudgetMissedError(EdgebedError):
    """The work was done and a limit that the user gave (accuracy, memory, time) was not met."""

    exit_code = 2


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return the help for an unknown name: the closest known one first, else the whole list."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    rest = f", ... ({len(names)} names)" if len(names) > LISTED else ""
    return f"one of {', '.join(names[:LISTED])}{rest}"
