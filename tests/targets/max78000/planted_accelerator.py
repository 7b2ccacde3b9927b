"""An accelerator with a defect in one layer, under firmware that knows nothing of it.

The model of the device stays as it is: one layer of a run gets another arithmetic, which does what
silicon, a register word or a table entry does when it is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from planted_trials import Defect
from programs import STEPS, Abilities, Builder

from edgebed.errors import EdgebedError
from edgebed.program.types import Program, TensorType
from edgebed.targets.max78000.accelerator import Accelerator
from edgebed.targets.max78000.accelerator.arithmetic import (
    ADD,
    RELU,
    Convolution,
    Int8,
    Int32,
    Memory,
    Moves,
    Output,
    PlainArithmetic,
    Source,
    Window,
    accumulate,
    combine,
    pool,
)
from edgebed.targets.max78000.accelerator.layers import Layer, prepare_layer
from edgebed.targets.max78000.accelerator.registers import NetworkRegisters
from edgebed.targets.max78000.check import check
from edgebed.targets.max78000.layers import Placed
from edgebed.targets.max78000.target import ARITHMETIC

CHANNELS = (1, 3, 4, 7, 12, 16, 33, 64, 70)
USUAL = ("conv", "conv", "conv", "pool_conv", "combine", "concat", "pool", "up")
LAST = ("conv", "dense")


@dataclass(frozen=True)
class Plant:
    """A defect in one layer.

    Attributes:
        layer: its place in the chain.
        defect: what kind.
        variant: which of its forms; see `variants`.
        number: decides how many bits, which rows, which channel.
    """

    layer: int
    defect: Defect
    variant: str
    number: int


def variants(placed: Placed, defect: Defect) -> tuple[str, ...]:
    """Return the forms in which a layer can have a defect."""
    layer = placed.layer
    if defect == "stale":
        return ("left", "left channels", "read")
    if defect == "overflow":
        added = ("byte",) if layer.combine == "add" else ()
        return added if layer.passthrough else ("accumulator", *added)
    averages = ("averages",) if defect == "rounding" and layer.average and layer.pooling else ()
    if layer.passthrough:
        return averages
    if defect == "scale":
        shift = () if layer.wide else ("shift up", "shift down")
        biased = ("bias", "one bias") if layer.bias is not None else ()
        kernels = ("kernels", "one kernel") if layer.out_shape[0] > 1 else ()
        return (*shift, *biased, *kernels)
    if defect == "rounding":
        return averages if layer.wide else ("down", "towards zero", "half to even", *averages)
    return ("nearest", "lowest", "around", "early") if max(layer.padding) else ()


def planted(
    layers: tuple[Placed, ...], seen: frozenset[str], defect: Defect, rng: np.random.Generator
) -> Plant | None:
    """Draw a layer whose result is a tensor of the program, and a form of the defect."""
    able = [(i, v) for i, one in enumerate(layers) if one.layer.output in seen
            for v in variants(one, defect)]  # fmt: skip
    if not able:
        return None
    number, variant = able[rng.integers(len(able))]
    return Plant(number, defect, variant, int(rng.integers(1 << 16)))


class PlantedAccelerator(Accelerator):
    """Takes the state of another accelerator over; `plant` may be changed between runs."""

    def __init__(self, other: Accelerator) -> None:
        self.__dict__.update(other.__dict__)
        self.plant: Plant | None = None
        self._wrong: PlantedArithmetic | None = None

    def put(self, plant: Plant | None) -> None:
        """Have this defect from now on."""
        self.plant, self._wrong = plant, PlantedArithmetic(plant) if plant else None

    def _run_layer(self, network: NetworkRegisters, layer: Layer, next_: Layer | None) -> None:
        if self.plant is None or layer.registers.index - network.first != self.plant.layer:
            super()._run_layer(network, layer, next_)
            return
        assert self._wrong is not None
        right, self._arithmetic = self._arithmetic, self._wrong
        try:
            wrong = prepare_layer(self.storage, layer.registers, self._wrong)
            super()._run_layer(network, wrong, next_)
        finally:
            self._arithmetic = right


class PlantedArithmetic(PlainArithmetic):
    """The four steps of a layer, one of them wrong."""

    def __init__(self, plant: Plant) -> None:
        self._plant = plant
        self._read: Int8 | None = None
        self._bits: int | None = None

    def gather(self, memory: Memory, source: Source) -> Int8:
        """Read; some rows may still be those of the frame before."""
        fresh = super().gather(memory, source)
        if self._plant.variant != "read":
            return fresh
        old, self._read = self._read, fresh
        if old is None:
            return fresh
        stale = fresh.copy()
        rows = _some(fresh.shape[1], self._plant.number)
        stale[:, rows] = old[:, rows]
        return stale

    def pool_and_combine(self, window: Window, maps: Int8) -> Output:
        """Pool and combine; a sum may wrap at eight bits, an average be cut."""
        if self._plant.variant == "averages":
            return super().pool_and_combine(replace(window, rounding=not window.rounding), maps)
        if self._plant.variant != "byte" or window.function != ADD:
            return super().pool_and_combine(window, maps)
        wide = maps.astype(np.int32)
        if window.pool_last:
            total = combine(ADD, wide).astype(np.int8).astype(np.int32)
            return np.asarray(pool(window, total[None])[0], np.int8)
        return np.asarray(combine(ADD, pool(window, wide)).astype(np.int8))

    def convolution(self, convolution: Convolution) -> Callable[[Int8], Output]:
        """Convolve with what the defect made of it."""
        wrong = _other_tables(self._plant, convolution)

        def convolve(x: Int8) -> Output:
            sums = self._narrow(_other_sums(self._plant, wrong, x))
            return _other_rounding(self._plant, wrong, sums)

        return convolve

    def _narrow(self, sums: Int32) -> Int32:
        """Wrap sums at one to three bits less than those of the first frame need."""
        if self._plant.variant != "accumulator":
            return sums
        if self._bits is None:
            needed = int(np.abs(sums).max()).bit_length() + 1
            self._bits = max(needed - 1 - self._plant.number % 3, 2)
        wrapped: Int32 = (sums << (32 - self._bits)) >> (32 - self._bits)
        return wrapped

    def scatter(self, memory: Memory, moves: Moves, values: Output) -> None:
        """Write; what is left out keeps what lay there, and is seen so."""
        lanes = values.view(np.uint8).reshape(len(values), -1)
        if self._plant.variant.startswith("left"):
            pixels = np.arange(len(values))[:, None] * moves.pixel_words
            for rows, size in ((moves.words, 4), (moves.bytes_, 1)):
                place = 4 * memory.at(rows[:, 1], pixels + rows[:, 2]) + rows[:, 3]
                for lane in range(size):
                    old = memory.data.view(np.uint8)[place + lane]
                    left = self._left(old.shape, rows[:, 1])
                    columns = rows[:, 0] + lane
                    lanes[:, columns] = np.where(left, old, lanes[:, columns])
        super().scatter(memory, moves, values)

    def _left(
        self, shape: tuple[int, ...], instances: npt.NDArray[np.int32]
    ) -> npt.NDArray[np.bool_]:
        left = np.zeros(shape, bool)
        if self._plant.variant == "left channels" and len(instances):
            left[:, instances == instances[self._plant.number % len(instances)]] = True
        else:
            left[_some(shape[0], self._plant.number)] = True
        return left


def _some(pixels: int, number: int) -> slice:
    """Return a run of pixels: at least one, at most a half of them."""
    length = 1 + number % max(pixels // 2, 1)
    first = number // 7 % (pixels - length + 1)
    return slice(first, first + length)


def _other_tables(plant: Plant, c: Convolution) -> Convolution:
    """Let channels take kernels or biases of their neighbours, or all another shift."""
    one = plant.number % len(c.weights)
    if plant.variant.startswith("shift"):
        return replace(c, shift=c.shift + (1 if plant.variant.endswith("up") else -1))
    if plant.variant in ("bias", "kernels"):
        name = "bias" if plant.variant == "bias" else "weights"
        return replace(c, **{name: np.roll(getattr(c, name), -1, 0)})
    if plant.variant in ("one bias", "one kernel"):
        name = "bias" if plant.variant == "one bias" else "weights"
        table = getattr(c, name).copy()
        table[one] = table[(one + 1) % len(table)]
        return replace(c, **{name: table})
    return c


def _other_sums(plant: Plant, c: Convolution, x: Int8) -> Int32:
    if plant.defect == "border":
        return accumulate(replace(c, pad=(0, 0), shape=_grown(c), transposed=False),
                          _bordered(plant, c, x))  # fmt: skip
    return accumulate(c, x)


def _grown(c: Convolution) -> tuple[int, int]:
    spread = 2 if c.transposed else 1
    rows, columns = (n * spread + 2 * p for n, p in zip(c.shape, c.pad, strict=True))
    return rows, columns


def _bordered(plant: Plant, c: Convolution, x: Int8) -> Int8:
    """Pad with other values than zeros, or on other sides."""
    if c.transposed:
        spread = np.zeros((2 * x.shape[0], 2 * x.shape[1], x.shape[2]), np.int8)
        spread[::2, ::2] = x
        x = spread
    pads = [(p, p) for p in (*c.pad, 0)]
    if plant.variant == "lowest":
        return np.pad(x, pads, constant_values=-128)
    if plant.variant == "early":
        return np.pad(x, [(max(p - 1, 0), p + min(p, 1)) for p, _ in pads])
    return np.pad(x, pads, mode="edge" if plant.variant == "nearest" else "wrap")


def _other_rounding(plant: Plant, c: Convolution, sums: Int32) -> Output:
    if c.wide:
        return sums
    exact = sums * 2.0 ** (c.shift - 7)
    rules: dict[str, Callable[[Any], Any]] = {
        "down": np.floor, "towards zero": np.trunc, "half to even": np.round,
    }  # fmt: skip
    rule = rules.get(plant.variant)
    y = np.clip(rule(exact) if rule else np.floor(exact + 0.5), -128, 127)
    if c.activation:
        y = np.maximum(y, 0) if c.activation == RELU else np.minimum(np.abs(y), 127)
    return np.asarray(y, np.int8)


class Drawn(Builder):
    """Draws with a generator of its own."""

    def pick(self, *values: object) -> object:
        return values[self.rng.integers(len(values))]


def drawn(seed: int) -> Program:
    """Return a network of three to eight steps that fits the device."""
    return next(program for program in _drawn(seed) if program is not None and not check(program))


def _drawn(seed: int) -> Iterator[Program | None]:
    for attempt in range(1000):
        try:
            yield _once(np.random.default_rng((seed, attempt)))
        except (EdgebedError, ValueError):
            yield None  # a window larger than its map, or the like


def _once(rng: np.random.Generator) -> Program:
    b, can = Drawn(ARITHMETIC, None, rng), Abilities(steps=USUAL, channels=CHANNELS)
    rows = int(rng.integers(5, 25))
    columns = 1 if rng.random() < 0.15 else rows
    b.types["input"] = TensorType((int(b.pick(1, 3, 4, 12, 64)), rows, columns), scale=1 / 128)  # type: ignore[call-overload]
    inputs, x = dict(b.types), "input"
    for _ in range(int(rng.integers(2, 7))):
        kind = str(b.pick(*USUAL))
        if min(b.types[x].shape[1:]) < 4 and columns > 1 and "pool" in kind:
            kind = "conv"
        x = STEPS[kind](b, x, can, False)
    x = STEPS[str(b.pick(*LAST))](b, x, can, bool(rng.integers(2)))
    return Program(f"drawn{int(rng.integers(1 << 30))}", inputs, tuple(b.ops), (x,), b.constants)
