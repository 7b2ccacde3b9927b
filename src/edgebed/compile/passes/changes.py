"""What passes changed, in numbers and in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from edgebed.compile.passes.schedule import peak_live_bytes
from edgebed.program.types import Program


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
        numbers = self.numbers()
        return f"{self.name}: {self.text}" + (f" ({numbers})" if numbers else "")

    def numbers(self) -> str:
        """Return what became more or less."""
        pairs = {
            "ops": self.ops,
            "MACs": self.macs,
            "constant bytes": self.constant_bytes,
            "live bytes": self.peak_bytes,
        }
        return "; ".join(f"{name} {a:,} -> {b:,}" for name, (a, b) in pairs.items() if a != b)


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


def report(before: Program, after: Program, changes: Sequence[Change]) -> str:
    """Return a line for each change, and one for all of them together."""
    total = describe("all passes", before, after).numbers() or "nothing became less"
    return "\n".join([*map(str, changes), f"all passes: {total}"])


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
