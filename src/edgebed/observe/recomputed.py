"""A device's layers computed again from what the device itself recorded, one by one.

A layer is judged by its own recorded input, so a fault in one layer says nothing about the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np

from edgebed.errors import EdgebedError
from edgebed.observe.observed import Observed, Signal
from edgebed.observe.recorders.described import digest
from edgebed.program.arithmetic import weight_range
from edgebed.program.ops._accumulate import Weighted
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.read import read_model
from edgebed.program.types import Array, Constant, Program

CHECKED: Final = 2
"""Frames in which integers are compared."""
CHANNELS: Final = 4
"""So many channels of a layer are fitted."""
SPARE: Final = 1.3
"""Values of a channel needed for each unknown weight, beside those held out."""
HELD_OUT: Final = 4
"""Every so many-th value checks a fit that has not seen it."""
MOST_UNKNOWNS: Final = 1200
ENOUGH: Final = 3
"""So many values for each unknown are looked at, no more."""
RIDGE: Final = 1e-9
"""Of the mean square of an input, so that inputs that never vary do no harm."""


@dataclass(frozen=True, eq=False)
class Fit:
    """How well weights explain what a layer gave, on values that were held out of the fit.

    Attributes:
        own: share of the variance that other weights explain, fitted to input and output.
        known: the same of the program's weights, up to a factor and an offset of each channel.
        rounding: share that rounding to steps takes from either.
    """

    own: float
    known: float
    rounding: float


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer with weights, the input it had on the device, and what it gave there.

    Attributes:
        program: that runs.
        op: the layer.
        given: N x input shape, as recorded or computed from what was recorded.
        seen: N x output shape, integers.
    """

    program: Program
    op: Weighted
    given: Array
    seen: Array

    @property
    def name(self) -> str:
        """The tensor that it writes."""
        return self.op.output

    @property
    def bias(self) -> Array | None:
        """Its biases; None where it has none, or only zeros."""
        if self.op.bias is None:
            return None
        values = self.program.constants[self.op.bias].values
        return values if values.any() else None

    @cached_property
    def equal(self) -> float:
        """Share of integers that the program gives for this input."""
        return self._equal(self.op, self.program.constants)

    @cached_property
    def equal_without_bias(self) -> float:
        """The same with all biases left out."""
        return self._equal(replace(self.op, bias=None), self.program.constants)

    def equal_with(self, biases: Array) -> float:
        """The same with other biases; 0 where they are none that the program could hold."""
        assert self.op.bias is not None  # or there is nothing to replace
        held = self.program.constants[self.op.bias]
        low, high = weight_range(held.bits)
        if biases.min() < low or biases.max() > high:
            return 0.0
        changed = replace(held, values=biases.astype(held.values.dtype))
        return self._equal(self.op, {**self.program.constants, self.op.bias: changed})

    def _equal(self, op: Weighted, constants: Mapping[str, Constant]) -> float:
        given = self._run(op, constants, self.given[:CHECKED])
        return float((given == self.seen[:CHECKED]).mean())

    def _run(self, op: Weighted, constants: Mapping[str, Constant], x: Array) -> Array:
        result: Array = op.run([x], constants, [self.program.types[self.op.inputs[0]]])
        return result

    def constant_gaps(self) -> Array | None:
        """Return by channel what is added to its sums, in units of the accumulator, about.

        Returns:
            The median over values that are not at an end of the range; None where the layer does
            not round by a shift, or a channel has no such value.
        """
        rule = getattr(self.op, "requantize", None)
        if not isinstance(self.op, Conv2d) or (rule is not None and not hasattr(rule, "factor")):
            return None
        bare = replace(self.op, bias=None, requantize=None, activation="none")
        sums = self._run(bare, self.program.constants, self.given).astype(np.float64)
        gaps = self.seen * (1.0 if rule is None else float(rule.factor)) - sums
        inside = (self.seen > self.seen.min()) & (self.seen < self.seen.max())
        found = [gaps[:, c][inside[:, c]] for c in range(gaps.shape[1])]
        return np.array([np.median(one) for one in found]) if all(map(len, found)) else None

    @cached_property
    def fit(self) -> Fit | None:
        """How well other weights explain its output; None where there are too few values."""
        rows = columns(self.op, self.program, self.given)
        if rows is None or rows[0].shape[1] > MOST_UNKNOWNS:
            return None
        seen = np.moveaxis(self.seen, 1, -1).reshape(len(rows[0]), -1)
        inside = (seen > seen.min()) & (seen < seen.max())
        shares = [
            _shares(rows[0], rows[1][:, c], seen[:, c].astype(np.float64), inside[:, c])
            for c in np.argsort(-inside.sum(0), kind="stable")[:CHANNELS]
        ]
        known = [one for one in shares if one is not None]
        if not known:
            return None
        own, program, rounding = np.median(np.array(known), axis=0)
        return Fit(float(own), float(program), float(rounding))


def program_of(side: Observed) -> Program | None:
    """Return the program of a trace, where its file is still there and still the same."""
    path = side.manifest.notes.get("model")
    if not isinstance(path, str) or not side.manifest.digest or not Path(path).is_file():
        return None
    try:
        program = read_model(Path(path))
        return program if digest(program) == side.manifest.digest else None
    except EdgebedError:
        return None


def layers_of(program: Program, device: Observed) -> tuple[Layer, ...]:
    """Return the layers with weights whose input and output are known, in the program's order."""
    known = dict(_recorded(program, device))
    found = []
    for op in program.ops:
        if isinstance(op, Weighted) and len(op.inputs) == 1 and op.output in known:
            given = _value(program, op.inputs[0], known)
            if given is not None and not program.types[op.output].is_float:
                found.append(Layer(program, op, given, known[op.output]))
    return tuple(found)


def _recorded(program: Program, device: Observed) -> Mapping[str, Array]:
    found = {}
    groups: Sequence[Mapping[str, Signal]] = (device.inputs, device.layers, device.outputs)
    for group in groups:
        for name, signal in group.items():
            kind = program.types.get(name)
            if kind is not None and {one.shape for one in signal.stored} == {kind.shape}:
                found[name] = np.stack(signal.stored)
    return found


def _value(program: Program, name: str, known: dict[str, Array]) -> Array | None:
    """Return a tensor, computed from recorded ones where no layer with weights lies between."""
    if name in known:
        return known[name]
    op = program.writer(name)
    if op is None or isinstance(op, Weighted):
        return None
    inputs = [_value(program, one, known) for one in op.inputs]
    if not inputs or any(one is None for one in inputs):
        return None
    values = [one for one in inputs if one is not None]
    known[name] = op.run(values, program.constants, [program.types[one] for one in op.inputs])
    return known[name]


def columns(op: Weighted, program: Program, given: Array) -> tuple[Array, Array] | None:
    """Return what is summed up for each value of a convolution, and the program's weights.

    Args:
        op: the convolution.
        program: has its weights.
        given: N x input shape.

    Returns:
        places x unknowns, the inputs less their zero point; unknowns x channels. None for another
        op, or one in groups.
    """
    if not isinstance(op, Conv2d) or op.groups != 1:
        return None
    x, w = op.centred(given, program.types[op.inputs[0]], program.constants[op.weight])
    top, left, bottom, right = op.padding
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    out, _, rows, cols = w.shape
    reach = [(k - 1) * d + 1 for k, d in zip((rows, cols), op.dilation, strict=True)]
    seen = np.lib.stride_tricks.sliding_window_view(padded, reach, (2, 3))
    seen = seen[:, :, :: op.stride[0], :: op.stride[1], :: op.dilation[0], :: op.dilation[1]]
    flat = seen.transpose(0, 2, 3, 1, 4, 5).reshape(-1, w[0].size)
    return flat.astype(np.float32), w.reshape(out, -1).T.astype(np.float32)


def _shares(
    rows: Array, weights: Array, seen: Array, inside: Array
) -> tuple[float, float, float] | None:
    """Return the shares of a fit, in its order; None for few values.

    Args:
        rows: places x unknowns.
        weights: of one channel.
        seen: what the channel holds at each place.
        inside: where that is not at an end of its range.
    """
    places = np.flatnonzero(inside)
    places = places[:: max(1, len(places) // (ENOUGH * (rows.shape[1] + 1)))]
    rows, seen = rows[places], seen[places]
    held = np.arange(len(seen)) % HELD_OUT == 0
    if (~held).sum() < SPARE * (rows.shape[1] + 1) or seen[held].var() == 0:
        return None
    own = np.column_stack([rows, np.ones(len(rows), np.float32)]).astype(np.float64)
    known = np.column_stack([rows @ weights, np.ones(len(rows))]).astype(np.float64)
    return _explained(own, seen, held), _explained(known, seen, held), 1 / 12 / float(seen.var())


def _explained(rows: Array, seen: Array, held: Array) -> float:
    some = rows[~held]
    power = some.T @ some
    power[np.diag_indices_from(power)] += RIDGE * max(float(np.trace(power)) / len(power), 1.0)
    fitted = np.linalg.solve(power, some.T @ seen[~held])
    rest = seen[held] - rows[held] @ fitted
    return float(1 - np.square(rest).mean() / seen[held].var())
