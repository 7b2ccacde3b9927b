"""The accelerator's settings as decisions: what the registers of a network and a layer say."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Register(IntEnum):
    """Numbers of the per-layer registers."""

    RCNT = 0
    CCNT = 1
    ONED = 2
    PRCNT = 3
    PCCNT = 4
    STRIDE = 5
    WPTR_BASE = 6
    WPTR_TOFFS = 7
    WPTR_MOFFS = 8
    WPTR_CHOFFS = 9
    RPTR_BASE = 10
    LCTL = 11
    MCNT = 12
    TPTR = 13
    ENA = 14
    POST = 15
    STREAM1 = 16
    STREAM2 = 17
    FMAX = 18
    LCTL2 = 20


@dataclass(frozen=True)
class NetworkRegisters:
    """Settings of one start.

    Attributes:
        master: the master quadrant.
        quadrants: enabled quadrants.
        first: index of the first layer.
        last: index of the last layer.
        rounding: averages are rounded instead of truncated.
        streaming: layer 0 and its successors with STREAM1 != 0 run concurrently.
        fifos: FIFOs that feed layer 0; empty when the input is in data memory.
        frame_words: words per FIFO and frame.
    """

    master: int
    quadrants: tuple[int, ...]
    first: int
    last: int
    rounding: bool
    streaming: bool
    fifos: tuple[int, ...]
    frame_words: int


@dataclass(frozen=True)
class LayerRegisters:
    """One layer as its registers describe it; sizes in pixels, pointers in 32-bit words.

    Attributes:
        index: layer number.
        rows: rows of the un-pooled input map.
        columns: columns of the same.
        pad_rows: zero rows on each side.
        pad_columns: zero columns on each side.
        kernel_rows: 3, 1, or the length of a 1-D kernel.
        kernel_columns: 3 or 1.
        one_dimensional: conv1d.
        window: pooling window, rows and columns.
        stride: pooling stride.
        maximum: max pooling; otherwise average.
        rounding: averages are rounded half away from zero instead of truncated.
        operands: element-wise operands, 1 when there is no element-wise operation.
        function: 0 sub, 1 add, 2 or, 3 xor.
        pool_last: pooling follows the element-wise operation.
        passthrough: no convolution.
        transposed: transposed convolution (stride 2).
        flatten: the POST flatten bit.
        passes: input passes.
        processors: enabled processors, ascending.
        read_base: first input word.
        write_base: word address and instance, by quadrant.
        pass_offset: words between output passes.
        skip: words left free after each output word.
        columns_per_pass: output columns of a full pass.
        big_data: CHW input.
        wide: 32-bit output.
        activation: 0 none, 1 ReLU, 2 Abs.
        shift: left shift of the accumulator, negative to the right.
        bits: weight width.
        weight_start: bit index of the first kernel.
        weight_offset: byte offset `sad`.
        out_channels: output columns including gaps and dummies; 0 for passthrough.
        bias: quadrant and address of the first bias, or None.
        streaming: the layer runs in the streaming chain.
        time_slots: words written per pass and quadrant (passthrough).
    """

    index: int
    rows: int
    columns: int
    pad_rows: int
    pad_columns: int
    kernel_rows: int
    kernel_columns: int
    one_dimensional: bool
    window: tuple[int, int]
    stride: int
    maximum: bool
    rounding: bool
    operands: int
    function: int
    pool_last: bool
    passthrough: bool
    transposed: bool
    flatten: bool
    passes: int
    processors: tuple[int, ...]
    read_base: int
    write_base: tuple[tuple[int, int], ...]
    pass_offset: int
    skip: int
    columns_per_pass: int
    big_data: bool
    wide: bool
    activation: int
    shift: int
    bits: int
    weight_start: int
    weight_offset: int
    out_channels: int
    bias: tuple[int, int] | None
    streaming: bool
    time_slots: int

    @property
    def pooled(self) -> tuple[int, int]:
        """Rows and columns after pooling."""
        return (
            (self.rows - self.window[0]) // self.stride + 1,
            (self.columns - self.window[1]) // self.stride + 1,
        )

    @property
    def out_size(self) -> tuple[int, int]:
        """Rows and columns of the output map."""
        rows, columns = self.pooled
        if self.passthrough:
            return rows, columns
        spread = 2 if self.transposed else 1
        return (
            rows * spread + 2 * self.pad_rows - self.kernel_rows + 1,
            columns * spread + 2 * self.pad_columns - self.kernel_columns + 1,
        )
