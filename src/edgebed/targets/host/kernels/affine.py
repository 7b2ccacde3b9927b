"""Exact requantisation as one float32 multiply-add, proved when the weights are packed.

A requantisation maps an accumulator to one of at most 256 levels and never falls when the
accumulator rises, so it is known by its thresholds: the least accumulator of every level. The
same holds for round(fma(x, a, b)) in float32. Where all thresholds of both agree, within the
range that the accumulators of a layer can reach, both give the same integers, and the cheap one
may stand for the exact one. `find_affine` looks for such a and b, channel by channel, and proves
them by evaluating both sides of every threshold exactly as the processor does.

Two refinements widen what can be proved: one accumulator a channel whose level is amended by one
(24 bits are few for wide accumulators), and another b for negative accumulators (TensorFlow Lite
rounds ties away from zero, so the thresholds of both signs lie on two lines).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edgebed.program.ops._float import fused_multiply_add
from edgebed.targets.host.kernels.requantize import Bounds
from edgebed.targets.host.kernels.rules import Rescale

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[Any]
Truths = npt.NDArray[np.bool_]

NOWHERE = -(2**31)
"""An accumulator that no layer reaches: nothing to amend."""

_STEPS = (0, 1, -1, 2, -2, 3, -3, 4, -4)
_SHARES = (0.5, 0.25, 0.75, 0.38, 0.62, 0.12, 0.88, 0.02, 0.98)
_HOPELESS = 5  # failures of a channel after three slopes: none of the others will do
_WIDEST = 2.0  # levels; an offset is never further from its neighbour


@dataclass(frozen=True, eq=False)
class Affine:
    """Constants with which round(fma(x, a, b)) is exact for every channel.

    Attributes:
        a: float32 [channels], levels an accumulator step.
        b: float32 [channels], stored level of accumulator 0.
        b_negative: float32 [channels], b for negative accumulators; None where it is b.
        amended: int64 [channels], the accumulator whose level is amended; None: nowhere.
        by: int64 [channels], the amendment, 1 or -1 (0 where none is needed).
    """

    a: Floats
    b: Floats
    b_negative: Floats | None = None
    amended: Ints | None = None
    by: Ints | None = None

    def levels(self, acc: Ints) -> Ints:
        """Return what the kernel computes before it clamps; int [channels, ...]."""
        x = acc.astype(np.float32)
        column = (-1,) + (1,) * (acc.ndim - 1)
        b = np.broadcast_to(self.b.reshape(column), x.shape)
        if self.b_negative is not None:
            b = np.where(acc < 0, self.b_negative.reshape(column), b)
        levels = np.rint(fused_multiply_add(x, self.a.reshape(column), b)).astype(np.int64)
        if self.amended is not None and self.by is not None:
            levels += (acc == self.amended.reshape(column)) * self.by.reshape(column)
        return levels


def find_affine(rescale: Rescale, bounds: Bounds) -> Affine | None:
    """Return constants proved exact for accumulators within the bounds; None: none were found."""
    if rescale.rule not in ("fixed", "fixed_single", "shift"):
        return None
    conditions = Conditions.of(rescale, bounds)
    if conditions is None:
        return None
    for kinked in (False, True):
        found = _search(conditions, kinked)
        if found is not None and conditions.widened().met(found).all():
            return found
    return None


@dataclass(frozen=True, eq=False)
class Conditions:
    """What constants must meet: K points of every channel.

    Attributes:
        real: float64 [C], the real slope.
        point: int64 [C, K], accumulators.
        level: int64 [C, K], levels.
        reaches: bool [C, K]; the point must get to the level; otherwise it must stay below.
        matters: bool [C, K]; False for points that cannot occur.
    """

    real: Floats
    point: Ints
    level: Ints
    reaches: Truths
    matters: Truths

    @classmethod
    def of(cls, rescale: Rescale, bounds: Bounds) -> Conditions | None:
        """Return the conditions of a layer; None where its numbers are out of the ordinary."""
        real = rescale.factors()
        least, most = bounds.low[:, None], bounds.high[:, None]
        ordinary = np.all(real > 2.0**-40) and np.all(real <= 1)
        if not ordinary or least.min() <= NOWHERE or most.max() >= -NOWHERE:
            return None
        level = np.arange(rescale.low + 1, rescale.high + 1)[None, :]
        first = _first_reaching(rescale, level, least, most)
        if first is None:
            return None
        level = np.broadcast_to(level, first.shape)
        # Next to zero both lines must be right, whether or not a threshold is there.
        near = np.broadcast_to(np.array([[-1, 0]]), (len(real), 2))
        inside = (near >= least) & (near <= most)
        there = np.clip(rescale.stored(near), rescale.low, rescale.high)
        parts = (
            (np.maximum(first, least), level, True, first <= most),
            (np.minimum(first - 1, most), level, False, first > least),
            (near, there, True, inside & (there > rescale.low)),
            (near, there + 1, False, inside & (there < rescale.high)),
        )
        point, levels, matters = (np.concatenate([p[i] for p in parts], axis=1) for i in (0, 1, 3))
        reaches = np.concatenate([np.full(p[0].shape, p[2]) for p in parts], axis=1)
        return cls(real, point, levels, reaches, matters)

    def widened(self) -> Conditions:
        """Return these conditions and the same one step further in.

        Monotony carries a condition from its point to all points beyond; where the point itself
        is amended, it must be carried from the next one.
        """
        further = self.point + np.where(self.reaches, 1, -1)
        return Conditions(
            self.real,
            np.concatenate([self.point, further], axis=1),
            np.tile(self.level, 2),
            np.tile(self.reaches, 2),
            np.tile(self.matters, 2),
        )

    def offsets(self, slope: Floats, sign: int) -> tuple[Floats, Floats]:
        """Return the interval of b that real arithmetic allows for the slope, float64 [C] each.

        Args:
            slope: float64 [C].
            sign: 1 counts points >= 0, -1 points < 0, 0 all.
        """
        counts = self.matters
        if sign:
            counts = counts & ((self.point >= 0) == (sign > 0))
        bound = self.level - 0.5 - slope[:, None] * self.point
        low = np.where(counts & self.reaches, bound, -np.inf).max(axis=1)
        high = np.where(counts & ~self.reaches, bound, np.inf).min(axis=1)
        low = np.where(np.isfinite(low), low, np.where(np.isfinite(high), high - _WIDEST, 0))
        high = np.where(np.isfinite(high), high, low + _WIDEST)
        return low, high

    def at(self, channels: Ints) -> Conditions:
        """Return the conditions of some channels."""
        return Conditions(
            self.real[channels],
            self.point[channels],
            self.level[channels],
            self.reaches[channels],
            self.matters[channels],
        )

    def met(self, constants: Affine) -> Truths:
        """Return which conditions are met or do not matter, bool [C, K]."""
        met: Truths = (constants.levels(self.point) >= self.level) == self.reaches
        return met | ~self.matters


def _first_reaching(rescale: Rescale, level: Ints, least: Ints, most: Ints) -> Ints | None:
    """Return the least accumulator of each level, near or within the bounds; int64 [C, K]."""
    real = rescale.factors()[:, None]
    guess = np.clip(np.rint((level - rescale.zero - 0.5) / real), least - 3, most + 3)
    near = guess.astype(np.int64)[:, :, None] + np.arange(-3, 4)
    reached = rescale.stored(near) >= level[:, :, None]
    ever, always = reached[:, :, -1], reached[:, :, 0]
    first = np.where(ever, near[:, :, 0] + np.argmax(reached, axis=2), near[:, :, -1] + 1)
    missed = (always & (first > least)) | (~ever & (first <= most))
    return None if missed.any() else first


def _search(conditions: Conditions, kinked: bool) -> Affine | None:
    """Try slopes and offsets near the real ones; at most one condition a channel may fail."""
    count = len(conditions.real)
    floats, ints = np.zeros((3, count), np.float32), np.zeros((2, count), np.int64)
    found = Affine(floats[0], floats[1], floats[2], ints[0], ints[1])
    fewest = np.full(count, conditions.point.shape[1])
    open_ = np.arange(count)
    for step in _STEPS:
        for share in _SHARES:
            here = conditions.at(open_)
            trial = _trial(here, kinked, step, share)
            met = here.met(trial)
            failures = np.count_nonzero(~met, axis=1)
            better = failures < fewest[open_]
            _keep(found, open_[better], _amended(trial, here, met), better)
            fewest[open_] = np.minimum(fewest[open_], failures)
            open_ = open_[failures > 0]
            if not len(open_):
                break
        if not len(open_) or (step == _STEPS[2] and fewest.max() > _HOPELESS):
            break
    if fewest.max() > 1:
        return None
    found = found if kinked else replace(found, b_negative=None)
    return found if fewest.any() else replace(found, amended=None, by=None)


def _keep(found: Affine, channels: Ints, trial: Affine, which: Truths) -> None:
    """Write the constants of some channels of a trial into those found so far."""
    for name in ("a", "b", "b_negative", "amended", "by"):
        values = getattr(trial, name)
        if values is not None:
            getattr(found, name)[channels] = values[which]


def _trial(at: Conditions, kinked: bool, step: int, share: float) -> Affine:
    a = (at.real.astype(np.float32).view(np.int32) + np.int32(step)).view(np.float32)
    offsets = []
    for sign in (1, -1) if kinked else (0,):
        low, high = at.offsets(a.astype(np.float64), sign)
        offsets.append((low + share * (high - low)).astype(np.float32))
    return Affine(a, offsets[0], offsets[1] if kinked else None)


def _amended(trial: Affine, conditions: Conditions, met: Truths) -> Affine:
    """Return the constants with each channel's first failure amended."""
    failed = ~met
    which = (np.arange(len(met)), np.argmax(failed, axis=1))
    any_ = failed.any(axis=1)
    amended = np.where(any_, conditions.point[which], NOWHERE)
    return replace(
        trial, amended=amended, by=np.where(any_, np.where(conditions.reaches[which], 1, -1), 0)
    )
