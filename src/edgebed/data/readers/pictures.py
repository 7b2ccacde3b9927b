"""Frames to run a detector on: a picture, a folder of pictures, a video or a NumPy array."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from edgebed.data.dataset import UInt8
from edgebed.data.readers import picture_files
from edgebed.errors import EdgebedError

VIDEOS = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".ts")

Frame = tuple[str, UInt8]


def frames(
    path: Path | str, skipped: Callable[[EdgebedError], None] | None = None
) -> Iterator[Frame]:
    """Yield (name, picture) pairs, one at a time, pictures as uint8, height x width x 3, RGB.

    Args:
        path: a picture file, a folder of pictures (taken in order of their names), a video file
            (needs the extra `video`), or a `.npy` file with one picture (height x width x 3) or
            several (n x height x width x 3), uint8.
        skipped: receives what is wrong with a picture of a folder, which is then left out; without
            it such a picture ends the iteration.

    Raises:
        EdgebedError: nothing that can be read; names the file.
    """
    source = Path(path)
    if not source.exists():
        raise EdgebedError("no such file or folder", where=str(source))
    if source.is_dir():
        return _folder(source, skipped)
    suffix = source.suffix.lower()
    if suffix == ".npy":
        return _array(source)
    if suffix in VIDEOS:
        return _video(source)
    return iter([(source.stem, picture_files.load(source))])


def _folder(folder: Path, skipped: Callable[[EdgebedError], None] | None) -> Iterator[Frame]:
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in picture_files.SUFFIXES)
    if not paths:
        raise EdgebedError(
            "no picture in the folder",
            where=str(folder),
            why=f"pictures end in {', '.join(picture_files.SUFFIXES)}",
        )
    return _loaded(paths, skipped)


def _loaded(paths: list[Path], skipped: Callable[[EdgebedError], None] | None) -> Iterator[Frame]:
    for path in paths:
        try:
            picture = picture_files.load(path)
        except EdgebedError as error:
            if skipped is None:
                raise
            skipped(error)
        else:
            yield path.stem, picture


def _array(path: Path) -> Iterator[Frame]:
    try:
        data = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise EdgebedError(f"not a NumPy array: {error}", where=str(path)) from error
    pictures = data[None] if data.ndim == 3 else data
    if data.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[3] != 3:
        raise EdgebedError(
            f"{data.dtype} array of shape {'x'.join(map(str, data.shape))} is not a picture",
            where=str(path),
            why="pictures are uint8, height x width x 3 or n x height x width x 3",
        )
    if data.ndim == 3:
        return iter([(path.stem, data)])
    return ((f"{path.stem}_{i:06d}", picture) for i, picture in enumerate(pictures))


def _video(path: Path) -> Iterator[Frame]:
    try:
        import av
    except ImportError:
        raise EdgebedError(
            "videos need PyAV, which is not installed",
            where=str(path),
            try_='pip install "edgebed[video]"',
        ) from None
    try:
        with av.open(str(path)) as container:
            for index, frame in enumerate(container.decode(video=0)):
                picture = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
                yield f"{path.stem}_{index:06d}", picture
    except (av.error.FFmpegError, IndexError) as error:
        raise EdgebedError(f"the video cannot be decoded: {error}", where=str(path)) from error
