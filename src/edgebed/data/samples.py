"""Inputs for an imported network, from tensors or pictures, with labels where there are any."""

from __future__ import annotations

import csv
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from edgebed.data.preprocess import resize
from edgebed.data.readers import picture_files
from edgebed.errors import EdgebedError, did_you_mean
from edgebed.program.types import TensorType

Array = npt.NDArray[Any]
Pixels = Literal["0..1", "0..255", "-1..1", "imagenet"]
Channels = Literal["rgb", "bgr"]
PIXELS: Final[tuple[str, ...]] = get_args(Pixels)
# Mean and standard deviation of ImageNet's pixels in 0..1, as torchvision's models take them.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_LABELS, _INPUTS = ("y", "labels", "label"), ("x", "inputs", "input")


@dataclass(frozen=True)
class Samples:
    """Inputs by name, without a batch axis, and a class for each where the data has classes."""

    inputs: tuple[Mapping[str, Array], ...]
    labels: tuple[int, ...] | None = None
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class PictureForm:
    """How a picture's bytes become real numbers.

    Attributes:
        pixels: what 0 and 255 become.
        channels: their order along the channel axis.
    """

    pixels: Pixels = "0..1"
    channels: Channels = "rgb"


def check_pixels(name: str) -> Pixels:
    """Return a scale of pixels by its name.

    Raises:
        EdgebedError: there is no such scale.
    """
    for one in get_args(Pixels):
        if name == one:
            found: Pixels = one
            return found
    raise EdgebedError(f"unknown --pixels {name!r}", try_=did_you_mean(name, PIXELS))


def read_samples(
    source: Path,
    inputs: Mapping[str, TensorType],
    form: PictureForm = PictureForm(),
    *,
    count: int = 0,
    seed: int = 0,
) -> Samples:
    """Read samples.

    Args:
        source: `.npy` (one sample, or several along the first axis), `.npz` (arrays by input name,
            or `x` and `y`), a folder of pictures (in it or its `images`; classes from `labels.csv`
            of file and number, or one folder per class), or a folder of `.npy` files.
        inputs: types of the network's inputs.
        form: for pictures.
        count: at most so many, drawn evenly; 0 for all.
        seed: of the drawing.

    Raises:
        EdgebedError: nothing to read, or of another shape; the file is named.
    """
    if not source.exists():
        raise EdgebedError("no such file or folder", where=str(source))
    if source.is_dir():
        return _folder(source, inputs, form, count, seed)
    if source.suffix.lower() == ".npz":
        return _archive(source, inputs, count, seed)
    if source.suffix.lower() == ".npy":
        arrays = _split(_load(source), _only(inputs, source), source)
        return Samples(tuple(_drawn(arrays, count, seed)))
    if source.suffix.lower() in picture_files.SUFFIXES:
        return Samples((_picture(source, inputs, form),), None, (source.name,))
    raise EdgebedError(
        "holds no samples", where=str(source), try_="a folder of pictures, a .npy or a .npz file"
    )


def _drawn(found: list[Any], count: int, seed: int) -> list[Any]:
    if not count or count >= len(found):
        return found
    chosen = np.random.default_rng(seed).permutation(len(found))[:count]
    return [found[index] for index in sorted(chosen)]


def _only(inputs: Mapping[str, TensorType], source: Path) -> tuple[str, TensorType]:
    if len(inputs) != 1:
        raise EdgebedError(
            f"holds one array, the network has {len(inputs)} inputs",
            where=str(source),
            try_=f"a .npz file with arrays {', '.join(inputs)}",
        )
    return next(iter(inputs.items()))


def _load(path: Path) -> Array:
    found = _read(path)
    if isinstance(found, dict):
        raise EdgebedError(
            f"holds arrays {', '.join(found)}", where=str(path), try_="the same with suffix .npz"
        )
    return found


def _read(path: Path) -> Array | dict[str, Array]:
    """Return what NumPy stored: one array, or several by name."""
    try:
        with path.open("rb") as file:
            found = np.load(file, allow_pickle=False)
            return dict(found) if isinstance(found, np.lib.npyio.NpzFile) else np.asarray(found)
    except (OSError, ValueError, EOFError, MemoryError, BadZipFile, zlib.error) as error:
        raise EdgebedError(
            "cannot be read",
            where=str(path),
            why=why_unreadable(error),
            try_="a file that numpy.save wrote",
        ) from error


def why_unreadable(error: Exception) -> str:
    """Return why numpy could not read a file, without its advice to allow pickles."""
    return "it holds Python objects" if "pickle" in str(error) else str(error)


def _split(values: Array, one: tuple[str, TensorType], source: Path) -> list[dict[str, Array]]:
    """Cut an array into samples of the input's shape."""
    name, kind = one
    wanted = kind.shape
    if values.shape == wanted:
        values = values[None]
    elif values.size and values.shape[1:] != wanted:
        flat = tuple(n for n in wanted if n != 1)
        tail = tuple(n for n in values.shape[1:] if n != 1)
        if tail != flat:
            raise EdgebedError(
                f"holds samples of shape {values.shape[1:]}",
                where=str(source),
                why=f"input {name!r} needs {wanted}",
            )
        values = values.reshape(len(values), *wanted)
    return [{name: _typed(sample, kind, source)} for sample in values]


def _typed(sample: Array, kind: TensorType, source: Path) -> Array:
    """Return a sample in the input's type; nothing is cut off or wrapped on the way."""
    needed = "fiub" if kind.is_float else "iub"
    if sample.dtype.kind not in needed:
        raise EdgebedError(
            f"holds {sample.dtype}", where=str(source), why=f"the network's input is {kind.dtype}"
        )
    if kind.is_float:
        with np.errstate(over="ignore"):
            real = np.asarray(sample, np.float32)
        if not np.isfinite(real).all():
            raise EdgebedError("holds NaN, infinity or more than float32 can", where=str(source))
        return real
    typed = np.asarray(sample).astype(kind.dtype)
    if not np.array_equal(typed, sample):
        raise EdgebedError(
            f"holds {sample.min()}..{sample.max()}",
            where=str(source),
            why=f"the network's input is {kind.dtype}",
        )
    return typed


def _archive(source: Path, inputs: Mapping[str, TensorType], count: int, seed: int) -> Samples:
    arrays = _read(source)
    if not isinstance(arrays, dict):
        raise EdgebedError("holds one array", where=str(source), try_="the same with suffix .npy")
    if set(inputs) <= set(arrays):
        found = _rows(arrays, inputs, source)
    else:
        key = next((name for name in _INPUTS if name in arrays), None)
        if key is None:
            raise EdgebedError(
                f"holds {', '.join(arrays)}", where=str(source), try_=f"arrays {', '.join(inputs)}"
            )
        found = _split(arrays[key], _only(inputs, source), source)
    labels = _labels(arrays, len(found), source)
    if labels is None:
        return Samples(tuple(_drawn(found, count, seed)))
    pairs = _drawn(list(zip(found, labels, strict=True)), count, seed)
    return Samples(tuple(one for one, _ in pairs), tuple(label for _, label in pairs))


def _rows(
    arrays: Mapping[str, Array], inputs: Mapping[str, TensorType], source: Path
) -> list[dict[str, Array]]:
    """Return the samples of several inputs."""
    parts = [_split(arrays[name], (name, kind), source) for name, kind in inputs.items()]
    if len({len(one) for one in parts}) > 1:
        counts = ", ".join(f"{len(p)} of {n}" for p, n in zip(parts, inputs, strict=True))
        raise EdgebedError(f"holds {counts}", where=str(source), why="as many of each are needed")
    return [{k: v for one in row for k, v in one.items()} for row in zip(*parts, strict=True)]


def _labels(arrays: Mapping[str, Array], count: int, source: Path) -> list[int] | None:
    """Return the classes; None where nothing is called so, or it holds no class a sample."""
    found = next((arrays[name] for name in _LABELS if name in arrays), None)
    if found is None or found.dtype.kind not in "iu" or found.ndim not in (1, 2):
        return None
    if found.ndim == 2 and found.shape[1] != 1:
        return None
    if len(found) != count:
        raise EdgebedError(f"holds {len(found)} labels of {count} samples", where=str(source))
    return [int(one) for one in found.reshape(-1)]


def _folder(
    source: Path, inputs: Mapping[str, TensorType], form: PictureForm, count: int, seed: int
) -> Samples:
    tensors = sorted(source.glob("*.npy"))
    if tensors:
        samples = [s for path in tensors for s in _split(_load(path), _only(inputs, path), path)]
        return Samples(tuple(_drawn(samples, count, seed)))
    pictures, labels = _labelled(source)
    order = _drawn(list(range(len(pictures))), count, seed)
    chosen = [pictures[index] for index in order]
    found = tuple(_picture(path, inputs, form) for path in chosen)
    known = None if labels is None else tuple(labels[index] for index in order)
    return Samples(found, known, tuple(path.name for path in chosen))


def _labelled(source: Path) -> tuple[list[Path], list[int] | None]:
    """Return a folder's pictures and, where it has them, their classes."""
    inner = source / "images" if (source / "images").is_dir() else source
    flat = _pictures(inner)
    table = source / "labels.csv"
    if flat and table.is_file():
        known = _table(table)
        named = [path for path in flat if path.name in known]
        return named, [known[path.name] for path in named]
    if flat:
        return flat, None
    classes = sorted(one for one in inner.iterdir() if one.is_dir())
    pairs = [(path, index) for index, one in enumerate(classes) for path in _pictures(one)]
    if not pairs:
        raise EdgebedError(
            "holds no pictures and no .npy files",
            where=str(source),
            try_=f"files ending in {', '.join(picture_files.SUFFIXES)}, in it or in its images",
        )
    return [path for path, _ in pairs], [index for _, index in pairs]


def _pictures(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in picture_files.SUFFIXES)


def _table(path: Path) -> dict[str, int]:
    """Read a table of file and class number; a first line without a number is a heading."""
    found: dict[str, int] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.reader(file), start=1):
            if len(row) >= 2 and row[1].strip().isdigit():
                found[Path(row[0].strip()).name] = int(row[1])
            elif number > 1 and row:
                raise EdgebedError(
                    f"{','.join(row)!r} is not 'file,class number'", where=f"{path}:{number}"
                )
    return found


def _picture(path: Path, inputs: Mapping[str, TensorType], form: PictureForm) -> dict[str, Array]:
    name, kind = _only(inputs, path)
    return {name: to_input(picture_files.load(path), kind, form)}


def to_input(picture: npt.NDArray[np.uint8], kind: TensorType, form: PictureForm) -> Array:
    """Return a picture (height x width x 3, RGB) as a network's input.

    Args:
        picture: uint8.
        kind: 3 x H x W or H x W x 3, or with one channel (grey); float32, uint8 or int8
            (byte - 128).
        form: scale and order of the channels.

    Raises:
        EdgebedError: the input is no picture, or of another type.
    """
    if kind.dtype not in ("float32", "uint8", "int8"):
        raise EdgebedError(
            f"the network's input is {kind.dtype}",
            why="pictures become float32, uint8 or int8",
            try_="--data FILE.npy with the tensors themselves",
        )
    first = len(kind.shape) == 3 and kind.shape[0] in (1, 3)
    if len(kind.shape) != 3 or not (first or kind.shape[2] in (1, 3)):
        raise EdgebedError(
            f"the network's input has shape {kind.shape}",
            why="pictures become 3 x H x W or H x W x 3",
            try_="--data FILE.npy with the tensors themselves",
        )
    height, width = kind.shape[1:] if first else kind.shape[:2]
    pixels = resize(picture, width, height, "bilinear")
    if kind.shape[0 if first else 2] == 1:
        # ITU-R BT.601 luma
        grey = np.rint(pixels.astype(np.float64) @ (0.299, 0.587, 0.114))
        pixels = grey.astype(np.uint8)[:, :, None]
    elif form.channels == "bgr":
        pixels = pixels[:, :, ::-1]
    values = _scaled(pixels, form.pixels) if kind.is_float else _stored(pixels, kind)
    return np.ascontiguousarray(values.transpose(2, 0, 1) if first else values)


def _scaled(pixels: Array, scale: Pixels) -> Array:
    real = pixels.astype(np.float32)
    if scale == "0..255":
        return real
    real = real / np.float32(255)
    if scale == "-1..1":
        return real * np.float32(2) - np.float32(1)
    if scale == "imagenet" and real.shape[-1] == 3:
        mean, std = np.array(_MEAN, np.float32), np.array(_STD, np.float32)
        return np.asarray((real - mean) / std)
    return real


def _stored(pixels: Array, kind: TensorType) -> Array:
    if kind.dtype == "uint8":
        return pixels
    return (pixels.astype(np.int16) - 128).astype(np.int8)
