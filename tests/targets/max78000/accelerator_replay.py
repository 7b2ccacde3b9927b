"""Replays the words of a golden case, in the order of the cases' README."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgebed.targets.max78000 import Accelerator


def load(accelerator: Accelerator, folder: Path) -> dict[str, np.ndarray]:
    """Write everything up to and including the start; return the case's arrays."""
    with np.load(folder / "device_words.npz") as archive:
        words = {name: archive[name] for name in archive.files}
    for name in ("init_writes", "load_writes"):
        write_all(accelerator, words.get(name))
    for address, values in blocks(words.get("kernels"), 2):
        accelerator.write8(address[0] | 1, 1)
        accelerator.load_words(address[0], values)
    for quadrant in range(4):
        if (bias := words.get(f"bias_q{quadrant}")) is not None:
            accelerator.load_words(0x50108000 + quadrant * 0x400000, bias)
    write_all(accelerator, words.get("config_writes"))
    send_input(accelerator, words)
    write_all(accelerator, words["start_writes"])
    return words


def send_input(accelerator: Accelerator, words: dict[str, np.ndarray]) -> None:
    for name, values in words.items():
        if name.startswith("sram_"):
            accelerator.load_words(int(name.removeprefix("sram_"), 16), values)
        if name.startswith("fifo_"):
            accelerator.push_fifo(int(name.removeprefix("fifo_")), values)


def write_all(accelerator: Accelerator, writes: np.ndarray | None) -> None:
    for address, value in writes if writes is not None else ():
        accelerator.write32(int(address), int(value))


def blocks(stream: np.ndarray | None, header: int) -> list[tuple[list[int], np.ndarray]]:
    """Split {address, ..., count, words ...} lists that end with address 0."""
    found = []
    position = 0
    while stream is not None and position < len(stream) and stream[position]:
        head = [int(word) for word in stream[position : position + header]]
        position += header
        found.append((head, stream[position : position + head[-1]]))
        position += head[-1]
    return found


def wrong_words(accelerator: Accelerator, expected: np.ndarray) -> list[str]:
    """Return one line for every word of data memory that differs under its mask."""
    lines = []
    for (address, mask, _), values in blocks(expected, 3):
        for i, want in enumerate(values):
            got = accelerator.read32(address + 4 * i) & mask
            if got != want:
                lines.append(f"{address + 4 * i:#x}: {got:#x}, expected {int(want):#x}")
    return lines
