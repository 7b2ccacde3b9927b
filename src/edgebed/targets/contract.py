"""What a target promises: check, plan, cost, and a machine that runs the plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from edgebed.compile.plan import BuildPlan
from edgebed.figures import Figure
from edgebed.program.arithmetic import Arithmetic
from edgebed.program.types import Program
from edgebed.targets.layout import Layout

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Problem:
    """One reason why a program does not fit a device.

    Attributes:
        layer: the op's name.
        what: what is too large or not supported, with its number.
        limit: the device's limit, with its number.
        try_: the nearest change that fits.
        warning: it builds and runs on the virtual device, but a real one may differ.
    """

    layer: str
    what: str
    limit: str
    try_: str
    warning: bool = False

    def __str__(self) -> str:
        return f"{self.layer}: {self.what} ({self.limit}); try: {self.try_}"


@dataclass(frozen=True)
class LayerCost:
    """Cost of one device layer: its name, multiply-accumulates, and figures by name."""

    name: str
    macs: int
    figures: Mapping[str, Figure]


@dataclass(frozen=True)
class Cost:
    """Cost per layer and in total; every number is a `Figure` and says what it is."""

    layers: tuple[LayerCost, ...]
    total: Mapping[str, Figure]


@dataclass(frozen=True)
class Trace:
    """What a machine did with one input.

    Attributes:
        outputs: integer tensors by output name, C x H x W.
        figures: cycles, instructions, time, energy, ... each marked with its kind.
        events: lines of the device's own log (UART text, diagnosed races, overflows).
        layers: outputs of inner layers by name, where the machine can see them.
        inputs: integer tensors by input name, as the network got them, where the machine can see.
        layer_figures: by the name of the tensor that a layer writes, and the figure's.
    """

    outputs: Mapping[str, Array]
    figures: Mapping[str, Figure] = field(default_factory=dict)
    events: tuple[str, ...] = ()
    layers: Mapping[str, Array] = field(default_factory=dict)
    inputs: Mapping[str, Array] = field(default_factory=dict)
    layer_figures: Mapping[str, Mapping[str, Figure]] = field(default_factory=dict)


@dataclass(frozen=True)
class Frame:
    """One camera frame through the device.

    Attributes:
        lcd: what the display shows, uint8, height x width x 3, RGB.
        detections: rows (class, score, x1, y1, x2, y2) as the device reported them.
        trace: outputs and figures of this frame.
    """

    lcd: npt.NDArray[np.uint8]
    detections: npt.NDArray[np.float64]
    trace: Trace


class Machine(Protocol):
    """A device that runs a plan: virtual, or a real board behind the same calls."""

    def load(self, folder: Path) -> None:
        """Boot the build in `folder`."""

    def self_test(self) -> None:
        """Replay the build's own test vectors on the device.

        Raises:
            EdgebedError: the device answers otherwise.
        """

    def run(self, tensor: Array) -> Trace:
        """Compute one input tensor (int8, C x H x W)."""

    def show(self, picture: npt.NDArray[np.uint8]) -> Frame:
        """Put a picture (uint8, H x W x 3, RGB) before the camera and run one frame."""

    def close(self) -> None:
        """Release the device."""


class Target(Protocol):
    """One kind of hardware."""

    @property
    def name(self) -> str:
        """Its folder's name."""

    @property
    def arithmetic(self) -> Arithmetic:
        """What it computes exactly."""

    def check(self, program: Program) -> list[Problem]:
        """Return every reason why the program does not fit; empty when it does."""

    def plan(self, program: Program) -> BuildPlan:
        """Return the complete project. Pure: the same program gives the same digest."""

    def cost(self, program: Program) -> Cost:
        """Return time and energy per layer."""

    def layout(self, program: Program) -> Layout:
        """Return the device layers and what lies where in the device's memories."""

    def build(self, folder: Path) -> Mapping[str, int]:
        """Build the project that `plan` wrote into `folder`; return sizes in bytes by name."""

    def machine(self) -> Machine:
        """Return a virtual device."""


class Tensor(Protocol):
    """An input or output of a library, as the imported file has it."""

    @property
    def name(self) -> str:
        """In the file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """In the file, batch axis included."""

    @property
    def dtype(self) -> str:
        """Numpy's name."""


class Library(Protocol):
    """A network compiled to a library, loaded into this process."""

    @property
    def inputs(self) -> Sequence[Tensor]:
        """The inputs, in order."""

    @property
    def outputs(self) -> Sequence[Tensor]:
        """The outputs, in order."""

    @property
    def isa(self) -> str:
        """Name of the instruction set in use."""

    @property
    def variants(self) -> tuple[str, ...]:
        """Instruction sets that both the library and this processor have."""

    def run(self, x: Mapping[str, Array]) -> Array | tuple[Array, ...]:
        """Compute the output, or all of them in order, from inputs by name."""

    def time_runs(self, count: int) -> npt.NDArray[np.int64]:
        """Return the nanoseconds of so many runs on the inputs that were last given."""

    def profile(self, x: Mapping[str, Array], repeats: int = 200) -> Any:
        """Return `layers`, `nanoseconds`, `peak` and `peak_share` of so many runs on these inputs.

        Each of `layers` has `layer` (`name`, `kind`, `macs`), `nanoseconds` and `peak_share`
        (None for float32); `peak` is in int8 multiply-accumulates a second of one core.
        """

    def close(self) -> None:
        """Release it; it is of no use afterwards."""


@runtime_checkable
class Counted(Protocol):
    """A library that runs on a virtual device, which counts what a clock would measure."""

    @property
    def figures(self) -> Mapping[str, Figure]:
        """What the last run cost."""

    @property
    def cost(self) -> Cost:
        """The same layer by layer."""


@dataclass(frozen=True, eq=False)
class Inner:
    """A tensor inside of a network, as a device computed it.

    Attributes:
        name: in the program.
        kind: of the op that wrote it.
        values: as they lie in memory, without batch axis.
        axes: of the program's tensor in this order: (1, 2, 0) for a map with channels last.
        scale: real value of one step; 1.0 for real numbers.
        zero_point: the integer that means 0.0.
    """

    name: str
    kind: str
    values: Array
    axes: tuple[int, ...]
    scale: float = 1.0
    zero_point: int = 0


@runtime_checkable
class Watchable(Protocol):
    """A library whose inner tensors can be seen while it runs."""

    def watch(self, x: Mapping[str, Array]) -> tuple[Inner, ...]:
        """Compute one sample and return its inner tensors in the order of execution.

        What cannot be seen, because no memory ever holds it by itself, is left out.
        """


@runtime_checkable
class HasBoards(Protocol):
    """A target whose real boards answer over a serial line as the virtual one does."""

    def board(self, port: str) -> Machine:
        """Return the board behind a serial port (/dev/ttyACM0, COM3) or HOST:PORT.

        Raises:
            EdgebedError: nobody is there, or what speaks with serial ports is not installed.
        """


@runtime_checkable
class TellsEnergy(Protocol):
    """A target that knows what cycles of a real device cost."""

    def figures_of(self, cycles: Figure) -> Mapping[str, Figure]:
        """Return estimates from measured cycles, such as `energy`; empty where nothing is known."""


@runtime_checkable
class LibraryTarget(Target, Protocol):
    """A target whose build is a library that this computer can load, or run on a virtual device.

    A target with settings (its fact sheet lists them as `options`) also has
    `with_options(options)`, which returns it with other ones. Its project lies in the compiled
    folder itself. Its fact sheet says with `library` which module has `load(folder, threads, isa)`,
    and with `manifest` by which file its folders are known.
    """

    def open(self, folder: Path, *, threads: int = 1, isa: str | None = None) -> Library:
        """Load a compiled folder.

        Args:
            folder: where `build` left its library.
            threads: that share the long layers.
            isa: instruction set instead of the best one of this processor.

        Raises:
            EdgebedError: the folder is damaged, or for another machine.
        """
