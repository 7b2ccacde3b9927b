"""Another number of rows and columns, by interpolation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from edgebed.program.arithmetic import Affine
from edgebed.program.ops._float import Floats, through_floats
from edgebed.program.ops._resize import (
    Coordinates,
    Nearest,
    bilinear,
    fixed_point_bilinear,
    nearest_indices,
    resize_axis,
)
from edgebed.program.types import QUANTISED, Array, Constant, Op, TensorType


@dataclass(frozen=True, kw_only=True)
class Resize(Op):
    """Rows and columns of a C x H x W map, by nearest, linear or cubic interpolation.

    `nearest` moves numbers of any type as they are. `bilinear` and `cubic` are computed in float32
    (within 1e-5 of the largest magnitude); with a fixed-point rule `bilinear` is TensorFlow Lite's
    integer kernel of int8 (10-bit positions), whose scale and zero point do not change.

    Attributes:
        mode: of interpolation.
        size: rows, columns of the output.
        coordinates: where an output position lies in the input; ONNX's names, and
            `tf_half_pixel_for_nn` (nearest only): (x + 0.5) * in / out.
        nearest: how a position becomes an index in mode `nearest`.
        scales: output over input of rows and columns where they are given instead of the sizes'
            ratio (ONNX); () for the ratio.
        cubic: coefficient a of the cubic kernel.
        requantize: rule for quantised bilinear and cubic.
    """

    kind: ClassVar[str] = "resize"
    mode: Literal["nearest", "bilinear", "cubic"]
    size: tuple[int, int]
    coordinates: Coordinates = "half_pixel"
    nearest: Nearest = "round_prefer_floor"
    scales: tuple[float, ...] = ()
    cubic: float = -0.75
    requantize: Affine | None = None

    def infer(self, types: Sequence[TensorType], constants: Mapping[str, Constant]) -> TensorType:
        """Return the type of the resized map."""
        (x,), rule = types, self.requantize
        if len(x.shape) != 3 or min(self.size) < 1:
            raise self.fail(f"shape {x.shape} to {self.size}", why="C x H x W is needed")
        if len(self.scales) not in (0, 2):
            raise self.fail(f"scales {self.scales}", why="none, or rows and columns")
        shape = (x.shape[0], *self.size)
        if self.mode == "nearest":
            if rule is not None:
                raise self.fail("nearest with a rule", why="it moves numbers as they are")
            return x.with_shape(shape)
        if rule is None:
            if not x.is_float:
                raise self.fail(f"{self.mode} of {x.dtype}", why="it needs a requantize rule")
            return x.with_shape(shape)
        self._check_rule(x, rule)
        return TensorType(shape, rule.dtype, rule.scale, rule.zero_point)

    def _check_rule(self, x: TensorType, rule: Affine) -> None:
        if x.dtype not in QUANTISED:
            raise self.fail(f"a rule on {x.dtype}", why="int8, uint8 or int16 is needed")
        if rule.rounding == "float":
            return
        if self.mode != "bilinear" or self.scales:
            raise self.fail(f"{self.mode} in fixed point", try_='rounding "float"')
        if (rule.dtype, rule.scale, rule.zero_point) != (x.dtype, x.scale, x.zero_point):
            raise self.fail("another scale in fixed point", try_="a requantize op behind it")

    def run(
        self,
        inputs: Sequence[Array],
        constants: Mapping[str, Constant],
        types: Sequence[TensorType],
    ) -> Array:
        """Interpolate."""
        x = inputs[0]
        if self.mode == "nearest":
            rows, columns = (nearest_indices(self, n, axis) for axis, n in enumerate(x.shape[2:]))
            return x[:, :, rows][:, :, :, columns]
        if self.requantize is not None and self.requantize.rounding != "float":
            return fixed_point_bilinear(self, x)
        return through_floats(self.requantize, self.interpolate, inputs, types)

    def interpolate(self, x: Floats) -> Floats:
        """Return the real map at the output's positions; cubic ones columns first."""
        if self.mode == "bilinear":
            return bilinear(self, x)
        return resize_axis(self, resize_axis(self, x, 3), 2)
