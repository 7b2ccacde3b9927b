"""Read a network of any known format; the content decides which, not the name."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path

from edgebed.errors import EdgebedError
from edgebed.program.foreign import recognised
from edgebed.program.types import Program

TFLITE_MARK = b"TFL3"
ZIP_MARK = b"PK\x03\x04"
_LONGEST_TEXT = 360
"""So long a message is at most, beside the file's path."""

_LONGEST_PARTS = (360, 150, 110, 84)
"""So long each of its four parts may be, tried in this order."""

KNOWN = "an .onnx, a .tflite, or a .pt2 that torch.export.save wrote"


def read_model(path: Path, input_shapes: Mapping[str, tuple[int, ...]] | None = None) -> Program:
    """Read a network.

    Args:
        path: an ONNX file (edgebed's own, float or QDQ), a TensorFlow Lite file, or a program
            that `torch.export.save` wrote.
        input_shapes: shape by input name, batch axis included, where an ONNX file leaves sizes
            open.

    Raises:
        EdgebedError: the file is missing, of another kind, damaged, or holds what is not
            supported.
    """
    try:
        return _read(path, input_shapes)
    except EdgebedError as error:
        raise _one_sentence(error, path) from error


def _one_sentence(error: EdgebedError, path: Path) -> EdgebedError:
    """Return the error as one line that names the file and is not long.

    A damaged file may call its tensors and operators anything: pages of text, or characters that
    take over a terminal.
    """
    where = error.where or ""
    if path.name not in where:
        where = f"{path}, {where}" if where else str(path)
    file = next((name for name in (str(path), path.name) if where.startswith(name)), "")
    parts = (error.what, where.removeprefix(file), error.why or "", error.try_ or "")
    for longest in _LONGEST_PARTS:
        what, rest, why, try_ = (_shown(part, longest) for part in parts)
        shown = _printable(file) + rest
        result = EdgebedError(what, where=shown, why=why or None, try_=try_ or None)
        if len(str(result)) - len(shown) + len(rest) <= _LONGEST_TEXT:
            break
    return error if str(result) == str(error) else result


def _shown(text: str, longest: int) -> str:
    line = _printable(text)
    tail = longest // 3
    return line if len(line) <= longest else f"{line[: longest - tail]} ... {line[-tail:]}"


def _printable(text: str) -> str:
    """Return the text with line breaks as spaces and control characters written out."""
    line = " ".join(text.split("\n"))
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def _read(path: Path, input_shapes: Mapping[str, tuple[int, ...]] | None) -> Program:
    head = _head(path)
    if head[4:8] == TFLITE_MARK:
        from edgebed.program import tflite

        return tflite.read(path)
    if head.startswith(ZIP_MARK):
        return _read_archive(path)
    return _read_onnx(path, head, input_shapes)


def _head(path: Path) -> bytes:
    if path.is_dir():
        raise recognised(path) or EdgebedError("is a folder", where=str(path), try_=KNOWN)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise EdgebedError("is no file", where=str(path), why="a pipe or device", try_=KNOWN)
        with path.open("rb") as file:
            return file.read(64)
    except OSError as error:
        raise EdgebedError(f"cannot read: {error.strerror}", where=str(path), try_=KNOWN) from error


def _read_archive(path: Path) -> Program:
    """Read a zip archive; a pickled module is refused, since reading it would run its code."""
    try:
        names = zipfile.ZipFile(path).namelist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise EdgebedError("a damaged archive", where=str(path), why=str(error)) from error
    if not any(
        name.endswith(("archive_format", "serialized_exported_program.json")) for name in names
    ):
        raise EdgebedError(
            "an archive that torch.export did not write",
            where=str(path),
            why="a pickled module or checkpoint holds code or weights, not a network",
            try_="torch.export.save(torch.export.export(module, inputs), 'model.pt2')",
        )
    from edgebed.program.from_torch import read_torch

    return read_torch(path)


def _read_onnx(
    path: Path, head: bytes, input_shapes: Mapping[str, tuple[int, ...]] | None
) -> Program:
    from edgebed.program.onnx_graph import read
    from edgebed.program.onnx_graph.load import load

    if head[:1] == b"{":
        raise EdgebedError("is no network", where=str(path), why="not a known format", try_=KNOWN)
    try:
        model = load(path)
    except EdgebedError as error:
        if known := recognised(path):
            raise known from error
        if path.suffix.lower() == ".onnx":
            raise
        raise EdgebedError("is no network", where=str(path), why=error.what, try_=KNOWN) from error
    from edgebed.program.from_onnx import load as load_own
    from edgebed.program.to_onnx import METADATA_KEY

    if any(prop.key == METADATA_KEY for prop in model.metadata_props):
        return load_own(path)
    return read(path, input_shapes)
