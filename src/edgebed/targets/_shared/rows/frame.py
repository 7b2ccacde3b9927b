"""A program on its way to stages: where its tensors are, and in which order their values lie."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from edgebed.errors import EdgebedError
from edgebed.program.types import Op, Program, TensorType
from edgebed.targets._shared.rows.kernels.sets import Goal, KernelSet
from edgebed.targets._shared.rows.stage import Network, Stage, Table, Tensor, Window

Order = tuple[int, ...]
"""Axes from the sparsest to the densest in memory."""

# Ops that take what they read in any order of memory.
_ANY_ORDER = frozenset(
    ("cast", "dequantize", "identity", "lookup", "quantize", "requantize", "transpose", "unary")
)
_SIZES = {"int8": 1, "uint8": 1, "bool": 1, "int16": 2, "int32": 4, "float32": 4, "int64": 8}


@dataclass(frozen=True)
class Place:
    """Where a tensor lies.

    Attributes:
        storage: name of the memory, a tensor of the network.
        order: in which its values lie there.
    """

    storage: str
    order: Order


@dataclass(frozen=True)
class Rows:
    """How an op value by value goes over a tensor.

    Attributes:
        window: of the input.
        steps: rows.
        values: of each row.
        order: of all values.
    """

    window: Window
    steps: int
    values: int
    order: Order


@dataclass
class Frame:
    """Collects the stages of a program; every lowering gets it.

    Attributes:
        program: what is lowered.
        kernels: of the processor.
        goal: what to prefer.
    """

    program: Program
    kernels: KernelSet
    goal: Goal = "balanced"
    stages: list[Stage] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    lazy: dict[str, str] = field(default_factory=dict)
    orders: dict[str, Order] = field(default_factory=dict)
    _names: set[str] = field(default_factory=set)

    def kind(self, tensor: str) -> TensorType:
        """Return a tensor's type."""
        return self.program.types[tensor]

    def zero(self, tensor: str) -> int:
        """Return the stored number that means 0.0: uint8 values are stored less 128."""
        kind = self.kind(tensor)
        return kind.zero_point - (128 if kind.dtype == "uint8" else 0)

    def pixels(self, tensor: str) -> tuple[int, int, int]:
        """Return rows, width and channels of a map; (1, 1, size) of anything else."""
        shape = self.kind(tensor).shape
        if len(shape) != 3:
            return 1, 1, math.prod(shape)
        channels, height, width = shape
        return height, width, channels

    def row(self, tensor: str) -> Window:
        """Return the window that is row r at step r; the whole of a tensor of one row."""
        storage = self.settled(tensor)
        return Window(storage, whole=self.tensors[storage].rows == 1)

    def window(self, tensor: str, rows: int, stride: int, pad: int, dilation: int = 1) -> Window:
        """Return a sliding window over the rows of a map."""
        return Window(self.settled(tensor), rows, stride, pad, dilation)

    def whole(self, tensor: str) -> Window:
        """Return the window that is all of the tensor at every step."""
        return Window(self.settled(tensor), whole=True)

    def as_it_lies(self, op: Op) -> Rows:
        """Return the rows in which an op of one tensor, value by value, reads and writes.

        The input is not brought into its usual order: the output gets the order and the rows that
        the input has, and its memory.
        """
        source = op.inputs[0]
        self._materialise(source)
        if not self._order_stays(op):
            self.settled(source)
        storage, order = self.places[source].storage, self.places[source].order
        rows = self.tensors[storage].rows
        kind = self.kind(op.output)
        values = kind.size // rows
        self.places[op.output] = Place(op.output, order)
        self.orders[op.output] = order
        self.tensors[op.output] = Tensor(op.output, rows, values * element_bytes(kind))
        return Rows(Window(storage, whole=rows == 1), rows, values, order)

    def _order_stays(self, op: Op) -> bool:
        """Return whether an op value by value should leave its input's order as it is.

        In its usual order memory may be cut into rows first. Values that grow are better moved
        before, unless their readers may take them as they lie.
        """
        kind, out, order = self.kind(op.inputs[0]), self.kind(op.output), usual_order
        if _same_order(kind.shape, self.places[op.inputs[0]].order, order(kind)):
            return False
        if element_bytes(out) <= element_bytes(kind):
            return True
        return all(reader.kind in _ANY_ORDER for reader in self.program.readers(op.output))

    def output(self, op: Op) -> str:
        """Create the memory of an op's output, in its usual order, and return its name."""
        self.places[op.output] = Place(op.output, usual_order(self.kind(op.output)))
        self.tensors[op.output] = storage_of(op.output, self.kind(op.output))
        return op.output

    def add(self, stage: Stage) -> None:
        """Append a stage; its output's memory is created if no one did."""
        output = stage.output
        if output not in self.tensors:
            self.places[output] = Place(output, usual_order(self.kind(output)))
            self.tensors[output] = storage_of(output, self.kind(output))
        self.stages.append(stage)

    def scratch_tensor(self, name: str, rows: int, row_bytes: int) -> str:
        """Create memory that is no tensor of the program, e.g. sums; return its name."""
        self.tensors[name] = Tensor(name, rows, row_bytes)
        return name

    def table(
        self, op: Op, suffix: str, c_type: str, data: bytes, *, weights: bool = True
    ) -> Table:
        """Return constants of a layer under a C name of their own."""
        return Table(self.identifier(f"{op.name}_{suffix}"), c_type, data, weights)

    def identifier(self, text: str) -> str:
        """Return a C identifier that no one else got."""
        base = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_")[-40:].strip("_") or "layer"
        base = f"n{base}" if base[0].isdigit() else base
        name, number = f"{base}", 2
        while name in self._names:
            name, number = f"{base}_{number}", number + 1
        self._names.add(name)
        return name

    def refuse(self, op: Op, what: str, try_: str) -> EdgebedError:
        """Return the error that says why a layer has no kernel here."""
        return op.fail(what, try_=try_)

    # ---- the same memory seen otherwise ----

    def alias(self, op: Op) -> None:
        """Let the output be the input's memory, values in the same row-major order."""
        (source,) = op.inputs[:1]
        kind, out = self.kind(source), self.kind(op.output)
        if source in self.lazy:
            self.lazy[op.output] = self.lazy[source]
            return
        place = self.places[source]
        if kind.shape == out.shape:
            self.places[op.output] = place
        elif is_row_major(kind.shape, place.order):
            self.places[op.output] = Place(place.storage, tuple(range(len(out.shape))))
        elif (order := _unit_axes(kind.shape, place.order, out.shape)) is not None:
            self.places[op.output] = Place(place.storage, order)
        else:
            self.lazy[op.output] = source

    def transpose(self, op: Op, perm: Sequence[int]) -> None:
        """Let the output be the input's memory with its axes named in another order."""
        (source,) = op.inputs
        self._materialise(source)
        place = self.places[source]
        self.places[op.output] = Place(place.storage, tuple(perm.index(a) for a in place.order))

    def flattened(self, tensor: str) -> tuple[Window, npt.NDArray[np.int64]]:
        """Return a tensor's memory and the row-major index of each value that lies there."""
        while tensor in self.lazy:
            tensor = self.lazy[tensor]
        shape, place = self.kind(tensor).shape, self.places[tensor]
        indices = np.arange(math.prod(shape)).reshape(shape).transpose(place.order).reshape(-1)
        return Window(place.storage, whole=True), indices

    def settled(self, tensor: str) -> str:
        """Return the memory in which a tensor lies in its usual order; copied there if need be."""
        self._materialise(tensor)
        kind, place = self.kind(tensor), self.places[tensor]
        wanted = usual_order(kind)
        if _same_order(kind.shape, place.order, wanted):
            if self._rows_fit(kind, place.storage):
                return place.storage
            order = place.order
        else:
            order = wanted
        return self._copy(tensor, order)

    def _rows_fit(self, kind: TensorType, storage: str) -> bool:
        """Return whether memory has the tensor's rows; what is one row so far is cut into them."""
        have, want = self.tensors[storage], storage_of(storage, kind)
        if have.rows == want.rows or want.rows == 1:
            return True
        written = [stage for stage in self.stages if stage.output == storage]
        windows = [w for stage in self.stages for w in stage.inputs if w.tensor == storage]
        at_once = all(stage.steps == 1 and not stage.accumulates for stage in written)
        if have.rows > 1 or not at_once or not all(w.whole for w in windows):
            return False
        row_bytes = have.nbytes // want.rows
        self.tensors[storage] = replace(have, rows=want.rows, row_bytes=row_bytes)
        return True

    def _materialise(self, tensor: str) -> None:
        """Give a lazily reshaped tensor its values in row-major order."""
        if tensor not in self.lazy:
            return
        source = self.lazy.pop(tensor)
        self._materialise(source)
        shape = self.kind(source).shape
        storage = self._copy(source, tuple(range(len(shape))), keep=False)
        self.places[tensor] = Place(storage, tuple(range(len(self.kind(tensor).shape))))

    def copied(self, tensor: str, order: Order) -> str:
        """Return memory of its own with a tensor in an order."""
        self._materialise(tensor)
        return self._copy(tensor, order, keep=False)

    def _copy(self, tensor: str, order: Order, *, keep: bool = True) -> str:
        """Bring a tensor into another order; further readers take the copy."""
        from edgebed.targets._shared.rows.lower.moves import reordered

        kind, place = self.kind(tensor), self.places[tensor]
        name = f"{tensor}@{''.join(map(str, order))}"
        while name in self.tensors:
            name += "+"
        rows = storage_of(name, kind)
        if order != usual_order(kind):
            rows = Tensor(name, 1, rows.nbytes)
        self.tensors[name] = rows
        self.stages.append(reordered(self, tensor, place, name, order))
        if keep:
            self.places[tensor] = Place(name, order)
        return name

    def done(self, name: str) -> Network:
        """Return what was collected, without memory that nothing touches."""
        used = {w.tensor for stage in self.stages for w in stage.inputs}
        used |= {stage.output for stage in self.stages}
        inputs = tuple(self.program.inputs)
        outputs = tuple(self.places[n].storage for n in self.program.outputs)
        kept = {n: t for n, t in self.tensors.items() if n in used or t.role != "inner"}
        return Network(name, kept, tuple(self.stages), inputs, outputs, self.orders)


def usual_order(kind: TensorType) -> Order:
    """Return the order in which kernels want a tensor: maps channels last, the rest row-major."""
    rank = len(kind.shape)
    return (1, 2, 0) if rank == 3 else tuple(range(rank))


def element_bytes(kind: TensorType) -> int:
    """Return the bytes of one stored value."""
    return _SIZES[kind.dtype]


def storage_of(name: str, kind: TensorType) -> Tensor:
    """Return memory for a tensor in its usual order."""
    nbytes = kind.size * element_bytes(kind)
    rows = kind.shape[1] if len(kind.shape) == 3 else 1
    return Tensor(name, rows, nbytes // rows)


def is_row_major(shape: Sequence[int], order: Order) -> bool:
    """Return whether values in this order lie row-major."""
    return _same_order(shape, order, tuple(range(len(shape))))


def _same_order(shape: Sequence[int], a: Order, b: Order) -> bool:
    return [x for x in a if shape[x] != 1] == [x for x in b if shape[x] != 1]


def _unit_axes(shape: Sequence[int], order: Order, new: Sequence[int]) -> Order | None:
    """Return the order of a shape that differs by axes of size 1 only, else None."""
    old_real = [a for a, n in enumerate(shape) if n != 1]
    new_real = [a for a, n in enumerate(new) if n != 1]
    if [shape[a] for a in old_real] != [new[a] for a in new_real]:
        return None
    places = dict(zip(old_real, new_real, strict=True))
    units = [a for a, n in enumerate(new) if n == 1]
    return (*units, *(places[a] for a in order if shape[a] != 1))
