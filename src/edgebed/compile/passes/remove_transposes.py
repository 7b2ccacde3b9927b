"""Transposes and reshapes that cancel, pass on, or were none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from edgebed.compile.passes.axes import (
    MIXING,
    Perm,
    Shape,
    carry,
    carry_joined,
    compose,
    inverse,
    is_pointwise,
    moves_nothing,
    reordered,
    swapped_matrix,
    through_reshape,
)
from edgebed.compile.passes.dense_on_map import read_map
from edgebed.compile.passes.draft import Draft, Rule
from edgebed.compile.passes.fold_constants import is_identity
from edgebed.compile.passes.picked_channels import pick_channels
from edgebed.program.ops.concat import Concat
from edgebed.program.ops.constant import Constant as ConstantOp
from edgebed.program.ops.pad import Pad
from edgebed.program.ops.prelu import Prelu
from edgebed.program.ops.reshape import Reshape
from edgebed.program.ops.strided_slice import StridedSlice
from edgebed.program.ops.transpose import Transpose
from edgebed.program.types import Array, Op, Program


@dataclass(frozen=True)
class RemoveTransposes:
    """Move transposes towards the outputs until they meet their inverse.

    They pass through everything that can work in the other order of axes; constants are stored
    in the new order, and a fully connected layer gets its weights' columns in it. Then a padding
    goes back before the convolution that reads it. The result is used where fewer bytes are
    transposed, or as many with fewer ops.
    """

    name: ClassVar[str] = "remove_transposes"

    def run(self, program: Program) -> Program:
        """Return the program with as little transposing as was found."""
        lazy = Draft(program).rewrite(_LAZY).rewrite(_LAST).program()
        best = min((program, lazy), key=_cost)
        if _cost(best)[0] == 0:
            return best
        eager = Draft(program).rewrite((*_LAZY, _Eagerly())).rewrite(_LAST).program()
        return min((best, eager), key=_cost)


def _cost(program: Program) -> tuple[int, int, int, int]:
    """Return bytes transposed, ops, transposes, and paddings that no convolution reads."""
    moved = [op for op in program.ops if isinstance(op, Transpose)]
    sources = [(program.types[op.inputs[0]], op.perm) for op in moved]
    size = sum(x.nbytes for x, perm in sources if not moves_nothing(x.shape, perm))
    far = sum(
        not any(hasattr(reader, "padding") for reader in program.readers(op.output))
        for op in program.ops
        if isinstance(op, Pad)
    )
    return size, len(program.ops), len(moved), far


def _transposed(draft: Draft, tensor: str) -> tuple[str, Perm] | None:
    """Return what a tensor is the transpose of, and the order."""
    writer = draft.writer(tensor)
    return (writer.inputs[0], writer.perm) if isinstance(writer, Transpose) else None


def _drop_nothing(draft: Draft, op: Op) -> bool:
    return (
        isinstance(op, Transpose | Reshape | StridedSlice)
        and is_identity(draft, op)
        and draft.bypass(op)
    )


def _join_transposes(draft: Draft, op: Op) -> bool:
    """Replace two transposes in a row by one."""
    found = _transposed(draft, op.inputs[0]) if isinstance(op, Transpose) else None
    if found is None:
        return False
    assert isinstance(op, Transpose)
    draft.replace(op, replace(op, inputs=(found[0],), perm=compose(found[1], op.perm)))
    return True


def _join_reshapes(draft: Draft, op: Op) -> bool:
    """Let a reshape read past reshapes, and past transposes that move axes of size 1 only."""
    if not isinstance(op, Reshape):
        return False
    writer = draft.writer(op.inputs[0])
    if not isinstance(writer, Reshape) and not _moves_nothing(draft, writer):
        return False
    assert writer is not None
    draft.replace(op, replace(op, inputs=writer.inputs))
    return True


def _moves_nothing(draft: Draft, op: Op | None) -> bool:
    return isinstance(op, Transpose) and moves_nothing(draft.types[op.inputs[0]].shape, op.perm)


def _transpose_after_reshape(draft: Draft, op: Op) -> bool:
    """Make one reshape of a reshape and a transpose that moves axes of size 1 only."""
    writer = draft.writer(op.inputs[0]) if _moves_nothing(draft, op) else None
    if not isinstance(writer, Reshape):
        return False
    shape = draft.types[op.output].shape
    reshape = Reshape(name=op.name, inputs=writer.inputs, output=op.output, shape=shape)
    draft.replace(op, reshape)
    return True


def _reshape_of_transpose(draft: Draft, op: Op) -> bool:
    """Drop a transpose that the reshape behind it undoes, or bring it to one behind that."""
    found = _transposed(draft, op.inputs[0]) if isinstance(op, Reshape) else None
    if found is None:
        return False
    assert isinstance(op, Reshape)
    source, perm = found
    passed = through_reshape(draft.types[source].shape, perm, op.shape)
    if passed is None:
        return False
    shape, left = passed
    if moves_nothing(shape, left):
        draft.replace(op, replace(op, inputs=(source,)))
        return True
    reader = draft.only_reader(op.output)
    if not isinstance(reader, Transpose):
        return False
    middle = draft.fresh(f"{op.output}.moved")
    draft.replace(op, replace(op, inputs=(source,), shape=shape, output=middle))
    draft.replace(reader, replace(reader, inputs=(middle,), perm=compose(left, reader.perm)))
    return True


def _reshape_past_values(draft: Draft, op: Op) -> bool:
    """Reshape a transposed tensor after the op that treats every value alike, not before."""
    writer = draft.writer(op.inputs[0]) if is_pointwise(op) else None
    if not isinstance(writer, Reshape) or not draft.private(writer.output):
        return False
    if _transposed(draft, writer.inputs[0]) is None:
        return False
    early = draft.fresh(f"{op.output}.moved")
    late = Reshape(
        name=draft.fresh(writer.name), inputs=(early,), output=op.output, shape=writer.shape
    )
    draft.replace(op, replace(op, inputs=writer.inputs, output=early), late)
    return True


def _push(draft: Draft, op: Op) -> bool:
    """Move a transpose behind the op of one input that reads it."""
    found = _transposed(draft, op.inputs[0]) if len(op.inputs) == 1 else None
    if found is None:
        return False
    source, perm = found
    if isinstance(op, Prelu):
        return _push_prelu(draft, op, source, perm)
    passed = carry(op, perm)
    if passed is None:
        return False
    _put(draft, op, (), replace(passed.op, inputs=(source,)), passed.perm)
    return True


def _push_prelu(draft: Draft, op: Prelu, source: str, perm: Perm) -> bool:
    slope = draft.constants[op.slope]
    wide = slope.values.reshape(_full(slope.values.shape, len(perm)))
    name = draft.store(op.slope, wide.transpose(inverse(perm)), like=slope)
    _put(draft, op, (), replace(op, inputs=(source,), slope=name), perm)
    return True


def _put(draft: Draft, old: Op, before: Sequence[Op], new: Op, perm: Perm) -> None:
    """Put `new` and the transpose that its result still needs in an op's place."""
    if perm == tuple(range(len(perm))):
        draft.replace(old, *before, replace(new, output=old.output))
        return
    early = draft.fresh(f"{old.output}.moved")
    late = Transpose(
        name=draft.fresh(f"{old.name}.transpose"), inputs=(early,), output=old.output, perm=perm
    )
    draft.replace(old, *before, replace(new, output=early), late)


def _push_joined(draft: Draft, op: Op) -> bool:
    """Move the transpose of all operands behind the op, where that costs nothing."""
    return _push_operands(draft, op, eager=False)


class _Eagerly:
    """Do so even where an operand has to be transposed the other way for it.

    Once an op: the transposes before it could change sides for ever.
    """

    def __init__(self) -> None:
        self.seen: set[str] = set()

    def __call__(self, draft: Draft, op: Op) -> bool:
        """Rewrite around an op and say whether anything changed."""
        if op.name in self.seen or not _push_operands(draft, op, eager=True):
            return False
        self.seen.add(op.name)
        return True


def _push_operands(draft: Draft, op: Op, *, eager: bool) -> bool:
    if not isinstance(op, (*MIXING, Concat)):
        return False
    rank = len(draft.types[op.output].shape)
    found = [_transposed(draft, name) for name in op.inputs]
    perms = [one[1] for one in found if one is not None and len(one[1]) == rank]
    real = [
        perm
        for name, perm in zip(op.inputs, [one and one[1] for one in found], strict=True)
        if perm in perms and not _moves_nothing(draft, draft.writer(name))
    ]
    for perm in dict.fromkeys(real or perms):
        assert perm is not None
        passed = carry_joined(op, perm)
        operands = _Operands(draft, op, perm, eager and bool(real))
        if passed is not None and operands.complete:
            moved = replace(passed.op, inputs=tuple(operands.names))
            _put(draft, op, operands.ops, moved, passed.perm)
            return True
    return False


class _Operands:
    """The operands of an op as they are without a transpose, and the ops which make them so."""

    def __init__(self, draft: Draft, op: Op, perm: Perm, eager: bool) -> None:
        self.draft, self.perm, self.eager = draft, perm, eager
        self.names: list[str] = []
        self.ops: list[Op] = []
        self.complete = all(self._add(name, f"{op.name}.{i}") for i, name in enumerate(op.inputs))

    def _add(self, name: str, base: str) -> bool:
        found = _transposed(self.draft, name)
        if found is not None and found[1] == self.perm:
            self.names.append(found[0])
            return True
        kind = self.draft.types[name]
        full, back = _full(kind.shape, len(self.perm)), inverse(self.perm)
        if kind.size == 1 and len(kind.shape) < len(self.perm):
            self.names.append(name)
        elif (values := self.draft.fixed(name)) is not None:
            self._constant(name, base, values.reshape(full).transpose(back))
        elif moves_nothing(full, back):
            self._emit(Reshape(name=base, inputs=(name,), output=base, shape=reordered(full, back)))
        elif self.eager and len(kind.shape) == len(self.perm):
            self._emit(Transpose(name=base, inputs=(name,), output=base, perm=back))
        else:
            return False
        return True

    def _constant(self, name: str, base: str, values: Array) -> None:
        writer = self.draft.writer(name)
        assert isinstance(writer, ConstantOp)
        stored = self.draft.store(writer.value, values, like=self.draft.constants[writer.value])
        self._emit(ConstantOp(name=base, inputs=(), output=base, value=stored))

    def _emit(self, op: Op) -> None:
        name = self.draft.fresh(op.name)
        self.ops.append(replace(op, name=name, output=name))
        self.names.append(name)


def _full(shape: Shape, rank: int) -> Shape:
    return (*(1,) * (rank - len(shape)), *shape)


def _swap_matrix(draft: Draft, op: Op) -> bool:
    """Let a matrix product read its operand the other way round instead of transposing it."""
    for which, name in enumerate(op.inputs):
        found = _transposed(draft, name)
        moved = swapped_matrix(op, which, found[1]) if found else None
        if found is not None and moved is not None:
            inputs = [*op.inputs]
            inputs[which] = found[0]
            draft.replace(op, replace(moved, inputs=tuple(inputs)))
            return True
    return False


def _pull_before_pad(draft: Draft, op: Op) -> bool:
    """Transpose what is padded, not what was: the padding then stands before a convolution."""
    if not isinstance(op, Transpose):
        return False
    pad = draft.writer(op.inputs[0])
    if not isinstance(pad, Pad) or not draft.private(pad.output):
        return False
    early = draft.fresh(f"{op.output}.moved")
    moved = carry(pad, inverse(op.perm))
    assert moved is not None
    transpose = replace(op, inputs=pad.inputs, output=early)
    draft.drop(pad)
    draft.replace(op, transpose, replace(moved.op, inputs=(early,), output=op.output))
    return True


def _as_reshape(draft: Draft, op: Op) -> bool:
    """Write a transpose that moves axes of size 1 only as the reshape it is."""
    if not _moves_nothing(draft, op):
        return False
    shape = draft.types[op.output].shape
    draft.replace(op, Reshape(name=op.name, inputs=op.inputs, output=op.output, shape=shape))
    return True


def _read_transposed_map(draft: Draft, op: Op) -> bool:
    return read_map(draft, op, through_transposes=True)


_JOIN: tuple[Rule, ...] = (
    _drop_nothing,
    _join_transposes,
    _join_reshapes,
    _transpose_after_reshape,
    _reshape_of_transpose,
)
_LAZY: tuple[Rule, ...] = (
    *_JOIN,
    _read_transposed_map,
    _swap_matrix,
    _reshape_past_values,
    _push,
    _push_joined,
)
_LAST: tuple[Rule, ...] = (*_JOIN, _pull_before_pad, _as_reshape, pick_channels)
