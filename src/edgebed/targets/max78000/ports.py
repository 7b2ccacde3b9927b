"""Where the words of an input or output live, as the firmware's tables and the wire see them.

A tensor goes in groups: one pixel with all its channels or, where the accelerator reads channel by
channel, four consecutive pixels of every channel. Each group consists of the same words, one a
port. The wire order of a tensor is: group by group, channel by channel, pixel by pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edgebed.errors import EdgebedError
from edgebed.targets.max78000.image import TensorLayout

Array = npt.NDArray[Any]
SRAM = 0x50400000
QUADRANT = 0x00400000
INSTANCE = 0x8000
FIFO_DATA = 0x50000008


@dataclass(frozen=True)
class Port:
    """One word of every group.

    Attributes:
        address: of the first group's word, or of a FIFO.
        stride: bytes to the next group's word; 0 for a FIFO.
        start: position of its first element in the group, in wire order.
        lanes: bit i: byte i carries an element (wide: the word at address + 4 i does).
        full: bit of the FIFO status register to wait for; 0 for memory.
    """

    address: int
    stride: int
    start: int
    lanes: int
    full: int


@dataclass(frozen=True)
class Ports:
    """The words of one tensor, or of a part of its channels.

    Attributes:
        name: of the tensor.
        shape: channels, height, width of this part.
        channel: the part's first channel in the tensor.
        ports: words of a group, in wire order.
        group: pixels of a group, 1 or 4.
        wide: 32-bit elements.
    """

    name: str
    shape: tuple[int, int, int]
    channel: int
    ports: tuple[Port, ...]
    group: int
    wide: bool

    @property
    def groups(self) -> int:
        """Number of groups."""
        return -(-self.shape[1] * self.shape[2] // self.group)

    @property
    def wire_bytes(self) -> int:
        """Bytes of this part on the wire."""
        size = self.shape[0] * (4 if self.wide else 1)
        return size * self.groups * self.group

    def to_wire(self, part: Array) -> Array:
        """Return channels x height x width as groups x bytes (uint8)."""
        kind = "<i4" if self.wide else "i1"
        flat = part.reshape(self.shape[0], -1).astype(kind)
        flat = np.pad(flat, ((0, 0), (0, self.groups * self.group - flat.shape[1])))
        grouped = flat.reshape(self.shape[0], self.groups, self.group).transpose(1, 0, 2)
        return np.ascontiguousarray(grouped).reshape(self.groups, -1).view(np.uint8)

    def from_wire(self, data: Array) -> Array:
        """Return groups x bytes (uint8) as channels x height x width; undoes `to_wire`."""
        kind = "<i4" if self.wide else "i1"
        values = np.ascontiguousarray(data).view(kind).reshape(self.groups, -1, self.group)
        flat = values.transpose(1, 0, 2).reshape(self.shape[0], -1)
        pixels = self.shape[1] * self.shape[2]
        native = np.int32 if self.wide else np.int8
        return flat[:, :pixels].reshape(self.shape).astype(native)


def instance_address(instance: int) -> int:
    """Return the address of a data memory instance, 0..15."""
    return SRAM + instance // 4 * QUADRANT + instance % 4 * INSTANCE


def ports(layout: TensorLayout) -> Ports:
    """Return the words of a layout."""
    by_channel = layout.form in ("chw", "fifo_chw")
    words = _by_channel(layout) if by_channel else _by_pixel(layout)
    return Ports(
        layout.name,
        layout.shape,
        layout.channel,
        tuple(words),
        4 if by_channel else 1,
        layout.wide,
    )


def side_by_side(layouts: Sequence[TensorLayout], channels: int) -> Ports:
    """Return the words of an input tensor of `channels` whose parts share their groups.

    A channel may go to several places.

    Raises:
        EdgebedError: the parts differ in size or form, or belong to several tensors.
    """
    parts = [ports(layout) for layout in layouts]
    first = parts[0]
    if any(
        (p.name, p.shape[1:], p.group) != (first.name, first.shape[1:], first.group) for p in parts
    ):
        raise EdgebedError(
            "the inputs cannot be loaded together",
            where="input",
            why="firmware loads one tensor whose parts have the same height, width and form",
        )
    words = [
        replace(port, start=port.start + part.channel * part.group)
        for part in parts
        for port in part.ports
    ]
    return replace(first, shape=(channels, *first.shape[1:]), channel=0, ports=tuple(words))


def _by_channel(layout: TensorLayout) -> list[Port]:
    fifo = layout.form == "fifo_chw"
    found = []
    for channel in range(layout.shape[0]):
        processor = layout.processors[channel]
        if fifo:
            found.append(_fifo(processor, 4 * channel, 0xF))
        else:
            address = instance_address(processor // 4) + 4 * layout.base
            found.append(Port(address, 4, 4 * channel, 0xF, 0))
    return found


def _by_pixel(layout: TensorLayout) -> list[Port]:
    found = []
    per_pass = len(layout.processors)
    start = 0
    for number in range(layout.passes):
        used = layout.processors[: max(layout.shape[0] - number * per_pass, 0)]
        for instance, lanes in _words(used):
            if layout.form == "fifo_hwc":
                found.append(_fifo(instance * 4, start, lanes))
            else:
                found.append(_memory(layout, number, instance, start, lanes))
            start += lanes.bit_count()
    return found


def _memory(layout: TensorLayout, number: int, instance: int, start: int, lanes: int) -> Port:
    step = 4 * layout.step * (4 if layout.wide else 1)
    address = instance_address(instance) + 4 * layout.base + number * step
    return Port(address, layout.passes * step, start, lanes, 0)


def _fifo(processor: int, start: int, lanes: int) -> Port:
    number = processor // 16
    return Port(FIFO_DATA + 4 * number, 0, start, lanes, 1 << number)


def _words(processors: Sequence[int]) -> list[tuple[int, int]]:
    """Group processors into words: (instance, lanes), in order of rank."""
    found: list[tuple[int, int]] = []
    for processor in processors:
        instance, lane = processor // 4, processor % 4
        if found and found[-1][0] == instance and found[-1][1] < 1 << lane:
            found[-1] = (instance, found[-1][1] | 1 << lane)
        else:
            found.append((instance, 1 << lane))
    return found
