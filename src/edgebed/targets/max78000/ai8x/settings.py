"""What plain integer weights do not say: shifts and weight bits by layer, and the input's shape."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgebed.errors import EdgebedError
from edgebed.targets.max78000.ai8x.network import INPUT, Layer, Network

Shape = tuple[int, int, int]
BESIDE = "meta.json"

DATASETS: Mapping[str, Shape] = {
    "mnist": (1, 28, 28),
    "fashionmnist": (1, 28, 28),
    "cifar-10": (3, 32, 32),
    "cifar10": (3, 32, 32),
    "cifar-100": (3, 32, 32),
    "cifar100": (3, 32, 32),
    "svhn_32": (3, 32, 32),
    "svhn_74": (3, 74, 74),
    "kws_20": (128, 128, 1),
    "kws_35": (128, 128, 1),
    "faceid": (3, 160, 120),
    "faceid_112": (3, 112, 112),
    "cats_vs_dogs": (3, 128, 128),
    "asl": (3, 64, 64),
}
"""Input shapes of public data sets, as the model zoo of those tools feeds them."""


@dataclass(frozen=True)
class LayerSettings:
    """The resolved configuration that travels with plain integer weights.

    Attributes:
        source: file name, for errors.
        bits: weight bits by layer, None where not said.
        shift: effective shift by layer (nominal shift + 8 - bits), None where not said.
        shape: shape of the input, or None.
    """

    source: str
    bits: tuple[int | None, ...]
    shift: tuple[int | None, ...]
    shape: Shape | None

    def of(self, layer: int) -> tuple[int | None, int | None]:
        """Return weight bits and effective shift of a layer."""
        inside = layer < len(self.bits)
        return (self.bits[layer], self.shift[layer]) if inside else (None, None)


NO_SETTINGS = LayerSettings("", (), (), None)


def read_settings(path: Path, layers: int) -> LayerSettings:
    """Read a JSON file whose `config` (or top level) lists values by layer.

    Keys: `quantization`, `output_shift` (effective), `input_channels`, `input_dim`, `operands`,
    `flatten`.

    Raises:
        EdgebedError: not such a file, or for another number of layers.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        where = f"{path}:{error.lineno}" if isinstance(error, json.JSONDecodeError) else str(path)
        raise EdgebedError(
            f"cannot read the layer settings: {_problem(error)}", where=where
        ) from error
    config = content.get("config", content) if isinstance(content, dict) else None
    if not isinstance(config, dict):
        raise EdgebedError("these are no layer settings", where=str(path))
    bits, shift = (_column(config, key, layers, path) for key in ("quantization", "output_shift"))
    return LayerSettings(
        source=str(path),
        bits=tuple(value or None for value in bits),
        shift=shift,
        shape=_config_shape(config),
    )


def _problem(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return error.strerror or "it cannot be opened"
    if isinstance(error, json.JSONDecodeError):
        return f"this is not JSON, {error.msg}"
    return "this is not text"


def _column(config: Mapping[str, Any], key: str, layers: int, path: Path) -> tuple[int | None, ...]:
    values = config.get(key)
    if values is None:
        return (None,) * layers
    if not isinstance(values, list) or not all(v is None or isinstance(v, int) for v in values):
        raise EdgebedError(f"`{key}` is no list of whole numbers", where=str(path))
    if len(values) < layers:
        raise EdgebedError(
            f"`{key}` has {len(values)} values", where=str(path), why=f"{layers} layers"
        )
    return tuple(values[:layers])


def _config_shape(config: Mapping[str, Any]) -> Shape | None:
    try:
        operands = config.get("operands", [1])[0]
        rows, columns = config["input_dim"][0]
        return int(config["input_channels"][0]) * int(operands), int(rows), int(columns)
    except (KeyError, IndexError, TypeError, ValueError):
        return None


def input_shape(
    network: Network,
    *,
    given: Sequence[int] | None,
    sample: str | None,
    channels: int | None,
    settings: LayerSettings,
    folders: Sequence[Path],
) -> Shape:
    """Return the input's shape, from the first of these that says it.

    1. `given` (`--input-shape`); 2. the array file `sample` (`--sample-input`), where it exists:
    recorded command lines name files of another folder; 3. `in_dim` of the first layer with
    `in_channels` or the weights' own input channels, unless the array of 4. has as many pixels:
    then `in_dim` reshapes that; 4. an array file in `folders`: `sample_<dataset>.npy`,
    `tests/sample_<dataset>.npy`, `sample_input.npy`; 5. the layer settings; 6. the data set's
    name, if it is a known public one.

    Raises:
        EdgebedError: nothing says it, or an array file cannot be read.
    """
    if given is not None:
        return _three(given)
    if sample is not None and Path(sample).is_file():
        return sample_shape(Path(sample))
    first = network.layers[0]
    described = _described(first, channels)
    beside = _beside(network, folders)
    if described is not None and not _same_pixels(described, beside):
        return described
    found = beside or settings.shape or DATASETS.get(network.dataset.lower())
    if found is None:
        raise _unknown(network, first, sample)
    return found


def _described(first: Layer, channels: int | None) -> Shape | None:
    """Return the shape that the first layer's `in_dim` and its channels give."""
    if first.in_dim is None or first.inputs != (INPUT,):
        return None
    rows, columns = first.in_dim
    count = first.in_channels or channels
    if count is not None and first.flatten and first.in_channels is not None:
        count = first.in_channels // (rows * columns)  # it counts the flattened values
    return (count * first.operands, rows, columns) if count else None


def _same_pixels(described: Shape, beside: Shape | None) -> bool:
    """Say whether an array has as many pixels: `in_dim` may only reshape it."""
    return beside is not None and beside[1] * beside[2] == described[1] * described[2]


def _beside(network: Network, folders: Sequence[Path]) -> Shape | None:
    name = f"sample_{network.dataset.lower()}.npy"
    for folder in folders:
        for candidate in (folder / name, folder / "tests" / name, folder / "sample_input.npy"):
            if candidate.is_file():
                return sample_shape(candidate)
    return None


def sample_shape(path: Path) -> Shape:
    """Return the shape of an array file as C x H x W; C x L becomes C x L x 1.

    Raises:
        EdgebedError: it cannot be read or has another number of axes.
    """
    try:
        shape = np.load(path, mmap_mode="r", allow_pickle=False).shape
    except (OSError, ValueError, EOFError, AttributeError) as error:
        problem = "it is no intact .npy file of numbers"
        raise EdgebedError(f"cannot read the sample: {problem}", where=str(path)) from error
    if len(shape) not in (2, 3):
        raise EdgebedError(f"the sample's shape is {shape}", where=str(path), why="C x H x W")
    return _three(shape)


def _three(shape: Sequence[int]) -> Shape:
    channels, rows, *columns = shape
    return channels, rows, columns[0] if columns else 1


def _unknown(network: Network, first: Layer, sample: str | None) -> EdgebedError:
    missing = f"there is no file {sample}, " if sample is not None else ""
    return first.place.fail(
        "the input's shape is not known",
        why=f"{missing}the first layer has no `in_channels` and `in_dim`, and the data set "
        f"{network.dataset!r} is not a known one",
        try_="--input-shape C,H,W or --sample-input FILE.npy",
    )
