"""Small detectors with a contract, and their C library on this computer."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgebed.data.fixed_decode import FixedDetections
from edgebed.program.arithmetic import PowerOfTwo
from edgebed.program.contract import Contract, GridDecode, ImageInput, Nms
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.ops.max_pool import MaxPool
from edgebed.program.types import Constant, Program, TensorType
from edgebed.targets._shared.contract import library as contract_c
from edgebed.targets._shared.rows.emit import Project, files
from edgebed.targets._shared.toolchain import host_compilers

Array = npt.NDArray[Any]
_FLAGS = ("-std=c99", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")
CLASSES = ("cell", 'a "quoted" name', "une très longue classe")


def rules(picture: ImageInput, cell: int = 8, boxes: int = 2, **changes: Any) -> Contract:
    """Return a contract whose grid has a cell for every `cell` x `cell` pixels."""
    nms = changes.pop("nms", Nms(0.1))
    priors = tuple((0.2 + 0.1 * i, 0.3) for i in range(boxes))
    columns, rows = picture.width // cell, picture.height // cell
    grid = GridDecode(
        columns, rows, boxes, priors, **{"size": "squared", "stretch": 2.0, **changes}
    )
    return Contract(picture, CLASSES, grid, nms)


def detector(contract: Contract, cell: int = 8, *, wide: bool = True, name: str = "eye") -> Program:
    """Return a hidden layer, a pool to the grid, and a head of raw sums (or of bytes)."""
    rng = np.random.default_rng(7)
    picture, window = contract.input, (cell, cell)
    hidden = Conv2d(
        name="hidden", inputs=("x",), output="map", weight="w0", padding=(1, 1, 1, 1),
        requantize=PowerOfTwo(7), activation="relu",
    )  # fmt: skip
    pool = MaxPool(name="pool", inputs=("map",), output="small", kernel=window, stride=window)
    rule = None if wide else PowerOfTwo(7)
    head = Conv2d(name="head", inputs=("small",), output="y", weight="w1", requantize=rule)
    shapes = {"w0": ((6, 3, 3, 3), 2**-9), "w1": ((contract.output_channels, 6, 1, 1), 2**-6)}
    held = {
        key: Constant(rng.integers(-128, 128, shape).astype(np.int8), 8, scale)
        for key, (shape, scale) in shapes.items()
    }
    kind = TensorType((3, picture.height, picture.width))
    return Program(name, {"x": kind}, (hidden, pool, head), ("y",), held, contract)


def sources(project: Project) -> dict[str, bytes]:
    """Return network and contract as C."""
    return {**files(project), **contract_c.files(project.program, project.name)}


def write(given: Mapping[str, bytes], folder: Path) -> Path:
    """Write files to a folder."""
    for path, data in given.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


class NativeDetector:
    """Network and contract as a shared library of this process."""

    def __init__(self, project: Project, folder: Path) -> None:
        self.project, name = project, project.name
        write(sources(project), folder)
        library = folder / f"{name}.so"
        given = [str(folder / f"{name}{part}.c") for part in ("", "_contract")]
        command = [*host_compilers()[0].command, *_FLAGS, *given, "-o", str(library)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        self.code = ctypes.CDLL(str(library))
        self.arena = np.zeros(project.placement.peak + 16, np.uint8)[: project.placement.peak]

    def prepare(self, frame: Array) -> Array | None:
        """Return the input tensor of a picture of any size; None if it is refused."""
        tensor = self._empty()
        height, width = frame.shape[:2]
        done = getattr(self.code, f"{self.project.name}_prepare_scaled")(
            _at(np.ascontiguousarray(frame)), ctypes.c_uint32(width), ctypes.c_uint32(height),
            _at(tensor),
        )  # fmt: skip
        assert (tensor[-1] == 77).all(), "wrote behind the input"
        return tensor[:-1] if done else None

    def prepare_same(self, frame: Array) -> Array:
        """Return the input tensor of a picture of the network's size."""
        tensor = self._empty()
        getattr(self.code, f"{self.project.name}_prepare")(_at(frame), _at(tensor))
        assert (tensor[-1] == 77).all(), "wrote behind the input"
        return tensor[:-1]

    def _empty(self) -> Array:
        picture = self.project.program.contract.input  # type: ignore[union-attr]
        return np.full((4, picture.height, picture.width), 77, np.int8)

    def detect(self, output: Array) -> bytes:
        """Return the boxes of an output map, as the C leaves them."""
        project = self.project
        data = np.ascontiguousarray(output).view(np.uint8).reshape(-1)
        self.arena[project.offset(project.network.outputs[0]) :][: data.size] = data
        found = np.zeros((300, 20), np.uint8)
        count = getattr(self.code, f"{project.name}_detect")(_at(self.arena), _at(found))
        return found[:count].tobytes()


def _at(array: Array) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def as_c(found: FixedDetections) -> bytes:
    """Return boxes of the reference as an array of struct NAME_detection."""
    rows = np.zeros(len(found), [("label", "<u2"), ("score", "<u2"), ("box", "<i4", 4)])
    rows["label"], rows["score"], rows["box"] = found.labels, found.scores_q15, found.boxes_q16
    return rows.tobytes()
