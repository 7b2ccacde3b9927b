"""An image on the accelerator without a CPU: load, feed, run, unload (spec 2.4, 2.5, 2.11)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from edgebed.errors import EdgebedError
from edgebed.targets.max78000.accelerator import Accelerator
from edgebed.targets.max78000.image import DeviceImage, TensorLayout, Writes
from edgebed.targets.max78000.layers import PER_INSTANCE, PER_QUADRANT

Array = npt.NDArray[Any]
BIAS_MEMORY = 0x50108000
QUADRANT_STRIDE = 0x00400000
INSTANCE_WORDS = 8192


def load(image: DeviceImage) -> Accelerator:
    """Return an accelerator with kernels, biases and registers of an image."""
    accelerator = Accelerator()
    _write(accelerator, image.init)
    position, words = 0, image.kernels
    while words[position]:
        address, count = int(words[position]), int(words[position + 1])
        accelerator.write8(address + 1, 1)
        accelerator.load_words(address, words[position + 2 : position + 2 + count])
        position += 2 + count
    for quadrant, values in image.biases.items():
        words_ = values.view(np.uint8).astype(np.uint32)
        accelerator.load_words(BIAS_MEMORY + quadrant * QUADRANT_STRIDE, words_)
    _write(accelerator, image.config)
    return accelerator


def _write(accelerator: Accelerator, writes: Writes) -> None:
    for address, value in writes:
        accelerator.write32(int(address), int(value))


def run(accelerator: Accelerator, image: DeviceImage, tensor: Array) -> dict[str, Array]:
    """Return the outputs for one device input tensor, int8, C x H x W.

    Raises:
        EdgebedError: the network does not finish.
    """
    memory = [layout for layout in image.inputs if not layout.form.startswith("fifo")]
    for layout in memory:
        store(accelerator, layout, part_of(layout, tensor))
    _write(accelerator, image.start)
    for layout in image.inputs:
        if layout.form.startswith("fifo"):
            push(accelerator, layout, part_of(layout, tensor))
    if not accelerator.run().finished:
        raise EdgebedError("the accelerator waits for more input", where="accelerator")
    return unload(accelerator, image.outputs)


def part_of(layout: TensorLayout, tensor: Array) -> Array:
    """Return the channels of a tensor that a layout holds."""
    return tensor[layout.channel : layout.channel + layout.shape[0]]


def word_index(layout: TensorLayout, channel: int) -> tuple[int, Array]:
    """Return instance and word of every pixel of one channel (`hwc`)."""
    number, rank = divmod(channel, len(layout.processors))
    processor = layout.processors[rank]
    pixels = np.arange(layout.shape[1] * layout.shape[2])
    places = (pixels * layout.passes + number) * layout.step
    if layout.wide:
        places = places * 4 + processor % PER_INSTANCE
    return processor // PER_INSTANCE, layout.base + places


def store(accelerator: Accelerator, layout: TensorLayout, values: Array) -> None:
    """Write a tensor (int8, C x H x W) into data memory."""
    memory = accelerator.sram.view(np.int8).reshape(-1, INSTANCE_WORDS, PER_INSTANCE)
    for channel, plane in enumerate(values.reshape(len(values), -1)):
        if layout.form == "chw":
            instance = layout.processors[channel] // PER_INSTANCE
            flat = memory[instance].reshape(-1)
            flat[4 * layout.base : 4 * layout.base + len(plane)] = plane
            continue
        instance, words = word_index(layout, channel)
        lane = layout.processors[channel % len(layout.processors)] % PER_INSTANCE
        memory[instance, words, lane] = plane


def push(accelerator: Accelerator, layout: TensorLayout, values: Array) -> None:
    """Push a tensor (int8, C x H x W) into the FIFOs of its processors."""
    planes = values.reshape(len(values), -1).view(np.uint8)
    fifos = sorted({p // PER_QUADRANT for p in layout.processors})
    for fifo in fifos:
        mine = [c for c, p in enumerate(layout.processors) if p // PER_QUADRANT == fifo]
        if layout.form == "fifo_chw":
            plane = np.pad(planes[mine[0]], (0, -planes.shape[1] % 4))
            accelerator.push_fifo(fifo, plane.view("<u4").astype(np.uint32))
            continue
        words = np.zeros((planes.shape[1], PER_INSTANCE), dtype=np.uint8)
        for channel in mine:
            words[:, layout.processors[channel] % PER_INSTANCE] = planes[channel]
        accelerator.push_fifo(fifo, words.reshape(-1).view("<u4").astype(np.uint32))


def unload(accelerator: Accelerator, layouts: Iterable[TensorLayout]) -> dict[str, Array]:
    """Return tensors from data memory by name, C x H x W."""
    parts: dict[str, list[tuple[int, Array]]] = {}
    for layout in layouts:
        parts.setdefault(layout.name, []).append((layout.channel, fetch(accelerator, layout)))
    ordered = {name: sorted(found, key=lambda p: p[0]) for name, found in parts.items()}
    return {name: np.concatenate([part for _, part in found]) for name, found in ordered.items()}


def fetch(accelerator: Accelerator, layout: TensorLayout) -> Array:
    """Return what one `hwc` layout holds: int8, or int32 where it is wide."""
    channels, rows, columns = layout.shape
    memory = accelerator.sram.view(np.int8).reshape(-1, INSTANCE_WORDS, PER_INSTANCE)
    planes = []
    for channel in range(channels):
        instance, words = word_index(layout, channel)
        lane = layout.processors[channel % len(layout.processors)] % PER_INSTANCE
        if layout.wide:
            planes.append(accelerator.sram.view(np.int32)[instance, words])
        else:
            planes.append(memory[instance, words, lane])
    return np.stack(planes).reshape(channels, rows, columns)
