"""Files that people take for a network: what they are, and how a network comes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from edgebed.errors import EdgebedError

HEAD_BYTES: Final = 64

_TF_LITE: Final = "tf.lite.TFLiteConverter"
_TORCH: Final = "torch.export.save(torch.export.export(module, inputs), 'model.pt2')"
_KERAS: Final = ("is a Keras model or its weights", f"{_TF_LITE}.from_keras_model(model)")
_SAVED: Final = ("is a TensorFlow SavedModel", f"{_TF_LITE}.from_saved_model(folder)")
_PICKLE: Final = ("is a pickled PyTorch module or checkpoint", _TORCH)
_PICTURE: Final = ("is a picture", "the network's file")

_MARKS: Final[tuple[tuple[bytes, tuple[str, str]], ...]] = (
    (b"\x89HDF\r\n", _KERAS),
    (b"\x89PNG", _PICTURE),
    (b"\xff\xd8\xff", _PICTURE),
    (b"GIF8", _PICTURE),
    (b"version https://git-lfs", ("is a pointer of git-lfs, not the file", "git lfs pull")),
    (b"\x1f\x8b", ("is compressed by gzip", "gunzip it first")),
    (b"BZh", ("is compressed by bzip2", "bunzip2 it first")),
    (b"\xfd7zXZ", ("is compressed by xz", "unxz it first")),
    (b"7z\xbc\xaf", ("is a 7z archive", "unpack it first")),
    (b"\x93NUMPY", ("is an array", "the network's file; arrays go to --input or --data")),
    (b"\x80\x02", _PICKLE),
    (b"\x80\x04", _PICKLE),
    (b"\x7fELF", ("is compiled code", "the network it was made from")),
    (b"%PDF", ("is a PDF document", "the network's file")),
)
_PAGES: Final = (b"<!doctype", b"<html", b"<?xml")
_ENDINGS: Final = {
    ".h5": _KERAS,
    ".hdf5": _KERAS,
    ".keras": _KERAS,
    ".pb": ("is a TensorFlow graph", f"{_TF_LITE}.from_saved_model(folder)"),
    ".pt": ("is a PyTorch file that may hold code", _TORCH),
    ".pth": ("is a PyTorch file that may hold code", _TORCH),
    ".ckpt": ("is a checkpoint", "the exported network"),
    ".safetensors": ("holds weights, not a network", _TORCH),
    ".gguf": ("holds weights, not a network", "an .onnx export"),
    ".engine": ("is compiled for a GPU", "the .onnx it was made from"),
    ".mlmodel": ("is a Core ML model", "an .onnx export"),
}


def recognised(path: Path) -> EdgebedError | None:
    """Return what a file or folder that is no network is, and how a network comes of it.

    Args:
        path: of what somebody gave as a network.

    Returns:
        None where it is not one of the known kinds, or cannot be read.
    """
    found = _folder(path) if path.is_dir() else _file(path)
    return None if found is None else EdgebedError(found[0], where=str(path), try_=found[1])


def _folder(path: Path) -> tuple[str, str] | None:
    if (path / "saved_model.pb").is_file():
        return _SAVED
    return _KERAS if (path / "keras_metadata.pb").is_file() else None


def _file(path: Path) -> tuple[str, str] | None:
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return None
    if not head:
        return "is empty", "save, download or export it again"
    if head.lstrip()[:9].lower().startswith(_PAGES):
        return "is a web page or XML", "the network itself; a download may have failed"
    by_mark = next((what for mark, what in _MARKS if head.startswith(mark)), None)
    return by_mark or _ENDINGS.get(path.suffix.lower())
