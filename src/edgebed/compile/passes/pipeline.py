"""Passes in order: printed, parsed, run, and what each of them changed."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Protocol

from edgebed.compile.passes.dead_channels import DeadChannels
from edgebed.compile.passes.fold_affine import FoldAffine
from edgebed.compile.passes.fold_constants import FoldConstants
from edgebed.compile.passes.fuse_activation import FuseActivation
from edgebed.compile.passes.fuse_pad import FusePad
from edgebed.compile.passes.remove_transposes import RemoveTransposes
from edgebed.compile.passes.schedule import Schedule, peak_live_bytes
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
class Change:
    """What one pass did; pairs are before and after.

    Attributes:
        name: of the pass.
        ops: number of ops.
        macs: multiply-accumulates of one inference.
        constant_bytes: size of all weights, biases and tables.
        peak_bytes: largest sum of the sizes of tensors that are alive together.
        text: one sentence.
    """

    name: str
    ops: tuple[int, int]
    macs: tuple[int, int]
    constant_bytes: tuple[int, int]
    peak_bytes: tuple[int, int]
    text: str

    def __str__(self) -> str:
        pairs = {
            "ops": self.ops,
            "MACs": self.macs,
            "constant bytes": self.constant_bytes,
            "live bytes": self.peak_bytes,
        }
        moved = [f"{name} {a:,} -> {b:,}" for name, (a, b) in pairs.items() if a != b]
        return f"{self.name}: {self.text}" + (f" ({'; '.join(moved)})" if moved else "")


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
        DeadChannels(),
        Schedule(),
    )
)
"""The order that `optimise` uses."""


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


def describe(name: str, before: Program, after: Program) -> Change:
    """Return what a pass changed."""
    return Change(
        name=name,
        ops=(len(before.ops), len(after.ops)),
        macs=(sum(before.macs().values()), sum(after.macs().values())),
        constant_bytes=(constant_bytes(before), constant_bytes(after)),
        peak_bytes=(peak_live_bytes(before), peak_live_bytes(after)),
        text=_sentence(before, after),
    )


def constant_bytes(program: Program) -> int:
    """Return the size of all constants, those of less than 8 bits packed."""
    return sum((c.values.size * c.bits + 7) // 8 for c in program.constants.values())


def _sentence(before: Program, after: Program) -> str:
    """Say which kinds of op became more or fewer, which were changed, or that the order did."""
    was, now = (Counter(op.kind for op in p.ops) for p in (before, after))
    parts = [_counted(was - now, "removed"), _counted(now - was, "added")]
    by_name = {op.name: op for op in before.ops}
    kept = [(by_name[op.name], op) for op in after.ops if op.name in by_name]
    other = Counter(new.kind for old, new in kept if _differs(before, after, old, new))
    parts.append(_counted(other, "changed"))
    channels = sum(_channels(before, old) - _channels(after, new) for old, new in kept)
    if channels > 0:
        parts.append(f"{channels} channel{'s' if channels > 1 else ''} fewer")
    return ", ".join(filter(None, parts)) or _order(before, after)


def _counted(kinds: Mapping[str, int], verb: str) -> str:
    listed = " and ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()) if count)
    return f"{verb} {listed}" if listed else ""


def _differs(before: Program, after: Program, old: Any, new: Any) -> bool:
    if type(old) is not type(new) or after.types[new.output] != before.types[old.output]:
        return True
    constants = [before.constants[n] for n in old.constants]
    if constants != [after.constants[n] for n in new.constants]:
        return True
    skipped = {"name", "inputs", "output"}
    settings = [f.name for f in fields(old) if f.name not in skipped]
    names = set(old.constants) | set(new.constants)
    pairs = ((getattr(old, name), getattr(new, name)) for name in settings)
    return any(a != b and not (isinstance(a, str) and a in names) for a, b in pairs)


def _channels(program: Program, op: Any) -> int:
    shape = program.types[op.output].shape
    return shape[0] if len(shape) == 3 and hasattr(op, "weight") else 0


def _order(before: Program, after: Program) -> str:
    if [op.name for op in before.ops] != [op.name for op in after.ops]:
        return "another order of the ops"
    shared = len(before.constants) - len(after.constants)
    return f"equal constants kept once, {shared} fewer" if shared else "other names of tensors"


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
