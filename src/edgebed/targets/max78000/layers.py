"""Device layers and their places: the two decisions between a program and its registers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from edgebed.program.arithmetic import Activation

Operator = Literal["conv1d", "conv2d", "conv_transpose2d", "linear", "passthrough"]
Combine = Literal["subtract", "add", "bit_or", "bit_xor"]
Shape = tuple[int, int, int]

PROCESSORS = 64
QUADRANTS = 4
PER_QUADRANT = 16
PER_INSTANCE = 4
INSTANCE_BYTES = 0x8000
KERNEL_COLUMNS = 768
KERNEL_WORD = 9
BIAS_BYTES = 512


def passes_of(channels: int) -> int:
    """Return how many times 64 processors are needed for so many channels (spec 2.6)."""
    return -(-channels // PROCESSORS)


def per_pass(channels: int) -> int:
    """Return the channels of one pass: all of them, or a multiple of 4 in several passes."""
    if channels <= PROCESSORS:
        return channels
    share = -(-channels // passes_of(channels))
    return -(-share // PER_INSTANCE) * PER_INSTANCE


def processors_in(mask: int) -> tuple[int, ...]:
    """Return the numbers of the set bits of a 64-bit map, ascending."""
    return tuple(p for p in range(PROCESSORS) if mask >> p & 1)


def quadrant_bits(mask: int, quadrant: int) -> int:
    """Return the 16 bits of a map that belong to one quadrant."""
    return mask >> (PER_QUADRANT * quadrant) & 0xFFFF


@dataclass(frozen=True, eq=False, kw_only=True)
class Layer:
    """One layer as the accelerator runs it; it says what, a `Placement` says where.

    Attributes:
        name: `layer00`, `layer01`, ...
        operator: what happens after pooling and combining.
        ops: names of the program's ops that it computes, in program order.
        sources: tensor of each operand.
        output: tensor it writes.
        in_shape: of one operand as the device reads it, before pooling.
        out_shape: of the result as the device writes it, junk included (dilated conv1d).
        combine: element-wise function of several operands.
        pool: rows, columns; (1, 1) = none.
        pool_stride: for both axes.
        average: average instead of maximum.
        pool_first: each operand is pooled and then combined; otherwise the reverse.
        kernel: int8 device kernel, out x in x rows x columns; for `flatten` rows and columns are
            those of the map. None for passthrough.
        kernel_shape: rows, columns as the device sees them ((1, 1) for `flatten`).
        bits: width of a weight.
        bias: int8 of each output channel, in units of 128 of the accumulator; None = none.
        shift: of the POST register, -15..15; positive multiplies.
        activation: after saturation.
        wide: raw 32-bit accumulators.
        padding: rows, columns of zeros on each side, as the device counts them.
        flatten: a linear layer over a map of more than one pixel.
        streaming: part of the streaming chain.
        skipped: pixels of junk before the first real one (dilated conv1d, spec 2.10).
    """

    name: str
    operator: Operator
    ops: tuple[str, ...]
    sources: tuple[str, ...]
    output: str
    in_shape: Shape
    out_shape: Shape
    combine: Combine | None = None
    pool: tuple[int, int] = (1, 1)
    pool_stride: int = 1
    average: bool = False
    pool_first: bool = True
    kernel: npt.NDArray[np.int8] | None = None
    kernel_shape: tuple[int, int] = (1, 1)
    bits: int = 8
    bias: npt.NDArray[np.int8] | None = None
    shift: int = 0
    activation: Activation = "none"
    wide: bool = False
    padding: tuple[int, int] = (0, 0)
    flatten: bool = False
    streaming: bool = False
    skipped: int = 0

    @property
    def operands(self) -> int:
        """Number of tensors combined."""
        return len(self.sources)

    @property
    def passthrough(self) -> bool:
        """Whether there are no weights."""
        return self.operator == "passthrough"

    @property
    def pooling(self) -> bool:
        """Whether a window is larger than one value."""
        return max(self.pool) > 1

    @property
    def pooled(self) -> tuple[int, int]:
        """Rows and columns after pooling."""
        rows, columns = (
            (size - k) // self.pool_stride + 1
            for size, k in zip(self.in_shape[1:], self.pool, strict=True)
        )
        return rows, columns

    @property
    def slot_bytes(self) -> int:
        """Bytes of one kernel slot (spec 2.7)."""
        return self.kernel_shape[0] * self.kernel_shape[1]

    @property
    def macs(self) -> int:
        """Multiply-accumulates as executed, junk and padding included."""
        if self.kernel is None:
            return 0
        return self.kernel.size * self.out_shape[1] * self.out_shape[2]


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where one layer reads, writes and keeps its weights.

    Attributes:
        processors: map of the enabled processors.
        passes: input passes.
        sites: (pass, processor) of each input channel of an operand.
        in_offset: byte offset of the input.
        output_processors: map of the result; the same in every pass.
        out_passes: output passes.
        out_offset: byte offset of the first real result.
        write_gap: free words after each written one.
        kernel_column: first 72-bit column, on all processors.
        bias: quadrant and first address; None = no bias.
        big_data: reads CHW.
    """

    processors: int
    passes: int
    sites: tuple[tuple[int, int], ...]
    in_offset: int
    output_processors: int
    out_passes: int
    out_offset: int
    write_gap: int = 0
    kernel_column: int = 0
    bias: tuple[int, int] | None = None
    big_data: bool = False

    @property
    def first_column(self) -> int:
        """Physical processor of output column 0: the first result's, rounded down to 4."""
        return processors_in(self.output_processors)[0] // PER_INSTANCE * PER_INSTANCE

    @property
    def columns_per_pass(self) -> int:
        """Output columns of one pass, from `first_column` to the last result."""
        return processors_in(self.output_processors)[-1] - self.first_column + 1

    def column(self, channel: int) -> int:
        """Return the output column (spec 2.7) that an output channel occupies."""
        results = processors_in(self.output_processors)
        number, rank = divmod(channel, len(results))
        return number * self.columns_per_pass + results[rank] - self.first_column

    @property
    def columns(self) -> int:
        """Output columns of all passes; a partly filled last pass counts in full."""
        return self.out_passes * self.columns_per_pass


@dataclass(frozen=True)
class Placed:
    """A layer at its place."""

    layer: Layer
    at: Placement

    @property
    def kernels(self) -> int:
        """Kernels of one processor, dummies included (spec 2.7, running number)."""
        return self.at.columns * self.total_passes

    @property
    def total_passes(self) -> int:
        """Passes over the input: one for every pixel of a flattened map."""
        pixels = self.layer.in_shape[1] * self.layer.in_shape[2] if self.layer.flatten else 1
        return self.at.passes * pixels

    @property
    def koffs(self) -> int:
        """First kernel slot (spec 2.7)."""
        return KERNEL_WORD * self.at.kernel_column // self.layer.slot_bytes

    @property
    def sad(self) -> int:
        """Byte offset of the first slot (spec 2.7)."""
        return KERNEL_WORD * self.at.kernel_column % self.layer.slot_bytes
