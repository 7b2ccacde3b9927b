"""Small networks whose firmware the tests build, and a host that talks to a virtual board."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgebed.program.arithmetic import PowerOfTwo
from edgebed.program.contract import Contract, GridDecode, ImageInput, Nms
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.ops.max_pool import MaxPool
from edgebed.program.ops.space_to_depth import SpaceToDepth
from edgebed.program.types import Constant, Op, Program, TensorType
from edgebed.targets._shared.elf import load_firmware
from edgebed.targets.max78000.board.board import Board
from edgebed.targets.max78000.build import build
from edgebed.targets.max78000.compiler import compile_program
from edgebed.targets.max78000.emit import emit
from edgebed.targets.max78000.wire import Frame, Wire, decode, encode, wire

CLASSES = ("cell", 'a "quoted" name', "très long name of a class")


def contract(side: int, grid: int, boxes: int = 1, **changes: Any) -> Contract:
    """Return a detector contract with square input and grid."""
    picture = ImageInput(side, side, channels=changes.pop("channels", "rgb"))
    priors = tuple((0.2 + 0.1 * i, 0.3) for i in range(boxes))
    rules = {"size": "squared", "stretch": 2.0, "class_score": "softmax"} | changes
    return Contract(picture, CLASSES, GridDecode(grid, grid, boxes, priors, **rules), Nms(0.3))


def detector(
    side: int = 32,
    fold: int = 4,
    pool: int = 1,
    early: int = 1,
    boxes: int = 1,
    seed: int = 1,
    **changes: Any,
) -> Program:
    """Return a network of one hidden and one 32-bit output layer with random weights.

    `early` pools before the hidden layer, `pool` after it.
    """
    rng = np.random.default_rng(seed)
    channels = 5 * boxes + len(CLASSES)
    ops: list[Op] = []
    last = "x"
    if fold > 1:
        ops.append(SpaceToDepth(name="fold", inputs=(last,), output="folded", block=fold))
        last = "folded"
    last = _pooled(ops, "shrink", last, early)
    hidden = Conv2d(
        name="hidden",
        inputs=(last,),
        output="map",
        weight="w0",
        bias="b0",
        padding=(1, 1, 1, 1),
        requantize=PowerOfTwo(10),
        activation="relu",
    )
    ops.append(hidden)
    last = _pooled(ops, "pool", "map", pool)
    ops.append(Conv2d(name="head", inputs=(last,), output="y", weight="w1"))
    constants = {
        "w0": _weights(rng, (16, 3 * fold * fold, 3, 3), 2**-9),
        "b0": Constant((128 * rng.integers(-100, 100, 16)).astype(np.int32), 16, 2**-16),
        "w1": _weights(rng, (channels, 16, 1, 1), 2**-5),
    }
    kind = TensorType((3, side, side))
    rules = contract(side, side // fold // early // pool, boxes, **changes)
    return Program("small-detector", {"x": kind}, tuple(ops), ("y",), constants, rules)


def _pooled(ops: list[Op], name: str, tensor: str, size: int) -> str:
    if size == 1:
        return tensor
    window = (size, size)
    output = f"{name}.out"
    ops.append(MaxPool(name=name, inputs=(tensor,), output=output, kernel=window, stride=window))
    return output


def _weights(rng: np.random.Generator, shape: tuple[int, ...], scale: float) -> Constant:
    return Constant(rng.integers(-128, 128, shape).astype(np.int8), 8, scale)


def write_project(files: Mapping[str, bytes], folder: Path) -> Path:
    """Write emitted files to a new folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


@dataclass
class Host:
    """A virtual board with firmware, and the other end of its serial line."""

    board: Board
    wire: Wire
    text: str = ""
    sequence: int = 0

    def boot(self) -> str:
        """Run to the end of the start-up messages; return all text."""
        self.board.run(seconds=5, until=self._said("ready"))
        self.stop()
        return self.text

    def stop(self) -> None:
        """Stop the stream of camera pictures."""
        self.ask("X")

    def ask(self, command: str, payload: bytes = b"") -> Frame:
        """Send a command and return its reply (or error) frame."""
        self.sequence += 1
        return self.send(encode(Frame(ord(command), self.sequence, payload)))[-1]

    def send(self, data: bytes, seconds: float = 5) -> list[Frame]:
        """Send bytes; return the frames that come until the first reply to the last command."""
        frames: list[Frame] = []
        rest = b""

        def answered() -> bool:
            nonlocal rest
            received = decode(rest + self.board.chip.uart.read())
            rest = received.rest
            self.text += received.text
            frames.extend(received.frames)
            return any(f.sequence == self.sequence for f in frames)

        self.board.chip.uart.feed(data)
        self.board.run(seconds=seconds, until=answered)
        answered()
        return frames

    def _said(self, word: str) -> Any:
        def check() -> bool:
            self.text += decode(self.board.chip.uart.read()).text
            return word in self.text

        return check


def host(program: Program, folder: Path) -> Host:
    """Compile, emit, build and flash a program."""
    image = compile_program(program).image
    elf = build(write_project(emit(image, program), folder))
    return Host(Board(load_firmware(elf)), wire(program, image))
