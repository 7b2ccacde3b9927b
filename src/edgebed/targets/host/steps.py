"""What lowering gives: stores, steps of C over them, and constants."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from edgebed.targets.host.kernels.conv import ConvShape
from edgebed.targets.host.kernels.requantize import Requantization
from edgebed.targets.host.layout import BYTES, C_TYPES, Stored, View

ALIGNMENT: Final = 64
"""Bytes; every store and every packed constant starts at a multiple."""
SLACK: Final = 64
"""Readable bytes behind the last store: kernels load whole vectors."""


@dataclass(frozen=True)
class Store:
    """A flat piece of memory.

    Attributes:
        stored: type of its elements.
        elements: how many.
        where: `arena`, or a caller's `input` or `output`, or among the `constants`.
        place: which input or output; the byte offset among the constants.
    """

    stored: Stored
    elements: int
    where: Literal["arena", "input", "output", "constants"] = "arena"
    place: int = 0

    @property
    def nbytes(self) -> int:
        """Bytes."""
        return self.elements * BYTES[self.stored]


@dataclass(frozen=True)
class Operand:
    """A pointer to a view that a step's statements use by name.

    Attributes:
        name: of the C variable.
        view: what it points to.
        back: elements that it points before the view's first value: the padding.
    """

    name: str
    view: View
    back: int = 0

    @property
    def c_type(self) -> str:
        """Element type in C."""
        return C_TYPES[self.view.stored]


@dataclass(frozen=True)
class Packed:
    """A pointer to packed constants that a step's statements use by name.

    Attributes:
        name: of the C variable.
        c_type: element type in C.
        offset: bytes from the start of the constants.
        streamed: read from end to end when the step runs; see `Constants.arranged`.
    """

    name: str
    c_type: str
    offset: int
    streamed: bool = False


@dataclass(frozen=True)
class Call:
    """Some C statements and the pointers they use.

    Attributes:
        text: the statements.
        reads: views they read.
        writes: views they write.
        packed: constants they read.
        headers: kernel headers they need.
        rows: where not 0, threads may share the work: the statements use the variables `y0` and
            `y1`, and do the part from y0 to y1 of so many.
        in_place: every value is written after the value of the first read at the same place was
            read, so both may share their memory.
        macs: multiply-accumulates, for the decision whether threads pay.
    """

    text: str
    reads: tuple[Operand, ...] = ()
    writes: tuple[Operand, ...] = ()
    packed: tuple[Packed, ...] = ()
    headers: tuple[str, ...] = ()
    rows: int = 0
    in_place: bool = False
    macs: int = 0

    @property
    def touched(self) -> int:
        """Bytes of the views that it reads and writes."""
        views = [operand.view for operand in (*self.reads, *self.writes)]
        return sum(view.size * BYTES[view.stored] for view in views)


@dataclass(frozen=True)
class Step:
    """One C function.

    Attributes:
        layer: number of the layer it belongs to.
        call: its work.
        fills: what fills borders of the store that it is the first to write.
    """

    layer: int
    call: Call
    fills: tuple[Call, ...] = ()


@dataclass(frozen=True)
class Layer:
    """A layer as reports show it.

    Attributes:
        name: of the op.
        kind: of the op.
        macs: multiply-accumulates.
        nbytes: of inputs, output and constants.
        shape: of the output.
    """

    name: str
    kind: str
    macs: int
    nbytes: int
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Blocked:
    """A layer on the blocked kernel, as the tuner needs it."""

    shape: ConvShape
    rule: Requantization


TileKey = tuple[ConvShape, str]
"""A layer and the name of an instruction set."""


@dataclass
class Constants:
    """Packed constants under construction; equal ones are kept once."""

    data: bytearray = field(default_factory=bytearray)
    known: dict[str, int] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)

    def add(self, values: npt.NDArray[Any] | bytes) -> int:
        """Return the offset of these bytes, a multiple of ALIGNMENT."""
        data = values if isinstance(values, bytes) else np.ascontiguousarray(values).tobytes()
        digest = hashlib.sha256(data).hexdigest()
        if digest not in self.known:
            self.data.extend(bytes(-len(self.data) % ALIGNMENT))
            self.known[digest] = len(self.data)
            self.sizes[len(self.data)] = len(data)
            self.data.extend(data)
        return self.known[digest]

    def arranged(self, streamed: Collection[int]) -> tuple[bytes, dict[int, int]]:
        """Return the constants, those at the offsets `streamed` first, and where each one went.

        Weights that follow each other in the order of execution are one stream from the cache to
        the processor; tables between them would interrupt it.
        """
        data, moved = bytearray(), dict[int, int]()
        for offset in sorted(self.sizes, key=lambda offset: (offset not in streamed, offset)):
            data.extend(bytes(-len(data) % ALIGNMENT))
            moved[offset] = len(data)
            data.extend(self.data[offset : offset + self.sizes[offset]])
        return bytes(data), moved


@dataclass(frozen=True)
class Shown:
    """An op's result as memory holds it, once.

    Attributes:
        tensor: in the program.
        kind: of the op.
        view: where it lies.
        step: after which all of it is there; -1: before the first one.
    """

    tensor: str
    kind: str
    view: View
    step: int


@dataclass(frozen=True)
class Lowered:
    """A program as C steps.

    Attributes:
        stores: memory by number.
        layers: in the order of their ops.
        steps: in the order of their execution.
        constants: packed, with SLACK readable bytes at the end.
        blocked: layers whose tile can be tuned.
        shown: results that an observer can see, in the order of the steps.
    """

    stores: tuple[Store, ...]
    layers: tuple[Layer, ...]
    steps: tuple[Step, ...]
    constants: bytes
    blocked: tuple[Blocked, ...] = ()
    shown: tuple[Shown, ...] = ()
