"""Load a program that edgebed saved as ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from edgebed.errors import EdgebedError
from edgebed.program.text import parse
from edgebed.program.to_onnx import METADATA_KEY
from edgebed.program.types import Constant, DType, Program


def load(path: Path) -> Program:
    """Read a program from an `.onnx` file.

    Raises:
        EdgebedError: the file is missing, not ONNX, cut short, has no edgebed program in it, or
            its weights are not the ones the program was saved with.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except OSError as error:
        raise EdgebedError(f"cannot read: {error.strerror}", where=str(path)) from error
    except DecodeError as error:
        raise EdgebedError(
            "not an ONNX file, or cut short", where=str(path), try_="save or copy it again"
        ) from error
    texts = [prop.value for prop in model.metadata_props if prop.key == METADATA_KEY]
    if not texts:
        raise EdgebedError(
            "this ONNX file holds no edgebed program",
            where=str(path),
            why=f"metadata key {METADATA_KEY!r} is missing",
            try_="a program.onnx that 'edgebed run' or 'edgebed compile' wrote",
        )
    try:
        return parse(texts[0], _constants(model))
    except EdgebedError as error:
        where = f"{path}" + (f", {error.where}" if error.where else "")
        raise EdgebedError(error.what, where=where, why=error.why, try_=error.try_) from error


def _constants(model: object) -> dict[str, Constant]:
    from onnx import numpy_helper

    found = {}
    for tensor in model.graph.initializer:  # type: ignore[attr-defined]
        values = numpy_helper.to_array(tensor)
        if str(values.dtype) in get_args(DType):
            # width and scale are the text's; the widest ones hold any value
            found[tensor.name] = Constant(values.copy(), 64)
    return found
