"""A program while a pass rewrites it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edgebed.program.ops.constant import Constant as ConstantOp
from edgebed.program.ops.identity import Identity
from edgebed.program.types import Array, Constant, Op, Program, TensorType

Rule = Callable[["Draft", Op], bool]
"""Rewrites around one op and says whether it did."""


class Draft:
    """Ops, types and constants that may change; `program` gives back an immutable one.

    A tensor is known by its name, and so is the op that writes it. Types follow from the ops as
    they are put in. Ops that nobody needs any more fall away at the end.
    """

    def __init__(self, program: Program) -> None:
        """Begin with a program."""
        self.source = program
        self.ops: list[Op] = list(program.ops)
        self.types: dict[str, TensorType] = dict(program.types)
        self.constants: dict[str, Constant] = dict(program.constants)
        self.changed = False
        self._readers: Mapping[str, Sequence[Op]] | None = None
        self._writers: Mapping[str, Op] | None = None

    def program(self) -> Program:
        """Return the result; the very program that was given where nothing changed."""
        ops = _needed(self.ops, self.source.outputs)
        if not self.changed and len(ops) == len(self.source.ops):
            return self.source
        used = {name for op in ops for name in op.constants}
        kept = {name: c for name, c in self.constants.items() if name in used}
        return replace(self.source, ops=tuple(ops), constants=kept)

    def rewrite(self, rules: Sequence[Rule]) -> Draft:
        """Apply the rules to every op until none of them finds anything."""
        again = True
        while again:
            again = False
            for op in tuple(self.ops):
                if self.writer(op.output) is op and any(rule(self, op) for rule in rules):
                    again = self.changed = True
                    self.sweep()
        return self

    def sweep(self) -> None:
        """Drop ops that nobody needs, so that they count as readers no more."""
        needed = _needed(self.ops, self.source.outputs)
        if len(needed) < len(self.ops):
            self.ops = needed
            self._touch()

    def readers(self, tensor: str) -> Sequence[Op]:
        """Return the ops that read a tensor, each once."""
        if self._readers is None:
            found: dict[str, list[Op]] = defaultdict(list)
            for op in self.ops:
                for name in dict.fromkeys(op.inputs):
                    found[name].append(op)
            self._readers = found
        return self._readers.get(tensor, ())

    def writer(self, tensor: str) -> Op | None:
        """Return the op that writes a tensor; None for an input."""
        if self._writers is None:
            self._writers = {op.output: op for op in self.ops}
        return self._writers.get(tensor)

    def only_reader(self, tensor: str) -> Op | None:
        """Return the op that alone reads a tensor which is no output of the program."""
        readers = self.readers(tensor)
        return readers[0] if len(readers) == 1 and tensor not in self.source.outputs else None

    def private(self, tensor: str) -> bool:
        """Return whether exactly one op reads the tensor and nobody else sees it."""
        return self.only_reader(tensor) is not None

    def fixed(self, tensor: str) -> Array | None:
        """Return the values of a tensor that a `constant` op writes."""
        writer = self.writer(tensor)
        return self.constants[writer.value].values if isinstance(writer, ConstantOp) else None

    def types_of(self, op: Op) -> list[TensorType]:
        """Return the types of an op's inputs."""
        return [self.types[name] for name in op.inputs]

    def replace(self, old: Op, *new: Op) -> None:
        """Put ops in an op's place; they are written in this order."""
        place = next(i for i, op in enumerate(self.ops) if op is old)
        self.ops[place : place + 1] = new
        for op in new:
            self.types[op.output] = op.infer(self.types_of(op), self.constants)
        self._touch()

    def drop(self, op: Op) -> None:
        """Take an op out whose output nobody reads."""
        self.ops = [other for other in self.ops if other is not op]
        self._touch()

    def redirect(self, old: str, new: str, readers: Iterable[Op] | None = None) -> None:
        """Let the readers of one tensor read another of the same shape."""
        chosen = {op.name for op in (self.readers(old) if readers is None else readers)}
        self.ops = [_rewired(op, old, new) if op.name in chosen else op for op in self.ops]
        self._touch()

    def bypass(self, op: Op) -> bool:
        """Take out an op whose output equals its first input, type and all.

        Returns:
            False where both are a program's own input or output and the op is an identity, which
            has to stay.
        """
        source, target = op.inputs[0], op.output
        if target not in self.source.outputs:
            self.redirect(target, source)
            self.drop(op)
            return True
        writer = self.writer(source)
        if writer is None or source in self.source.outputs:
            if isinstance(op, Identity):
                return False
            self.replace(op, Identity(name=op.name, inputs=(source,), output=target))
            return True
        self.drop(op)
        self.types[target] = self.types[source]
        self.redirect(source, target)
        self.replace(next(o for o in self.ops if o.output == source), self._as(writer, target))
        return True

    def _as(self, writer: Op, output: str) -> Op:
        now = next(op for op in self.ops if op.name == writer.name)
        return replace(now, output=output)

    def fresh(self, base: str) -> str:
        """Return a name that no op and no tensor has."""
        taken = {op.name for op in self.ops} | set(self.types)
        number, name = 1, base
        while name in taken:
            name, number = f"{base}.{number}", number + 1
        return name

    def store(self, name: str, values: Array, like: Constant | None = None, **meaning: Any) -> str:
        """Add a constant and return its name, which is `name` or close to it.

        Args:
            name: wanted; another is taken where a constant of this name has other values.
            values: integers or float32.
            like: bits, scale and zero point are taken from it.
            meaning: fields of `Constant` that differ from `like`.
        """
        values = np.array(values, order="C")  # a copy of its own, which may be made read-only
        if like is not None:
            constant = replace(like, values=values, **meaning)
        else:
            constant = Constant(values, **{"bits": 8 * values.dtype.itemsize, **meaning})
        number, chosen = 1, name
        while chosen in self.constants and self.constants[chosen] != constant:
            chosen, number = f"{name}.{number}", number + 1
        self.constants[chosen] = constant
        return chosen

    def _touch(self) -> None:
        self.changed = True
        self._readers = self._writers = None


def _rewired(op: Op, old: str, new: str) -> Op:
    return replace(op, inputs=tuple(new if name == old else name for name in op.inputs))


def _needed(ops: Sequence[Op], outputs: Iterable[str]) -> list[Op]:
    """Return the ops on which an output depends."""
    wanted, kept = set(outputs), list[Op]()
    for op in reversed(ops):
        if op.output in wanted:
            kept.append(op)
            wanted.update(op.inputs)
    return kept[::-1]
