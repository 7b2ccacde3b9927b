"""Channels whose values are known before the network runs, or that nobody uses, are taken out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, cast

import numpy as np
import numpy.typing as npt

from edgebed.compile.passes.channel_facts import Facts, facts_of, sum_range, sums, taps
from edgebed.compile.passes.channel_links import is_depthwise, links, mixes_all, tracked
from edgebed.compile.passes.draft import Draft
from edgebed.program.arithmetic import weight_range
from edgebed.program.ops._accumulate import INT32_LIMIT, Weighted
from edgebed.program.ops.constant import Constant as ConstantOp
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.ops.conv_transpose2d import ConvTranspose2d
from edgebed.program.ops.dense import Dense
from edgebed.program.ops.lookup import Lookup
from edgebed.program.ops.reshape import Reshape
from edgebed.program.ops.slice import Slice
from edgebed.program.ops.strided_slice import StridedSlice
from edgebed.program.types import Array, Constant, Op, Program

Flags = npt.NDArray[np.bool_]
Whole = npt.NDArray[np.int64]


@dataclass(frozen=True)
class DeadChannels:
    """Remove channels that carry nothing, exactly.

    A channel is known where its filter is zero, where everything it is computed from is known, or
    where its sum is beyond the clamp whatever the input. What a known channel adds to a sum that
    reads it moves into the bias where that is one number for all positions; zero padding makes it
    differ at the border, and then the channel stays. Channels that nobody reads go as well.

    Attributes:
        multiple: keep dead channels until what is left of a tensor is a multiple of this many,
            or all of it; vector instructions work on so many at once anyway.
    """

    name: ClassVar[str] = "dead_channels"
    multiple: int = 1

    def run(self, program: Program) -> Program:
        """Return the program with fewer channels; its inputs and outputs keep theirs."""
        while True:
            known = facts_of(program)
            settled = _settle(program, known)
            if settled is not program:
                program, known = settled, facts_of(settled)
            smaller = _without(program, known, self.multiple)
            if smaller is program:
                return program
            program = smaller


def _settle(program: Program, known: Mapping[str, Facts]) -> Program:
    """Replace tensors all of whose values are known by constants."""
    draft = Draft(program)
    for op in program.ops:
        found = known.get(op.output)
        kind = program.types[op.output]
        if found is None or isinstance(op, ConstantOp) or kind.dtype == "uint8":
            continue
        if found.fixed.all():
            base, zero = f"{op.output}.value", kind.zero_point
            name = draft.store(base, found.values, scale=kind.scale, zero_point=zero)
            draft.replace(op, ConstantOp(name=op.name, inputs=(), output=op.output, value=name))
    return draft.program()


def _without(program: Program, known: Mapping[str, Facts], multiple: int) -> Program:
    """Return the program less its dead channels; the same one where there is none."""
    needs = _Needs(program, known)
    needed = needs.result(multiple)
    if all(flags.all() for flags in needed.values()):
        return program
    return _Cut(program, needed, {one.op.output: one for one in needs.layers}).program()


class _Layer:
    """A layer that may lose any channel: what its known input channels add to its sums."""

    def __init__(self, program: Program, op: Weighted, known: Mapping[str, Facts]) -> None:
        self.program, self.op = program, op
        self.kind, self.out = program.types[op.inputs[0]], program.types[op.output]
        self.x, self.y = known[op.inputs[0]], known[op.output]
        self.taps = taps(op, self.kind, program.constants)
        self.reads: Flags = np.any(self.taps != 0, axis=2)
        self.bias = _bias(program, op, len(self.reads))

    @cached_property
    def added(self) -> tuple[Whole, Flags]:
        """What each known input channel adds to each sum, and whether it does so everywhere.

        O x C each; where a channel is not known, or its weights are zero, that is 0 and whether
        they are zero.
        """
        values = np.zeros(self.reads.shape, np.int64)
        even = ~self.reads
        zero = self.kind.zero_point
        for c in np.flatnonzero(self.x.fixed):
            if np.all(self.x.values[c] == zero):
                even[:, c] = True
            elif self.reads[:, c].any():
                values[:, c], even[:, c] = self._one(int(c))
        most = np.abs(values).sum(axis=1) + np.abs(self.bias)
        even[most > INT32_LIMIT] = ~self.reads[most > INT32_LIMIT]
        return values, even

    def _one(self, c: int) -> tuple[Whole, Flags]:
        """Return what one known channel adds to each sum, and whether everywhere."""
        centred = self.x.values[c].astype(np.int64) - self.kind.zero_point
        every = np.ones(len(self.reads), np.bool_)
        if isinstance(self.op, Dense):
            return self.taps[:, c] @ centred.reshape(-1), every
        bordered = any(getattr(self.op, "padding", ())) or self._swapped
        if self.x.flat[c] and not bordered:
            return self.taps[:, c].sum(axis=1) * centred.flat[0], every
        picture = self.x.values[c : c + 1]
        found = sums(self.op, picture, self.kind, self._column(c)).reshape(len(every), -1)
        return found[:, 0], (found == found[:, :1]).all(axis=1)

    def _column(self, c: int) -> dict[str, Constant]:
        """Return the weights of one input channel."""
        weight = self.program.constants[self.op.weight]
        one = weight.values[c : c + 1] if self._swapped else weight.values[:, c : c + 1]
        return {self.op.weight: replace(weight, values=one)}

    @property
    def _swapped(self) -> bool:
        return isinstance(self.op, ConvTranspose2d)

    @cached_property
    def constant_sum(self) -> Whole | None:
        """For outputs with one known value, a sum that gives it; None where there is none."""
        if not self.y.flat.any():
            return None
        return sum_range(self.op, self.x, self.kind, self.out, self.program.constants).low


def _bias(program: Program, op: Weighted, outputs: int) -> Whole:
    if op.bias is None:
        return np.zeros(outputs, np.int64)
    return program.constants[op.bias].values.astype(np.int64)


class _Needs:
    """Which channels of which tensors have to stay.

    Attributes:
        whole: tensors all of whose channels have to.
        layers: ops that may lose single channels.
    """

    def __init__(self, program: Program, known: Mapping[str, Facts]) -> None:
        self.program, self.known = program, known
        self.whole = [*program.inputs, *program.outputs]
        names = [name for name, kind in program.types.items() if tracked(kind)]
        self.sizes = {name: program.types[name].shape[0] for name in names}
        starts = np.cumsum([0, *self.sizes.values()])
        self.start = dict(zip(names, starts.tolist(), strict=False))
        self.group = np.arange(starts[-1])
        self.needed: Flags = np.zeros(int(starts[-1]), np.bool_)
        self.layers: list[_Layer] = []
        for op in program.ops:
            self._link(op)
        self._seal()

    def result(self, multiple: int) -> dict[str, Flags]:
        """Return for each tensor which of its channels stay: a multiple, at least one, or all."""
        while self._through_layers() or self._fill(multiple):
            pass
        return {name: self.flags(name) for name in self.start}

    def flags(self, tensor: str) -> Flags:
        """Return which channels of a tensor are known to be needed so far."""
        return self.needed[self._groups(tensor)]

    def _groups(self, tensor: str) -> Whole:
        first = self.start[tensor]
        return self.group[first : first + self.sizes[tensor]]

    def _need(self, tensor: str, flags: Flags | bool = True) -> bool:
        """Mark channels; return whether any was not marked before."""
        if tensor not in self.start:
            return False
        groups = self._groups(tensor)[np.broadcast_to(flags, self.sizes[tensor])]
        if self.needed[groups].all():
            return False
        self.needed[groups] = True
        return True

    def _link(self, op: Op) -> None:
        """Join the channels that belong together, and note what an op needs as a whole."""
        types = [self.program.types[name] for name in op.inputs]
        out = self.program.types[op.output]
        if mixes_all(op, types) and tracked(out):
            self.layers.append(_Layer(self.program, cast(Weighted, op), self.known))
            return
        found = links(op, types, out)
        if found is None:
            self.whole.extend((*op.inputs, op.output))
            return
        for name, pair in zip(op.inputs, found, strict=True):
            if pair is None:
                self.whole.append(name)
            else:
                self._join(self.start[name] + pair[0], self.start[op.output] + pair[1])

    def _join(self, first: Whole, second: Whole) -> None:
        for a, b in zip(first.tolist(), second.tolist(), strict=True):
            a, b = self._root(a), self._root(b)
            self.group[max(a, b)] = min(a, b)

    def _root(self, index: int) -> int:
        while self.group[index] != index:
            self.group[index] = self.group[self.group[index]]
            index = int(self.group[index])
        return index

    def _seal(self) -> None:
        self.group = np.array([self._root(i) for i in range(len(self.group))], dtype=np.int64)
        for name in self.whole:
            self._need(name)

    def _through_layers(self) -> bool:
        """Mark the inputs of layers whose outputs are needed; say whether any was new."""
        found = False
        for layer in reversed(self.layers):
            rows = self.flags(layer.op.output) & ~layer.y.flat
            reads: Flags = np.any(layer.reads[rows] & ~layer.added[1][rows], axis=0)
            found |= self._need(layer.op.inputs[0], reads)
        return found

    def _fill(self, multiple: int) -> bool:
        """Keep more channels of a tensor that would have too few; say whether any did."""
        for name in self.start:
            left = self.flags(name)
            count = int(left.sum())
            missing = -count % multiple if count else 1
            if missing and not left.all():
                # What is known already needs no inputs.
                order = np.argsort(left.astype(int) * 2 - self.known[name].flat, kind="stable")
                chosen = np.zeros(len(left), np.bool_)
                chosen[order[: min(missing, len(left) - count)]] = True
                return self._need(name, chosen)
        return False


def _left_scales(constant: Constant, left: Flags) -> tuple[float, ...]:
    if len(constant.scales) != len(left):
        return constant.scales
    return tuple(np.array(constant.scales)[left].tolist())


class _Cut:
    """Writes a program again with fewer channels."""

    def __init__(
        self, program: Program, needed: Mapping[str, Flags], layers: Mapping[str, _Layer]
    ) -> None:
        self.source, self.needed, self.layers = program, needed, layers
        self.draft = Draft(program)

    def program(self) -> Program:
        """Return the smaller program."""
        ops = tuple(self._op(op) for op in self.source.ops)
        used = {name for op in ops for name in op.constants}
        kept = {name: c for name, c in self.draft.constants.items() if name in used}
        return replace(self.source, ops=ops, constants=kept)

    def _left(self, tensor: str) -> Flags:
        """Return which channels stay; all of what is not looked at."""
        kind = self.source.types[tensor]
        size = kind.shape[0] if kind.shape else 1
        return self.needed.get(tensor, np.ones(size, np.bool_))

    def _op(self, op: Op) -> Op:
        types = [self.source.types[name] for name in op.inputs]
        left = self._left(op.output)
        if op.output in self.layers:
            return self._layer(cast(Weighted, op), left)
        if left.all() and all(self._left(name).all() for name in op.inputs):
            return op
        if is_depthwise(op, types):
            return self._depthwise(cast(Conv2d, op), left)
        return self._linked(op, left)

    def _layer(self, op: Weighted, left: Flags) -> Op:
        """Cut a layer; what its dropped inputs add goes into the bias."""
        read = self._left(op.inputs[0])
        if left.all() and read.all():
            return op
        layer = self.layers[op.output]
        bias = layer.bias + np.where(read, 0, layer.added[0]).sum(axis=1)
        weight = self.source.constants[op.weight]
        transposed = isinstance(op, ConvTranspose2d)  # its weights have the inputs first
        w = weight.values.swapaxes(0, 1) if transposed else weight.values
        window = () if isinstance(op, Dense) else w.shape[2:]
        w = w.reshape(len(w), len(read), -1).copy()
        flat = layer.y.flat & left
        if layer.constant_sum is not None:
            w[flat], bias[flat] = weight.zero_point, layer.constant_sum[flat]
        w = w[left][:, read].reshape(int(left.sum()), -1, *window)
        return self._stored(op, w.swapaxes(0, 1) if transposed else w, bias[left], left)

    def _depthwise(self, op: Conv2d, left: Flags) -> Op:
        w = self.source.constants[op.weight].values[left]
        groups = int(self._left(op.inputs[0]).sum())
        cut = self._stored(op, w, _bias(self.source, op, len(left))[left], left)
        settings: dict[str, Any] = {"groups": groups}
        return replace(cut, **settings)

    def _stored(self, op: Weighted, weight: Array, bias: Whole, left: Flags) -> Weighted:
        """Return the layer with new constants."""
        old = self.source.constants[op.weight]
        scales = _left_scales(old, left)
        names: dict[str, Any] = {"weight": self._store(op, op.weight, weight, old, scales=scales)}
        if op.bias is not None or bias.any():
            names["bias"] = self._store_bias(op, bias, left)
        if op.multiplier is not None:
            factors = self.source.constants[op.multiplier]
            kept = factors.values[..., left] if factors.values.shape[-1] == len(left) else None
            if kept is not None:
                names["multiplier"] = self._store(op, op.multiplier, kept, factors)
        return replace(op, **names)

    def _store_bias(self, op: Weighted, bias: Whole, left: Flags) -> str:
        if op.bias is None:
            step = self.source.types[op.inputs[0]].scale * self.source.constants[op.weight].scale
            return self.draft.store(f"{op.name}.bias", bias.astype(np.int32), scale=step)
        old = self.source.constants[op.bias]
        scales = _left_scales(old, left)
        values = bias.astype(np.result_type(old.values.dtype, np.int32))
        low, high = weight_range(old.bits)
        fits = low <= bias.min(initial=0) and bias.max(initial=0) <= high
        return self._store(op, op.bias, values, old, scales=scales, bits=old.bits if fits else 32)

    def _store(self, op: Op, name: str, values: Array, like: Constant, **meaning: Any) -> str:
        """Store a constant under its old name where this op alone reads it."""
        if sum(name in other.constants for other in self.source.ops) == 1:
            self.draft.constants.pop(name, None)
        return self.draft.store(name, values, like=like, **meaning)

    def _linked(self, op: Op, left: Flags) -> Op:
        """Cut an op whose channels belong together one by one."""
        read = self._left(op.inputs[0]) if op.inputs else left
        match op:
            case ConstantOp():
                old = self.source.constants[op.value]
                name = self._store(op, op.value, old.values[left], old)
                return replace(op, value=name)
            case Lookup() if op.axis == 0:
                table = self.source.constants[op.table]
                name = self._store(op, op.table, table.values[left], table)
                return replace(op, table=name)
            case Reshape():
                return replace(op, shape=(int(left.sum()), *op.shape[1:]))
            case Slice():
                start = int(read[: op.start].sum())
                return replace(op, start=start, stop=start + int(left.sum()))
            case StridedSlice():
                start = int(read[: op.begin[0]].sum())
                stop = start + int(left.sum())
                return replace(op, begin=(start, *op.begin[1:]), end=(stop, *op.end[1:]))
        return op
