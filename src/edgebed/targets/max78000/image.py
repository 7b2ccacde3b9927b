"""The device image: every word that has to reach the accelerator, and how tensors go in and out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint32]
Writes = npt.NDArray[np.uint32]  # N x 2: address, value


@dataclass(frozen=True)
class TensorLayout:
    """Where a tensor lives in data memory, or how it goes through the FIFOs.

    Element (c, h, w) with pixel = h * width + w, pass = c // per_pass, rank = c % per_pass,
    p = processors[rank] lives
    - `hwc`, 8 bit: in byte lane p % 4 of instance p // 4, word
      base + (pixel * passes + pass) * step   (step = operands, or write gap + 1);
    - `chw`: byte base * 4 + pixel of instance p // 4;
    - wide (`hwc`, 32 bit): in word base + (pixel * passes + pass) * 4 * step + p % 4 of
      instance p // 4 (spec 2.11);
    - `fifo_hwc`, `fifo_chw`: not in memory: words pushed to FIFO p // 16 (spec 2.5).

    Attributes:
        name: tensor name in the program. For an input: the program's input, or the output of a
            leading space_to_depth, which the CPU computes while it loads.
        shape: channels, height, width of this operand.
        channel: first channel of the program's tensor held here (a stacked input has one layout
            per operand).
        form: see above.
        wide: 32-bit elements.
        processors: processor of each rank.
        passes: number of passes.
        base: word address in each instance.
        step: words between two consecutive (pixel, pass) of this tensor.
    """

    name: str
    shape: tuple[int, int, int]
    channel: int
    form: Literal["hwc", "chw", "fifo_hwc", "fifo_chw"]
    wide: bool
    processors: tuple[int, ...]
    passes: int
    base: int
    step: int


@dataclass(frozen=True)
class DeviceImage:
    """What firmware writes, in this order: init, kernels, biases, config, input, start.

    Attributes:
        init: CTL, SRAM control and LCNT_MAX of each used quadrant.
        kernels: compressed kernel load: {address, number of words, words ...} ended by 0.
        biases: signed bytes by quadrant, from address 0 of its bias memory.
        config: per-layer registers (zeros included where reset is not enough), FIFO control, IFRM.
        start: the writes that start inference, in order.
        quadrants: used quadrants.
        inputs: layouts that together hold the input tensor; the same channels may be wanted in
            several places.
        outputs: layouts of every output tensor, in the program's order; one tensor has several
            where its channels lie irregularly (concatenation).
        cycles: estimated cycles of each device layer, by name.
        maps: layouts of each device layer's result, by layer name, in execution order. Maps of
            inner layers may be overwritten by later ones, those inside a streaming chain are
            never complete.
    """

    init: Writes
    kernels: Words
    biases: dict[int, npt.NDArray[np.int8]]
    config: Writes
    start: Writes
    quadrants: tuple[int, ...]
    inputs: tuple[TensorLayout, ...]
    outputs: tuple[TensorLayout, ...]
    cycles: dict[str, int]
    maps: Mapping[str, tuple[TensorLayout, ...]] = field(default_factory=dict)
