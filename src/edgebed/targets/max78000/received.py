"""What the accelerator got and what it gave, read from its memories where the image has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edgebed.targets.max78000.accelerator.inputs import Received
from edgebed.targets.max78000.image import Words
from edgebed.targets.max78000.ports import INSTANCE, QUADRANT, SRAM, Port, Ports
from edgebed.targets.max78000.wire import Wire

Array = npt.NDArray[Any]


def received_input(wire: Wire, got: Received) -> Array:
    """Return the input tensor as the accelerator got it, int8, C x H x W.

    Args:
        wire: places of the program's tensors.
        got: the memories at the start of the run.
    """
    return wire.unpack_input(_bytes(wire.inputs, got).tobytes())


def given_outputs(wire: Wire, memory: Words) -> Mapping[str, Array]:
    """Return all outputs by name, C x H x W, as they lie in data memory after a run."""
    parts = (_bytes(part, Received(memory, ())).tobytes() for part in wire.outputs)
    return wire.unpack_outputs(b"".join(parts))


def _bytes(tensor: Ports, got: Received) -> Array:
    """Return groups x bytes in wire order, uint8."""
    kind = np.dtype("<i4" if tensor.wide else "i1")
    rows = np.zeros((tensor.groups, tensor.shape[0] * tensor.group), kind)
    for number, port in enumerate(tensor.ports):
        lanes = [lane for lane in range(4) if port.lanes >> lane & 1]
        for rank, lane in enumerate(lanes):
            words = _words(tensor, number, got, lane if tensor.wide else 0)
            bytes_ = words.astype("<u4").view(kind).reshape(len(words), -1)
            rows[:, port.start + rank] = bytes_[:, 0 if tensor.wide else lane]
    return rows.view(np.uint8)


def _words(tensor: Ports, number: int, got: Received, lane: int) -> Words:
    """Return a port's word of every group; `lane` counts words of wide elements."""
    port = tensor.ports[number]
    if port.full:
        same = [at for at, one in enumerate(tensor.ports) if one.full == port.full]
        queue = got.fifos[port.full.bit_length() - 1]
        return queue[same.index(number) :: len(same)][: tensor.groups]
    instance, word = _place(port)
    places = word + lane + np.arange(tensor.groups) * (port.stride // 4)
    words: Words = got.memory[instance, places]
    return words


def _place(port: Port) -> tuple[int, int]:
    """Return instance and word of a port's first group."""
    quadrant, rest = divmod(port.address - SRAM, QUADRANT)
    instance, offset = divmod(rest, INSTANCE)
    return 4 * quadrant + instance, offset // 4
