"""A network description as its author wrote it: defaults filled in, nothing derived."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgebed.targets.max78000.ai8x.values import Place

Operator = Literal["none", "conv1d", "conv2d", "convtranspose2d", "linear"]
Elementwise = Literal["add", "subtract", "bit_or", "bit_xor"]
INPUT = -1
"""Number of the network's input among the layers that `in_sequences` names."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One entry of `layers`.

    Attributes:
        place: line of the entry.
        number: position in execution order, from 0.
        processors: bit p set = processor p reads this layer's input.
        output_processors: map of the result, or None for the default.
        op: the layer's main operation; `none` copies.
        eltwise: operation on several operands before it.
        operands: how many; 1 without `eltwise`.
        kernel: rows, columns.
        pad, stride, dilation, output_pad, groups: of the convolution.
        pool: rows, columns of the window, (1, 1) without pooling.
        pool_average: average instead of maximum.
        pool_stride: rows, columns.
        pool_first: operands are pooled before they are combined.
        activation: of the result.
        bits: weight bits, None = as the weights say.
        shift: nominal output shift, None = as the weights say.
        wide: 32-bit result.
        inputs: numbers of the layers it reads, `INPUT` for the network's input.
        explicit_inputs: the file names them.
        in_channels, out_channels, in_dim: given sizes, or None.
        in_crop: rows left out at the beginning and at the end.
        in_channel_skip: channels left out at the beginning when channels are dropped.
        in_offset, out_offset: bytes in every data memory instance.
        write_gap, streaming, flatten, big_data: see `hints.LayerHint`.
        output: its result is an output of the network.
        weight_source: number of the layer whose weights it shares.
    """

    place: Place
    number: int
    processors: int
    output_processors: int | None
    op: Operator
    eltwise: Elementwise | None
    operands: int
    kernel: tuple[int, int]
    pad: int
    stride: int
    dilation: tuple[int, int]
    output_pad: int
    groups: int
    pool: tuple[int, int]
    pool_average: bool
    pool_stride: tuple[int, int]
    pool_first: bool
    activation: Literal["none", "relu", "abs"]
    bits: int | None
    shift: int | None
    wide: bool
    inputs: tuple[int, ...]
    explicit_inputs: bool
    in_channels: int | None
    out_channels: int | None
    in_dim: tuple[int, int] | None
    in_crop: tuple[int, int]
    in_channel_skip: int
    in_offset: int | None
    out_offset: int
    write_gap: int
    streaming: bool
    flatten: bool
    big_data: bool
    output: bool
    weight_source: int | None

    @property
    def name(self) -> str:
        """`layerNN`, the name of its op, of its result and of its device layer."""
        return f"layer{self.number:02d}"

    @property
    def weighted(self) -> bool:
        """It has weights."""
        return self.op != "none"


@dataclass(frozen=True)
class Network:
    """A whole description: architecture and data set by name, layers in execution order."""

    file: str
    arch: str
    dataset: str
    layers: tuple[Layer, ...]
    output_map: int | None
