"""Bias memory: one quadrant and address for each layer that has biases (spec 2.8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from edgebed.targets.max78000.layers import BIAS_BYTES, Placed


def bias_length(chain: Sequence[Placed], index: int) -> int:
    """Return the bytes a layer takes, dummies included; 0 without biases."""
    placed = chain[index]
    if placed.layer.bias is None:
        return 0
    return _lead(chain, index) + placed.at.column(placed.layer.out_shape[0] - 1) + 1


def _lead(chain: Sequence[Placed], index: int) -> int:
    """Return 1 for a streaming first layer: its address points to one dummy byte."""
    return int(index == 0 and chain[0].layer.streaming)


def allocate_biases(chain: Sequence[Placed], used: Sequence[int]) -> list[Placed] | None:
    """Return the layers with their bias addresses, or None when a quadrant overflows.

    Flattening layers first, then the largest, each into the emptiest used quadrant.
    """
    filled = dict.fromkeys(used, 0)
    placed = list(chain)
    order = [i for i in range(len(chain)) if bias_length(chain, i)]
    order.sort(key=lambda i: (not chain[i].layer.flatten, -bias_length(chain, i)))
    for index in order:
        quadrant = min(filled, key=lambda q: (filled[q], q))
        at = replace(chain[index].at, bias=(quadrant, filled[quadrant]))
        filled[quadrant] += bias_length(chain, index)
        if filled[quadrant] > BIAS_BYTES:
            return None
        placed[index] = replace(chain[index], at=at)
    return placed


def pack_biases(chain: Sequence[Placed]) -> dict[int, npt.NDArray[np.int8]]:
    """Return the used part of each quadrant's bias memory, from address 0."""
    memory: dict[int, npt.NDArray[np.int8]] = {}
    for index, placed in enumerate(chain):
        if placed.at.bias is None or placed.layer.bias is None:
            continue
        quadrant, address = placed.at.bias
        end = address + bias_length(chain, index)
        old = memory.get(quadrant, np.zeros(0, dtype=np.int8))
        new = np.pad(old, (0, max(0, end - len(old))))
        first = address + _lead(chain, index)
        columns = [first + placed.at.column(c) for c in range(placed.layer.out_shape[0])]
        new[columns] = placed.layer.bias
        memory[quadrant] = new
    return memory
