"""The inputs of two traces side by side, as planes that every hypothesis can be tried on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np

from edgebed.observe.assertions.fits import affine
from edgebed.observe.assertions.raw_order import AS_IT_IS, raw_order
from edgebed.observe.observed import Observed, Signal
from edgebed.observe.resampling import METHODS, PLACINGS, Placing, Sampler
from edgebed.program.types import Array

FRAMES: Final = 6
"""So many frames decide about inputs; more add time and no evidence."""
SKETCHED: Final = 2
"""Frames on which the ways to resize are compared to find the reference's own."""
VALUES: Final = 20_000
"""About so many values a channel are compared."""
REPRODUCED: Final = 0.02
"""Share of unexplained variance below which a resize counts as the reference's own."""
ALIKE: Final = 8.0
"""Raw pictures of two decoders differ by less than this, root mean square, in bytes."""
SNAPPED: Final = 0.005
"""Of the range: a fitted normalisation that close to a known one is that one."""
RANGES: Final = (
    ("[0, 1]", 1 / 255, 0.0), ("[-1, 1]", 1 / 127.5, -1.0), ("0..255", 1.0, 0.0),
    ("-128..127", 1.0, -128.0), ("byte / 128 - 1", 1 / 128, -1.0),
    ("[-0.5, 0.5]", 1 / 255, -0.5), ("/ 256", 1 / 256, 0.0),
)  # fmt: skip
"""Name, factor and offset of what is done to a byte."""
MEAN: Final = (0.485, 0.456, 0.406)
DEVIATION: Final = (0.229, 0.224, 0.225)
"""Of ImageNet's channels in [0, 1], as torchvision's models are trained."""


@dataclass(frozen=True)
class Planes:
    """A signal as N x C x H x W, real values; what is a table has C = 1."""

    values: Array
    layout: str


def planes_of(signal: Signal | None, places: list[int]) -> Planes | None:
    """Return a signal's frames as planes; None where it is no picture or table."""
    if signal is None or not signal.is_even or not signal.stored[0].size:
        return None
    stack = np.stack([signal.real[at] for at in places])
    layout = signal.layout.upper().lstrip("N")
    shape = list(stack.shape[1:])
    if len(shape) == 4 and shape[0] == 1:
        shape = shape[1:]
    if len(shape) == 3 and shape[2] == 1 and not layout:
        layout = "HWC"
    if len(shape) == 2:
        return Planes(stack.reshape(len(stack), 1, *shape), "HW")
    if len(shape) != 3:
        return None
    stack = stack.reshape(len(stack), *shape)
    if sorted(layout) != sorted("CHW"):
        layout = "CHW" if shape[0] in (1, 3, 4) and shape[2] not in (1, 3, 4) else "HWC"
    order = [1 + layout.index(axis) for axis in "CHW"]
    return Planes(np.ascontiguousarray(stack.transpose(0, *order)), layout)


@dataclass(frozen=True)
class Quantiser:
    """The integers a device's input can hold; without a step it changes nothing.

    Attributes:
        scale: real value of one step; 0 for real numbers.
        zero_point: the integer that means 0.0.
        low: least integer.
        high: largest integer.
    """

    scale: float = 0.0
    zero_point: int = 0
    low: int = 0
    high: int = 0

    @classmethod
    def of(cls, signal: Signal) -> Quantiser:
        """Return a signal's quantiser."""
        if signal.limits is None or signal.scale is None:
            return cls()
        info = np.iinfo(signal.dtype)
        return cls(signal.scale, signal.zero_point, int(info.min), int(info.max))

    def __call__(self, real: Array) -> Array:
        """Return what is left of real values."""
        if not self.scale:
            return real
        return np.asarray((self.integers(real) - self.zero_point) * self.scale)

    def integers(self, real: Array) -> Array:
        """Return real values as integers, rounded half to even and cut, as float64."""
        steps = np.rint(real / self.scale) + self.zero_point
        return np.asarray(np.clip(steps, self.low, self.high))


@dataclass(frozen=True, eq=False)
class Scene:
    """What the reference and the device fed the network for the same frames.

    Attributes:
        reference: its trace.
        device: the other trace.
        places: frames of the samples that are looked at.
        expected: the reference's input, N x C x H x W, real values.
        given: the device's input likewise; of another shape only when it is at fault.
        quantiser: of the device's input.
        follows: for each place whether the sample holds the frame just before.
        before: the reference's input of the frames before the places.
    """

    reference: Observed
    device: Observed
    places: list[int]
    expected: Array
    given: Array
    quantiser: Quantiser
    follows: Array
    before: Array

    @property
    def same_shape(self) -> bool:
        """Whether both inputs have one shape."""
        return self.expected.shape == self.given.shape

    @cached_property
    def rows(self) -> tuple[int, ...]:
        """Rows of the device's planes that are compared."""
        frames, _, height, width = self.given.shape
        stride = max(1, frames * height * width // VALUES)
        if stride > 1 and stride % 2 == 0:
            stride += 1  # an odd stride falls on no grid that doubles
        return tuple(range(stride // 2, height, stride))

    @cached_property
    def seen(self) -> Array:
        """The compared rows of the device's input."""
        return np.asarray(self.given[:, :, list(self.rows)], np.float64)

    @cached_property
    def span(self) -> float:
        """How far the reference's values reach."""
        low, high = np.percentile(self.expected, [0.5, 99.5])
        return float(high - low) or float(np.ptp(self.expected)) or 1.0

    @cached_property
    def noise(self) -> float:
        """Root mean square difference that rounding alone explains, real units."""
        steps = max(self.quantiser.scale, Quantiser.of(_input(self.reference)).scale)
        return 0.1 * max(steps, self.span / 255)

    def pictures(self, of_device: bool) -> tuple[Array, ...] | None:
        """Return raw pictures, rows x columns x channels; the other trace's where one has none."""
        sides = (self.device, self.reference) if of_device else (self.reference, self.device)
        found = next((one.picture for one in sides if one.picture is not None), None)
        if found is None or self.given.shape[1] not in (1, 3):
            return None
        arrays = [_channels_last(found.real[at], found.layout) for at in self.places]
        channels = self.expected.shape[1]
        if any(one.max() > 255.5 or one.min() < 0 for one in arrays):
            return None
        if channels == 1:
            arrays = [_grey(one) for one in arrays]
        if any(one.shape[2] < channels for one in arrays):
            return None
        order = list(self.raw_order) if channels == 3 else [0]
        return tuple(one[..., order] for one in arrays)

    @cached_property
    def raw_order(self) -> tuple[int, ...]:
        """Channels of raw pictures in the order in which the reference feeds them."""
        own = next(
            (o.picture for o in (self.reference, self.device) if o.picture is not None), None
        )
        looked = self.places[:SKETCHED] if own is not None else []
        arrays = [_channels_last(own.real[at], own.layout) for at in looked if own is not None]
        return raw_order(arrays, self.expected) if arrays else AS_IT_IS

    @cached_property
    def encoding(self) -> tuple[Array, Array, str]:
        """Factor and offset per channel from bytes to the reference's input, and their name.

        From the raw pictures where there are some, else from the range of the values.
        """
        channels = self.expected.shape[1]
        fitted = self._fitted_encoding()
        low, high = float(self.expected.min()), float(self.expected.max())
        known = [(name, np.full(channels, a), np.full(channels, b)) for name, a, b in RANGES]
        if channels == 3:
            known.append(imagenet())
        if fitted is not None:
            name = named(*fitted, known)
            exact = next((one for one in known if one[0] == named(*fitted, known, SNAPPED)), None)
            if exact is not None:
                return exact[1], exact[2], name
            return fitted[0], fitted[1], name or "a normalisation of its own"
        for name, a, b in known:
            ends = np.concatenate([b, 255 * a + b])
            tight = (high - low) > 0.4 * float(np.ptp(ends))
            if (
                low >= ends.min() - 0.02 * self.span
                and high <= ends.max() + 0.02 * self.span
                and tight
            ):
                return a, b, name
        a, b = np.full(channels, (high - low) / 255 or 1.0), np.full(channels, low)
        return a, b, "a normalisation of its own"

    def _fitted_encoding(self) -> tuple[Array, Array] | None:
        own = self.own_placing
        if own is None or own[2] > REPRODUCED:
            return None
        planes = self.placed(own[0], own[1], of_device=False)
        if planes is None:
            return None
        a, b, _ = affine(planes, self.expected[:, :, list(self.rows)])
        return a, b

    def placed(
        self, placing: Placing, method: str, of_device: bool, frames: int = FRAMES
    ) -> Array | None:
        """Return raw pictures brought to size: N x C x compared rows x W, bytes as real numbers."""

        def make() -> Array | None:
            pictures = self.pictures(of_device)
            if pictures is None:
                return None
            sampler = Sampler(self.given.shape[2], self.given.shape[3], self.rows)
            parts = [sampler.placed(one, placing, method) for one in pictures[:frames]]
            return np.moveaxis(np.stack(parts), -1, 1)

        own = of_device and self.device.picture is not None
        key = f"placed {placing} {method} {own} {frames}"
        return self.device.once(key, self.reference, make)

    @cached_property
    def own_placing(self) -> tuple[Placing, str, float] | None:
        """How the reference resizes, and the share of variance that leaves unexplained.

        The ways are compared on a few frames, the best one is judged on all.
        """
        if not self.same_shape or self.pictures(of_device=False) is None:
            return None
        best: tuple[Placing, str, float] = ("stretch", "area", 1.0)
        for method in METHODS:
            best = self._better(best, "stretch", method, SKETCHED)
        for placing in PLACINGS[1:]:
            for method in dict.fromkeys(("area", best[1])):
                best = self._better(best, placing, method, SKETCHED)
        if best[0] != "stretch":
            for method in METHODS:
                best = self._better(best, best[0], method, SKETCHED)
        return self._better((best[0], best[1], 2.0), best[0], best[1], FRAMES)

    def _better(
        self, best: tuple[Placing, str, float], placing: Placing, method: str, frames: int
    ) -> tuple[Placing, str, float]:
        planes = self.placed(placing, method, of_device=False, frames=frames)
        if planes is None:
            return best
        rest = affine(planes, self.expected[:frames, :, list(self.rows)])[2]
        return (placing, method, rest) if rest < 0.9 * best[2] - 1e-7 else best

    @cached_property
    def bytes_(self) -> Array:
        """The reference's input as bytes 0..255, real numbers, N x C x H x W."""
        a, b, _ = self.encoding
        safe = np.where(a == 0, 1, a)
        return np.asarray(np.clip((self.expected - _wide(b)) / _wide(safe), 0, 255))

    def encoded(self, pixels: Array) -> Array:
        """Return bytes as the reference would feed them."""
        a, b, _ = self.encoding
        return np.asarray(pixels * _wide(a) + _wide(b))


def imagenet() -> tuple[str, Array, Array]:
    """Return the normalisation by ImageNet's mean and deviation, as for RANGES."""
    mean, deviation = np.array(MEAN), np.array(DEVIATION)
    return "ImageNet's mean and deviation", 1 / 255 / deviation, -mean / deviation


def named(a: Array, b: Array, known: list[tuple[str, Array, Array]], within: float = 0.02) -> str:
    """Return the name of the nearest normalisation; empty if none is within 2 % of its range."""
    best, least = "", within
    for name, factor, offset in known:
        ends = np.abs(np.concatenate([b - offset, 255 * (a - factor) + b - offset]))
        away = float(ends.max() / (255 * np.abs(factor).max()))
        if away < least:
            best, least = name, away
    return best


def scene_of(reference: Observed, device: Observed) -> Scene | None:
    """Return the inputs of both traces as planes; None where one has none that are."""

    def make() -> Scene | None:
        count = min(len(reference), len(device))
        places = sorted({int(at) for at in np.linspace(0, count - 1, min(FRAMES, count))})
        expected = planes_of(reference.input, places) if count else None
        given = planes_of(device.input, places) if count else None
        before = planes_of(reference.input, [max(at - 1, 0) for at in places]) if count else None
        if expected is None or given is None or device.input is None:
            return None
        if not (np.isfinite(expected.values).all() and np.isfinite(given.values).all()):
            return None
        follows = [
            at > 0 and reference.numbers[at] == reference.numbers[at - 1] + 1 for at in places
        ]
        scene = Scene(
            reference, device, places, expected.values, given.values,
            Quantiser.of(device.input), np.array(follows), expected.values * np.nan
            if before is None else before.values,
        )  # fmt: skip
        return _same_raw(scene)

    return device.once("scene", reference, make)


def _same_raw(scene: Scene) -> Scene:
    """Return the scene as if the reference had seen the device's own raw pictures.

    Two decoders make bytes a little different of one file. What the reference would have fed is
    its input plus the difference of both raw pictures brought to size its own way.
    """
    sides = (scene.reference.picture, scene.device.picture)
    own = scene.own_placing
    if None in sides or own is None or own[2] > REPRODUCED:
        return scene
    theirs, ours = scene.pictures(of_device=False), scene.pictures(of_device=True)
    if theirs is None or ours is None:
        return scene
    gaps = [two - one for one, two in zip(theirs, ours, strict=True) if one.shape == two.shape]
    gap = max((float(np.square(one).mean()) for one in gaps), default=0.0)
    if len(gaps) < len(scene.places) or not 0 < gap < ALIKE**2:
        return scene
    height, width = scene.given.shape[2:]
    sampler = Sampler(height, width, tuple(range(height)))
    parts = [
        sampler.placed(two, own[0], own[1]) - sampler.placed(one, own[0], own[1])
        for one, two in zip(theirs, ours, strict=True)
    ]
    moved = np.nan_to_num(np.moveaxis(np.stack(parts), -1, 1)) * _wide(scene.encoding[0])
    return replace(scene, expected=scene.expected + moved.astype(np.float32))


def _wide(values: Array) -> Array:
    return values[None, :, None, None]


def _input(one: Observed) -> Signal:
    assert one.input is not None  # or there is no scene
    return one.input


def _grey(picture: Array) -> Array:
    """Return the luma of BT.601, which picture libraries mean by grey."""
    if picture.shape[2] < 3:
        return picture[..., :1]
    shares = np.array([[0.299], [0.587], [0.114]], np.float32)
    return np.asarray(picture[..., :3] @ shares)


def _channels_last(picture: Array, layout: str) -> Array:
    if picture.ndim == 2:
        return picture[..., None]
    first = layout.upper() == "CHW" or (
        not layout and picture.shape[0] in (1, 3, 4) and picture.shape[2] > 4
    )
    return np.moveaxis(picture, 0, -1) if first else picture
