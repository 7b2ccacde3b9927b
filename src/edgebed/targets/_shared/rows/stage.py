"""What lowering hands to the memory planner and the emitter: tensors as rows, layers as stages.

A map of C x H x W lies in memory as H rows of W pixels of C values. Every other tensor is one row.
A stage computes its output row by row, which is what lets layers share memory and overlap.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Role = Literal["input", "output", "inner"]


@dataclass(frozen=True)
class Tensor:
    """A tensor in the arena.

    Attributes:
        name: in the program.
        rows: how many; 1 for what is no map.
        row_bytes: of each.
        role: inputs are there before the first step, outputs are kept to the end.
    """

    name: str
    rows: int
    row_bytes: int
    role: Role = "inner"

    @property
    def nbytes(self) -> int:
        """Bytes of all rows."""
        return self.rows * self.row_bytes


@dataclass(frozen=True)
class Window:
    """The rows of one operand that a step of a stage reads.

    Step r reads rows stride * r - pad + dilation * i for 0 <= i < rows; those outside the tensor
    are absent. With `whole` every step reads all rows, through one pointer to the first.

    Attributes:
        tensor: which.
        rows: height of the window.
        stride: rows from one step's window to the next one's.
        pad: rows of the first window that lie above the tensor.
        dilation: rows from one row of the window to the next.
        whole: all rows at every step.
    """

    tensor: str
    rows: int = 1
    stride: int = 1
    pad: int = 0
    dilation: int = 1
    whole: bool = False


@dataclass(frozen=True)
class Table:
    """Constants of a stage, a C array of its own.

    Attributes:
        name: of the array, a C identifier that is unique in the network.
        c_type: of its elements: int8_t, int16_t, int32_t, uint8_t, float, eb_line ...
        data: bytes, little-endian.
        weights: it holds what was trained (counted as weights, not as code).
    """

    name: str
    c_type: str
    data: bytes = field(repr=False)
    weights: bool = True


@dataclass(frozen=True)
class Stage:
    """One layer, or part of one, as a C function that computes one row a call.

    Attributes:
        name: of the op; reports use it.
        kind: of the op.
        output: the tensor it writes.
        inputs: what it reads.
        steps: calls; the rows of the output, or 1 for a stage that writes all rows at once, or
            with `accumulates` the rows of its first input.
        function: C function of type `eb_kernel`.
        header: file in `kernels/` that defines it.
        layer_type: C type of its parameters, e.g. eb_conv.
        layer: C initialiser of the parameters; tables by their names.
        tables: constants that the initialiser names.
        scratch_bytes: memory that every call may use and none relies on.
        in_place: inputs (by position) whose row r the output's row r may lie on or below:
            a pixel is written after it and all before it were read, and is not larger.
        accumulates: every step adds to the one row of the output, which is complete after the
            last step.
        macs: multiply-accumulates of all steps.
    """

    name: str
    kind: str
    output: str
    inputs: tuple[Window, ...]
    steps: int
    function: str
    header: str
    layer_type: str
    layer: str
    tables: tuple[Table, ...] = ()
    scratch_bytes: int = 0
    in_place: tuple[int, ...] = ()
    accumulates: bool = False
    macs: int = 0


@dataclass(frozen=True)
class Network:
    """A lowered program.

    Attributes:
        name: a C identifier.
        tensors: by name.
        stages: in an order in which every tensor is written before it is read.
        inputs: tensor names in the program's order.
        outputs: likewise.
        orders: axes from the sparsest to the densest, of tensors that do not lie in their usual
            order.
    """

    name: str
    tensors: dict[str, Tensor]
    stages: tuple[Stage, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    orders: dict[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """`count` steps of a stage, from step `first` on, without another stage in between."""

    stage: int
    first: int
    count: int


@dataclass(frozen=True)
class Placement:
    """When each step runs and where each tensor lies.

    Attributes:
        runs: the schedule.
        offsets: bytes from the arena's start, by tensor.
        rings: rows that are kept, by tensor; row r lies at r modulo this. All rows, where equal
            to the tensor's.
        scratch: offset by stage number, for stages with scratch.
        peak: bytes of the arena.
        lower_bound: no placement of this schedule needs less.
        peak_stage: the stage at which most bytes are in use.
    """

    runs: tuple[Run, ...]
    offsets: dict[str, int]
    rings: dict[str, int]
    scratch: dict[int, int]
    peak: int
    lower_bound: int
    peak_stage: int
