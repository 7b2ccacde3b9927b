"""Run a device image on the virtual accelerator, by the words and layouts it consists of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from edgebed.targets.max78000.accelerator import Accelerator
from edgebed.targets.max78000.image import DeviceImage, TensorLayout

Array = npt.NDArray[Any]
WORDS = 8192


def run_image(image: DeviceImage, x: Array) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return outputs by tensor, and what the accelerator computed in each device layer.

    The second reads every map that has a place in data memory; later layers may have overwritten
    it, and inside a streaming chain it never was complete.
    """
    device = Accelerator()
    for address, value in image.init:
        device.write32(int(address), int(value))
    _load_kernels(device, image.kernels)
    for quadrant, values in image.biases.items():
        for number, value in enumerate(values):
            address = 0x50108000 + quadrant * 0x400000 + 4 * number
            device.write32(address, int(value) & 0xFF)
    for address, value in image.config:
        device.write32(int(address), int(value))
    for layout in image.inputs:
        if not layout.form.startswith("fifo"):
            _write(device, layout, x)
    for address, value in image.start:
        device.write32(int(address), int(value))
    for number, words in _fifo_words(image.inputs, x).items():
        device.push_fifo(number, words)
    result = device.run()
    assert result.finished, device.events
    outputs = {layout.name for layout in image.outputs}
    maps = {
        name: read(device, layouts)
        for name, layouts in image.maps.items()
        if all(words.max() < WORDS for layout in layouts for _, _, words in _places(layout))
    }
    return {
        name: read(device, [o for o in image.outputs if o.name == name]) for name in outputs
    }, maps


def _load_kernels(device: Accelerator, words: Array) -> None:
    position = 0
    while address := int(words[position]):
        count = int(words[position + 1])
        device.write8(address | 1, 1)
        device.load_words(address, words[position + 2 : position + 2 + count])
        position += 2 + count


def _places(layout: TensorLayout) -> Iterator[tuple[int, int, Array]]:
    """Yield channel, instance and word index of every pixel (hwc)."""
    channels, rows, columns = layout.shape
    pixels = np.arange(rows * columns)
    for channel in range(channels):
        number, rank = divmod(channel, len(layout.processors))
        processor = layout.processors[rank]
        step = layout.step * (4 if layout.wide else 1)
        words = layout.base + (pixels * layout.passes + number) * step
        yield channel, processor, words + (processor % 4 if layout.wide else 0)


def _write(device: Accelerator, layout: TensorLayout, x: Array) -> None:
    part = x[layout.channel : layout.channel + layout.shape[0]].reshape(layout.shape[0], -1)
    memory = device.sram.view(np.int8).reshape(16, -1, 4)
    for channel, processor, words in _places(layout):
        if layout.form == "chw":
            flat = device.sram.view(np.int8).reshape(16, -1)
            start = 4 * layout.base
            flat[layout.processors[channel] // 4, start : start + part.shape[1]] = part[channel]
        else:
            memory[processor // 4, words, processor % 4] = part[channel]


def read(device: Accelerator, layouts: Iterable[TensorLayout]) -> Array:
    """Return a tensor from data memory."""
    pieces = []
    for layout in layouts:
        channels, rows, columns = layout.shape
        out = np.zeros((channels, rows * columns), np.int32 if layout.wide else np.int8)
        memory = device.sram.view(np.int8).reshape(16, -1, 4)
        for channel, processor, words in _places(layout):
            if layout.wide:
                out[channel] = device.sram.view(np.int32)[processor // 4, words]
            else:
                out[channel] = memory[processor // 4, words, processor % 4]
        pieces.append((layout.channel, out.reshape(layout.shape)))
    return np.concatenate([piece for _, piece in sorted(pieces, key=lambda item: item[0])])


def _fifo_words(layouts: Iterable[TensorLayout], x: Array) -> dict[int, Array]:
    found: dict[int, Array] = {}
    for layout in layouts:
        if not layout.form.startswith("fifo"):
            continue
        for channel in range(layout.shape[0]):
            processor = layout.processors[channel % len(layout.processors)]
            values = x[layout.channel + channel].reshape(-1).view(np.uint8).astype(np.uint32)
            if layout.form == "fifo_chw":
                values = np.pad(values, (0, -len(values) % 4)).reshape(-1, 4)
                word = (values << np.array([0, 8, 16, 24], np.uint32)).sum(axis=1, dtype=np.uint32)
            else:
                word = values << np.uint32(8 * (processor % 4))
            found[processor // 16] = found.get(processor // 16, np.uint32(0)) | word
    return found
