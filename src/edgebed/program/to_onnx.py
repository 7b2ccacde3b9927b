"""Save a program as one ONNX file: a QDQ graph to look at and run, the exact program beside it.

The graph opens in viewers and runs in ONNX Runtime within one quantum per op (its rounding is
half to even, a program's may differ). The exact semantics travel as text in the metadata and
refer to the graph's own initializers, so nothing is stored twice.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgebed import files
from edgebed.program.onnx_nodes.emit import emit
from edgebed.program.onnx_nodes.graph import DOMAIN, Graph, value
from edgebed.program.text import to_text
from edgebed.program.types import Program

if TYPE_CHECKING:
    import onnx

OPSET, IR_VERSION = 18, 10
METADATA_KEY = "edgebed.program"


def save(program: Program, path: Path) -> None:
    """Write a program to an `.onnx` file, atomically.

    Raises:
        EdgebedError: the file cannot be written.
    """
    files.write_bytes(path, to_model(program).SerializeToString(deterministic=True))


def to_model(program: Program) -> onnx.ModelProto:
    """Return the ONNX model of a program.

    An op that ONNX does not have becomes a node of the domain `edgebed`: it opens in viewers, and
    `edgebed.program.from_onnx` reads it.
    """
    from onnx import helper

    graph = Graph(program)
    for op in program.ops:
        emit(graph, op)
    own = [helper.make_opsetid(DOMAIN, 1)] if graph.has_own_nodes else []
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            program.name,
            [value(name, kind) for name, kind in program.inputs.items()],
            [value(name, program.types[name]) for name in program.outputs],
            graph.initializers,
        ),
        opset_imports=[helper.make_opsetid("", OPSET), *own],
        ir_version=IR_VERSION,
        producer_name="edgebed",
    )
    helper.set_model_props(model, {METADATA_KEY: to_text(program, values=False)})
    return model
