"""Load a program that edgebed saved as ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, get_args

from edgebed.errors import EdgebedError
from edgebed.program.onnx_graph.load import load as read_message
from edgebed.program.onnx_graph.load import tensor_array
from edgebed.program.text import parse
from edgebed.program.to_onnx import METADATA_KEY
from edgebed.program.types import Constant, DType, Program

if TYPE_CHECKING:
    import onnx


def load(path: Path) -> Program:
    """Read a program from an `.onnx` file.

    Raises:
        EdgebedError: the file is missing, not ONNX, cut short, has no edgebed program in it, or
            its weights are not the ones the program was saved with.
    """
    model = read_message(path)
    texts = [prop.value for prop in model.metadata_props if prop.key == METADATA_KEY]
    if not texts:
        raise EdgebedError(
            "this ONNX file holds no edgebed program",
            where=str(path),
            why=f"metadata key {METADATA_KEY!r} is missing",
            try_="a program.onnx that 'edgebed run' or 'edgebed compile' wrote",
        )
    if not isinstance(texts[0], str):  # what is not UTF-8 comes as bytes
        raise EdgebedError("its program is damaged", where=str(path), why="it is not text")
    constants = _constants(model, path)
    try:
        return parse(texts[0], constants)
    except EdgebedError as error:
        where = f"{path}" + (f", {error.where}" if error.where else "")
        raise EdgebedError(error.what, where=where, why=error.why, try_=error.try_) from error


def _constants(model: onnx.ModelProto, path: Path) -> dict[str, Constant]:
    found = {}
    for tensor in model.graph.initializer:
        values = tensor_array(tensor, str(path), path.parent)
        if str(values.dtype) in get_args(DType):
            # width and scale are the text's; the widest ones hold any value
            found[tensor.name] = Constant(values.copy(), 64)
    return found
