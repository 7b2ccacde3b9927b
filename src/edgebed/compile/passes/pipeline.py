"""Passes in order: printed, parsed, run, and what each of them changed."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Protocol

from edgebed.compile.passes.changes import Change, describe
from edgebed.compile.passes.dead_channels import DeadChannels
from edgebed.compile.passes.fold_affine import FoldAffine
from edgebed.compile.passes.fold_constants import FoldConstants
from edgebed.compile.passes.fuse_activation import FuseActivation
from edgebed.compile.passes.fuse_pad import FusePad
from edgebed.compile.passes.remove_transposes import RemoveTransposes
from edgebed.compile.passes.schedule import Schedule
from edgebed.compile.passes.simplify import Simplify
from edgebed.errors import EdgebedError, did_you_mean
from edgebed.events import Listener, Note, ignore
from edgebed.program.types import Program


class Pass(Protocol):
    """A rewriting of programs that keeps every output as it is."""

    name: ClassVar[str]

    def run(self, program: Program) -> Program:
        """Return the rewritten program, or the very same one where there is nothing to do."""
        ...


PASSES: Mapping[str, type[Any]] = {
    one.name: one
    for one in (
        FoldConstants,
        FoldAffine,
        FuseActivation,
        FusePad,
        RemoveTransposes,
        DeadChannels,
        Simplify,
        Schedule,
    )
}
"""Every pass by its name."""


@dataclass(frozen=True)
class Pipeline:
    """Passes in the order they run; the whole list runs again while it still finds something.

    Attributes:
        passes: in order.
        rounds: how often the list runs at most.
    """

    passes: tuple[Pass, ...]
    rounds: int = 4

    def __str__(self) -> str:
        return "\n".join([f"rounds {self.rounds}", *map(_pass_text, self.passes)]) + "\n"

    @classmethod
    def parse(cls, text: str) -> Pipeline:
        """Read what `str` wrote: a pass a line, `#` begins a comment.

        Raises:
            EdgebedError: a line names no pass, or a setting that the pass does not have.
        """
        rounds, passes = cls.rounds, list[Pass]()
        for number, line in enumerate(text.splitlines(), start=1):
            content = line.partition("#")[0].strip()
            if not content:
                continue
            word, _, rest = content.partition(" ")
            if word == "rounds" and rest.isdigit() and int(rest) > 0:
                rounds = int(rest)
            else:
                passes.append(_parse_pass(content, f"line {number}"))
        return cls(tuple(passes), rounds)

    def run(self, program: Program, listener: Listener = ignore) -> tuple[Program, list[Change]]:
        """Return the rewritten program and what each pass changed; see `optimise`."""
        changes: list[Change] = []
        for _ in range(self.rounds):
            start = len(changes)
            for one in self.passes:
                result = one.run(program)
                if result is not program:
                    changes.append(describe(one.name, program, result))
                    listener(Note("compile", str(changes[-1])))
                program = result
            if len(changes) == start:
                break
        return program, changes


DEFAULT = Pipeline(
    (
        FoldConstants(),
        RemoveTransposes(),
        FoldAffine(),
        FuseActivation(),
        FusePad(),
        Simplify(),
        DeadChannels(multiple=2),
        Schedule(),
    )
)
"""The order that `optimise` uses. Odd numbers of channels cost vector code more than they save."""


def optimise(
    program: Program, listener: Listener | None = None, pipeline: Pipeline = DEFAULT
) -> tuple[Program, list[Change]]:
    """Return a program that computes the same with less, and what was changed on the way.

    Args:
        program: left as it is.
        listener: hears a note about every pass that changed something.
        pipeline: passes in order.

    Returns:
        The program, with the same inputs and outputs; integers are equal bit for bit, float32
        up to the order and grouping of sums and products. And one entry a pass that changed
        something, in order.
    """
    return pipeline.run(program, listener or ignore)


def _pass_text(one: Any) -> str:
    given = {field.name: getattr(one, field.name) for field in fields(one)}
    words = ", ".join(f"{key}={value!r}" for key, value in given.items())
    return f"{one.name}({words})" if words else str(one.name)


def _parse_pass(text: str, where: str) -> Pass:
    try:
        node = ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise EdgebedError(f"not understood: {text[:60]!r}", where=where) from error
    call = node if isinstance(node, ast.Call) else None
    name = call.func if call else node
    if not isinstance(name, ast.Name) or (call and call.args):
        raise EdgebedError(f"not understood: {text[:60]!r}", where=where, try_="name(setting=1)")
    if name.id not in PASSES:
        raise EdgebedError(
            f"unknown pass {name.id!r}", where=where, try_=did_you_mean(name.id, PASSES)
        )
    return _with_settings(PASSES[name.id], call.keywords if call else (), where)


def _with_settings(kind: type[Any], words: Sequence[ast.keyword], where: str) -> Pass:
    known = {field.name: field.default for field in fields(kind)}
    settings: dict[str, Any] = {}
    for word in words:
        value = word.value.value if isinstance(word.value, ast.Constant) else None
        if word.arg not in known:
            listed = did_you_mean(str(word.arg), known) if known else "no settings"
            raise EdgebedError(
                f"pass {kind.name!r} has no setting {word.arg!r}", where=where, try_=listed
            )
        if type(value) is not type(known[word.arg]):
            raise EdgebedError(
                f"setting {word.arg} of {kind.name}",
                where=where,
                why=f"it is a {type(known[word.arg]).__name__}",
            )
        settings[word.arg] = value
    result: Pass = kind(**settings)
    return result
