"""A float network becomes an integer program."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from edgebed.compress.calibration import Statistics
from edgebed.compress.scheme import (
    COMBINED,
    RULED,
    TABLED,
    TIED,
    WEIGHTED,
    Grid,
    Scheme,
    Settings,
    bounds,
    plan,
)
from edgebed.compress.weights import quantise_bias, quantise_weights
from edgebed.errors import EdgebedError
from edgebed.program.arithmetic import Affine, multiplier_table
from edgebed.program.ops._accumulate import Weighted
from edgebed.program.ops.constant import Constant as ConstantOp
from edgebed.program.ops.dequantize import Dequantize
from edgebed.program.ops.lookup import Lookup
from edgebed.program.ops.pad import Pad
from edgebed.program.ops.quantize import Quantize
from edgebed.program.ops.requantize import Requantize
from edgebed.program.run import run
from edgebed.program.types import Array, Constant, Op, Program, TensorType

DEFAULT = Settings()


def quantise(
    program: Program, statistics: Mapping[str, Statistics], settings: Settings = DEFAULT
) -> Program:
    """Return the integer program of a float network.

    Inputs and outputs keep their names and types: `quantize` and `dequantize` stand at the edges
    and around layers that stay float32.

    Args:
        program: a float network, with batch normalisation folded.
        statistics: of its tensors, from `calibrate`.
        settings: what to do.

    Raises:
        EdgebedError: weights are not finite, or a tensor was not calibrated.
    """
    for name, kind in program.types.items():
        if kind.is_float and name not in statistics:
            raise EdgebedError(f"tensor {name!r} was not calibrated")
    return _Builder(program, statistics, settings).program()


class _Builder:
    """Writes the integer ops in the order of the float ones."""

    def __init__(
        self, program: Program, statistics: Mapping[str, Statistics], settings: Settings
    ) -> None:
        self.source, self.statistics, self.settings = program, statistics, settings
        self.scheme: Scheme = plan(program, statistics, settings)
        self.ops: list[Op] = []
        self.constants: dict[str, Constant] = dict(program.constants)
        self.known: set[str] = set(program.inputs)

    def program(self) -> Program:
        """Return the finished program."""
        done = {reader.name for reader in self.scheme.absorbed.values()}
        writers = _writers()
        for op in self.source.ops:
            if op.name in done:
                continue
            if op.name not in self.scheme.quantised:
                self._float(op)
                continue
            target = self.scheme.absorbed.get(op.name, op).output
            writers[op.kind](self, op, target)
            self.known.add(_integers(target))
        for name in self.source.outputs:
            self._real(name)
        return self.source.with_(ops=tuple(self.ops), constants=self.constants)

    def add(self, op: Op) -> None:
        """Append an op."""
        self.ops.append(op)
        self.known.add(op.output)

    def grid(self, name: str) -> Grid:
        """Return the integers of a tensor."""
        return self.scheme.grids[name]

    def kind(self, name: str) -> TensorType:
        """Return the integer type of a tensor."""
        grid = self.grid(name)
        shape = self.source.types[name].shape
        return TensorType(shape, grid.dtype, grid.scale, grid.zero_point)

    def integer(self, name: str) -> str:
        """Return the integer form of a tensor; one that only exists as float is quantised."""
        made = _integers(name)
        if made not in self.known:
            grid = self.grid(name)
            op = Quantize(
                name=f"{name}/quantize",
                inputs=(self._real(name),),
                output=made,
                scale=grid.scale,
                zero_point=grid.zero_point,
                dtype=grid.dtype,
                rounding="half_even",
            )
            self.add(op)
        return made

    def rule(self, name: str, op: Op | None = None) -> Affine:
        """Return the rule for a tensor, clamped as the absorbed activation of `op` says."""
        grid = self.grid(name)
        low, high = grid.low, grid.high
        for one in (op, self.scheme.absorbed.get(op.name) if op is not None else None):
            least, most = _clamp(one)
            low = low if least is None else max(low, grid.quantum(least))
            high = high if most is None else min(high, grid.quantum(most))
        return Affine(grid.scale, grid.zero_point, self.settings.rounding, low, high, grid.dtype)

    def matching(self, name: str, target: str) -> str:
        """Return the integers of `name` in the scale of `target`."""
        if self.grid(name) == self.grid(target):
            return self.integer(name)
        made = f"{name}.as.{target}"
        if made not in self.known:
            source = self.integer(name)
            self.add(
                Requantize(name=made, inputs=(source,), output=made, requantize=self.rule(target))
            )
        return made

    def _float(self, op: Op) -> None:
        self.add(replace(op, inputs=tuple(self._real(name) for name in op.inputs)))

    def _real(self, name: str) -> str:
        """Return the float form of a tensor; one that only exists as integers is dequantised."""
        if name not in self.known:
            made = _integers(name)
            if made not in self.known:
                raise EdgebedError(f"tensor {name!r} was absorbed but is read")
            self.add(Dequantize(name=f"{name}/dequantize", inputs=(made,), output=name))
        return name


def _integers(name: str) -> str:
    return f"{name}.q"


def _clamp(op: Op | None) -> tuple[float | None, float | None]:
    if op is None:
        return None, None
    if getattr(op, "activation", "none") == "relu":
        return 0.0, None
    return bounds(op) if op.kind == "unary" else (None, None)


def _weighted(build: _Builder, op: Weighted, target: str) -> None:
    x = build.integer(op.inputs[0])
    kind = build.kind(op.inputs[0])
    values = build.source.constants[op.weight].values
    bias = None if op.bias is None else build.source.constants[op.bias].values
    axis = 1 if op.kind == "conv_transpose2d" else 0
    weights = quantise_weights(values, axis, kind.scale, bias, f"layer {op.name} ({op.kind})")
    count = len(weights.scales)
    real = np.zeros(count) if bias is None else bias.astype(np.float64)
    if build.settings.correct_bias:
        real = real - _mean_error(build, op, weights.error, axis)
    rule = build.rule(target, op)
    steps = kind.scale * weights.scales
    names = {part: f"{op.name}.{part}.q" for part in ("weight", "bias", "multiplier")}
    build.constants[names["weight"]] = weights.constant
    build.constants[names["bias"]] = quantise_bias(real, steps, wide=kind.dtype == "int16")
    build.constants[names["multiplier"]] = _factors(steps / rule.scale, rule)
    changes: dict[str, Any] = {"requantize": rule, "activation": "none"}
    build.add(replace(op, inputs=(x,), output=_integers(target), **names, **changes))


def _factors(real: Array, rule: Affine) -> Constant:
    if rule.rounding == "float":
        return Constant(real.astype(np.float32), 32)
    return Constant(multiplier_table([float(one) for one in real]), 32)


def _mean_error(build: _Builder, op: Weighted, error: Array, axis: int) -> Array:
    """Return what the rounded weights add to each output channel on average.

    The mean of the input per channel times the sum of the weights' errors; padding is neglected.
    Source: Nagel et al. 2019, empirical variant.
    """
    seen = build.statistics[op.inputs[0]]
    if op.kind == "dense":
        means = seen.last_means if getattr(op, "last_axis", False) else None
        if means is None:
            repeat = error.shape[1] // len(seen.means)
            means = np.repeat(seen.means, repeat)
        result: Array = error @ means
        return result
    if op.kind == "conv_transpose2d":
        taps = error.sum(axis=(2, 3)) / _overlap(op, error)
        return np.asarray(seen.means @ taps)
    taps = error.sum(axis=(2, 3))
    groups = int(getattr(op, "groups", 1))
    means = seen.means.reshape(groups, -1)
    split = taps.reshape(groups, -1, taps.shape[1])
    return np.asarray(np.einsum("goc,gc->go", split, means)).reshape(-1)


def _overlap(op: Op, error: Array) -> int:
    """Return into how many output positions a stride spreads a transposed kernel."""
    rows, columns = getattr(op, "stride", (1, 1))
    return max(1, int(rows) * int(columns))


def _tied(build: _Builder, op: Op, target: str) -> None:
    inputs = tuple(build.matching(name, target) for name in op.inputs)
    changes: dict[str, Any] = {}
    if op.kind == "avg_pool":
        changes["rounding"] = "half_away"
    if isinstance(op, Pad) and op.value is not None:
        changes["value"] = build.grid(target).quantum(float(op.value))
    build.add(replace(op, inputs=inputs, output=_integers(target), **changes))


def _combined(build: _Builder, op: Op, target: str) -> None:
    inputs = tuple(build.integer(name) for name in op.inputs)
    rule: dict[str, Any] = {"requantize": build.rule(target, op)}
    build.add(replace(op, inputs=inputs, output=_integers(target), **rule))


def _ruled(build: _Builder, op: Op, target: str) -> None:
    rule = build.rule(target)
    if op.kind == "softmax" and rule.rounding == "fixed_point":
        rule = Affine(1 / 256, -128, "fixed_point")  # TensorFlow Lite's only output scale
        build.scheme.grids[target] = Grid(rule.scale, rule.zero_point)
    changes: dict[str, Any] = {"requantize": rule}
    inputs = tuple(build.integer(name) for name in op.inputs)
    build.add(replace(op, inputs=inputs, output=_integers(target), **changes))


def _tabled(build: _Builder, op: Op, target: str) -> None:
    """Write a table of the float op's own values at every integer of its input."""
    (name,) = op.inputs
    given, rule = build.kind(name), build.rule(target)
    if "int16" in (given.dtype, rule.dtype):
        _clamped(build, op, target)
        return
    steps = np.arange(-128, 128, dtype=np.float32) - np.float32(given.zero_point)
    real = (steps * np.float32(given.scale)).astype(np.float32)
    axis = None if op.kind == "unary" else 0
    rows = 1 if axis is None else given.shape[0]
    values = _apply(build.source, op, np.broadcast_to(real, (rows, 256)))
    # What has no result (the logarithm of a negative number) gets the least one.
    table = rule.quantise(np.nan_to_num(values, nan=-3e38, posinf=3e38, neginf=-3e38))
    build.constants[f"{op.name}.table"] = Constant(table if axis == 0 else table[0], 8)
    build.add(
        Lookup(
            name=op.name,
            inputs=(build.integer(name),),
            output=_integers(target),
            table=f"{op.name}.table",
            axis=axis,
            scale=rule.scale,
            zero_point=rule.zero_point,
        )
    )


def _clamped(build: _Builder, op: Op, target: str) -> None:
    """Write a clamp of 16-bit integers, which no table holds, as a rescale with its limits."""
    made = Requantize(
        name=op.name,
        inputs=(build.integer(op.inputs[0]),),
        output=_integers(target),
        requantize=build.rule(target, op),
    )
    build.add(made)


def _apply(program: Program, op: Op, values: Array) -> Array:
    """Run one float op on rows of values, one row a channel."""
    shape = (*values.shape, *[1] * (len(program.types[op.inputs[0]].shape) - 2))
    constants = {name: program.constants[name] for name in op.constants}
    one = replace(op, inputs=("x",), output="y")
    part = Program("table", {"x": TensorType(shape, "float32", 1.0)}, (one,), ("y",), constants)
    result = run(part, np.ascontiguousarray(values, np.float32).reshape(shape))["y"]
    return np.asarray(result).reshape(values.shape)


def _constant(build: _Builder, op: ConstantOp, target: str) -> None:
    grid = build.grid(target)
    real = build.source.constants[op.value].values
    whole = np.clip(np.rint(real / np.float32(grid.scale)) + grid.zero_point, grid.low, grid.high)
    bits = 8 if grid.dtype == "int8" else 16
    name = f"{op.name}.q"
    values = whole.astype(grid.dtype)
    build.constants[name] = Constant(values, bits, grid.scale, grid.zero_point)
    build.add(replace(op, output=_integers(target), value=name))


def _writers() -> dict[str, Callable[[_Builder, Any, str], None]]:
    return {
        **dict.fromkeys(WEIGHTED, _weighted),
        **dict.fromkeys(TIED, _tied),
        **dict.fromkeys(COMBINED, _combined),
        **dict.fromkeys(RULED, _ruled),
        **dict.fromkeys(TABLED, _tabled),
        "constant": _constant,
    }
