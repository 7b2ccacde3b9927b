"""The ONNX importer: float graphs, and quantised ones in QDQ form."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edgebed.program.types import Program

if TYPE_CHECKING:
    import onnx


def read(path: Path, input_shapes: Mapping[str, tuple[int, ...]] | None = None) -> Program:
    """Read an `.onnx` file.

    Args:
        path: of the file; external data lies beside it.
        input_shapes: by input name, batch axis included, where the file leaves sizes open.

    Raises:
        EdgebedError: the file is damaged, or holds what is not supported; names the layer.
    """
    from edgebed.program.onnx_graph.load import load

    return _program(load(path), str(path), path.parent, input_shapes)


def from_model(
    model: onnx.ModelProto,
    where: str,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> Program:
    """Import a model that is in memory.

    Args:
        model: with every tensor inside.
        where: it came from, for messages.
        input_shapes: see `read`.

    Raises:
        EdgebedError: see `read`.
    """
    return _program(model, where, None, input_shapes)


def _program(
    model: onnx.ModelProto,
    where: str,
    folder: Path | None,
    input_shapes: Mapping[str, tuple[int, ...]] | None,
) -> Program:
    from edgebed.program.onnx_graph.building import build
    from edgebed.program.onnx_graph.graph import read_graph

    return build(read_graph(model, where, folder, input_shapes or {}))
