"""Which tensors of a float network become integers, and with which scale and zero point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

import numpy as np

from edgebed.compress.calibration import Method, Range, Statistics
from edgebed.program.ops.concat import Concat
from edgebed.program.types import Op, Program

WEIGHTED: Final = ("conv2d", "conv_transpose2d", "dense")
TIED: Final = (
    "avg_pool", "concat", "crop", "depth_to_space", "gather", "identity", "max_pool", "pad",
    "reshape", "resize", "slice", "space_to_depth", "strided_slice", "transpose",
)  # fmt: skip
COMBINED: Final = ("add", "subtract", "multiply", "maximum", "minimum")
RULED: Final = ("softmax", "reduce", "batch_matmul")
TABLED: Final = ("unary", "prelu")
CLAMPS: Final = ("relu", "relu6", "clip")
# Beyond these inputs a function moves by less than half of 1/256, so a range may end there.
FLAT: Final = {
    "sigmoid": (-7.0, 7.0),
    "tanh": (-3.5, 3.5),
    "hard_swish": (-3.0, None),
    "relu6": (0.0, 6.0),
}
_REDUCTIONS: Final = ("mean", "sum", "max", "min")
_ALIKE: Final = 0.5  # a concat's parts share one scale while the narrowest has half the span


@dataclass(frozen=True)
class Settings:
    """How a network is quantised.

    Attributes:
        method: how ranges are taken from the calibration data.
        percentile: of the method `percentile`.
        equalise: balance the weights of neighbouring layers first.
        correct_bias: take the mean error of the rounded weights out of the biases.
        rounding: of the integer program.
        wide: tensors that get 16 bits.
        floats: layers that stay float32.
        only: quantise just these layers; None for all.
    """

    method: Method = "mse"
    percentile: float = 99.99
    equalise: bool = True
    correct_bias: bool = True
    rounding: Literal["fixed_point", "float"] = "fixed_point"
    wide: frozenset[str] = frozenset()
    floats: frozenset[str] = frozenset()
    only: frozenset[str] | None = None


@dataclass(frozen=True)
class Grid:
    """Integers of a tensor: real = scale * (q - zero_point)."""

    scale: float
    zero_point: int
    dtype: Literal["int8", "int16"] = "int8"

    @property
    def low(self) -> int:
        """Least integer."""
        return -128 if self.dtype == "int8" else -32768

    @property
    def high(self) -> int:
        """Largest integer."""
        return 127 if self.dtype == "int8" else 32767

    def quantum(self, real: float) -> int:
        """Return the integer of a real value."""
        step = round(real / self.scale) + self.zero_point
        return max(self.low, min(self.high, step))


def grid(found: Range, *, wide: bool = False) -> Grid:
    """Return the integers for a range: asymmetric int8, or symmetric int16."""
    if wide:
        scale = float(np.float32(max(-found.low, found.high, 1e-9) / 32767))
        return Grid(scale, 0, "int16")
    low, high = min(found.low, 0.0), max(found.high, 0.0)
    scale = float(np.float32(max(high - low, 1e-9) / 255))
    return Grid(scale, int(np.clip(round(-128 - low / scale), -128, 127)))


@dataclass
class Scheme:
    """Decisions for one float network.

    Attributes:
        absorbed: clamp-like ops by the name of the layer that does their work.
        quantised: names of the ops that become integer ops.
        grids: integers of each tensor that has any.
    """

    absorbed: dict[str, Op] = field(default_factory=dict)
    quantised: set[str] = field(default_factory=set)
    grids: dict[str, Grid] = field(default_factory=dict)


def plan(program: Program, statistics: Mapping[str, Statistics], settings: Settings) -> Scheme:
    """Decide what becomes an integer op, and the scales.

    Moves hand 16 bits on to the tensors before and behind them, whose other readers have to take
    that into account: so this is done again until no further tensor gets them.
    """
    while True:
        scheme = _planned(program, statistics, settings)
        wide = frozenset(name for name, one in scheme.grids.items() if one.dtype == "int16")
        if wide <= settings.wide:
            return scheme
        settings = replace(settings, wide=settings.wide | wide)


def _planned(program: Program, statistics: Mapping[str, Statistics], settings: Settings) -> Scheme:
    scheme = Scheme()
    for op in program.ops:
        if _can(program, op, settings):
            scheme.quantised.add(op.name)
    scheme.quantised -= _real_endings(program, statistics)
    for op in program.ops:
        follower = _clamp_behind(program, op, scheme)
        if follower is not None:
            scheme.absorbed[op.name] = follower
    groups = _Groups(program, statistics, settings)
    for op in program.ops:
        if op.name in scheme.quantised and op.kind in TIED:
            groups.tie(op)
    for name in _integer_tensors(program, scheme):
        scheme.grids[name] = groups.grid(name)
    return scheme


def _can(program: Program, op: Op, settings: Settings) -> bool:
    if op.name in settings.floats or not program.types[op.output].is_float:
        return False
    if settings.only is not None and op.name not in settings.only:
        return False
    if not all(program.types[name].is_float for name in op.inputs):
        return False
    wide = settings.wide.intersection((*op.inputs, op.output))
    if getattr(op, "activation", "none") == "abs":  # no rule's clamp takes a magnitude
        return False
    if getattr(op, "function", "") in CLAMPS:
        return True
    if op.kind in TABLED:  # tables have 256 entries
        return not wide and (op.kind == "unary" or _per_channel(program, op))
    if op.kind == "reduce":
        return getattr(op, "function", "") in _REDUCTIONS and not wide
    if op.kind == "softmax":
        return not getattr(op, "log", False) and not wide
    if op.kind == "pad":
        return getattr(op, "mode", "") == "constant"
    if op.kind == "resize":
        return getattr(op, "mode", "") == "nearest"
    if op.kind in COMBINED:
        return len(op.inputs) == 2
    if op.kind in (*WEIGHTED, "constant"):
        return op.kind != "constant" or program.types[op.output].is_float
    return op.kind in TIED or (op.kind in RULED and not wide)


def _real_endings(program: Program, statistics: Mapping[str, Statistics]) -> set[str]:
    """Return concatenations of unlike parts at the network's end, and the moves behind them.

    Scores next to box sizes would share one coarse scale; apart, each part keeps its own until it
    is a real number.
    """
    found: set[str] = set()
    for op in program.ops:
        if op.kind != "concat" or not program.types[op.output].is_float:
            continue
        spans = [statistics[name].high - statistics[name].low for name in op.inputs]
        ending = _ending(program, op)
        if ending and min(spans) < _ALIKE * max(spans):
            found |= ending
    return found


def _ending(program: Program, op: Op) -> set[str]:
    """Return an op and its followers when only moves lie between it and the outputs, else none."""
    found, waiting = set(), [op]
    while waiting:
        one = waiting.pop()
        readers = program.readers(one.output)
        if one.kind not in TIED or (not readers and one.output not in program.outputs):
            return set()
        found.add(one.name)
        waiting += readers
    return found


def _per_channel(program: Program, op: Op) -> bool:
    """Say whether the slopes of a prelu differ along the first axis at most."""
    shape = program.constants[op.constants[0]].values.shape
    rank = len(program.types[op.output].shape)
    if rank < 2:
        return False
    full = (1,) * (rank - len(shape)) + shape
    return all(size == 1 for size in full[1:])


def _clamp_behind(program: Program, op: Op, scheme: Scheme) -> Op | None:
    """Return the clamp that is the only reader of a layer whose output can be clamped."""
    if op.name not in scheme.quantised or op.kind not in (*WEIGHTED, *COMBINED):
        return None
    readers = program.readers(op.output)
    if len(readers) != 1 or op.output in program.outputs:
        return None
    (reader,) = readers
    if reader.name not in scheme.quantised or getattr(reader, "function", "") not in CLAMPS:
        return None
    return reader


def bounds(op: Op) -> tuple[float | None, float | None]:
    """Return the real bounds of a clamp-like op."""
    function = getattr(op, "function", "")
    if function == "relu6":
        return 0.0, 6.0
    if function == "relu":
        return 0.0, None
    return getattr(op, "low", None), getattr(op, "high", None)


def _integer_tensors(program: Program, scheme: Scheme) -> list[str]:
    found: dict[str, None] = {}
    for op in program.ops:
        if op.name not in scheme.quantised:
            continue
        for name in (*op.inputs, op.output):
            found[name] = None
    for op in program.ops:
        if op.name in scheme.absorbed:
            found.pop(op.output, None)
    return list(found)


def _useful(program: Program, tensor: str) -> tuple[float | None, float | None]:
    """Return the bounds outside of which no reader of a tensor tells values apart."""
    readers = program.readers(tensor)
    if len(readers) != 1 or tensor in program.outputs:
        return None, None
    op = readers[0]
    function = getattr(op, "function", "")
    if function == "hard_sigmoid":
        slope, offset = getattr(op, "alpha", 0.2), getattr(op, "beta", 0.5)
        return (-offset / slope, (1 - offset) / slope) if slope > 0 else (None, None)
    return FLAT.get(function, (None, None))


class _Groups:
    """Tensors that share one scale, because ops between them move numbers without rescaling."""

    def __init__(
        self, program: Program, statistics: Mapping[str, Statistics], settings: Settings
    ) -> None:
        self.program, self.settings = program, settings
        self.parent: dict[str, str] = {}
        ranges = {name: self._range(name, one) for name, one in statistics.items()}
        self.union = dict(ranges)  # of all members, by the group's root
        self.least = {name: one.span for name, one in ranges.items()}  # narrowest computed member
        self.wide = {name for name in ranges if name in settings.wide}

    def tie(self, op: Op) -> None:
        """Let an op's inputs and output share a scale.

        A move has nothing to lose. A concatenation's part keeps its own scale, and is rescaled,
        where the common one would cost it more than a bit.
        """
        for name in op.inputs:
            a, b = self._root(name), self._root(op.output)
            if isinstance(op, Concat):
                both = self.union[a].union(self.union[b]).span
                if min(self.least[a], self.least[b]) >= _ALIKE * both:
                    self._join(a, b, min(self.least[a], self.least[b]))
            else:
                self._join(a, b, self.least[a])

    def grid(self, name: str) -> Grid:
        """Return the integers of a tensor."""
        root = self._root(name)
        return grid(self.union[root], wide=root in self.wide)

    def _range(self, name: str, one: Statistics) -> Range:
        low, high = _useful(self.program, name)
        found = Range(one.low, one.high).clip(low, high)
        if (found.low, found.high) != (one.low, one.high):
            return found
        steps = 65535 if name in self.settings.wide else 255
        return one.range(self.settings.method, self.settings.percentile, steps)

    def _root(self, name: str) -> str:
        while (above := self.parent.get(name, name)) != name:
            name = above
        return name

    def _join(self, a: str, b: str, least: float) -> None:
        if a == b:
            return
        self.parent[a] = b
        self.union[b] = self.union[a].union(self.union[b])
        self.least[b] = least
        if a in self.wide:
            self.wide.add(b)
