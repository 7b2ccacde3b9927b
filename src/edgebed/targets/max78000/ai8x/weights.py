"""Integer weights of a network, from `weights_int.npz`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgebed.errors import EdgebedError

Array = npt.NDArray[Any]
_NAME = re.compile(r"(weight|bias)(\d+)")


@dataclass(frozen=True)
class Weights:
    """Weights of one layer.

    Attributes:
        source: where they come from, for errors: file and key.
        values: integers; see `shaped` for the layouts.
        shaped: True: out x in x kernel as PyTorch has it (transposed convolution: in x out x
            rows x columns; linear: out x in). False: the flat form of `weights_int.npz`.
        bias: integers of one step = 128 accumulator units, or None.
        bits: weight bits, None = not said.
        shift: nominal output shift, None = not said.
    """

    source: str
    values: Array
    shaped: bool
    bias: Array | None = None
    bits: int | None = None
    shift: int | None = None


def read_npz(path: Path) -> Mapping[int, Weights]:
    """Read `weightNN` and `biasNN` arrays, by layer number NN.

    Raises:
        EdgebedError: not such a file, an unknown name, or an array that does not hold integers.
    """
    arrays = _arrays(path)
    weights: dict[int, Array] = {}
    biases: dict[int, Array] = {}
    for name, array in arrays.items():
        match = _NAME.fullmatch(name)
        if match is None:
            raise EdgebedError(
                f"unknown array {name!r}", where=str(path), try_="weightNN and biasNN"
            )
        _check_integers(array, f"{path}: {name}")
        (weights if match[1] == "weight" else biases)[int(match[2])] = array.astype(np.int64)
    lonely = sorted(set(biases) - set(weights))
    if lonely:
        raise EdgebedError(f"bias{lonely[0]:02d} has no weight{lonely[0]:02d}", where=str(path))
    return {
        number: Weights(f"{path}: weight{number:02d}", values, False, biases.get(number))
        for number, values in weights.items()
    }


def _arrays(path: Path) -> dict[str, Array]:
    try:
        with path.open("rb") as file:
            found = np.load(file, allow_pickle=False)
            if isinstance(found, np.lib.npyio.NpzFile):
                return {name: found[name] for name in found.files}
    except FileNotFoundError as error:
        raise EdgebedError("there is no such weights file", where=str(path)) from error
    except Exception as error:  # damaged archives fail in every possible way
        raise EdgebedError(
            f"cannot read the weights: {_problem(error)}",
            where=str(path),
            try_="an .npz file of whole numbers, or a quantised checkpoint (.pth.tar)",
        ) from error
    raise EdgebedError("this is one array", where=str(path), try_="an .npz file")


def _problem(error: Exception) -> str:
    """Say in plain words what numpy found; its own advice would be to load the file unsafely."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if "Object arrays" in str(error):
        return "an array holds pickled Python objects, which are not loaded"
    return "this is no .npz file, or it is damaged or cut off"


def _check_integers(array: Array, where: str) -> None:
    if array.dtype.kind not in "iu":
        raise EdgebedError(f"it holds {array.dtype}", where=where, why="integers are needed")
    if array.size == 0:
        raise EdgebedError("it is empty", where=where)
