"""Weights of two outputs in one halfword, for cores with the DSP extension."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgebed.targets._shared.rows.kernels.portable import fits_bytes

_PART_WORDS: Final = 63  # EB_DSP_PART of conv_more_dsp.h
_LONG_WORDS: Final = 63  # EB_DSP_LONG of conv_long_dsp.h
_LARGEST_INPUT: Final = 128
# 256 times a sum must be one of 32 bits.
_SUM_LIMIT: Final = 1 << 23


@dataclass(frozen=True)
class Pairs:
    """Packed weights, and the inputs that stand behind a window.

    Attributes:
        data: O / 4 x words x pair of inputs x pair of outputs x input, halfwords of
            256 * first output + second output; with inputs behind, what they are.
        words: of inputs of a window, four inputs each, with those behind.
        sums: words of them that hold sums of inputs.
        copies: bytes of a window that stand behind it once more.
        long: sums must be added in parts.
    """

    data: bytes = field(repr=False)
    words: int
    sums: int
    copies: int
    long: bool

    @property
    def plain(self) -> bool:
        """Whether nothing stands behind the window, and its sums fit."""
        return not (self.sums or self.copies or self.long)


def pack_pairs(weights: npt.NDArray[Any]) -> Pairs | None:
    """Return weights O x KH x KW x I, within -255..255, packed; None where they do not fit."""
    meant = _filled_up(weights.reshape(len(weights), weights.shape[1], -1))
    sums = np.zeros((len(meant), 0), np.int64)
    inputs = meant
    if not fits_bytes(meant):
        inputs, sums = _less_offset(meant)
    if not fits_bytes(inputs):
        return None
    inputs, copies, positions = _mended(inputs)
    full = np.concatenate([inputs, sums, copies], axis=1)
    behind = np.array([sums.shape[1] // 4, len(positions), *positions], "<u2")
    long = bool(_most(meant) >= _SUM_LIMIT)
    if full.shape[1] // 4 > 0xFFFF or (long and not _parts_fit(full, inputs.shape[1], sums)):
        return None
    extended = long or behind[0] or len(positions)
    tail = behind.tobytes() + bytes(2 * (behind.size % 2)) if extended else b""
    return Pairs(
        data=_lanes(full).tobytes() + tail,
        words=full.shape[1] // 4,
        sums=int(behind[0]),
        copies=len(positions),
        long=long,
    )


def _filled_up(weights: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return weights O x rows x run with 0 up to fours of outputs, rows up to words: O x inputs."""
    outputs, rows, run = weights.shape
    full = np.zeros((-(-outputs // 4) * 4, rows, -(-run // 4) * 4), np.int64)
    full[:outputs, :, :run] = weights
    return full.reshape(len(full), -1)


def _less_offset(weights: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return weights O x inputs less their offset, and that for sums of parts of the inputs.

    The least offset that will do leaves most room for the sums.
    """
    low, high = int(weights.min(initial=0)), int(weights.max(initial=0))
    offset = high - 127 if high > 127 else max(low + 127, high - 127)
    offset = max(-127, min(127, offset))
    parts = -(-weights.shape[1] // (4 * _PART_WORDS))
    return weights - offset, np.full((len(weights), -(-parts // 4) * 4), offset)


def _mended(
    weights: npt.NDArray[Any],
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[np.intp]]:
    """Return weights whose pairs fit halfwords, those of copies of inputs, and of which inputs."""
    first, second = weights[0::2], weights[1::2]
    over = (first == -128) & (second < 0)
    positions = np.flatnonzero(over.any(axis=0))
    copies = np.zeros((len(weights), -(-len(positions) // 4) * 4), np.int64)
    copies[0::2, : len(positions)] = -over[:, positions].astype(np.int64)
    fitting = weights.copy()
    fitting[0::2] += over
    # Copies up to a word, times 0, of any input.
    return fitting, copies, np.pad(positions, (0, copies.shape[1] - len(positions)))


def _most(weights: npt.NDArray[Any]) -> int:
    """Return the largest sum of inputs times weights O x inputs."""
    return int(np.abs(weights).sum(axis=1).max(initial=0)) * _LARGEST_INPUT


def _parts_fit(full: npt.NDArray[Any], inputs: int, sums: npt.NDArray[Any]) -> bool:
    """Whether the sums of all parts fit: those of inputs do, but sums behind are larger."""
    heavy = np.abs(full)
    heavy[:, inputs : inputs + sums.shape[1]] *= 4 * _PART_WORDS
    step = 4 * _LONG_WORDS
    parts = (heavy[:, start : start + step] for start in range(0, full.shape[1], step))
    return all(_most(part) < _SUM_LIMIT for part in parts)


def _lanes(weights: npt.NDArray[Any]) -> npt.NDArray[np.int16]:
    """Return weights O x inputs in the order in which the kernel reads them."""
    # group, pair of outputs, output, word, pair of inputs, input: bytes 0 and 2, 1 and 3
    lanes = weights.reshape(len(weights) // 4, 2, 2, -1, 2, 2).swapaxes(4, 5)
    both = 256 * lanes[:, :, 0] + lanes[:, :, 1]
    return np.ascontiguousarray(both.transpose(0, 2, 3, 1, 4), dtype="<i2")
