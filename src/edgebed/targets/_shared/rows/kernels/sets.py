"""What an instruction set's kernels promise to the lowering."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

import numpy.typing as npt

from edgebed.errors import EdgebedError, did_you_mean

Goal = Literal["time", "balanced", "ram"]
GOALS: Final[tuple[Goal, ...]] = ("balanced", "time", "ram")


def check_goal(name: str) -> None:
    """Refuse a word that is no goal.

    Raises:
        EdgebedError: it is none; the nearest one is named.
    """
    if name not in GOALS:
        raise EdgebedError(f"no goal is called {name!r}", try_=did_you_mean(name, GOALS))


@dataclass(frozen=True)
class WindowShape:
    """A convolution or pool as its kernel sees it; heights only concern the planner.

    Attributes:
        in_height, in_width, in_channels: of the input map.
        out_height, out_width, out_channels: of the output map.
        kernel: rows, columns.
        stride: rows, columns.
        padding: top, left.
        dilation: rows, columns.
        in_place: the output may come to lie on the input (1x1, stride 1, not more channels).
    """

    in_height: int
    in_width: int
    in_channels: int
    out_height: int
    out_width: int
    out_channels: int
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    in_place: bool = False


@dataclass(frozen=True)
class Packed:
    """A kernel chosen for a layer, and the layer's weights as that kernel reads them.

    Attributes:
        function: C function of type `eb_kernel`.
        header: file in `kernels/` that defines it.
        c_type: of the packed weights' elements.
        weights: packed, little-endian.
        depth: value of the field `depth` of the layer's parameters, of the kernel's own meaning.
        scratch_bytes: that each call needs.
    """

    function: str
    header: str
    c_type: str
    weights: bytes = field(repr=False)
    depth: int = 0
    scratch_bytes: int = 0


class KernelSet(Protocol):
    """Kernels for one instruction set. All give the same integers.

    Weights are centred (their zero point is subtracted): int64 arrays within -255..255; a kernel
    that holds bytes packs what fits int8 and takes a wider format, or returns the portable kernel,
    for the rest. `linear` says that every channel's requantisation has the form of one
    multiplication (`eb_line`, rule 0); without it a kernel must compute the other rules.
    """

    @property
    def name(self) -> str:
        """portable, dsp, mve, neon, neon_dot."""

    def conv(
        self, shape: WindowShape, weights: npt.NDArray[Any], goal: Goal, *, linear: bool
    ) -> Packed:
        """Return the kernel for a convolution; weights O x KH x KW x I."""

    def depthwise(
        self, shape: WindowShape, weights: npt.NDArray[Any], goal: Goal, *, linear: bool
    ) -> Packed:
        """Return the kernel for a depthwise convolution; weights C x KH x KW."""

    def dense(
        self, depth: int, rows: int, weights: npt.NDArray[Any], goal: Goal, *, linear: bool
    ) -> Packed:
        """Return the kernel for a dense layer on `rows` vectors of `depth`; weights O x K."""
